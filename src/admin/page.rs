//! The status page: one plain page that answers "is it keeping up, and is anything stuck?".

use std::fmt::Write as _;

use crate::event::DestinationId;
use crate::telemetry::ledger::Accounts;

use super::{Summary, View};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;\
padding:0 1rem;color:#1c2733;background:#fff}h1{font-size:1.4rem}h2{font-size:1.05rem;\
margin-top:2rem}table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.3rem \
.7rem;border-bottom:1px solid #dde3ea}th:first-child,td:first-child{text-align:left}a{color:\
#0b57a4}th{color:#5b6b7b;font-weight:600}.ok{color:#16794a}.bad{color:#b3261e}.note{color:#5b6b7b}\
ul{padding-left:1.2rem}@media(prefers-color-scheme:dark){body{color:#dbe4ec;background:#12181f}a{color:#7cb7ff}\
th,td{border-color:#2b3641}th,.note{color:#93a4b5}.ok{color:#5fd39a}.bad{color:#ff8a80}}";

pub(super) fn render(view: &View, summary: &Summary) -> String {
    let mut out = String::with_capacity(8192);
    // Writing to a String cannot fail.
    _ = write_page(&mut out, view, summary);
    out
}

fn write_page(out: &mut String, view: &View, summary: &Summary) -> std::fmt::Result {
    let Summary { state, version, uptime_seconds, .. } = summary;
    write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" \
         content=\"5\"><meta name=\"viewport\" content=\"width=device-width\"><title>logweir: \
         {state}</title><style>{STYLE}</style><h1>logweir {version}</h1><p class=\"note\">{state} \
         for {uptime_seconds} s · <a href=\"/metrics\">metrics</a> · <a href=\"/health\">health</a></p>"
    )?;
    readiness(out, summary)?;
    fates(out, summary)?;
    routes(out, summary)?;
    shards(out, summary)?;
    let names: Vec<_> = view.pools.iter().map(|(name, _)| name.as_str()).collect();
    identity(out, &view.ledger.snapshot(), &names)?;
    out.write_str("</html>\n")
}

fn readiness(out: &mut String, summary: &Summary) -> std::fmt::Result {
    if summary.not_ready.is_empty() {
        return out.write_str("<p class=\"ok\">✓ Ready: nothing is held back.</p>");
    }
    out.write_str("<h2 class=\"bad\">✗ Not ready</h2><ul>")?;
    for reason in &summary.not_ready {
        write!(out, "<li>{}</li>", Escaped(reason))?;
    }
    out.write_str("</ul>")
}

fn fates(out: &mut String, summary: &Summary) -> std::fmt::Result {
    out.write_str(
        "<h2>Destinations</h2><table><tr><th>destination<th>routed<th>delivered\
         <th>dead letters<th>in flight</tr>",
    )?;
    for (name, to) in &summary.destinations {
        let (routed, delivered, in_flight) = (to.routed, to.delivered, to.in_flight);
        let dead = to.dead_lettered;
        write!(
            out,
            "<tr><td>{}<td>{routed}<td>{delivered}<td>{dead}<td>{in_flight}</tr>",
            Escaped(name)
        )?;
    }
    out.write_str("</table>")
}

fn routes(out: &mut String, summary: &Summary) -> std::fmt::Result {
    out.write_str("<h2>Routes</h2><table><tr><th>route<th>matched<th>filtered</tr>")?;
    let names = summary.matched.keys().chain(summary.filtered.keys());
    let names: std::collections::BTreeSet<_> = names.collect();
    for name in names {
        let count =
            |of: &std::collections::BTreeMap<String, u64>| of.get(name).copied().unwrap_or(0);
        let (matched, filtered) = (count(&summary.matched), count(&summary.filtered));
        write!(out, "<tr><td>{}<td>{matched}<td>{filtered}</tr>", Escaped(name))?;
    }
    out.write_str("</table>")
}

fn shards(out: &mut String, summary: &Summary) -> std::fmt::Result {
    for (stream, shards) in &summary.streams {
        write!(
            out,
            "<h2>Stream {}</h2><table><tr><th>shard<th>state<th>lag<th>open records\
             <th>last error</tr>",
            Escaped(stream)
        )?;
        for shard in shards {
            let lag = shard.lag_seconds.map_or_else(|| "?".to_owned(), |lag| format!("{lag:.1} s"));
            let error = shard.last_error.as_deref().unwrap_or("–");
            write!(
                out,
                "<tr><td>{}<td>{}<td>{lag}<td>{}<td>{}</tr>",
                Escaped(&shard.shard),
                shard.state,
                shard.open_records,
                Escaped(error)
            )?;
        }
        out.write_str("</table>")?;
    }
    Ok(())
}

/// Every event that was read, once: README, Guarantees.
fn identity(out: &mut String, accounts: &Accounts, names: &[&str]) -> std::fmt::Result {
    let read = accounts.events_read;
    let filtered: u64 = accounts.filtered.values().sum();
    let matched: u64 = accounts.matched.values().sum();
    let (class, sign) = equal(read, filtered + matched);
    write!(
        out,
        "<h2>Conservation</h2><p class=\"{class}\">{read} events read {sign} {filtered} filtered \
         + {matched} matched</p>"
    )?;
    for (id, name) in (0..u16::MAX).map(DestinationId).zip(names) {
        let routed = accounts.routed.get(&id).copied().unwrap_or(0);
        let (delivered, dead) = (accounts.delivered_to(id), accounts.dead_lettered_at(id));
        let (abandoned, in_flight) = (accounts.abandoned_at(id), accounts.in_flight(id));
        let (class, sign) = equal(routed, delivered + dead + abandoned + in_flight);
        write!(
            out,
            "<p class=\"{class}\">{}: {routed} routed {sign} {delivered} delivered + {dead} dead \
             letters + {abandoned} abandoned + {in_flight} in flight</p>",
            Escaped(name)
        )?;
    }
    Ok(())
}

fn equal(one: u64, other: u64) -> (&'static str, &'static str) {
    if one == other { ("ok", "=") } else { ("bad", "≠") }
}

/// Text made safe for HTML.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RouteId;
    use crate::fate::{AbandonReason, Delivery, RefusalReason};

    /// The relative luminance of a colour (WCAG 2.2), `fff` or `12181f`.
    fn luminance(colour: &str) -> f64 {
        let long: String = if colour.len() == 3 {
            colour.chars().flat_map(|c| [c, c]).collect()
        } else {
            colour.to_owned()
        };
        let [_, red, green, blue] = u32::from_str_radix(&long, 16).unwrap().to_be_bytes();
        let part = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue)
    }

    fn colours<'a>(style: &'a str, start: &str) -> Vec<&'a str> {
        let after = style.split(start).skip(1);
        after.map(|rest| rest.split([';', '}']).next().unwrap()).collect()
    }

    #[test]
    fn all_text_can_be_read_by_day_and_by_night() {
        let (day, night) = STYLE.split_once("@media").unwrap();
        for style in [day, night] {
            assert!(style.contains("a{color:#"), "links have a colour: {style}");
            let ground = luminance(colours(style, "background:#")[0]);
            let texts = style.replace("border-color", "border");
            for colour in colours(&texts, "color:#") {
                let text = luminance(colour);
                let contrast = (text.max(ground) + 0.05) / (text.min(ground) + 0.05);
                assert!(contrast >= 4.5, "#{colour}: {contrast:.1}");
            }
        }
    }

    #[test]
    fn the_whole_identity_is_shown_and_marked_where_it_is_broken() {
        let (route, to) = (RouteId(0), DestinationId(0));
        let mut accounts = Accounts { events_read: 10, ..Accounts::default() };
        accounts.matched.insert(route, 10);
        accounts.routed.insert(to, 10);
        accounts.delivered.insert((to, Delivery::Created), 4);
        accounts.dead_lettered.insert((to, RefusalReason::Mapping), 3);
        accounts.abandoned.insert((to, AbandonReason::Shutdown), 2);
        let mut out = String::new();
        identity(&mut out, &accounts, &["a<b"]).unwrap();
        for says in [
            "10 events read = 0 filtered + 10 matched",
            "a&lt;b: 10 routed = 4 delivered + 3 dead letters + 2 abandoned + 1 in flight",
        ] {
            assert!(out.contains(says), "{out}");
        }
        accounts.delivered.insert((to, Delivery::Created), 6);
        let mut out = String::new();
        identity(&mut out, &accounts, &["a"]).unwrap();
        assert!(out.contains("<p class=\"bad\">a: 10 routed ≠ 6 delivered"), "{out}");
    }
}

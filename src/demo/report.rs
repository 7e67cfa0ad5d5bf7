//! How a demo ended, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::app::Outcome;
use crate::event::{DestinationId, RouteId};
use crate::fate::Delivery;
use crate::route::Way;
use crate::telemetry::ledger_metrics::Names;

use super::session::Report;
use super::shell;

impl Report {
    fn names(&self) -> Names {
        let routes: Vec<_> =
            self.config.routes.iter().map(|(_, route)| route.name.clone()).collect();
        let destinations: Vec<_> =
            self.config.destinations.iter().map(|(name, _)| name.clone()).collect();
        Names { routes: routes.into(), destinations: destinations.into() }
    }

    /// One object with every count.
    #[must_use]
    pub fn json(&self) -> Value {
        let names = self.names();
        let accounts = &self.accounts;
        let filtered = accounts.filtered.iter().map(|((route, reason), count)| {
            (names.route(*route).to_owned(), reason.as_str(), *count)
        });
        let dead = accounts.dead_lettered.iter().map(|((to, reason), count)| {
            (names.destination(*to).to_owned(), reason.as_str(), *count)
        });
        let matched = accounts.matched.iter().map(|(route, n)| (names.route(*route), *n));
        let by_destination = |count: &dyn Fn(DestinationId) -> Value| -> Map<String, Value> {
            let ids = (0..u16::MAX).map(DestinationId);
            let named = ids.zip(names.destinations.iter());
            named.map(|(id, name)| (name.to_string(), count(id))).collect()
        };
        let delivered = |id, how| accounts.delivered.get(&(id, how)).copied().unwrap_or(0);
        json!({
            "records_read": accounts.records_read,
            "records_control": accounts.records_control,
            "records_undecodable": accounts.records_undecodable.values().sum::<u64>(),
            "events_read": accounts.events_read,
            "events_filtered": nested(filtered),
            "events_matched": matched.collect::<BTreeMap<_, _>>(),
            "routed": by_destination(&|id| json!(accounts.routed.get(&id).copied().unwrap_or(0))),
            "delivered": by_destination(&|id| json!({
                "created": delivered(id, Delivery::Created),
                "already_present": delivered(id, Delivery::AlreadyPresent),
            })),
            "dead_lettered": nested(dead),
            "abandoned": by_destination(&|id| json!(accounts.abandoned_at(id))),
            "in_flight": by_destination(&|id| json!(accounts.in_flight(id))),
            "parse_errors": accounts.parse_errors.values().sum::<u64>(),
            "generated": self.generated,
            "missing": self.reconciliation.missing,
            "doubled": self.reconciliation.doubled,
            "unexpected": self.reconciliation.unexpected,
            "seconds": self.seconds,
            "cut_short": self.outcome == Outcome::CutShort,
            "identity_holds": self.identity.is_ok(),
            "holds": self.holds(),
        })
    }

    /// The reconciliation table, and what to look at next in the folder that is kept.
    #[must_use]
    pub fn table(&self, kept: Option<&Path>) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        _ = self.write(&mut out, kept);
        out
    }

    fn write(&self, out: &mut String, kept: Option<&Path>) -> std::fmt::Result {
        let names = self.names();
        let accounts = &self.accounts;
        let rate = accounts.events_read as f64 / self.seconds.max(0.001);
        writeln!(out, "\n{:<34}{:>12}", "records read", accounts.records_read)?;
        writeln!(out, "{:<34}{:>12}", "  control messages", accounts.records_control)?;
        for (reason, count) in &accounts.records_undecodable {
            writeln!(out, "{:<34}{count:>12}", format!("  undecodable: {reason}"))?;
        }
        writeln!(out, "{:<34}{:>12}   {rate:.0} a second", "events read", accounts.events_read)?;
        for (id, route) in self.config.routes.iter() {
            self.write_route(out, id, (route.name.as_str(), &route.way))?;
        }
        for (id, name) in (0..u16::MAX).map(DestinationId).zip(names.destinations.iter()) {
            self.write_destination(out, id, name.as_str())?;
        }
        self.write_verdict(out)?;
        if let Some(folder) = kept {
            write_next(out, folder)?;
        }
        Ok(())
    }

    fn write_route(
        &self,
        out: &mut String,
        id: RouteId,
        (name, way): (&str, &Way),
    ) -> std::fmt::Result {
        let accounts = &self.accounts;
        let count = match way {
            Way::Discard => {
                accounts.filtered.iter().filter(|((of, _), _)| *of == id).map(|(_, n)| n).sum()
            }
            Way::Send { .. } => accounts.matched.get(&id).copied().unwrap_or(0),
        };
        let fate = if matches!(way, Way::Discard) { "filtered: discard" } else { "matched" };
        write!(out, "{:<34}{count:>12}   {fate}", format!("  route {name}"))?;
        for ((of, reason), count) in &accounts.parse_errors {
            if *of == id {
                write!(out, " · {count} parse errors: {reason}")?;
            }
        }
        if let Some(count) = accounts.undated.get(&id) {
            write!(out, " · {count} undated")?;
        }
        writeln!(out)
    }

    fn write_destination(
        &self,
        out: &mut String,
        id: DestinationId,
        name: &str,
    ) -> std::fmt::Result {
        let accounts = &self.accounts;
        let routed = accounts.routed.get(&id).copied().unwrap_or(0);
        writeln!(out, "{:<34}{routed:>12}   routed", format!("destination {name}"))?;
        for ((of, how), count) in &accounts.delivered {
            if *of == id {
                writeln!(out, "{:<34}{count:>12}", format!("  delivered: {how}"))?;
            }
        }
        for ((of, reason), count) in &accounts.dead_lettered {
            if *of == id {
                writeln!(out, "{:<34}{count:>12}", format!("  dead letters: {reason}"))?;
            }
        }
        let (abandoned, in_flight) = (accounts.abandoned_at(id), accounts.in_flight(id));
        writeln!(out, "{:<34}{abandoned:>12}", "  abandoned")?;
        writeln!(out, "{:<34}{in_flight:>12}", "  in flight")
    }

    fn verdict(&self) -> &'static str {
        let found = &self.reconciliation;
        let only_missing = found.doubled == 0 && found.unexpected == 0;
        match (self.holds(), self.outcome) {
            (true, _) => "holds",
            (false, Outcome::CutShort) if only_missing => {
                "holds, but the demo was cut short: what has no fate yet would be read again"
            }
            (false, Outcome::Drained | Outcome::CutShort) => "DOES NOT HOLD",
        }
    }

    fn write_verdict(&self, out: &mut String) -> std::fmt::Result {
        let found = &self.reconciliation;
        let is_cut_short = self.outcome == Outcome::CutShort;
        let missing = if is_cut_short { "without a fate yet" } else { "missing" };
        writeln!(
            out,
            "\nagainst the generator's ledger of {} events: {} {missing}, {} doubled, {} unexpected",
            self.generated, found.missing, found.doubled, found.unexpected
        )?;
        // Events that nobody has got to yet are no examples of anything wrong.
        let is_clean = found.doubled == 0 && found.unexpected == 0;
        for example in found.examples.iter().filter(|_| !is_cut_short || !is_clean) {
            writeln!(out, "  {example}")?;
        }
        match &self.identity {
            Ok(()) => writeln!(
                out,
                "identity: read = filtered + matched; routed = delivered + dead letters + abandoned \
                 + in flight: {}",
                self.verdict()
            ),
            Err(equation) => writeln!(out, "identity DOES NOT HOLD: {equation}"),
        }
    }
}

fn nested(
    rows: impl Iterator<Item = (String, &'static str, u64)>,
) -> BTreeMap<String, BTreeMap<&'static str, u64>> {
    let mut all: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for (name, reason, count) in rows {
        *all.entry(name).or_default().entry(reason).or_default() += count;
    }
    all
}

fn write_next(out: &mut String, folder: &Path) -> std::fmt::Result {
    let path = |name: &str| shell::word(&folder.join(name).to_string_lossy());
    let (documents, config) = (path("documents.db"), path("logweir.toml"));
    let logweir = shell::program();
    writeln!(
        out,
        "\nLook around: rejected outbound flows, the most frequent CloudTrail events, dead letters\n  \
         sqlite3 {documents} \"SELECT document ->> '$.dstport' AS port, count(*) FROM \
         documents WHERE index_name LIKE 'vpc-flowlogs-%' AND document ->> '$.action' = 'REJECT' \
         AND document ->> '$.srcaddr' LIKE '10.%' GROUP BY 1 ORDER BY 2 DESC LIMIT 10\"\n  \
         sqlite3 {documents} \"SELECT document ->> '$.eventName' AS event, count(*) FROM \
         documents WHERE index_name LIKE 'cloudtrail-%' GROUP BY 1 ORDER BY 2 DESC LIMIT 10\"\n  \
         {logweir} dead-letter list --config {config}"
    )
}

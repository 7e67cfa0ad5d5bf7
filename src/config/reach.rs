//! Finds routes that no event can get to, since those before them take all that they ask for.

use crate::event::StreamName;
use crate::parse::Kind;
use crate::route::{Conditions, Route, RouteTable};

/// Why a route behind `before` would never take an event. A last route for what streams and kinds
/// that are added later may bring is no mistake.
pub(super) fn unreachable(route: &Route, before: &[Route], streams: &[&str]) -> Option<String> {
    let takers = takers(&route.takes, before, streams)?;
    let is_last_resort = route.takes.take_everything();
    if is_last_resort && !takers.iter().any(|taker| taker.takes.take_everything()) {
        return None;
    }
    let other = if takers.len() == 1 { "the other" } else { "one of them" };
    Some(format!(
        "route `{0}` would never take an event: {1} everything that it could. Move `{0}` up, or let \
         {other} take less, such as by `log_group`",
        route.name,
        take(&takers)
    ))
}

/// Says so where nothing is left for the route that takes everything.
pub(super) fn idle_last(routes: &RouteTable, streams: &[&str]) -> Option<String> {
    let mut before: Vec<Route> = routes.iter().map(|(_, route)| route.clone()).collect();
    let last = before.pop()?;
    let takers = takers(&last.takes, &before, streams)?;
    Some(format!(
        "nothing is left for route `{0}`: {1} every event that there can be. If that is \
         meant, leave `{0}` out, and let the last before it take everything",
        last.name,
        take(&takers)
    ))
}

/// The routes that leave nothing for one behind them: one that takes all of it, or for each stream
/// and kind the one that does. None where something may be left.
fn takers<'r>(takes: &Conditions, before: &'r [Route], streams: &[&str]) -> Option<Vec<&'r Route>> {
    let covering: Vec<&Route> =
        before.iter().filter(|route| route.takes.cover_sources(takes)).collect();
    let streams = streams.iter().map(|name| StreamName::new(name));
    let streams = streams.filter(|stream| takes.are_asked_of(stream));
    let kinds = Kind::DETECTED.into_iter().filter(|kind| takes.take(*kind));
    let kinds: Vec<Kind> = kinds.collect();
    let asked: Vec<(StreamName, Kind)> =
        streams.flat_map(|stream| kinds.iter().map(move |kind| (stream.clone(), *kind))).collect();
    let takes_one = |route: &Route, (stream, kind): &(StreamName, Kind)| {
        route.takes.are_asked_of(stream) && route.takes.take(*kind)
    };
    if let Some(one) = covering.iter().find(|route| asked.iter().all(|it| takes_one(route, it))) {
        return Some(vec![one]);
    }
    let mut takers: Vec<&Route> = Vec::new();
    for one in &asked {
        let taker = covering.iter().find(|route| takes_one(route, one))?;
        if !takers.iter().any(|known| known.name == taker.name) {
            takers.push(taker);
        }
    }
    Some(takers)
}

fn take(takers: &[&Route]) -> String {
    let names: Vec<&str> = takers.iter().map(|route| route.name.as_str()).collect();
    match names.as_slice() {
        [one] => format!("route `{one}` before it takes"),
        many => format!("routes `{}` before it take", many.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// What a file with these routes, and a last one for the rest, is answered with.
    fn answer(routes: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mut text =
            "[stream.a]\n[stream.b]\n[state.sqlite]\npath = '/nowhere/s.db'\n".to_owned();
        for (name, takes) in routes.iter().chain(&[("rest", "")]) {
            text += &format!("[[route]]\nname = '{name}'\n{takes}\ndiscard = true\n");
        }
        let config = Config::parse("logweir.toml", &text, |_| None);
        config.map(|config| config.warnings).map_err(|problem| problem.to_string())
    }

    /// Asserts that the second of two routes is refused because of the first, or is not.
    fn assert_covers(first: &str, second: &str, expected: bool) {
        let error = answer(&[("one", first), ("two", second)]).err();
        assert_eq!(error.is_some(), expected, "{first} before {second}: {error:?}");
        if let Some(error) = error {
            for says in ["`two` would never", ": route `one` before it takes", "Move `two` up"] {
                assert!(error.contains(says), "{error} lacks {says}");
            }
        }
    }

    #[test]
    fn a_route_that_one_before_it_leaves_nothing_for_is_refused() {
        let account = "account = '111122223333'";
        for (first, second) in [
            ("", "kind = 'json'"),
            (account, "account = '111122223333'\nlog_group = '/vpc/*'"),
            ("account = ['111122223333', '444455556666']", account),
            ("kind = ['json', 'plain']", "kind = 'plain'"),
            ("stream = 'a'", "stream = 'a'\nlog_stream = 'x'"),
            ("stream = ['b', 'a']", "log_group = '/vpc/*'"),
            ("kind = ['cloudtrail', 'vpc_flow', 'json', 'plain']", account),
            ("log_group = ['/app/*', '/vpc/*']", "log_group = ['/vpc/a*', '/app/x']"),
            ("log_group = '*'", "log_group = 'a?c*'"),
            ("log_group = 'a?c'", "log_group = 'a?c'"),
            ("log_group = 'a?*'", "log_group = 'ab?'"),
        ] {
            assert_covers(first, second, true);
        }
    }

    #[test]
    fn a_route_that_anything_is_left_for_is_taken() {
        let account = "account = '111122223333'";
        for (first, second) in [
            ("kind = 'json'", account),
            (account, "kind = 'json'"),
            (account, "account = ['111122223333', '444455556666']"),
            ("stream = 'a'", "stream = ['a', 'b']"),
            ("kind = 'json'", "kind = ['json', 'plain']"),
            ("log_group = '/vpc/a*'", "log_group = '/vpc/*'"),
            ("log_group = '/vpc/*'", "log_group = ['/vpc/a', '/app/a']"),
            ("log_group = '/vpc/*'", "log_stream = '/vpc/*'"),
            // `a` itself.
            ("log_group = 'a?*'", "log_group = 'a*'"),
        ] {
            assert_covers(first, second, false);
        }
    }

    #[test]
    fn routes_that_together_leave_nothing_are_all_named() {
        let by_kind = [("some", "kind = ['json', 'plain']"), ("trail", "kind = 'cloudtrail'")];
        let flow = ("flow", "kind = 'vpc_flow'");
        let app = ("app", "log_group = '/app/*'");
        let error = answer(&[by_kind[0], by_kind[1], flow, app]).unwrap_err();
        assert!(error.contains("routes `trail`, `flow`, `some` before it take"), "{error}");
        assert!(error.starts_with("logweir.toml:17:1: route `app` would never"), "{error}");
        answer(&[by_kind[0], by_kind[1], app]).unwrap();
        let error = answer(&[("a", "stream = 'a'"), ("b", "stream = 'b'"), app]).unwrap_err();
        assert!(error.contains("routes `a`, `b` before it take"), "{error}");
        // Neither alone, nor both: one asks for more.
        answer(&[("a", "stream = 'a'"), ("b", "stream = 'b'\nkind = 'json'"), app]).unwrap();
    }

    #[test]
    fn a_last_route_that_only_something_new_would_get_to_is_a_warning() {
        let warnings = answer(&[("a", "stream = 'a'"), ("b", "stream = 'b'")]).unwrap();
        let says = "nothing is left for route `rest`: routes `a`, `b` before it take every event";
        assert!(warnings.len() == 1 && warnings[0].contains(says), "{warnings:?}");
        assert_eq!(answer(&[("a", "stream = 'a'")]), Ok(vec![]));
    }
}

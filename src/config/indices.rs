//! Checks that routes which may write into one index can: it has one type for each field, and is not
//! deleted while they do.

use crate::destination::opensearch::config::Templates;
use crate::destination::opensearch::plan::conflicts;
use crate::destination::opensearch::target::{Target, mixed, targets};
use crate::event::{DestinationId, DestinationName};
use crate::route::RouteTable;
use crate::units::Period;

use super::problem::Locator;
use super::{DestinationConfig, Problem};

/// Refuses routes that would wait for ever for their index template, and warns of those that spoil
/// it for others, or have documents deleted that have just come. `starts` says where routes begin.
/// Templates of your own are your business.
pub(super) fn check(
    routes: &RouteTable,
    starts: &[usize],
    destinations: &[(DestinationName, DestinationConfig)],
    at: &Locator<'_>,
) -> Result<Vec<String>, Problem> {
    let mut warnings = Vec::new();
    for (id, (name, config)) in (0..).map(DestinationId).zip(destinations) {
        let DestinationConfig::OpenSearch(config) = config else { continue };
        if config.templates == Templates::Manual {
            continue;
        }
        let targets = targets(routes, id);
        if let Some(conflict) = conflicts(&targets).first() {
            let route = conflict.routes.first().and_then(|id| starts.get(usize::from(id.0)));
            let text = format!("destination `{}`: {}", name.as_str(), conflict.error);
            return Err(route.map_or_else(|| at.whole(&*text), |start| at.problem(*start, &*text)));
        }
        let keep = config.index.keep;
        warnings.extend(targets.iter().filter_map(|target| {
            recurring(target, keep?, name).or_else(|| short_lived(target, keep?, name))
        }));
        warnings.extend(mixed(&targets).into_iter().map(|(free, typed)| {
            format!(
                "destination `{}`: routes `{}` (`{}`) and `{}` (`{}`) may share an index, and the \
                 first leaves the types of its fields to the engine, which may then refuse \
                 documents of either: give one of them an index that begins otherwise",
                name.as_str(),
                free.name,
                free.index,
                typed.name,
                typed.index
            )
        }));
    }
    Ok(warnings)
}

fn recurring(target: &Target, keep: Period, destination: &DestinationName) -> Option<String> {
    let (again, parts) = target.index.recurs()?;
    Some(format!(
        "destination `{}`: `keep = \"{keep}\"` lets the engine delete indices by the age of their \
         first document, and one of route `{}` (`{}`) is written again every {again}: what has just \
         come goes with it. Name an index of its own for each {again}, with {parts} in its name",
        destination.as_str(),
        target.name,
        target.index,
    ))
}

fn short_lived(target: &Target, keep: Period, destination: &DestinationName) -> Option<String> {
    let span = target.index.span().filter(|span| keep < *span)?;
    Some(format!(
        "destination `{}`: `keep = \"{keep}\"` lets the engine delete indices of route `{}` (`{}`) \
         while they are written, for one takes the events of {span}, and those that have just come \
         go with it: write {span} or more, or name an index for each day (%Y, %m and %d)",
        destination.as_str(),
        target.name,
        target.index,
    ))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// What a file with these routes to one destination is answered with.
    fn answer(routes: &[(&str, &str)], templates: &str) -> Result<Vec<String>, String> {
        answer_with(routes, &format!("templates = '{templates}'"))
    }

    /// The same, for a destination with these settings.
    fn answer_with(routes: &[(&str, &str)], settings: &str) -> Result<Vec<String>, String> {
        let mut text = format!(
            "[stream.a]\n[state.sqlite]\npath = '/nowhere/s.db'\n\
             [destination.s.opensearch]\nurl = 'https://s'\n{settings}\n"
        );
        for (n, (parse, index)) in routes.iter().enumerate() {
            let is_last = n + 1 == routes.len();
            let takes = if is_last { String::new() } else { format!("log_group = '/{n}'") };
            text += &format!(
                "[[route]]\nname = 'r{n}'\n{takes}\nparse{parse}\nindex = '{index}'\nto = ['s']\n"
            );
        }
        let config = Config::parse("logweir.toml", &text, |_| None);
        config.map(|config| config.warnings).map_err(|problem| problem.to_string())
    }

    const FLOW: &str = " = 'vpc_flow'";
    const LIFT: &str = ".json = { lift = ['srcaddr'] }";
    const FREE: &str = ".json = { own_fields = true }";

    #[test]
    fn routes_that_type_a_field_differently_in_one_index_are_refused() {
        let routes = [(FLOW, "logs-%Y"), (LIFT, "logs-%Y.%m")];
        let error = answer(&routes, "install").unwrap_err();
        assert!(
            error.starts_with("logweir.toml:13:1: destination `s`: routes `r0` and"),
            "{error}"
        );
        assert!(error.contains("`logs*` but not the type of `srcaddr`"), "{error}");
        let placed = [(FLOW, "logs-flow-%Y"), (LIFT, "logs-{log_group}")];
        assert!(answer(&placed, "install").unwrap_err().contains("`logs-flow*`"));
        let narrower = [(FLOW, "logs-%Y"), (LIFT, "logs-json-%Y")];
        assert_eq!(answer(&narrower, "install"), Ok(vec![]));
        assert_eq!(answer(&routes, "manual"), Ok(vec![]));
    }

    #[test]
    fn an_index_that_is_deleted_while_it_is_written_is_told() {
        let told =
            |index, keep: &str| answer_with(&[(FLOW, index)], &format!("keep = '{keep}'")).unwrap();
        for (index, keep, span) in [
            (
                "flow-%Y.%m.%d",
                "23h",
                "`flow-%Y.%m.%d`) while they are written, for one takes the events of 1d",
            ),
            ("flow-%Y.%m", "30d", "31d"),
            ("flow-{account}-%Y", "365d", "366d"),
        ] {
            let warnings = told(index, keep);
            assert!(warnings.len() == 1 && warnings[0].contains(span), "{warnings:?}");
            assert!(warnings[0].contains(&format!("`keep = \"{keep}\"`")), "{warnings:?}");
        }
        for (index, keep) in [("flow-%Y.%m.%d", "1d"), ("flow-%Y.%m", "31d"), ("flow", "2h")] {
            assert_eq!(told(index, keep), Vec::<String>::new(), "{index} {keep}");
        }
    }

    #[test]
    fn an_index_that_is_written_again_after_its_time_is_told() {
        let told = |index, settings| answer_with(&[(FLOW, index)], settings).unwrap();
        for (index, again, parts) in [
            ("flow-%d", "month", "with %Y and %m in its name"),
            ("flow-%Y-%d", "month", "with %m in its name"),
            ("flow-%m", "year", "with %Y in its name"),
            ("flow-{account}-%m.%d", "year", "with %Y in its name"),
        ] {
            let warnings = told(index, "keep = '90d'");
            assert!(warnings.len() == 1 && warnings[0].contains(parts), "{warnings:?}");
            let says = format!("(`{index}`) is written again every {again}");
            assert!(warnings[0].contains(&says), "{warnings:?}");
            assert_eq!(told(index, ""), Vec::<String>::new(), "{index}");
        }
        for index in ["flow-%Y", "flow-%Y.%m", "flow-%d.%m.%Y", "flow"] {
            assert_eq!(told(index, "keep = '400d'"), Vec::<String>::new(), "{index}");
        }
    }

    #[test]
    fn routes_whose_documents_get_along_may_share_an_index() {
        let kinds = ["cloudtrail", "vpc_flow", "json", "plain", "auto"];
        let parse = kinds.map(|kind| format!(" = '{kind}'"));
        let routes = parse.each_ref().map(|parse| (parse.as_str(), "logs-%Y"));
        assert_eq!(answer(&routes, "install"), Ok(vec![]));
        assert_eq!(answer(&[(FREE, "logs-%Y"), (" = 'lambda'", "logs-%Y")], "install"), Ok(vec![]));
    }

    #[test]
    fn a_route_that_leaves_types_to_the_engine_in_an_index_of_others_is_told() {
        for (free, free_index, index) in [
            (FREE, "logs-%Y", "logs-%Y"),
            (" = 'lambda'", "logs-%Y", "logs-%Y"),
            (FREE, "logs-{account}", "logs-flow-%Y"),
        ] {
            for routes in [[(free, free_index), (FLOW, index)], [(FLOW, index), (free, free_index)]]
            {
                let warnings = answer(&routes, "install").unwrap();
                assert!(
                    warnings.len() == 1 && warnings[0].contains("share an index"),
                    "{warnings:?}"
                );
            }
        }
        assert_eq!(answer(&[(FREE, "free-%Y"), (FLOW, "logs-%Y")], "install"), Ok(vec![]));
    }
}

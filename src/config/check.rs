//! Checks what no stage can check alone: what must be there, and what must fit together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize as _;
use serde::de::{self, Deserializer};
use toml::Spanned;

use crate::dead_letter::DeadLettersConfig;
use crate::event::{DestinationName, StreamName, Timestamp};
use crate::kinesis::{Start, StreamConfig};
use crate::parse::Parser;
use crate::route::{Route, RouteTable, Way};
use crate::telemetry::log;
use crate::units::{ByteSize, Period};

use super::problem::Locator;
use super::reach::idle_last;
use super::route::{Known, routes};
use super::{Config, DestinationConfig, File, HttpConfig, Problem, ShutdownConfig};
use super::{files, indices, names};

/// A page of 10 MiB takes some 24 MiB while it is parsed, and may take half of what replays of dead
/// letters leave of the budget.
const LEAST_FETCH: usize = 56 << 20;

/// Two bodies of the usual size: less would alternate between filling and sending.
const LEAST_BODY: usize = 10 << 20;

/// Far beyond what any number of shards could fill: who writes more means another unit.
const MOST_MEMORY: ByteSize = ByteSize(1 << 40);

/// Who waits longer for a drain has more likely written another unit than was meant.
const LONGEST_DEADLINE: Period = Period(Duration::from_secs(600));

/// Until then no alert on dead letters has fired.
const SHORTEST_AGE: Period = Period(Duration::from_secs(3600));

pub(super) fn check(file: File, at: &Locator<'_>) -> Result<Config, Problem> {
    let mut warnings = Vec::new();
    let streams = streams(file.stream, at)?;
    warnings.extend(unread(&streams));
    let Some(state) = file.state else {
        let text = "there is no state file to keep checkpoints in: add a table `[state.sqlite]` with \
                    `path = \"/var/lib/logweir/state.db\"`";
        return Err(at.whole(text));
    };
    let written = file.destination.iter().map(|(name, config)| (name.as_str(), config));
    for (name, config) in written.clone() {
        if let Some(text) = names::wrong("destination", name) {
            return Err(at.problem(config.span().start, text));
        }
    }
    warnings.extend(files::check(&state.sqlite.path, written, at)?);
    let destinations: Vec<(DestinationName, DestinationConfig)> = file
        .destination
        .into_iter()
        .map(|(name, config)| (DestinationName::new(&name), config.into_inner()))
        .collect();
    let names: Vec<&str> = destinations.iter().map(|(name, _)| name.as_str()).collect();
    let known: Vec<&str> = streams.iter().map(|(name, _)| name.as_str()).collect();
    let (routes, starts) =
        routes(file.route, &Known { streams: &known, destinations: &names }, at)?;
    for (n, name) in names.iter().enumerate() {
        if !is_used(&routes, n) {
            warnings.push(format!("no route leads to destination `{name}`"));
        }
    }
    warnings.extend(idle_last(&routes, &known));
    warnings.extend(trusting(&routes));
    warnings.extend(indices::check(&routes, &starts, &destinations, at)?);
    for (name, config) in &destinations {
        if let DestinationConfig::OpenSearch(config) = config {
            let prefixed = |text| format!("destination `{}`: {text}", name.as_str());
            warnings.extend(config.warnings().into_iter().map(prefixed));
        }
    }
    warnings.extend(unusual(&file.http, &file.shutdown));
    warnings.extend(short_lived(&file.dead_letters));
    Ok(Config {
        streams,
        state: state.sqlite,
        routes,
        destinations,
        http: file.http,
        log: file.log,
        memory: file.memory,
        shutdown: file.shutdown,
        dead_letters: file.dead_letters,
        warnings,
        digest: String::new(),
    })
}

/// The streams, none of them twice.
fn streams(
    written: BTreeMap<String, Spanned<StreamConfig>>,
    at: &Locator<'_>,
) -> Result<Vec<(StreamName, StreamConfig)>, Problem> {
    let mut streams: Vec<(StreamName, StreamConfig)> = Vec::new();
    for (name, stream) in written {
        let start = stream.span().start;
        if let Some(text) = names::wrong("stream", &name) {
            return Err(at.problem(start, text));
        }
        let name = StreamName::new(&name);
        if let Some(conflict) = stream.get_ref().conflict(&name) {
            return Err(at.problem(start, format!("stream `{name}`: {conflict}")));
        }
        let is_same = |(own, config): &&(StreamName, StreamConfig)| {
            config.is_same_stream(own, (&name, stream.get_ref()))
        };
        if let Some((same, _)) = streams.iter().find(is_same) {
            let text = format!(
                "stream `{name}` is stream `{same}` by another name, and would be read twice: leave one \
                 out, or tell them apart by `stream_name`, `region` or `assume_role`"
            );
            return Err(at.problem(start, text));
        }
        streams.push((name, stream.into_inner()));
    }
    if streams.is_empty() {
        return Err(at.whole("there is no stream to read: add a table `[stream.NAME]`"));
    }
    Ok(streams)
}

/// Streams that would be read from a time on that has not come yet.
fn unread(streams: &[(StreamName, StreamConfig)]) -> Vec<String> {
    let now = Timestamp::now();
    let future = |(name, config): &(StreamName, StreamConfig)| match config.start {
        Start::At(time) if time > now => Some(format!(
            "stream `{name}`: `start = \"{time}\"` is in the future (it is {now}), and unless it was read \
             before, nothing is read until then: write an earlier one, or \"latest\""
        )),
        Start::At(_) | Start::TrimHorizon | Start::Latest => None,
    };
    streams.iter().filter_map(future).collect()
}

/// Settings that are legal, and rarely what was meant.
fn unusual(http: &HttpConfig, shutdown: &ShutdownConfig) -> Vec<String> {
    let (listen, deadline) = (http.listen, shutdown.deadline);
    let open = format!("`http.listen = \"{listen}\"` shows status and metrics to the network");
    let long = format!(
        "`shutdown.deadline = \"{deadline}\"` is longer than anybody waits: systemd kills after \
         `TimeoutStopSec`, ECS after `stopTimeout`, 2m at most. Raise that too, or write less"
    );
    let found = [(!listen.ip().is_loopback(), open), (deadline > LONGEST_DEADLINE, long)];
    found.into_iter().filter_map(|(is_so, text)| is_so.then_some(text)).collect()
}

/// A limit that nobody can keep up with who reads dead letters.
fn short_lived(limits: &DeadLettersConfig) -> Option<String> {
    let age = limits.max_age.filter(|age| *age < SHORTEST_AGE)?;
    Some(format!(
        "`dead_letters.max_age = \"{age}\"` deletes dead letters before anybody has seen them"
    ))
}

/// Reads `memory.fetch`.
pub(super) fn fetch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    budget(ByteSize(LEAST_FETCH), deserializer)
}

/// Reads `memory.body`.
pub(super) fn body<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    budget(ByteSize(LEAST_BODY), deserializer)
}

fn budget<'de, D: Deserializer<'de>>(
    least: ByteSize,
    deserializer: D,
) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    if size < least {
        let text = format!("{size} are too little to work with: give it {least} or more");
        return Err(de::Error::custom(text));
    }
    if size > MOST_MEMORY {
        let text = format!("{size} are more than can be meant: give it {MOST_MEMORY} or less");
        return Err(de::Error::custom(text));
    }
    Ok(size)
}

/// Reads `shutdown.deadline`.
pub(super) fn deadline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
    let deadline = Period::deserialize(deserializer)?;
    if deadline.0.is_zero() {
        let text = "no time is left to deliver what was read, and every start would read it again: \
                    write some, such as \"25s\"";
        return Err(de::Error::custom(text));
    }
    Ok(deadline)
}

/// Reads `log.level`.
pub(super) fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let level = String::deserialize(deserializer)?;
    log::check(&level).map_err(de::Error::custom)?;
    Ok(level)
}

/// Routes that take an event's own word for being of CloudTrail, and for its id.
fn trusting(routes: &RouteTable) -> Vec<String> {
    let trusts = |route: &Route| {
        let takes = &route.takes;
        let is_cloudtrail =
            matches!(&route.way, Way::Send { parser, .. } if matches!(parser, Parser::CloudTrail));
        is_cloudtrail && !takes.kinds.is_empty() && takes.log_groups.matches_all()
    };
    let trusting = routes.iter().map(|(_, route)| route).filter(|route| trusts(route));
    let warning = |route: &Route| {
        format!(
            "route `{}`: with `kind` and without `log_group`, `parse = \"cloudtrail\"` takes the id \
             of a document from any log line that looks like CloudTrail's, and one could hide \
             another: write `parse = \"auto\"`, or add the trail's `log_group`",
            route.name
        )
    };
    trusting.map(warning).collect()
}

fn is_used(routes: &RouteTable, destination: usize) -> bool {
    routes.iter().any(|(_, route)| match &route.way {
        Way::Discard => false,
        Way::Send { to, .. } => to.iter().any(|id| usize::from(id.0) == destination),
    })
}

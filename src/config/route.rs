//! `[[route]]` as it is written, and what becomes of it: routes that leave no event without a fate.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use crate::event::{DestinationId, RouteName, StreamName};
use crate::parse::{Kind, Parser};
use crate::route::{Conditions, IndexTemplate, Patterns, Route, RouteTable, Way};

use super::Problem;
use super::names;
use super::problem::{Locator, closest};
use super::reach::unreachable;

/// A `[[route]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteConfig {
    name: Spanned<String>,
    stream: Option<Spanned<Listed<Stream>>>,
    #[serde(default)]
    account: Listed<Account>,
    #[serde(default)]
    log_group: Listed<Pattern>,
    #[serde(default)]
    log_stream: Listed<Pattern>,
    kind: Option<Spanned<Listed<Kind>>>,
    parse: Option<Parser>,
    #[serde(default)]
    to: Vec<Spanned<String>>,
    index: Option<IndexTemplate>,
    #[serde(default)]
    discard: bool,
}

/// One term of a condition or a list of them, which is never empty where it is written.
#[derive(Debug)]
struct Listed<T>(Vec<T>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// What a condition lists.
trait Term: Sized {
    /// What to write, for who wrote something else.
    const EXPECTED: &'static str;

    /// Reads one; else what is wrong with it, and what to do.
    fn read(text: &str) -> Result<Self, String>;
}

/// A name with `*` and `?`.
#[derive(Debug)]
struct Pattern(String);

impl Term for Pattern {
    const EXPECTED: &'static str = "a pattern such as \"/vpc/*\", or a list of them";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty pattern matches no name: leave it out".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// The number of an AWS account.
#[derive(Debug)]
struct Account(String);

impl Term for Account {
    const EXPECTED: &'static str =
        "the 12 digits of an account in quotes, such as \"111122223333\", or a list of them";

    fn read(text: &str) -> Result<Self, String> {
        if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("`{text}` is no AWS account: write its 12 digits"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name of a `[stream.NAME]`.
#[derive(Debug)]
struct Stream(String);

impl Term for Stream {
    const EXPECTED: &'static str = "the name of a stream, or a list of them";

    fn read(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

impl Term for Kind {
    const EXPECTED: &'static str = "a kind of event such as \"json\", or a list of them";

    fn read(text: &str) -> Result<Self, String> {
        let names = Self::DETECTED.map(Self::as_str);
        let found = Self::DETECTED.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| {
            let hint = closest(text, names.into_iter());
            let hint = hint.map_or_else(|| ".".into(), |best| format!(", did you mean `{best}`?"));
            format!("unknown kind `{text}`{hint} There are: {}", names.join(", "))
        })
    }
}

impl<'de, T: Term> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListedVisitor(PhantomData))
    }
}

struct ListedVisitor<T>(PhantomData<T>);

impl<'de, T: Term> Visitor<'de> for ListedVisitor<T> {
    type Value = Listed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Listed<T>, E> {
        Ok(Listed(vec![T::read(text).map_err(E::custom)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed<T>, A::Error> {
        let mut terms = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            terms.push(T::read(&text).map_err(de::Error::custom)?);
        }
        if terms.is_empty() {
            let text = "an empty list takes no event: leave the key out to take all, or fill it in";
            return Err(de::Error::custom(text));
        }
        Ok(Listed(terms))
    }
}

/// What routes may name.
pub(super) struct Known<'a> {
    pub(super) streams: &'a [&'a str],
    pub(super) destinations: &'a [&'a str],
}

/// The routes, and where each begins.
pub(super) fn routes(
    configs: Vec<Spanned<RouteConfig>>,
    known: &Known<'_>,
    at: &Locator<'_>,
) -> Result<(RouteTable, Vec<usize>), Problem> {
    let mut seen = BTreeSet::new();
    let mut routes: Vec<Route> = Vec::new();
    let mut starts = Vec::new();
    for config in configs {
        let start = config.span().start;
        let config = config.into_inner();
        let name = config.name.get_ref().clone();
        if let Some(text) = names::wrong("route", &name) {
            return Err(at.value(config.name.span().start, &text));
        }
        if !seen.insert(name.clone()) {
            let text = format!("a second route is called `{name}`: give it a name of its own");
            return Err(at.problem(config.name.span().start, text));
        }
        let route = route(config, known, (at, start))?;
        if let Some(text) = unreachable(&route, &routes, known.streams) {
            return Err(at.problem(start, text));
        }
        routes.push(route);
        starts.push(start);
    }
    let Some(&last) = starts.last() else {
        return Err(at.whole("there is no route: add a table `[[route]]`"));
    };
    let conditions = routes.last().map(|last| last.takes.names().collect::<Vec<_>>());
    let routes = RouteTable::new(routes).ok_or_else(|| {
        let conditions = conditions.unwrap_or_default().join("` and `");
        let text = format!(
            "events that no route takes would have no fate: let the last route take everything \
             (leave `{conditions}` out), with `to` or with `discard = true`"
        );
        at.problem(last, text)
    })?;
    Ok((routes, starts))
}

fn route(
    config: RouteConfig,
    known: &Known<'_>,
    (at, start): (&Locator<'_>, usize),
) -> Result<Route, Problem> {
    let name = config.name.into_inner();
    let wrong = |text: &str| at.problem(start, format!("route `{name}`: {text}"));
    let takes = Conditions {
        streams: streams(config.stream, known, at)?,
        accounts: config.account.0.into_iter().map(|account| account.0).collect(),
        log_groups: patterns(&config.log_group),
        log_streams: patterns(&config.log_stream),
        kinds: config.kind.as_ref().map_or_else(Vec::new, |kind| kind.get_ref().0.clone()),
    };
    let way = if config.discard {
        if !config.to.is_empty() || config.parse.is_some() || config.index.is_some() {
            return Err(wrong(
                "`discard = true` leaves nothing for `to`, `parse` or `index` to do: leave them out",
            ));
        }
        Way::Discard
    } else {
        if config.to.is_empty() {
            return Err(wrong("it leads nowhere: add `to = [\"NAME\"]`, or `discard = true`"));
        }
        let index = config.index.ok_or_else(|| {
            wrong("add the index that its documents go to, such as `index = \"logs-%Y.%m.%d\"`")
        })?;
        let parser = config
            .parse
            .ok_or_else(|| wrong("add how its messages are read, such as `parse = \"auto\"`"))?;
        if let (Some(kind), Some(text)) = (&config.kind, misfit(&parser, &takes.kinds)) {
            return Err(at.value(kind.span().start, &format!("route `{name}`: {text}")));
        }
        Way::Send { parser, to: resolve(&config.to, known.destinations, at)?, index }
    };
    Ok(Route { name: RouteName::new(&name), takes, way })
}

/// What is wrong with reading events of these kinds so: of one of them nothing could ever be read.
fn misfit(parser: &Parser, kinds: &[Kind]) -> Option<String> {
    let (name, readable) = match parser {
        // `auto` calls an object CloudTrail's only if it can be nothing else.
        Parser::CloudTrail => (Kind::CloudTrail, [Kind::CloudTrail, Kind::Json]),
        Parser::Json(_) => (Kind::Json, [Kind::CloudTrail, Kind::Json]),
        // `auto` knows no format but AWS's: a line of another is text to it.
        Parser::VpcFlow(_) => (Kind::VpcFlow, [Kind::VpcFlow, Kind::Plain]),
        Parser::Plain | Parser::Lambda | Parser::Auto(_) => return None,
    };
    let unreadable = kinds.iter().find(|kind| !readable.contains(kind))?.as_str();
    let (name, [one, other]) = (name.as_str(), readable.map(Kind::as_str));
    Some(format!(
        "`kind` lets in `{unreadable}`, and `parse` as `{name}` can read none of it, only `{one}` and \
         `{other}`: change one of the two, such as to `parse = \"auto\"`"
    ))
}

fn patterns(listed: &Listed<Pattern>) -> Patterns {
    Patterns::new(listed.0.iter().map(|pattern| pattern.0.as_str()))
}

fn streams(
    listed: Option<Spanned<Listed<Stream>>>,
    known: &Known<'_>,
    at: &Locator<'_>,
) -> Result<Vec<StreamName>, Problem> {
    let Some(listed) = listed else { return Ok(Vec::new()) };
    let start = listed.span().start;
    let mut streams = Vec::new();
    for Stream(name) in listed.into_inner().0 {
        if !known.streams.contains(&name.as_str()) {
            return Err(at.value(start, &no_stream(&name, known.streams)));
        }
        streams.push(StreamName::new(&name));
    }
    Ok(streams)
}

fn no_stream(name: &str, streams: &[&str]) -> String {
    let names = streams.join("`, `");
    if name.contains(['*', '?']) {
        return format!(
            "`{name}` is a pattern, and a stream is asked for by its name: write one of `{names}`, \
             or a list of them"
        );
    }
    let hint = closest(name, streams.iter().copied());
    let hint = hint.map_or_else(String::new, |best| format!("; did you mean `{best}`?"));
    format!("there is no stream `{name}`, only `{names}`{hint}")
}

fn resolve(
    names: &[Spanned<String>],
    destinations: &[&str],
    at: &Locator<'_>,
) -> Result<Vec<DestinationId>, Problem> {
    let mut to = Vec::new();
    for name in names {
        let (start, name) = (name.span().start, name.get_ref());
        let place = destinations.iter().position(|known| known == name);
        let id = place.and_then(|place| u16::try_from(place).ok()).map(DestinationId);
        let Some(id) = id else {
            let hint = match closest(name, destinations.iter().copied()) {
                Some(best) => format!("did you mean `{best}`?"),
                None => format!("add a table `[destination.{name}.opensearch]`"),
            };
            return Err(at.value(start, &format!("there is no destination `{name}`; {hint}")));
        };
        if to.contains(&id) {
            let text = format!("destination `{name}` is listed twice: name it once");
            return Err(at.value(start, &text));
        }
        to.push(id);
    }
    Ok(to)
}

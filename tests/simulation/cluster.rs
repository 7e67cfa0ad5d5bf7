//! Two search engines that read the real `_bulk` text, answer real JSON, and fail in many ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use logweir::destination::opensearch::request::{CallError, Carry, Reply, Transport};
use reqwest::Method;
use url::Url;

use crate::history::{Fault, labels};
use crate::world::{Shared, World};

/// Larger bodies are answered 413 while that fault lasts; a long document alone is larger.
const LIMIT: usize = 1_500;

labels! {
    /// What is said of an item.
    Said {
        Created = "item: 201",
        Exists = "item: 409",
        Busy = "item: 429, busy",
        CircuitBreaker = "item: 429, circuit breaker",
        Pressure = "item: 429, never admitted",
        Flood = "item: 429, flood stage",
        Unavailable = "item: 503",
        Poison = "item: 500",
        WriteBlock = "item: 403, write block",
        Closed = "item: 400, index closed",
        ShardLimit = "item: 400, shard limit",
        Mapping = "item: 400, mapping",
        TooManyFields = "item: 400, too many fields",
        ImmenseTerm = "item: 400, immense term",
        Refused = "item: 400, unknown",
    }
}

impl Said {
    /// What an engine answers.
    fn item(self, index: &str) -> String {
        let (status, kind, reason) = match self {
            Self::Created => return r#"{"create":{"status":201}}"#.to_owned(),
            Self::Exists => (409, "version_conflict_engine_exception", "document already exists"),
            Self::Busy => (429, "es_rejected_execution_exception", "rejected execution"),
            Self::CircuitBreaker => (429, "circuit_breaking_exception", "data too large"),
            Self::Pressure => (
                429,
                "rejected_execution_exception",
                "operation_bytes=2000, max_coordinating_and_primary_bytes=1000",
            ),
            Self::Flood => (
                429,
                "cluster_block_exception",
                "blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark];",
            ),
            Self::Unavailable => {
                (503, "unavailable_shards_exception", "primary shard is not active")
            }
            Self::Poison => (500, "null_pointer_exception", "because of it"),
            Self::WriteBlock => {
                (403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)];")
            }
            Self::Closed => (400, "index_closed_exception", "closed"),
            Self::ShardLimit => (
                400,
                "validation_exception",
                "Validation Failed: 1: this action would add [2] total shards;",
            ),
            Self::Mapping => (400, "mapper_parsing_exception", "failed to parse field [message]"),
            Self::TooManyFields => {
                (400, "illegal_argument_exception", "Limit of total fields [1000] exceeded")
            }
            Self::ImmenseTerm => {
                (400, "illegal_argument_exception", "Document contains at least one immense term")
            }
            Self::Refused => (400, "some_exception", "no"),
        };
        format!(
            r#"{{"create":{{"_index":"{index}","status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}}}"#
        )
    }
}

#[derive(Default)]
pub(crate) struct Cluster {
    /// Which event is stored under index and id.
    documents: BTreeMap<(String, String), usize>,
    stored: BTreeSet<usize>,
    /// Events that this daemon was told to be there: it has no reason to send them again.
    told: BTreeSet<usize>,
    /// How many items the refused request had that each of these events was in.
    refused: BTreeMap<usize, usize>,
    /// Requests that are carried out after their sender has given up.
    late: Vec<(Duration, Bytes)>,
}

struct Item {
    index: String,
    id: String,
    event: usize,
}

impl Cluster {
    pub(crate) fn has(&self, event: usize) -> bool {
        self.stored.contains(&event)
    }
}

/// What comes back for a request, with the events that it says are there.
struct Answer {
    reply: Result<Reply, CallError>,
    told: Vec<usize>,
}

impl Answer {
    fn nothing(error: CallError) -> Self {
        Self { reply: Err(error), told: Vec::new() }
    }

    fn whole(status: u16, body: &str) -> Self {
        Self { reply: Ok(reply(status, body)), told: Vec::new() }
    }
}

fn between<'t>(text: &'t str, start: &str) -> &'t str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once('"').unwrap().0
}

fn items(body: &[u8]) -> Vec<Item> {
    let text = std::str::from_utf8(body).unwrap();
    let mut lines = text.lines();
    let mut items = Vec::new();
    while let (Some(action), Some(document)) = (lines.next(), lines.next()) {
        assert!(action.starts_with(r#"{"create":"#), "{action}");
        let event = between(document, r#""@id":""#).trim_start_matches('e').parse().unwrap();
        let (index, id) = (between(action, r#""_index":""#), between(action, r#""_id":""#));
        items.push(Item { index: index.to_owned(), id: id.to_owned(), event });
    }
    items
}

impl World {
    /// Whether events may come again that the daemon was told to be there: as letters, which an
    /// earlier daemon may have made of them, or by a lease that somebody has moved.
    fn may_repeat(&self) -> bool {
        self.is_replay_wanted || self.has_lost_lease
    }

    /// Another daemon begins, which was told nothing.
    pub(crate) fn forget_told(&mut self) {
        self.has_lost_lease = false;
        self.clusters.iter_mut().for_each(|cluster| cluster.told.clear());
    }

    /// Carries out one item; what the engine says.
    fn create(&mut self, cluster: usize, item: Item, only_some: bool) -> (Said, String) {
        let Item { index, id, event } = item;
        let said = match self.fault_of(cluster, (&index, event), only_some) {
            Some(said) => said,
            None => self.store(cluster, (index.clone(), id), event),
        };
        self.add(said.as_str(), 1);
        let text = said.item(&index);
        (said, text)
    }

    fn fault_of(
        &mut self,
        cluster: usize,
        (index, event): (&str, usize),
        only_some: bool,
    ) -> Option<Said> {
        // A fault for an index takes one by the first letter of its name.
        let fits =
            |which: usize| index.starts_with(["both", "app", "soc", "other", "both", "soc"][which]);
        let ours = |which: usize| which % 2 == cluster;
        let of_index = [
            (Fault::WriteBlock, Said::WriteBlock),
            (Fault::Flood, Said::Flood),
            (Fault::Closed, Said::Closed),
            (Fault::ShardLimit, Said::ShardLimit),
        ];
        if let Some((_, said)) = of_index.into_iter().find(|(fault, _)| self.hits(*fault, fits)) {
            return Some(said);
        }
        let of_cluster =
            [(Fault::Item429, Said::Busy), (Fault::CircuitBreaker, Said::CircuitBreaker)];
        if let Some((_, said)) = of_cluster.into_iter().find(|(fault, _)| self.hits(*fault, ours)) {
            return Some(said);
        }
        if self.hits(Fault::Pressure, |which| ours(which) && which >= 3) {
            return Some(Said::Pressure);
        }
        if only_some && self.rng.bool() {
            return Some(Said::Unavailable);
        }
        let is_poison = self.stream.events.get(event).is_some_and(|event| event.is_poison);
        (is_poison && self.hits(Fault::Poison, |_| true)).then_some(Said::Poison)
    }

    fn store(&mut self, cluster: usize, place: (String, String), event: usize) -> Said {
        if let Some(there) = self.clusters[cluster].documents.get(&place) {
            if *there != event {
                self.violated(format!("events {there} and {event} are one document {place:?}"));
            }
            return Said::Exists;
        }
        let is_refused = self.stream.events.get(event).is_some_and(|event| event.is_refused);
        if is_refused && !self.is_mended {
            self.add(Fault::Refused.as_str(), 1);
            return match event % 8 {
                0 => Said::TooManyFields,
                1 => Said::ImmenseTerm,
                2 => Said::Refused,
                _ => Said::Mapping,
            };
        }
        if !self.clusters[cluster].stored.insert(event) {
            self.violated(format!("event {event} is twice in cluster {cluster}, now as {place:?}"));
        }
        self.clusters[cluster].documents.insert(place, event);
        Said::Created
    }

    fn carry_out(&mut self, cluster: usize, items: Vec<Item>) -> Vec<(Said, String)> {
        let only_some = self.hits(Fault::Item503, |which| which % 2 == cluster);
        items.into_iter().map(|item| self.create(cluster, item, only_some)).collect()
    }

    pub(crate) fn late_effects(&mut self, now: Duration) {
        for cluster in 0..2 {
            let due = self.clusters[cluster].late.extract_if(.., |(at, _)| *at <= now);
            for (_, body) in due.collect::<Vec<_>>() {
                self.carry_out(cluster, items(&body));
            }
        }
    }

    /// Looks at a request: nobody may send what he was told to be there, and what was refused for
    /// its size or for something in it comes again in parts.
    fn examine(&mut self, cluster: usize, items: &[Item]) {
        let there = &self.clusters[cluster].told;
        let again = items.iter().map(|item| item.event).find(|event| there.contains(event));
        if let Some(event) = again.filter(|_| !self.may_repeat()) {
            self.violated(format!("event {event} is sent again, though told to be there"));
        }
        let refused = &mut self.clusters[cluster].refused;
        let were = items.iter().filter_map(|item| refused.remove(&item.event)).max();
        if were.is_some_and(|were| were > items.len()) {
            self.add("request split", 1);
        }
    }

    /// The fate of a request, and when it is told.
    fn receive(&mut self, cluster: usize, body: &Bytes) -> (Duration, Answer) {
        let ours = |which: usize| which % 2 == cluster;
        let soon = Duration::from_millis(self.rng.u64(5..400));
        let long = Duration::from_secs(30);
        if self.hits(Fault::Lost, ours) {
            return (soon, Answer::nothing(CallError::Connection("reset".into())));
        }
        if self.hits(Fault::Timeout, ours) {
            return (long, Answer::nothing(CallError::Timeout("30 s".into())));
        }
        if self.hits(Fault::TimeoutAfter, ours) {
            let at = self.now() + Duration::from_secs(self.rng.u64(..60));
            self.clusters[cluster].late.push((at, body.clone()));
            return (long, Answer::nothing(CallError::Timeout("30 s".into())));
        }
        let items = items(body);
        self.examine(cluster, &items);
        if let Some(answer) = self.whole(cluster, body.len()) {
            let refused = &mut self.clusters[cluster].refused;
            refused.extend(items.iter().map(|item| (item.event, items.len())));
            return (soon, answer);
        }
        let is_slow = self.hits(Fault::SlowCluster, ours);
        let wait = if is_slow { Duration::from_millis(self.rng.u64(3_000..20_000)) } else { soon };
        (wait, self.bulk(cluster, items))
    }

    /// An answer in one piece.
    fn whole(&mut self, cluster: usize, length: usize) -> Option<Answer> {
        const ALL: [(Fault, u16, &str); 7] = [
            (
                Fault::Whole429,
                429,
                r#"{"error":{"type":"es_rejected_execution_exception","reason":"rejected"},"status":429}"#,
            ),
            (
                Fault::Pressure,
                429,
                r#"{"error":{"type":"rejected_execution_exception","reason":"operation_bytes=2000, max_coordinating_and_primary_bytes=1000"}}"#,
            ),
            (Fault::Whole503, 503, "Service Unavailable"),
            (Fault::Html403, 403, "<html>Forbidden</html>"),
            (
                Fault::Forbidden,
                403,
                r#"{"error":{"type":"security_exception","reason":"no permissions for [indices:data/write/bulk]"}}"#,
            ),
            (Fault::Whole401, 401, "Unauthorized"),
            (Fault::Whole413, 413, r#"{"Message":"Request size exceeded"}"#),
        ];
        let ours = |which: usize| which % 2 == cluster;
        let (_, status, body) = ALL.into_iter().find(|(fault, _, _)| {
            let by_size = matches!(fault, Fault::Whole413 | Fault::Pressure);
            // Half the time it is said of single items.
            let fits = |which| ours(which) && (*fault != Fault::Pressure || which < 3);
            (!by_size || length > LIMIT) && self.hits(*fault, fits)
        })?;
        Some(Answer::whole(status, body))
    }

    fn bulk(&mut self, cluster: usize, items: Vec<Item>) -> Answer {
        let ours = |which: usize| which % 2 == cluster;
        let events: Vec<usize> = items.iter().map(|item| item.event).collect();
        let answers = self.carry_out(cluster, items);
        if self.hits(Fault::LostAfter, ours) {
            return Answer::nothing(CallError::Connection("reset".into()));
        }
        let mut texts: Vec<&str> = answers.iter().map(|(_, text)| text.as_str()).collect();
        if self.hits(Fault::OneTooFew, ours) {
            texts.pop();
        } else if self.hits(Fault::OneTooMany, ours) {
            texts.push(texts[0]);
        }
        let is_whole = texts.len() == events.len();
        let errors = texts.iter().any(|text| text.contains(r#""error":"#));
        let mut text = format!(r#"{{"errors":{errors},"items":[{}]}}"#, texts.join(","));
        if self.hits(Fault::Truncated, ours) {
            text.truncate(text.len() / 2);
            return Answer::whole(200, &text);
        }
        let is_there = |said: Said| matches!(said, Said::Created | Said::Exists);
        let there = events.into_iter().zip(&answers).filter(|(_, (said, _))| is_there(*said));
        let told = there.map(|(event, _)| event).filter(|_| is_whole).collect();
        Answer { reply: Ok(reply(200, &text)), told }
    }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, retry_after: None, body: body.as_bytes().to_vec() }
}

struct Simulated {
    world: Arc<Shared>,
    cluster: usize,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Simulated({})", self.cluster)
    }
}

/// Carries requests to the cluster that the first url names.
pub(crate) fn carry(world: &Arc<Shared>) -> Carry {
    let world = Arc::clone(world);
    Arc::new(move |config| {
        let url = config.urls[0].at("/", None);
        let cluster = usize::from(url.host_str() == Some("soc.example"));
        Ok(Arc::new(Simulated { world: Arc::clone(&world), cluster }))
    })
}

impl Transport for Simulated {
    fn call(
        &self,
        method: Method,
        url: Url,
        content: Option<(&'static str, Bytes)>,
    ) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            let body = content.map(|(_, body)| body).unwrap_or_default();
            let (cluster, to) = (self.cluster, self.cluster as u64);
            if url.path() != "/_bulk" {
                return self.set_up(&method, url.path()).await;
            }
            // On its way there and back: dropped, it has been carried out or not.
            let sent = ("a bulk is sent to cluster", to);
            let way = self.world.step(sent, |world| Duration::from_millis(world.rng.u64(..100)));
            tokio::time::sleep(way.await).await;
            let arrived = ("a bulk arrives at cluster", to);
            let (wait, answer) =
                self.world.step(arrived, |world| world.receive(cluster, &body)).await;
            tokio::time::sleep(wait).await;
            let answered = ("an answer of cluster", to);
            let step = self.world.step(answered, |world| {
                if !world.may_repeat() {
                    world.clusters[cluster].told.extend(answer.told);
                }
                answer.reply
            });
            step.await
        })
    }
}

impl Simulated {
    async fn set_up(&self, method: &Method, path: &str) -> Result<Reply, CallError> {
        let cluster = self.cluster;
        let asked = ("cluster is set up", cluster as u64);
        let fault = |world: &mut World| world.hits(Fault::Whole503, |which| which % 2 == cluster);
        let fault = self.world.step(asked, fault).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(match (fault, path, method.as_str()) {
            (true, _, _) => reply(503, "Service Unavailable"),
            (_, "/", _) => {
                reply(200, r#"{"version":{"number":"2.19.0","distribution":"opensearch"}}"#)
            }
            (_, _, "GET") => reply(404, "{}"),
            _ => reply(200, r#"{"acknowledged":true}"#),
        })
    }
}

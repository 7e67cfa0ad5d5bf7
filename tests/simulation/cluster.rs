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

use crate::history::Fault;
use crate::world::{Shared, World};

/// Larger bodies are answered 413 while that fault lasts; a long document alone is larger.
const LIMIT: usize = 1_500;

pub(crate) struct Cluster {
    name: usize,
    /// Which event is stored under index and id.
    documents: BTreeMap<(String, String), usize>,
    stored: BTreeSet<usize>,
    /// Requests that are carried out after their sender has given up.
    late: Vec<(Duration, Bytes)>,
}

struct Item {
    index: String,
    id: String,
    event: usize,
}

impl Cluster {
    pub(crate) fn new(name: usize) -> Self {
        let (documents, stored) = (BTreeMap::new(), BTreeSet::new());
        Self { name, documents, stored, late: Vec::new() }
    }

    pub(crate) fn has(&self, event: usize) -> bool {
        self.stored.contains(&event)
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

fn error(status: u16, kind: &str, reason: &str) -> String {
    format!(r#"{{"create":{{"status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}}}"#)
}

impl World {
    /// Carries out one item; what the engine says.
    fn create(&mut self, cluster: usize, item: Item, only_some: bool) -> String {
        let Item { index, id, event } = item;
        // A fault for an index takes one by the first letter of its name.
        let fits =
            |which: usize| index.starts_with(["both", "app", "soc", "other", "both", "soc"][which]);
        let block = "cluster_block_exception";
        if self.hits(Fault::WriteBlock, fits) {
            return error(
                403,
                block,
                &format!("index [{index}] blocked by: [FORBIDDEN/8/index write (api)];"),
            );
        }
        if self.hits(Fault::Flood, fits) {
            let text = format!(
                "index [{index}] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark];"
            );
            return error(429, block, &text);
        }
        if self.hits(Fault::Closed, fits) {
            return error(400, "index_closed_exception", "closed");
        }
        if self.hits(Fault::Item429, |which| which % 2 == cluster) {
            return error(429, "es_rejected_execution_exception", "rejected execution");
        }
        if only_some && self.rng.bool() {
            return error(503, "unavailable_shards_exception", "primary shard is not active");
        }
        let (is_refused, is_poison) = self
            .stream
            .events
            .get(event)
            .map_or((false, false), |event| (event.is_refused, event.is_poison));
        if is_poison && self.hits(Fault::Poison, |_| true) {
            return error(500, "null_pointer_exception", "because of it");
        }
        let place = (index, id);
        if let Some(there) = self.clusters[cluster].documents.get(&place) {
            if *there != event {
                self.violated(format!("events {there} and {event} are one document {place:?}"));
            }
            return error(409, "version_conflict_engine_exception", "document already exists");
        }
        if is_refused && !self.is_mended {
            self.count(Fault::Refused);
            return error(400, "mapper_parsing_exception", "failed to parse field [message]");
        }
        if !self.clusters[cluster].stored.insert(event) {
            self.violated(format!("event {event} is twice in cluster {cluster}, now as {place:?}"));
        }
        self.clusters[cluster].documents.insert(place, event);
        r#"{"create":{"status":201}}"#.to_owned()
    }

    fn carry_out(&mut self, cluster: usize, body: &[u8]) -> Vec<String> {
        let only_some = self.hits(Fault::OnlySome, |which| which % 2 == cluster);
        items(body).into_iter().map(|item| self.create(cluster, item, only_some)).collect()
    }

    pub(crate) fn late_effects(&mut self, now: Duration) {
        for cluster in 0..2 {
            let late = std::mem::take(&mut self.clusters[cluster].late);
            for (at, body) in late {
                if at <= now {
                    self.carry_out(cluster, &body);
                } else {
                    self.clusters[cluster].late.push((at, body));
                }
            }
        }
    }

    /// The fate of a request, and when it is told.
    fn receive(&mut self, cluster: usize, body: &Bytes) -> (Duration, Result<Reply, CallError>) {
        let ours = |which: usize| which % 2 == cluster;
        let soon = Duration::from_millis(self.rng.u64(5..400));
        let long = Duration::from_secs(30);
        if self.hits(Fault::Lost, ours) {
            return (soon, Err(CallError::Connection("reset".into())));
        }
        if self.hits(Fault::Timeout, ours) {
            return (long, Err(CallError::Timeout("30 s".into())));
        }
        if self.hits(Fault::TimeoutAfter, ours) {
            let at = self.now() + Duration::from_secs(self.rng.u64(..60));
            self.clusters[cluster].late.push((at, body.clone()));
            return (long, Err(CallError::Timeout("30 s".into())));
        }
        if self.hits(Fault::Whole429, ours) {
            return (
                soon,
                Ok(reply(
                    429,
                    r#"{"error":{"type":"es_rejected_execution_exception","reason":"rejected"},"status":429}"#,
                )),
            );
        }
        if self.hits(Fault::Whole503, ours) {
            return (soon, Ok(reply(503, "Service Unavailable")));
        }
        if self.hits(Fault::Html403, ours) {
            return (soon, Ok(reply(403, "<html>Forbidden</html>")));
        }
        if self.hits(Fault::Whole401, ours) {
            return (soon, Ok(reply(401, "Unauthorized")));
        }
        if body.len() > LIMIT && self.hits(Fault::Whole413, ours) {
            return (soon, Ok(reply(413, r#"{"Message":"Request size exceeded"}"#)));
        }
        let is_slow = self.hits(Fault::SlowCluster, ours);
        let wait = if is_slow { Duration::from_millis(self.rng.u64(3_000..20_000)) } else { soon };
        (wait, self.bulk(cluster, body))
    }

    fn bulk(&mut self, cluster: usize, body: &Bytes) -> Result<Reply, CallError> {
        let ours = |which: usize| which % 2 == cluster;
        let mut answers = self.carry_out(cluster, body);
        if self.hits(Fault::LostAfter, ours) {
            return Err(CallError::Connection("reset".into()));
        }
        if self.hits(Fault::OneTooFew, ours) {
            answers.pop();
        } else if self.hits(Fault::OneTooMany, ours) {
            answers.push(answers[0].clone());
        }
        let mut text = format!(r#"{{"errors":true,"items":[{}]}}"#, answers.join(","));
        if self.hits(Fault::Truncated, ours) {
            text.truncate(text.len() / 2);
        }
        Ok(reply(200, &text))
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
            let (cluster, path) = (self.cluster, url.path().to_owned());
            let what = format!("{method} {path} ({} bytes) to cluster {cluster}", body.len());
            if path != "/_bulk" {
                return self.set_up(&method, &path, what).await;
            }
            // On its way there and back: dropped, it has been carried out or not.
            let way = self.world.step(|| what, |world| Duration::from_millis(world.rng.u64(..100)));
            tokio::time::sleep(way.await).await;
            let arrived = || format!("bulk arrives at cluster {}", self.cluster);
            let (wait, answer) =
                self.world.step(arrived, |world| world.receive(cluster, &body)).await;
            tokio::time::sleep(wait).await;
            self.world.step(|| format!("answer of cluster {cluster}"), |_| answer).await
        })
    }
}

impl Simulated {
    async fn set_up(&self, method: &Method, path: &str, what: String) -> Result<Reply, CallError> {
        let name = self.world.lock().clusters[self.cluster].name;
        let fault = self
            .world
            .step(|| what, |world| world.hits(Fault::Whole503, |which| which % 2 == name));
        let fault = fault.await;
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

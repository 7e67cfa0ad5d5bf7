//! OpenSearch and Elasticsearch: one `_bulk` request per batch, one verdict per item.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::Method;
use url::{Position, Url};

use crate::batch::{Batch, Framing};
use crate::clock::Clock;
use crate::destination::{
    Answer, Destination, Hold, HoldReason, HoldScope, RetryReason, Trouble, Verdict,
};
use crate::telemetry::chain::Chain;

pub mod auth;
pub mod bulk_query;
pub mod config;
pub mod engine;
pub mod gzip;
pub mod nodes;
pub mod plan;
pub mod refresh;
pub mod request;
pub mod response;
pub mod setup;
pub mod target;
pub mod template;
mod tls;
pub mod verdict;

use bulk_query::BulkQuery;
use config::{BuildError, OpenSearchConfig};
use nodes::{NodeId, Nodes};
use request::{CallError, Reply, Transport};
use verdict::{Failure, judge_request};

/// A cluster that takes bulk requests.
#[derive(Debug)]
pub struct OpenSearch {
    config: OpenSearchConfig,
    transport: Arc<dyn Transport>,
    nodes: Mutex<Nodes>,
    bulk_query: BulkQuery,
    clock: Clock,
}

impl OpenSearch {
    /// Reads the files that the configuration names, and connects to nothing yet.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn build(config: OpenSearchConfig, clock: Clock) -> Result<Self, BuildError> {
        let transport = request::by_http()(&config)?;
        Ok(Self::over(config, clock, transport))
    }

    /// A cluster that requests go to by `transport`.
    #[must_use]
    pub fn over(config: OpenSearchConfig, clock: Clock, transport: Arc<dyn Transport>) -> Self {
        let nodes = Mutex::new(Nodes::new(config.urls.len()));
        let bulk_query = BulkQuery::new(config.engine);
        Self { config, transport, nodes, bulk_query, clock }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &OpenSearchConfig {
        &self.config
    }

    /// Nodes that are left out because they do not answer.
    #[must_use]
    pub fn ejected_nodes(&self) -> usize {
        self.with_nodes(|nodes| nodes.ejected())
    }

    fn with_nodes<R>(&self, act: impl FnOnce(&mut Nodes) -> R) -> R {
        act(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends one request to the node whose turn it is.
    async fn call(
        &self,
        method: Method,
        (path, query): (&str, Option<&str>),
        content: Option<(&'static str, Bytes)>,
    ) -> Result<Reply, (String, CallError)> {
        let node = self.with_nodes(|nodes| nodes.pick(self.clock.now()));
        let url = self.url(node, path, query);
        let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
        let result = self.transport.call(method, url, content).await;
        self.with_nodes(|nodes| match &result {
            Ok(_) | Err(CallError::TooLong) => nodes.answered(node),
            Err(CallError::Timeout(_) | CallError::Connection(_)) => {
                nodes.failed(node, self.clock.now());
            }
            // It was asked nothing.
            Err(CallError::Unsigned(_)) => {}
        });
        result.map_err(|error| (host, error))
    }

    /// Sends a bulk request, a second time when it must be asked otherwise.
    async fn bulk(&self, body: Bytes) -> Result<Reply, (String, CallError)> {
        let (asked, query) = self.bulk_query.now();
        let reply = self.post_bulk(query.as_deref(), body.clone()).await?;
        if !self.bulk_query.learn(asked, &reply) {
            return Ok(reply);
        }
        let (_, query) = self.bulk_query.now();
        self.post_bulk(query.as_deref(), body).await
    }

    async fn post_bulk(
        &self,
        query: Option<&str>,
        body: Bytes,
    ) -> Result<Reply, (String, CallError)> {
        self.call(Method::POST, ("/_bulk", query), Some(("application/x-ndjson", body))).await
    }

    #[expect(clippy::indexing_slicing, reason = "`Nodes` counts the urls, which are never empty")]
    fn url(&self, NodeId(node): NodeId, path: &str, query: Option<&str>) -> Url {
        self.config.urls[node].at(path, query)
    }
}

impl Destination for OpenSearch {
    fn framing(&self) -> Framing {
        if self.config.ids { Framing::Bulk } else { Framing::BulkWithoutIds }
    }

    fn deduplicates(&self) -> bool {
        self.config.ids
    }

    async fn send(&self, batch: &mut Batch) -> Answer {
        match self.bulk(batch.body()).await {
            Ok(reply) => read(&reply, batch),
            Err((host, error)) => Answer::Whole(no_answer(&host, &error)),
        }
    }
}

fn read(reply: &Reply, batch: &Batch) -> Answer {
    if (200..=299).contains(&reply.status) {
        if let Some(items) = response::all_created(&reply.body) {
            return Answer::Created(items);
        }
        let indices = batch.items().iter().filter_map(|item| batch.index_of(item));
        return match response::read_items(&reply.body, indices) {
            Ok(verdicts) => alone(verdicts),
            Err(error) => Answer::Whole(Trouble::Retry {
                reason: RetryReason::Unreadable,
                retry_after: reply.retry_after,
                error: format!("status {}, but no bulk answer: {error}", reply.status),
            }),
        };
    }
    let (body, causes) = response::read_failure(&reply.body);
    let index = named_index(&reply.body, batch);
    let failure = Failure { status: reply.status, causes: &causes, index };
    let mut trouble = judge_request(&failure, body);
    if let Trouble::Retry { retry_after, .. } = &mut trouble {
        *retry_after = reply.retry_after;
    }
    Answer::Whole(trouble)
}

/// An item that cannot be admitted together with others may pass alone; the only one of its
/// request will never.
fn alone(verdicts: Vec<Verdict>) -> Answer {
    if let [Verdict::Retry { reason: RetryReason::Oversized, .. }] = *verdicts {
        let error = "more than the engine can ever admit at once".to_owned();
        return Answer::Whole(Trouble::TooLarge { error });
    }
    Answer::Items(verdicts)
}

/// The index of the batch that the answer names, as `[index]` or as `"index":"index"`. A concrete
/// index behind an alias is none of the batch's: holding it would stop nothing.
fn named_index<'b>(body: &[u8], batch: &'b Batch) -> Option<&'b Arc<str>> {
    let text = String::from_utf8_lossy(body);
    let mut tried: Option<&Arc<str>> = None;
    batch.items().iter().filter_map(|item| batch.index_of(item)).find(|index| {
        // Runs of one index are searched for once.
        if tried.replace(index) == Some(index) {
            return false;
        }
        text.contains(&format!("[{index}]")) || text.contains(&format!("\"index\":\"{index}\""))
    })
}

fn no_answer(host: &str, error: &CallError) -> Trouble {
    let text = || format!("{host}: {}", Chain(error));
    let reason = match error {
        CallError::Timeout(_) => RetryReason::Timeout,
        CallError::Connection(_) => RetryReason::Connection,
        CallError::TooLong => RetryReason::Unreadable,
        CallError::Unsigned(_) => {
            let scope = HoldScope::Destination;
            return Trouble::Hold(Hold { scope, reason: HoldReason::Credentials, error: text() });
        }
    };
    Trouble::Retry { reason, retry_after: None, error: text() }
}

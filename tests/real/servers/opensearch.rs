//! A real OpenSearch or Elasticsearch, and the few requests that tests make beside the daemon's own.

use std::sync::Arc;

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{Kind, Server, skip};

/// What can be had.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    /// 3.8, which all tests use that do not ask for another.
    OpenSearch3,
    OpenSearch2,
    Elasticsearch6,
    Elasticsearch7,
    /// With x-pack.
    Elasticsearch8,
}

static SHARED: OnceCell<Option<Arc<Server>>> = OnceCell::const_new();

/// An engine of one node, green or yellow.
pub(crate) struct OpenSearch {
    server: Arc<Server>,
    /// Not shared: a client's connections live in the runtime of the test that made it.
    http: Client,
}

/// What the engine said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Null when the body is not JSON.
    pub(crate) body: Value,
}

impl OpenSearch {
    /// The one that all tests of this binary share; `None` (said loudly) when it cannot be had.
    pub(crate) async fn start() -> Option<Self> {
        let kind = Engine::OpenSearch3.kind();
        let server = SHARED.get_or_init(|| async { Server::start(kind).await.map(Arc::new) });
        Self::of(server.await.clone(), kind).await
    }

    /// One of the caller's own, which ends with what is returned; `None` (said loudly) when it
    /// cannot be had.
    pub(crate) async fn start_own(engine: Engine) -> Option<Self> {
        Self::start_with(engine, &[]).await
    }

    /// The same with more lines in its configuration.
    pub(crate) async fn start_with(
        engine: Engine,
        settings: &'static [&'static str],
    ) -> Option<Self> {
        let kind = Kind { settings, ..engine.kind() };
        Self::of(Server::start(kind).await.map(Arc::new), kind).await
    }

    async fn of(server: Option<Arc<Server>>, kind: Kind) -> Option<Self> {
        let Some(server) = server else {
            skip(kind.name);
            return None;
        };
        let search = Self { server, http: Client::new() };
        let health = search.get("_cluster/health?wait_for_status=yellow&timeout=60s").await;
        assert_eq!(health.status, 200, "the cluster does not become healthy: {health:?}");
        Some(search)
    }

    /// Without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, String::new()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, String::new()).await
    }

    /// Posts lines to `_bulk` with the filter that the daemon uses.
    pub(crate) async fn bulk(&self, lines: &[Value]) -> Answer {
        let body = lines.iter().map(|line| format!("{line}\n")).collect();
        let path = "_bulk?filter_path=errors,items.*.status,items.*.error";
        self.send(Method::POST, path, body).await
    }

    /// Makes everything written so far visible to `count` and `_search`.
    pub(crate) async fn refresh(&self, index: &str) {
        let answer = self.post(&format!("{index}/_refresh"), &Value::Null).await;
        assert_eq!(answer.status, 200, "could not refresh {index}: {answer:?}");
    }

    /// Documents that a search would find.
    pub(crate) async fn count(&self, index: &str) -> u64 {
        let answer = self.get(&format!("{index}/_count")).await;
        answer.body["count"].as_u64().unwrap_or_else(|| panic!("could not count: {answer:?}"))
    }

    /// What a search answers, as it came.
    pub(crate) async fn search_text(&self, index: &str, body: &Value) -> String {
        let (status, text) =
            self.send_text(Method::POST, &format!("{index}/_search"), body.to_string()).await;
        assert_eq!(status, 200, "{text}");
        text
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Answer {
        let (status, text) = self.send_text(method, path, body).await;
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    async fn send_text(&self, method: Method, path: &str, body: String) -> (u16, String) {
        let url = format!("{}/{path}", self.url());
        let request = self.http.request(method, &url).header("content-type", "application/json");
        let request = if body.is_empty() || body == "null" { request } else { request.body(body) };
        let response = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        (status, text)
    }
}

impl Engine {
    fn kind(self) -> Kind {
        let (name, listening) = match self {
            Self::OpenSearch3 => ("opensearch", "AbstractHttpServerTransport] publish_address {"),
            Self::OpenSearch2 => ("opensearch-2", "AbstractHttpServerTransport] publish_address {"),
            Self::Elasticsearch6 => {
                ("elasticsearch-6", "Netty4HttpServerTransport] [unknown] publish_address {")
            }
            Self::Elasticsearch7 => {
                ("elasticsearch-7", "AbstractHttpServerTransport] publish_address {")
            }
            Self::Elasticsearch8 => {
                ("elasticsearch-8", "AbstractHttpServerTransport] [real] publish_address {")
            }
        };
        Kind { name, listening, settings: &[] }
    }
}

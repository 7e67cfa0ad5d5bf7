//! A real OpenSearch, and the few requests that tests make beside the daemon's own.

use std::sync::Arc;

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{Kind, Server, skip};

const KIND: Kind =
    Kind { name: "opensearch", listening: "AbstractHttpServerTransport] publish_address {" };

static SHARED: OnceCell<Option<Arc<Server>>> = OnceCell::const_new();

/// An OpenSearch of one node, green or yellow.
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
        let server = SHARED.get_or_init(|| async { Server::start(KIND).await.map(Arc::new) });
        let Some(server) = server.await.clone() else {
            skip(KIND.name);
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

    async fn send(&self, method: Method, path: &str, body: String) -> Answer {
        let url = format!("{}/{path}", self.url());
        let request = self.http.request(method, &url).header("content-type", "application/json");
        let request = if body.is_empty() || body == "null" { request } else { request.body(body) };
        let response = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }
}

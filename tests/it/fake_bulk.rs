//! An in-process search engine for tests: stores what `_bulk` creates, and misbehaves as told.
#![allow(dead_code, reason = "a test server offers more than any one test needs")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::{Listener, ListenerExt};
use flate2::read::MultiGzDecoder;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the ids begin that are not the client's.
pub(crate) const OWN_ID: &str = "own-";

/// How long a test waits for a condition before it fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// The engine. Stops when it is dropped.
pub(crate) struct FakeBulk {
    url: String,
    world: Arc<World>,
    _server: JoinSet<()>,
}

/// What one request does instead of the usual.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// The items as listed, in order; further ones as usual. An item with a 2xx is stored.
    Items(Vec<Item>),
    /// One answer for the whole request; nothing is stored.
    Whole(Whole),
    /// The connection closes without an answer; nothing is stored.
    CloseBefore,
    /// The items are stored, then the connection closes without an answer.
    CloseAfterStoring,
    /// The items are stored, then the connection closes in the middle of the answer.
    CloseMidAnswer,
    /// The items are stored, and no answer ever comes.
    Hang,
    /// No answer ever comes, and nothing is stored.
    Stall,
    /// The items are stored, and answered after this time.
    Late(Duration),
    /// The items are stored; the answer lacks the last one.
    OneItemShort,
}

/// What one item is answered.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) status: u16,
    pub(crate) error: Option<Value>,
}

/// One answer for a whole request.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// An item with the error that engines give most often with this status.
pub(crate) fn item(status: u16) -> Item {
    let (kind, reason) = match status {
        200..=299 => return Item { status, error: None },
        400 => ("mapper_parsing_exception", "failed to parse field [a] of type [long]"),
        403 => {
            ("cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)];")
        }
        404 => ("index_not_found_exception", "no such index"),
        409 => ("version_conflict_engine_exception", "document already exists"),
        429 => ("rejected_execution_exception", "queue capacity = 200"),
        _ => ("unavailable_shards_exception", "primary shard is not active"),
    };
    Item { status, error: Some(json!({"type": kind, "reason": reason})) }
}

/// An item with an error of one's own.
pub(crate) fn item_error(status: u16, kind: &str, reason: &str) -> Item {
    Item { status, error: Some(json!({"type": kind, "reason": reason})) }
}

/// A whole answer in JSON.
pub(crate) fn whole(status: u16, body: &Value) -> Whole {
    let body = body.to_string();
    Whole { status, content_type: "application/json", body, headers: Vec::new() }
}

/// What a firewall answers.
pub(crate) fn html_forbidden() -> Whole {
    let body = "<html><body><h1>403 Forbidden</h1></body></html>".to_owned();
    Whole { status: 403, content_type: "text/html", body, headers: Vec::new() }
}

impl Whole {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl From<Whole> for Script {
    fn from(whole: Whole) -> Self {
        Self::Whole(whole)
    }
}

impl<const N: usize> From<[Item; N]> for Script {
    fn from(items: [Item; N]) -> Self {
        Self::Items(items.into())
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    /// The body as it was before it was compressed.
    pub(crate) fn plain(&self) -> Bytes {
        if self.headers.get("content-encoding").is_none_or(|encoding| encoding != "gzip") {
            return self.body.clone();
        }
        let mut plain = Vec::new();
        MultiGzDecoder::new(self.body.as_ref()).read_to_end(&mut plain).unwrap();
        plain.into()
    }
}

type Rule = Box<dyn Fn(&str, &str, &Value) -> Option<Item> + Send>;

#[derive(Default)]
struct Contents {
    documents: BTreeMap<(String, String), Value>,
    /// Templates and policies, by path.
    settings: BTreeMap<String, Value>,
    requests: Vec<Seen>,
    scripts: VecDeque<Script>,
    always: Option<Script>,
    rule: Option<Rule>,
    max_body: Option<usize>,
    prefix: &'static str,
    engine: Value,
    /// Paths that answer this status, whatever is asked.
    refused: BTreeMap<String, u16>,
}

struct World {
    contents: Mutex<Contents>,
    changed: watch::Sender<u64>,
    connections: AtomicUsize,
}

impl FakeBulk {
    /// Starts on a free port of the loopback interface.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(listener, url)
    }

    /// Starts with TLS, as `localhost`.
    pub(crate) async fn start_tls(config: tokio_rustls::rustls::ServerConfig) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Self::serve(TlsListener { listener, acceptor }, url)
    }

    fn serve<L: Listener<Addr: std::fmt::Debug>>(listener: L, url: String) -> Self {
        let engine = json!({"version": {"distribution": "opensearch", "number": "3.8.0"}});
        let contents = Mutex::new(Contents { engine, ..Contents::default() });
        let world = Arc::new(World {
            contents,
            changed: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let counted = Arc::clone(&world);
        let listener = listener.tap_io(move |_| {
            counted.connections.fetch_add(1, Ordering::Relaxed);
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&world));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, world, _server: server }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The next request without a script of its own is answered like this.
    pub(crate) fn answer(&self, script: impl Into<Script>) -> &Self {
        self.lock().scripts.push_back(script.into());
        self
    }

    /// Every request that no queued script is for is answered like this, until told otherwise.
    pub(crate) fn always(&self, script: Option<Script>) -> &Self {
        self.lock().always = script;
        self
    }

    /// Items for which `rule` has an answer get it; the others go as usual.
    pub(crate) fn rule(
        &self,
        rule: impl Fn(&str, &str, &Value) -> Option<Item> + Send + 'static,
    ) -> &Self {
        self.lock().rule = Some(Box::new(rule));
        self
    }

    /// Lifts the rule.
    pub(crate) fn no_rule(&self) -> &Self {
        self.lock().rule = None;
        self
    }

    /// Larger bodies get 413.
    pub(crate) fn max_body(&self, bytes: usize) -> &Self {
        self.lock().max_body = Some(bytes);
        self
    }

    /// It answers below this path.
    pub(crate) fn at(&self, prefix: &'static str) -> &Self {
        self.lock().prefix = prefix;
        self
    }

    /// What `GET /` says.
    pub(crate) fn engine(&self, answer: Value) -> &Self {
        self.lock().engine = answer;
        self
    }

    /// Every request to this path gets this status.
    pub(crate) fn refuse(&self, path: &str, status: u16) -> &Self {
        self.lock().refused.insert(path.to_owned(), status);
        self
    }

    /// No longer.
    pub(crate) fn refuse_nothing(&self) -> &Self {
        self.lock().refused.clear();
        self
    }

    /// Puts a template or policy where it belongs.
    pub(crate) fn put(&self, path: &str, body: Value) -> &Self {
        self.lock().settings.insert(path.to_owned(), body);
        self
    }

    /// The templates and policies, by path.
    pub(crate) fn settings(&self) -> BTreeMap<String, Value> {
        self.lock().settings.clone()
    }

    /// The stored documents by index and id.
    pub(crate) fn documents(&self) -> BTreeMap<(String, String), Value> {
        self.lock().documents.clone()
    }

    /// How many documents are stored.
    pub(crate) fn count(&self) -> usize {
        self.lock().documents.len()
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.lock().requests.clone()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.world.connections.load(Ordering::Relaxed)
    }

    /// Waits until it is as the test wants it.
    pub(crate) async fn wait_for(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let mut changed = self.world.changed.subscribe();
        let waiting = async {
            while !is(self) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("not in {PATIENCE:?}: {what}; {} documents stored", self.count());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.world.contents.lock().unwrap()
    }
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return broken() };
    let seen = Seen { method: parts.method, uri: parts.uri, headers: parts.headers, body };
    let reply = {
        let mut contents = world.contents.lock().unwrap();
        contents.requests.push(seen.clone());
        contents.answer(&seen)
    };
    world.changed.send_modify(|version| *version += 1);
    match reply {
        Reply::Now(response) => response,
        Reply::Late(wait, response) => {
            tokio::time::sleep(wait).await;
            response
        }
        Reply::Never => std::future::pending().await,
    }
}

enum Reply {
    Now(Response),
    Late(Duration, Response),
    Never,
}

impl Contents {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let path = seen.uri.path();
        let path = path.strip_prefix(self.prefix).unwrap_or(path);
        if let Some(status) = self.refused.get(path) {
            let error = json!({"error": {"type": "refused", "reason": path}, "status": status});
            return Reply::Now(json_answer(*status, &error));
        }
        let response = match (&seen.method, path) {
            (&Method::POST, "/_bulk") => return self.bulk(seen),
            (&Method::GET, "/") => json_answer(200, &self.engine),
            (&Method::PUT, path) => {
                self.settings
                    .insert(path.to_owned(), serde_json::from_slice(&seen.plain()).unwrap());
                json_answer(200, &json!({"acknowledged": true}))
            }
            (&Method::GET, path) => match self.settings.get(path) {
                Some(body) => json_answer(200, &as_listed(path, body)),
                None => json_answer(404, &json!({"error": "not found", "status": 404})),
            },
            _ => json_answer(400, &json!({"error": "no handler found for uri"})),
        };
        Reply::Now(response)
    }

    fn bulk(&mut self, seen: &Seen) -> Reply {
        if self.max_body.is_some_and(|most| seen.body.len() > most) {
            // As seen on OpenSearch: not a word.
            return Reply::Now(StatusCode::PAYLOAD_TOO_LARGE.into_response());
        }
        let script = self.scripts.pop_front().or_else(|| self.always.clone());
        let scripted = match script {
            Some(Script::Whole(whole)) => return Reply::Now(whole.into_response()),
            Some(Script::CloseBefore) => return Reply::Now(broken()),
            Some(Script::Stall) => return Reply::Never,
            Some(Script::Items(ref items)) => items.clone(),
            _ => Vec::new(),
        };
        let Some(mut items) = self.store(&seen.plain(), scripted) else {
            let error = json!({"error": {"type": "illegal_argument_exception", "reason": "Malformed action/metadata line"}});
            return Reply::Now(json_answer(400, &error));
        };
        if matches!(script, Some(Script::OneItemShort)) {
            items.pop();
        }
        let errors = items.iter().any(|item| item["create"]["error"].is_object());
        let answer = json!({"errors": errors, "items": items});
        Reply::Now(match script {
            Some(Script::Hang) => return Reply::Never,
            Some(Script::Late(wait)) => return Reply::Late(wait, json_answer(200, &answer)),
            Some(Script::CloseAfterStoring) => broken(),
            Some(Script::CloseMidAnswer) => half(&answer.to_string()),
            _ => json_answer(200, &answer),
        })
    }

    /// Carries out each action, in order.
    fn store(&mut self, body: &Bytes, scripted: Vec<Item>) -> Option<Vec<Value>> {
        let mut scripted = scripted.into_iter();
        let mut items = Vec::new();
        let text = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
        let mut lines = text.split('\n');
        while let Some(action) = lines.next() {
            let action: Value = serde_json::from_str(action).ok()?;
            let document: Value = serde_json::from_str(lines.next()?).ok()?;
            let index = action["create"]["_index"].as_str()?.to_owned();
            // Engines give a document without an id one of their own.
            let own = || Some(format!("{OWN_ID}{}", self.documents.len()));
            let id = action["create"]["_id"].as_str().map(str::to_owned).or_else(own)?;
            let ruled = || self.rule.as_ref().and_then(|rule| rule(&index, &id, &document));
            let key = (index.clone(), id.clone());
            let is_there = self.documents.contains_key(&key);
            let usual = || item(if is_there { 409 } else { 201 });
            let result = scripted.next().or_else(ruled).unwrap_or_else(usual);
            if (200..=299).contains(&result.status) {
                self.documents.insert(key, document);
            }
            let mut answer = json!({"status": result.status});
            if let Some(error) = result.error {
                answer["error"] = error;
            }
            items.push(json!({"create": answer}));
        }
        Some(items)
    }
}

/// As each API wraps what was put.
fn as_listed(path: &str, body: &Value) -> Value {
    let name = path.rsplit('/').next().unwrap();
    if path.starts_with("/_index_template/") {
        json!({"index_templates": [{"name": name, "index_template": body}]})
    } else if path.starts_with("/_plugins/") {
        json!({"_id": name, "_version": 1, "_seq_no": 7, "_primary_term": 1, "policy": body["policy"]})
    } else {
        json!({ name: body })
    }
}

fn json_answer(status: u16, body: &Value) -> Response {
    whole(status, body).into_response()
}

impl IntoResponse for Whole {
    fn into_response(self) -> Response {
        let mut response = Response::builder()
            .status(self.status)
            .header(header::CONTENT_TYPE, self.content_type)
            .body(Body::from(self.body))
            .unwrap();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }
}

/// An answer whose connection closes before anything of it was sent.
fn broken() -> Response {
    let failing = stream::iter([Err::<Bytes, _>(io::Error::other("as scripted"))]);
    Response::new(Body::from_stream(failing))
}

/// The first half of an answer, and then the connection closes.
fn half(answer: &str) -> Response {
    let start = Bytes::copy_from_slice(&answer.as_bytes()[..answer.len() / 2]);
    let start = stream::iter([Ok::<_, io::Error>(start)]);
    // One turn of the loop in between, so that the first half is on its way.
    let end = stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::other("as scripted"))
    });
    let mut response = Response::new(Body::from_stream(start.chain(end)));
    response.headers_mut().insert(header::CONTENT_LENGTH, answer.len().into());
    response
}

struct TlsListener {
    listener: TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = tokio_rustls::server::TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            // A client that does not trust us hangs up: the next may.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

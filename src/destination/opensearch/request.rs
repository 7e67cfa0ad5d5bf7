//! Carries one request to one node: TLS always verified, connections kept, time and size bounded.
//!
//! Behind a seam: in `tests/simulate` a simulated cluster takes the requests and gives the answers.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, redirect, retry};
use url::Url;

use crate::event::Timestamp;

use super::auth::{self, Auth, SignError};
use super::config::{BuildError, Compression, NodeUrl, OpenSearchConfig};
use super::gzip::Gzip;
use super::response::retry_after;
use super::tls;

/// A bulk answer takes ~30 bytes an item, and about 2 KiB for one with an error; a body of 5 MiB
/// has some 20,000 items. Whatever is larger is no answer of an engine.
const MAX_ANSWER: usize = 64 << 20;

/// What room is made for at once. Who says that more will come is not believed before it has come.
const LIKELY_ANSWER: usize = 1 << 20;

/// A node that does not accept a connection by then is taken for dead.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Load balancers usually drop idle connections after 60 s; whoever reuses one then loses a race.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Carries the requests of one destination, and brings the answers.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request with a body of the given content type, and reads the whole answer.
    /// Dropping the future gives the request up, carried out or not.
    fn call(
        &self,
        method: Method,
        url: Url,
        content: Option<(&'static str, Bytes)>,
    ) -> BoxFuture<'_, Result<Reply, CallError>>;
}

/// Makes what carries the requests of a destination, by its configuration.
pub type Carry =
    Arc<dyn Fn(&OpenSearchConfig) -> Result<Arc<dyn Transport>, BuildError> + Send + Sync>;

/// The network.
#[must_use]
pub fn by_http() -> Carry {
    Arc::new(|config| Ok(Arc::new(Http::build(config)?)))
}

/// Sends requests for one destination.
#[derive(Debug)]
struct Http {
    client: Client,
    auth: Auth,
    timeout: Duration,
    gzip: Option<Arc<Gzip>>,
}

/// What a server answered, whatever the status.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// What `Retry-After` asked for.
    pub retry_after: Option<Duration>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The time is up; the request may have been carried out.
    #[error("no answer in time")]
    Timeout(#[source] Box<dyn Error + Send + Sync>),
    /// No connection, or it was lost; the request may have been carried out.
    #[error("the connection failed")]
    Connection(#[source] Box<dyn Error + Send + Sync>),
    /// It is longer than any answer should be.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// Nothing was sent.
    #[error("the request was not sent")]
    Unsigned(#[source] SignError),
}

impl Http {
    /// Reads certificates and secrets, and connects to nothing yet.
    fn build(config: &OpenSearchConfig) -> Result<Self, BuildError> {
        let client = Client::builder()
            .user_agent(concat!("logweir/", env!("CARGO_PKG_VERSION")))
            // Engines speak 1.1; one connection per request under way is what spreads the load.
            .http1_only()
            // A redirected POST would lose its body or its credentials.
            .redirect(redirect::Policy::none())
            // Sending again is for `delivery` to decide, and to count.
            .retry(retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT);
        // No proxy reaches our own loopback interface, whatever NO_PROXY forgets to say.
        let is_local = config.urls.iter().all(NodeUrl::is_loopback);
        let client = if is_local { client.no_proxy() } else { client };
        let client = tls::set_up(client, config)?;
        let client = client.build().map_err(|source| BuildError::Client { source })?;
        Ok(Self {
            client,
            auth: Auth::build(&config.auth)?,
            timeout: config.timeout.0,
            gzip: match config.bulk.compression {
                Compression::None => None,
                Compression::Gzip => Some(Arc::default()),
            },
        })
    }

    async fn carry(
        &self,
        method: Method,
        url: Url,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<Reply, CallError> {
        let mut headers = HeaderMap::new();
        let mut body = Bytes::new();
        if let Some((kind, plain)) = content {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            body = match &self.gzip {
                None => plain,
                Some(gzip) => {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    gzip.compressed(plain).await
                }
            };
        }
        let request = || {
            let mut request = Request::new(method.clone(), url.clone());
            *request.headers_mut() = headers.clone();
            if !body.is_empty() {
                *request.body_mut() = Some(body.clone().into());
            }
            *request.timeout_mut() = Some(self.timeout);
            request
        };
        match self.send(request()).await? {
            Sent::Answered(reply) => Ok(reply),
            // Nothing was carried out, so this is no retry.
            Sent::Renewed(reply) => match self.send(request()).await? {
                Sent::Answered(reply) => Ok(reply),
                Sent::Renewed(_) => Ok(reply),
            },
        }
    }

    async fn send(&self, mut request: Request) -> Result<Sent, CallError> {
        self.auth.authorize(&mut request).await.map_err(CallError::Unsigned)?;
        let headers = request.headers().clone();
        let response = self.client.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = asked_wait(&response);
        let mut body = read_body(response).await?;
        // What is no bulk answer may be shown to people.
        if !(200..=299).contains(&status) {
            auth::conceal(&headers, &mut body);
        }
        let reply = Reply { status, retry_after, body };
        let is_refused = matches!(status, 401 | 403);
        if is_refused && self.auth.is_renewed(status, &headers).await {
            return Ok(Sent::Renewed(reply));
        }
        Ok(Sent::Answered(reply))
    }
}

impl Transport for Http {
    fn call(
        &self,
        method: Method,
        url: Url,
        content: Option<(&'static str, Bytes)>,
    ) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(self.carry(method, url, content))
    }
}

/// How a request went.
enum Sent {
    Answered(Reply),
    /// It was refused for a secret that has been changed since.
    Renewed(Reply),
}

fn asked_wait(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    retry_after(value, Timestamp::now())
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, CallError> {
    let length = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = Vec::with_capacity(length.unwrap_or(0).min(LIKELY_ANSWER));
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(CallError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failed(error: reqwest::Error) -> CallError {
    // The URL is in the log line anyway.
    let error = error.without_url();
    let is_timeout = error.is_timeout();
    let error = error.into();
    if is_timeout { CallError::Timeout(error) } else { CallError::Connection(error) }
}

//! Carries one request to one node: TLS always verified, connections kept, time and size bounded.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, Request, Response, redirect, retry};
use url::Url;

use crate::event::Timestamp;

use super::auth::Auth;
use super::config::{BuildError, OpenSearchConfig};
use super::response::retry_after;

/// A bulk answer takes ~30 bytes an item, and about 2 KiB for one with an error; a body of 5 MiB
/// has some 20,000 items. Whatever is larger is no answer of an engine.
const MAX_ANSWER: usize = 64 << 20;

/// A node that does not accept a connection by then is taken for dead.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Load balancers usually drop idle connections after 60 s; whoever reuses one then loses a race.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Sends requests for one destination.
#[derive(Debug)]
pub struct Http {
    client: Client,
    auth: Auth,
    timeout: Duration,
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
    Timeout(#[source] reqwest::Error),
    /// No connection, or it was lost; the request may have been carried out.
    #[error("the connection failed")]
    Connection(#[source] reqwest::Error),
    /// It is longer than any answer should be.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
}

impl Http {
    /// Reads certificates and secrets, and connects to nothing yet.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn build(config: &OpenSearchConfig) -> Result<Self, BuildError> {
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
        let certificates = certificates(config)?;
        let client = if config.urls.iter().all(super::config::NodeUrl::is_plain) {
            // Without TLS an image without certificates is good enough.
            client.tls_certs_only(certificates)
        } else {
            client.tls_certs_merge(certificates)
        };
        let client = client.build().map_err(|source| BuildError::Client { source })?;
        Ok(Self { client, auth: Auth::build(&config.auth)?, timeout: config.timeout.0 })
    }

    /// Sends a request with a body of the given content type, and reads the whole answer.
    ///
    /// # Errors
    /// There is no answer. Dropping the future gives the request up, carried out or not.
    pub async fn call(
        &self,
        method: Method,
        url: Url,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<Reply, CallError> {
        let mut request = Request::new(method, url);
        if let Some((kind, body)) = content {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            *request.body_mut() = Some(body.into());
        }
        *request.timeout_mut() = Some(self.timeout);
        self.auth.authorize(&mut request);
        let response = self.client.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = asked_wait(&response);
        Ok(Reply { status, retry_after, body: read_body(response).await? })
    }
}

fn certificates(config: &OpenSearchConfig) -> Result<Vec<Certificate>, BuildError> {
    let Some(path) = &config.ca_file else { return Ok(Vec::new()) };
    let pem = fs::read(path).map_err(|source| BuildError::ReadCa { path: path.clone(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(BuildError::NoCertificates { path: path.clone() }),
    }
}

fn asked_wait(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    retry_after(value, Timestamp::now())
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
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
    if error.is_timeout() { CallError::Timeout(error) } else { CallError::Connection(error) }
}

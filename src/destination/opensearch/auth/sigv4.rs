//! Signs requests with AWS credentials (Signature Version 4), which are renewed before they expire.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningError, SigningParams,
    SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use reqwest::Request;
use reqwest::header::HeaderValue;
use tokio::sync::{Mutex, OnceCell};

use crate::aws;
use crate::telemetry::chain::Chain;

use super::config::{Service, SigV4Config};

/// Credentials are renewed this long before they expire. Instances and containers have new ones
/// by then.
const EARLY: Duration = Duration::from_secs(300);

/// Less than this is not enough for a request: it must have arrived before they expire.
const LEAST: Duration = Duration::from_secs(60);

/// Renewing is tried no more often than this while there is something left to use, and those that
/// were refused are kept for as long: a missing permission gets no better by new credentials.
const PAUSE: Duration = Duration::from_secs(30);

/// Credentials that never expire are loaded again after this, as the SDK does.
const RELOAD: Duration = Duration::from_secs(900);

/// How long loading may take. A role behind a profile behind a login is several requests.
const LOADING: Duration = Duration::from_secs(15);

/// A request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Nobody gives us any.
    #[error("could not get AWS credentials")]
    Credentials(#[source] CredentialsError),
    /// The request has something that a signature cannot be made over.
    #[error("could not sign the request")]
    Request(#[source] SigningError),
}

/// Signs for one destination.
pub(super) struct Signer {
    config: SigV4Config,
    /// Made with the first request, because gathering it waits.
    provider: OnceCell<SharedCredentialsProvider>,
    held: Mutex<Option<Held>>,
}

/// Credentials, and when they were asked for last.
#[derive(Clone)]
struct Held {
    identity: Identity,
    asked: SystemTime,
}

impl Signer {
    pub(super) fn new(config: SigV4Config) -> Self {
        Self { config, provider: OnceCell::new(), held: Mutex::default() }
    }

    /// Adds the headers of the signature.
    pub(super) async fn sign(&self, request: &mut Request) -> Result<(), SignError> {
        let identity = self.identity().await.map_err(SignError::Credentials)?;
        if let Some(query) = request.url().query().map(encoded) {
            request.url_mut().set_query(Some(&query));
        }
        let headers = self.signature(request, &identity, SystemTime::now())?;
        for (name, value) in headers {
            _ = request.headers_mut().insert(name, value);
        }
        Ok(())
    }

    /// The server refused a signature. What it was made with is loaded anew before long: a clock
    /// that is behind takes expired credentials for good ones.
    pub(super) async fn refused(&self) {
        let mut held = self.held.lock().await;
        _ = held.take_if(|held| held.age(SystemTime::now()) >= PAUSE);
    }

    fn signature(
        &self,
        request: &Request,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Vec<(&'static str, HeaderValue)>, SignError> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = match self.config.service {
            Service::Es => PayloadChecksumKind::NoHeader,
            // Collections take no signature without the hash of the body in a header.
            Service::Aoss => PayloadChecksumKind::XAmzSha256,
        };
        let params = v4::SigningParams::builder()
            .identity(identity)
            .region(&self.config.region)
            .name(self.config.service.as_str())
            .time(now)
            .settings(settings)
            .build();
        #[expect(clippy::expect_used, reason = "all five that it asks for are given above")]
        let params: SigningParams<'_> = params.expect("complete parameters").into();
        let texts = request.headers().iter().filter_map(|(name, value)| {
            // What is no text is not ours, and goes unsigned.
            Some((name.as_str(), value.to_str().ok()?))
        });
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let body = SignableBody::Bytes(body);
        let (method, url) = (request.method().as_str(), request.url().as_str());
        let signable =
            SignableRequest::new(method, url, texts, body).map_err(SignError::Request)?;
        let (signed, _) = sign(signable, &params).map_err(SignError::Request)?.into_parts();
        let headers = signed.into_parts().0.into_iter().filter_map(|header| {
            let mut value = HeaderValue::from_str(header.value()).ok()?;
            value.set_sensitive(true);
            Some((header.name(), value))
        });
        Ok(headers.collect())
    }

    /// Credentials that outlast a request. Waits while they are loaded; who is dropped meanwhile
    /// leaves it to the next.
    async fn identity(&self) -> Result<Identity, CredentialsError> {
        let mut held = self.held.lock().await;
        let now = SystemTime::now();
        if let Some(fresh) = held.as_ref().filter(|held| held.is_fresh(now)) {
            return Ok(fresh.identity.clone());
        }
        match (self.load().await, held.as_mut().filter(|held| held.left(now) >= LEAST)) {
            (Ok(identity), _) => {
                *held = Some(Held { identity: identity.clone(), asked: now });
                Ok(identity)
            }
            (Err(error), Some(usable)) => {
                usable.asked = now;
                tracing::warn!(error = %Chain(&error), "could not renew AWS credentials yet");
                Ok(usable.identity.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn load(&self) -> Result<Identity, CredentialsError> {
        let loading = async {
            let provider = self.provider.get_or_try_init(|| self.provider()).await?;
            provider.provide_credentials().await
        };
        let loaded = tokio::time::timeout(LOADING, Box::pin(loading)).await;
        let loaded = loaded.map_err(|_| CredentialsError::provider_timed_out(LOADING))?;
        Ok(loaded?.into())
    }

    async fn provider(&self) -> Result<SharedCredentialsProvider, CredentialsError> {
        let config = aws::load(&self.config.caller(), None).await;
        config.credentials_provider().ok_or_else(CredentialsError::not_loaded_no_source)
    }
}

/// The query with all encoded that may be. A signature is over that form, and not every server
/// that checks one brings `filter_path=errors,items.*.status` into it by itself.
fn encoded(query: &str) -> String {
    let mut encoded = String::with_capacity(2 * query.len());
    for byte in query.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Between its parts, and what is encoded already.
            b'=' | b'&' | b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Held {
    fn is_fresh(&self, now: SystemTime) -> bool {
        match self.identity.expiration() {
            None => self.age(now) < RELOAD,
            Some(_) => {
                let left = self.left(now);
                left > EARLY || (left >= LEAST && self.age(now) < PAUSE)
            }
        }
    }

    /// Until they expire.
    fn left(&self, now: SystemTime) -> Duration {
        let left = |until: SystemTime| until.duration_since(now).unwrap_or_default();
        self.identity.expiration().map_or(Duration::MAX, left)
    }

    /// Since they were asked for. A clock that was set back makes them old.
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.asked).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests;

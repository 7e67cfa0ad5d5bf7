//! Signs requests with AWS credentials (Signature Version 4), which are renewed before they expire.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningError, SigningParams,
    SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use reqwest::Request;
use reqwest::header::HeaderValue;

use crate::aws::{self, KeptCredentials};

use super::config::{Service, SigV4Config};

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
    credentials: KeptCredentials,
}

impl Signer {
    pub(super) fn new(config: SigV4Config) -> Self {
        let caller = config.clone();
        let credentials = KeptCredentials::new(Arc::new(move || {
            let caller = caller.clone();
            Box::pin(async move { aws::load(&caller.caller(), None).await.credentials_provider() })
        }));
        Self { config, credentials }
    }

    /// Adds the headers of the signature.
    pub(super) async fn sign(&self, request: &mut Request) -> Result<(), SignError> {
        let credentials = self.credentials.get().await.map_err(SignError::Credentials)?;
        if let Some(query) = request.url().query().map(encoded) {
            request.url_mut().set_query(Some(&query));
        }
        let headers = self.signature(request, &credentials.into(), SystemTime::now())?;
        for (name, value) in headers {
            _ = request.headers_mut().insert(name, value);
        }
        Ok(())
    }

    /// The server refused a signature: what it was made with is loaded anew before long.
    pub(super) async fn refused(&self) {
        self.credentials.refused().await;
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

#[cfg(test)]
mod tests;

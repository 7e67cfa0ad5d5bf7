//! A secret that goes along with every request: a password or an API key, read again when it changes.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use crate::destination::opensearch::config::BuildError;
use crate::secret::Secret;
use crate::telemetry::chain::Chain;

use super::config::{ApiKeyConfig, BasicConfig, SecretSource};

/// The header, and what it is made of; its Debug text shows no secret.
#[derive(Debug)]
pub(super) struct Header {
    scheme: Scheme,
    source: SecretSource,
    value: Mutex<HeaderValue>,
}

#[derive(Clone, Debug)]
enum Scheme {
    /// RFC 7617.
    Basic { user: String },
    /// As Elasticsearch has it.
    ApiKey,
}

impl Header {
    pub(super) fn basic(config: &BasicConfig) -> Result<Self, BuildError> {
        Self::build(Scheme::Basic { user: config.user.clone() }, &config.password)
    }

    pub(super) fn api_key(config: &ApiKeyConfig) -> Result<Self, BuildError> {
        Self::build(Scheme::ApiKey, &config.key)
    }

    fn build(scheme: Scheme, source: &SecretSource) -> Result<Self, BuildError> {
        let value = Mutex::new(scheme.header(source)?);
        Ok(Self { scheme, source: source.clone(), value })
    }

    /// The header's value now.
    pub(super) fn value(&self) -> HeaderValue {
        self.lock().clone()
    }

    /// The server refused `sent`: reads the file again, and says whether there is another value
    /// now. Not before: a server may take the old one until it has been told of the new. The
    /// file is a line long, and this is rare, so it is read where we are.
    pub(super) fn has_changed(&self, sent: Option<&HeaderValue>) -> bool {
        let SecretSource::File(path) = &self.source else { return false };
        let mut value = self.lock();
        match self.scheme.header(&self.source) {
            Ok(read) => *value = read,
            // Perhaps it is being written: what we have may still be right.
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %Chain(&error), "keeping the secret that was read before");
            }
        }
        sent != Some(&*value)
    }

    fn lock(&self) -> MutexGuard<'_, HeaderValue> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scheme {
    /// The key by which the configuration names the file.
    fn file_key(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "password_file",
            Self::ApiKey => "key_file",
        }
    }

    fn header(&self, source: &SecretSource) -> Result<HeaderValue, BuildError> {
        let secret = match source {
            SecretSource::Inline(secret) => secret.clone(),
            SecretSource::File(path) => first_line(self.file_key(), path)?,
        };
        let secret = secret.expose();
        let text = match self {
            Self::Basic { user } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))
            }
            // Base64 has no colon, so it is the other form.
            Self::ApiKey if secret.contains(':') => format!("ApiKey {}", STANDARD.encode(secret)),
            Self::ApiKey => format!("ApiKey {secret}"),
        };
        let mut header = HeaderValue::from_str(&text).map_err(|_| BuildError::ApiKey)?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn first_line(key: &'static str, path: &Path) -> Result<Secret, BuildError> {
    let text = fs::read_to_string(path).map_err(|source| BuildError::Read {
        key,
        path: path.to_owned(),
        source,
    })?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line.to_owned())),
        Some(_) | None => Err(BuildError::EmptySecret { key, path: path.to_owned() }),
    }
}

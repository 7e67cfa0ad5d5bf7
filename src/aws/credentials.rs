//! Credentials that are renewed before they expire, and loaded anew when they are refused.
//!
//! The SDK's own cache keeps what it has until it expires, and a profile's keys for ever. What somebody
//! has revoked, or put into the file meanwhile, it would never notice.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::telemetry::chain::Chain;

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

/// Makes a provider, which may read files and ask others.
pub type Source =
    Arc<dyn Fn() -> BoxFuture<'static, Option<SharedCredentialsProvider>> + Send + Sync>;

/// The credentials of one caller. Clones share them; the Debug text shows no secret.
#[derive(Clone)]
pub struct KeptCredentials {
    source: Source,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// Made with the first request, because gathering it waits.
    provider: Option<SharedCredentialsProvider>,
    held: Option<Held>,
}

/// Credentials, and when they were asked for last.
struct Held {
    credentials: Credentials,
    asked: SystemTime,
}

impl KeptCredentials {
    /// Nothing is loaded before it is asked for.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, kept: Arc::default() }
    }

    /// Credentials that outlast a request. Waits while they are loaded; who is dropped meanwhile
    /// leaves it to the next.
    ///
    /// # Errors
    /// There are none, and none left that could still be used.
    pub async fn get(&self) -> Result<Credentials, CredentialsError> {
        let mut kept = self.kept.lock().await;
        let now = SystemTime::now();
        if let Some(fresh) = kept.held.as_ref().filter(|held| held.is_fresh(now)) {
            return Ok(fresh.credentials.clone());
        }
        let loaded = self.load(&mut kept).await;
        match (loaded, kept.held.as_mut().filter(|held| held.left(now) >= LEAST)) {
            (Ok(credentials), _) => {
                kept.held = Some(Held { credentials: credentials.clone(), asked: now });
                Ok(credentials)
            }
            (Err(error), Some(usable)) => {
                usable.asked = now;
                tracing::warn!(error = %Chain(&error), "could not renew AWS credentials yet");
                Ok(usable.credentials.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn load(&self, kept: &mut Kept) -> Result<Credentials, CredentialsError> {
        let loading = async {
            if kept.provider.is_none() {
                kept.provider = (self.source)().await;
            }
            let provider = kept.provider.as_ref();
            let provider = provider.ok_or_else(CredentialsError::not_loaded_no_source)?;
            provider.provide_credentials().await
        };
        let loaded = tokio::time::timeout(LOADING, Box::pin(loading)).await;
        loaded.map_err(|_| CredentialsError::provider_timed_out(LOADING))?
    }

    /// AWS refused them. They are loaded anew before long, from files that are read again: a clock that
    /// is behind takes expired credentials for good ones, and those of a profile may have no end.
    pub async fn refused(&self) {
        let mut kept = self.kept.lock().await;
        let now = SystemTime::now();
        if kept.held.take_if(|held| held.age(now) >= PAUSE).is_some() {
            kept.provider = None;
        }
    }
}

impl ProvideCredentials for KeptCredentials {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(self.get())
    }
}

impl fmt::Debug for KeptCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptCredentials").finish_non_exhaustive()
    }
}

impl Held {
    fn is_fresh(&self, now: SystemTime) -> bool {
        match self.credentials.expiry() {
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
        self.credentials.expiry().map_or(Duration::MAX, left)
    }

    /// Since they were asked for. A clock that was set back makes them old.
    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.asked).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Credentials that expire are renewed in time, and those that are refused are loaded anew.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Gives credentials that expire as scripted; after the last, none.
#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    lifetimes: Arc<[Option<Duration>]>,
    asked: Arc<AtomicUsize>,
    /// How often a provider was made.
    made: Arc<AtomicUsize>,
}

impl ProvideCredentials for Scripted {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        Provided::ready(match self.lifetimes.get(number) {
            Some(lifetime) => {
                let expires = lifetime.map(|lifetime| SystemTime::now() + lifetime);
                let (key, token) = (format!("AKID{number}"), format!("token-{number}"));
                Ok(Credentials::new(key, "sesame", Some(token), expires, "scripted"))
            }
            None => Err(CredentialsError::provider_error("the wells are dry")),
        })
    }
}

pub(crate) fn scripted(lifetimes: &[Option<Duration>]) -> (KeptCredentials, Scripted) {
    let (asked, made) = (Arc::default(), Arc::default());
    let scripted = Scripted { lifetimes: lifetimes.into(), asked, made };
    let source = scripted.clone();
    let kept = KeptCredentials::new(Arc::new(move || {
        _ = source.made.fetch_add(1, Ordering::Relaxed);
        let provider = SharedCredentialsProvider::new(source.clone());
        Box::pin(async { Some(provider) })
    }));
    (kept, scripted)
}

async fn token(kept: &KeptCredentials) -> String {
    kept.get().await.unwrap().session_token().unwrap().to_owned()
}

/// They were asked for so much earlier.
async fn age(kept: &KeptCredentials, by: Duration) {
    kept.kept.lock().await.held.as_mut().unwrap().asked -= by;
}

pub(crate) const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn minutes(minutes: u64) -> Option<Duration> {
    Some(Duration::from_secs(60 * minutes))
}

#[tokio::test]
async fn credentials_are_kept_while_they_last_and_renewed_before_they_expire() {
    let (kept, scripted) = scripted(&[minutes(4), HOUR]);
    assert_eq!(token(&kept).await, "token-0");
    // Four minutes are enough for a request, but not for long: asked again after a pause.
    assert_eq!(token(&kept).await, "token-0");
    age(&kept, PAUSE).await;
    assert_eq!(token(&kept).await, "token-1");
    age(&kept, PAUSE).await;
    assert_eq!(token(&kept).await, "token-1");
    assert_eq!(scripted.asked.load(Ordering::Relaxed), 2);
    assert_eq!(scripted.made.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_would_expire_under_way_is_never_used_again() {
    let (kept, _) = scripted(&[Some(LEAST / 2), HOUR]);
    assert_eq!(token(&kept).await, "token-0");
    assert_eq!(token(&kept).await, "token-1");
}

#[tokio::test]
async fn while_they_cannot_be_renewed_the_old_ones_serve_to_their_end() {
    let (kept, scripted) = scripted(&[minutes(4)]);
    assert_eq!(token(&kept).await, "token-0");
    age(&kept, PAUSE).await;
    assert_eq!(token(&kept).await, "token-0");
    assert_eq!(token(&kept).await, "token-0");
    assert_eq!(scripted.asked.load(Ordering::Relaxed), 2, "not with every request");
    let (kept, _) = self::scripted(&[]);
    let error = kept.get().await.unwrap_err();
    assert!(format!("{}", Chain(&error)).contains("the wells are dry"), "{error:?}");
}

#[tokio::test]
async fn credentials_that_were_refused_are_loaded_from_the_start_but_not_with_every_probe() {
    let (kept, scripted) = scripted(&[HOUR, None]);
    assert_eq!(token(&kept).await, "token-0");
    kept.refused().await;
    assert_eq!(token(&kept).await, "token-0");
    age(&kept, PAUSE).await;
    kept.refused().await;
    assert_eq!(token(&kept).await, "token-1");
    // Files are read when a provider is made.
    assert_eq!(scripted.made.load(Ordering::Relaxed), 2);
    // These never expire.
    age(&kept, RELOAD).await;
    assert!(!kept.kept.lock().await.held.as_ref().unwrap().is_fresh(SystemTime::now()));
    let shown = format!("{kept:?}");
    assert!(!shown.contains("sesame") && !shown.contains("token"), "{shown}");
}

//! Credentials that expire are renewed in time, and a signature covers what is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::Credentials;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use reqwest::Method;

use super::*;

/// Gives credentials that expire as scripted; after the last, none.
#[derive(Clone, Debug)]
struct Scripted {
    lifetimes: Arc<[Option<Duration>]>,
    asked: Arc<AtomicUsize>,
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

fn signer(service: &str, lifetimes: &[Option<Duration>]) -> (Signer, Scripted) {
    let config = format!("region = 'eu-west-1'\nservice = '{service}'");
    let scripted = Scripted { lifetimes: lifetimes.into(), asked: Arc::default() };
    let mut signer = Signer::new(toml::from_str(&config).unwrap());
    signer.provider = OnceCell::from(SharedCredentialsProvider::new(scripted.clone()));
    (signer, scripted)
}

fn request() -> Request {
    let url = "https://search.example.com/_bulk?filter_path=errors,items.*.status";
    let mut request = Request::new(Method::POST, url.parse().unwrap());
    let kind = HeaderValue::from_static("application/x-ndjson");
    _ = request.headers_mut().insert("content-type", kind);
    *request.body_mut() = Some("{}\n".into());
    request
}

async fn signed(signer: &Signer) -> Request {
    let mut request = request();
    signer.sign(&mut request).await.unwrap();
    request
}

async fn token(signer: &Signer) -> String {
    signed(signer).await.headers()["x-amz-security-token"].to_str().unwrap().to_owned()
}

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn minutes(minutes: u64) -> Option<Duration> {
    Some(Duration::from_secs(60 * minutes))
}

#[tokio::test]
async fn credentials_are_kept_while_they_last_and_renewed_before_they_expire() {
    let (signer, scripted) = signer("es", &[minutes(4), HOUR]);
    assert_eq!(token(&signer).await, "token-0");
    // Four minutes are enough for a request, but not for long: asked again after a pause.
    assert_eq!(token(&signer).await, "token-0");
    signer.held.lock().await.as_mut().unwrap().asked -= PAUSE;
    assert_eq!(token(&signer).await, "token-1");
    signer.held.lock().await.as_mut().unwrap().asked -= PAUSE;
    assert_eq!(token(&signer).await, "token-1");
    assert_eq!(scripted.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_would_expire_under_way_is_never_signed_with_again() {
    let (signer, _) = signer("es", &[Some(LEAST / 2), HOUR]);
    assert_eq!(token(&signer).await, "token-0");
    assert_eq!(token(&signer).await, "token-1");
}

#[tokio::test]
async fn while_they_cannot_be_renewed_the_old_ones_serve_to_their_end() {
    let (signer, scripted) = signer("es", &[minutes(4)]);
    assert_eq!(token(&signer).await, "token-0");
    signer.held.lock().await.as_mut().unwrap().asked -= PAUSE;
    assert_eq!(token(&signer).await, "token-0");
    assert_eq!(token(&signer).await, "token-0");
    assert_eq!(scripted.asked.load(Ordering::Relaxed), 2, "not with every request");
    let (signer, _) = self::signer("es", &[]);
    let error = signer.sign(&mut request()).await.unwrap_err();
    assert!(format!("{}", Chain(&error)).contains("the wells are dry"), "{error:?}");
}

#[tokio::test]
async fn credentials_that_were_refused_are_loaded_again_but_not_with_every_probe() {
    let (signer, _) = signer("es", &[HOUR, None]);
    assert_eq!(token(&signer).await, "token-0");
    signer.refused().await;
    assert_eq!(token(&signer).await, "token-0");
    signer.held.lock().await.as_mut().unwrap().asked -= PAUSE;
    signer.refused().await;
    assert_eq!(token(&signer).await, "token-1");
    // These never expire.
    signer.held.lock().await.as_mut().unwrap().asked -= RELOAD;
    assert!(!signer.held.lock().await.as_ref().unwrap().is_fresh(SystemTime::now()));
}

#[tokio::test]
async fn a_signature_covers_the_body_and_all_headers_and_shows_no_secret() {
    let (es, _) = signer("es", &[HOUR]);
    let request = signed(&es).await;
    assert_eq!(request.url().query(), Some("filter_path=errors%2Citems.%2A.status"));
    let header = |name: &str| request.headers()[name].to_str().unwrap();
    let says = header("authorization");
    assert!(says.starts_with("AWS4-HMAC-SHA256 Credential=AKID0/"), "{says}");
    assert!(says.contains("/eu-west-1/es/aws4_request, "), "{says}");
    let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ";
    assert!(says.contains(names), "{says}");
    assert!(request.headers().get("x-amz-content-sha256").is_none());
    let (aoss, _) = signer("aoss", &[HOUR]);
    let request = signed(&aoss).await;
    // Of "{}\n".
    let hash = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356";
    assert_eq!(request.headers()["x-amz-content-sha256"], hash);
    let shown = format!("{aoss:?} {request:?}");
    assert!(!shown.contains("sesame") && !shown.contains("token-0"), "{shown}");
}

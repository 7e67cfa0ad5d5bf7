//! How requests reach an engine: under which certificates, secrets, encodings and proxies.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use logweir::clock::Clock;
use logweir::destination::opensearch::OpenSearch;
use logweir::destination::{Answer, Destination, Hold, HoldReason, RetryReason, Trouble};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::fake_bulk::{FakeBulk, Whole, whole};
use crate::opensearch::{batch, destination, retry_of};

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), root }
    }

    fn certificate(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server called `localhost`, for clients that `clients` vouches for if it is given.
    pub(crate) fn server(&self, clients: Option<&Self>) -> ServerConfig {
        let (certificate, key) = self.certificate("localhost");
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = match clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.root.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }

    /// Options that trust this authority, by a file in `folder`.
    pub(crate) fn trusted(&self, folder: &Path) -> String {
        let path = folder.join("ca.pem");
        std::fs::write(&path, self.root.pem()).unwrap();
        format!("ca_file = '{}'\n", path.display())
    }

    /// Options that show a certificate of this authority, by files in `folder`.
    pub(crate) fn shown(&self, folder: &Path) -> String {
        let (certificate, key) = self.certificate("logweir");
        let [cert_file, key_file] = ["us.pem", "us.key"].map(|name| folder.join(name));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem().trim_end()).unwrap();
        let (cert_file, key_file) = (cert_file.display(), key_file.display());
        format!("client_cert_file = '{cert_file}'\nclient_key_file = '{key_file}'\n")
    }
}

fn of(fake: &FakeBulk, options: &str) -> OpenSearch {
    destination(&format!("url = '{}'\ntimeout = '20s'\n{options}", fake.url()))
}

fn hold_of(answer: Answer) -> Hold {
    let Answer::Whole(Trouble::Hold(hold)) = answer else { panic!("no hold: {answer:?}") };
    hold
}

fn build_error(table: &str) -> String {
    OpenSearch::build(toml::from_str(table).unwrap(), Clock::start()).unwrap_err().to_string()
}

#[tokio::test]
async fn a_certificate_of_the_given_authority_is_trusted_and_no_other() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let fake = FakeBulk::start_tls(authority.server(None)).await;
    let trusting = of(&fake, &authority.trusted(folder.path()));
    assert_eq!(trusting.send(&mut batch(1)).await, Answer::Created(1));
    let other = of(&fake, &Authority::new().trusted(folder.path()));
    let answer = other.send(&mut batch(1)).await;
    assert_eq!(retry_of(&answer).0, RetryReason::Connection);
    let Answer::Whole(Trouble::Retry { error, .. }) = answer else { unreachable!() };
    assert!(error.contains("certificate"), "the error tells what is wrong: {error}");
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_asks_for_our_certificate_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new(), Authority::new());
    let fake = FakeBulk::start_tls(authority.server(Some(&clients))).await;
    let trusted = authority.trusted(folder.path());
    let known = of(&fake, &format!("{trusted}{}", clients.shown(folder.path())));
    assert_eq!(known.send(&mut batch(1)).await, Answer::Created(1));
    let strangers = [String::new(), authority.shown(folder.path())];
    for stranger in strangers {
        let stranger = of(&fake, &format!("{trusted}{stranger}"));
        let answer = stranger.send(&mut batch(1)).await;
        assert_eq!(retry_of(&answer).0, RetryReason::Connection);
    }
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn files_without_certificates_or_keys_are_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing.pem");
    std::fs::write(&nothing, "not a certificate").unwrap();
    let nothing = nothing.display();
    let error = build_error(&format!("url = 'https://localhost'\nca_file = '{nothing}'"));
    assert!(error.contains("no certificates"), "{error}");
    let own = Authority::new().shown(folder.path());
    let swapped = own.replace("us.key", "us.pem");
    let error = build_error(&format!("url = 'https://localhost'\n{swapped}"));
    assert!(error.contains("`client_key_file`") && error.contains("us.pem"), "{error}");
    let missing = own.replace("us.key", "other.key");
    let error = build_error(&format!("url = 'https://localhost'\n{missing}"));
    assert!(error.contains("could not read `client_key_file`"), "{error}");
}

fn unauthorized() -> Whole {
    whole(401, &json!({"error": {"type": "security_exception", "reason": "who are you?"}}))
}

fn authorizations(fake: &FakeBulk) -> Vec<String> {
    let requests = fake.requests().into_iter();
    requests.map(|seen| seen.headers["authorization"].to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_secret_that_was_changed_in_its_file_is_taken_up_without_a_hold() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    std::fs::write(file.path(), "first\n").unwrap();
    let fake = FakeBulk::start().await;
    let destination = of(&fake, &format!("auth.api_key.key_file = '{path}'"));
    assert_eq!(destination.send(&mut batch(1)).await, Answer::Created(1));
    fake.answer(unauthorized());
    let hold = hold_of(destination.send(&mut batch(1)).await);
    assert_eq!(hold.reason, HoldReason::Unauthorized);
    std::fs::write(file.path(), "second\n").unwrap();
    fake.answer(unauthorized());
    assert!(matches!(destination.send(&mut batch(1)).await, Answer::Items(_)));
    let seen = authorizations(&fake);
    assert_eq!(seen, ["first", "first", "first", "second"].map(|key| format!("ApiKey {key}")));
    // Once more, and no oftener: both are refused.
    std::fs::write(file.path(), "third\n").unwrap();
    fake.answer(unauthorized()).answer(unauthorized());
    assert_eq!(hold_of(destination.send(&mut batch(1)).await).reason, HoldReason::Unauthorized);
    assert_eq!(fake.requests().len(), 6);
}

#[tokio::test]
async fn bodies_are_compressed_when_told_so() {
    let fake = FakeBulk::start().await;
    let (destination, mut batch) = (of(&fake, "bulk.compression = 'gzip'"), batch(500));
    assert_eq!(destination.send(&mut batch).await, Answer::Created(500));
    assert_eq!(fake.count(), 500);
    let seen = &fake.requests()[0];
    assert_eq!(seen.headers["content-encoding"], "gzip");
    assert_eq!(seen.headers["content-length"], seen.body.len().to_string());
    assert_eq!(seen.plain(), batch.body());
    assert!(seen.body.len() < batch.body().len() / 5, "{} bytes", seen.body.len());
}

#[tokio::test]
async fn aws_that_refuses_the_credentials_holds_the_destination_and_says_so() {
    let fake = FakeBulk::start().await;
    let destination = of(&fake, "");
    for words in [
        "The security token included in the request is expired",
        "Signature expired: 20260131T060000Z is now earlier than 20260131T061000Z",
    ] {
        fake.answer(whole(403, &json!({"message": words})));
        let hold = hold_of(destination.send(&mut batch(1)).await);
        assert_eq!(hold.reason, HoldReason::Credentials);
        assert!(hold.reason.remedy().contains("credentials"), "{}", hold.reason.remedy());
        assert!(hold.error.contains(words), "{}", hold.error);
    }
    assert_eq!(fake.requests().len(), 2, "none is sent again by itself");
}

// The environment belongs to a process, so who sends is a child: this test binary again.

const TABLE: &str = "LOGWEIR_TEST_DESTINATION";

/// The sender. Does nothing when it is run as a test like any other.
#[tokio::test]
async fn child_sends_one_batch() {
    let Ok(table) = std::env::var(TABLE) else { return };
    let answer = destination(&table).send(&mut batch(1)).await;
    assert_eq!(answer, Answer::Created(1));
}

fn send_in_a_child(table: &str, variables: &[(&str, &str)]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    // What it says of a failure would look like one of ours.
    child.args(["--exact", "transport::child_sends_one_batch"]).stdout(Stdio::null());
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        child.env_remove(name).env_remove(name.to_uppercase());
    }
    child.env(TABLE, table).envs(variables.iter().copied()).spawn().unwrap()
}

async fn succeeds(mut child: Child) -> bool {
    tokio::task::spawn_blocking(move || child.wait().unwrap().success()).await.unwrap()
}

#[tokio::test]
async fn requests_go_by_the_proxy_of_the_environment() {
    // A proxy for plain HTTP gets what the server would get.
    let proxy = FakeBulk::start().await;
    let address = proxy.url().replace("http://", "http://user:pass@");
    let child = send_in_a_child("url = 'http://search.invalid'", &[("HTTP_PROXY", &address)]);
    assert!(succeeds(child).await);
    let seen = &proxy.requests()[0];
    assert_eq!(seen.uri.host(), Some("search.invalid"));
    assert_eq!(seen.headers["proxy-authorization"], "Basic dXNlcjpwYXNz");
}

#[tokio::test]
async fn requests_go_past_the_proxy_to_no_proxy_and_to_this_machine() {
    let fake = FakeBulk::start().await;
    let dead = ("HTTP_PROXY", "http://127.0.0.1:9");
    let local = format!("url = '{}'", fake.url());
    assert!(succeeds(send_in_a_child(&local, &[dead])).await);
    let both = format!("urls = ['{}', 'http://search.invalid']", fake.url());
    assert!(!succeeds(send_in_a_child(&both, &[dead])).await);
    let fake = FakeBulk::start().await;
    let both = format!("urls = ['{}', 'http://search.invalid']", fake.url());
    assert!(succeeds(send_in_a_child(&both, &[dead, ("NO_PROXY", "127.0.0.1")])).await);
}

#[tokio::test]
async fn a_tls_server_is_asked_of_https_proxy_by_connect() {
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let table = "url = 'https://search.invalid'";
    let mut child = send_in_a_child(table, &[("HTTPS_PROXY", &address)]);
    let (mut client, _) = proxy.accept().await.unwrap();
    let mut line = vec![0; 31];
    client.read_exact(&mut line).await.unwrap();
    assert!(line.starts_with(b"CONNECT search.invalid:443 HTTP"), "{line:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

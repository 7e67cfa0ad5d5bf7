//! Who is who: certificates, names, passwords and credentials that stop being right, and are again.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use logweir::event::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::time::{Instant, sleep};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::proxy::Fault;
use crate::rig::{Outcome, Rig, Servers};
use crate::streams::refusal;

const EVENTS: usize = 2_000;

/// A certificate authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A server called `localhost`, by a certificate that is good to the end of a year.
    fn server(&self, last_year: i32) -> ServerConfig {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder().with_no_client_auth();
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }
}

/// The destination's certificate has expired; then it has a new one.
pub(crate) async fn expired_certificate(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "expired_certificate").await;
    let (authority, ca) = (Authority::new(), rig.folder().join("ca.pem"));
    fs::write(&ca, &authority.root).unwrap();
    let (port, ca) = (rig.search.address().port(), ca.display());
    rig.destination += &format!("url = \"https://localhost:{port}\"\nca_file = \"{ca}\"\n");
    rig.search.speak_tls(Some(authority.server(2025)));
    rig.put(EVENTS).await;
    let mut daemon = rig.daemon().await;
    let line = daemon.logged(|line| line.to_string().contains("certificate expired")).await;
    rig.say(&line["error"].to_string());
    daemon.not_ready("certificate expired").await;
    rig.search.speak_tls(Some(authority.server(2199)));
    let renewed = Instant::now();
    rig.finish(daemon, renewed).await
}

/// The destination's name is gone from the resolver, and comes back. The file of names and the order
/// of lookups are our own ones, so that nobody outside is asked.
pub(crate) async fn name_gone(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "name_gone").await;
    let names = ["hosts", "nsswitch.conf"].map(|file| rig.folder().join(file));
    let known = "127.0.0.1 localhost search.chaos.test\n";
    fs::write(&names[0], known).unwrap();
    fs::write(&names[1], "hosts: files\n").unwrap();
    let _hosts = crate::mounts::Mount::bind(&names[0], "/etc/hosts");
    let _order = crate::mounts::Mount::bind(&names[1], "/etc/nsswitch.conf");
    let port = rig.search.address().port();
    rig.destination += &format!("url = \"http://search.chaos.test:{port}\"\n");
    rig.put(EVENTS).await;
    let mut daemon = rig.daemon().await;
    rig.delivered_at_least(1).await;
    fs::write(&names[0], "127.0.0.1 localhost\n").unwrap();
    // What is connected needs no name.
    rig.search.down().await;
    rig.search.up().await;
    rig.put(EVENTS).await;
    let line = daemon.logged(|line| line.to_string().contains("failed to lookup address")).await;
    rig.say(&line["error"].to_string());
    sleep(Duration::from_secs(servers.size(3, 60))).await;
    fs::write(&names[0], known).unwrap();
    let back = Instant::now();
    rig.finish(daemon, back).await
}

/// The cluster takes another password; later the file has it too.
pub(crate) async fn password_rotated(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "password_rotated").await;
    let file = rig.folder().join("password");
    fs::write(&file, "old\n").unwrap();
    let auth = format!("{{ user = \"logweir\", password_file = \"{}\" }}", file.display());
    rig.destination += &format!("auth.basic = {auth}\n");
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.delivered_at_least(1).await;
    let right = format!("Basic {}", STANDARD.encode("logweir:new"));
    rig.search.plan(move |request| {
        let is_wrong = request.header("authorization") != Some(right.as_str());
        let body = r#"{"error":{"type":"security_exception","reason":"no"},"status":401}"#;
        let (status, content_type, body) = (401, "application/json", body.to_owned());
        is_wrong.then_some(Fault::Answered { status, content_type, body })
    });
    rig.put(EVENTS).await;
    let said = daemon.not_ready("unauthorized").await;
    rig.say(said.trim());
    fs::write(&file, "new\n").unwrap();
    let rotated = Instant::now();
    assert!(rig.search.struck() > 0);
    rig.finish(daemon, rotated).await
}

/// AWS credentials expire, and whoever renews them is late.
pub(crate) async fn credentials_expired(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "credentials_expired").await;
    let [file, config] = ["credentials", "config"].map(|name| rig.folder().join(name));
    let write = |key: &str| {
        let until = Timestamp(Timestamp::now().0 + 600_000);
        let json = format!(
            r#"{{"Version":1,"AccessKeyId":"{key}","SecretAccessKey":"s","SessionToken":"t",
                "Expiration":"{until}"}}"#
        );
        fs::write(&file, json).unwrap();
    };
    write("OLD");
    let process = format!("[default]\ncredential_process = cat {}\n", file.display());
    fs::write(&config, process).unwrap();
    rig.variables = vec![
        ("AWS_ACCESS_KEY_ID", String::new()),
        ("AWS_SECRET_ACCESS_KEY", String::new()),
        ("AWS_CONFIG_FILE", config.display().to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", rig.folder().join("none").display().to_string()),
    ];
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.delivered_at_least(1).await;
    rig.kinesis.plan(|request| {
        let authorization = request.header("authorization").unwrap_or_default();
        authorization.contains("Credential=OLD/").then(|| refusal(400, "ExpiredTokenException"))
    });
    rig.put(EVENTS).await;
    let said = daemon.not_ready("credentials").await;
    rig.say(said.trim());
    sleep(Duration::from_secs(servers.size(1, 60))).await;
    write("NEW");
    let renewed = Instant::now();
    assert!(rig.kinesis.struck() > 0);
    rig.finish(daemon, renewed).await
}

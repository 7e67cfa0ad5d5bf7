//! A stream is read as the role that its table names, assumed with the credentials of its profile.
//!
//! The environment belongs to a process, so the reader is a child: this test binary again.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::rig::{World, wait_for};

const ENDPOINT: &str = "LOGWEIR_TEST_STS";

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

/// The reader. Does nothing when it is run as a test like any other.
#[tokio::test]
async fn child_reads_as_a_role() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    let mut world = World::new(1).await;
    world.config.endpoint = Some(endpoint.parse().unwrap());
    let role = format!("profile = 'logs'\nassume_role = {{ arn = '{ROLE}', external_id = 'x-7' }}");
    let read: logweir::kinesis::StreamConfig = toml::from_str(&role).unwrap();
    (world.config.profile, world.config.assume_role) = (read.profile, read.assume_role);
    world.credentials = None;
    let _daemon = world.start();
    // Until the parent has seen enough.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// STS and Kinesis in one: gives the credentials of any role, and refuses everything else.
async fn aws(seen: Seen, headers: HeaderMap, body: String) -> (StatusCode, String) {
    let is_sts = body.starts_with("Action=AssumeRole&");
    seen.lock().unwrap().push((headers, body));
    if !is_sts {
        return (StatusCode::BAD_REQUEST, r#"{"__type":"AccessDeniedException"}"#.to_owned());
    }
    let answer = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>\
        <SecretAccessKey>s</SecretAccessKey><SessionToken>token-of-the-role</SessionToken>\
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
        <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/reader/logweir</Arn>\
        <AssumedRoleId>A:logweir</AssumedRoleId></AssumedRoleUser></AssumeRoleResult>\
        </AssumeRoleResponse>";
    (StatusCode::OK, answer.to_owned())
}

#[tokio::test]
async fn a_stream_is_read_as_its_role_which_is_assumed_as_its_profile() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (seen, mut server) = (Seen::default(), JoinSet::new());
    let seen_by = Arc::clone(&seen);
    let app = Router::new()
        .fallback(move |headers: HeaderMap, body: String| aws(Arc::clone(&seen_by), headers, body));
    server.spawn(async move { axum::serve(listener, app).await.unwrap() });
    let folder = tempfile::tempdir().unwrap();
    let profile = "[profile logs]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n";
    std::fs::write(folder.path().join("config"), profile).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kinesis_source::roles::child_reads_as_a_role"])
        .env(ENDPOINT, &url)
        .env("AWS_ENDPOINT_URL_STS", &url)
        .env("AWS_CONFIG_FILE", folder.path().join("config"))
        .env("AWS_SHARED_CREDENTIALS_FILE", folder.path().join("none"))
        .env_remove("AWS_ACCESS_KEY_ID")
        .spawn()
        .unwrap();
    wait_for("a call to Kinesis", || seen.lock().unwrap().len() >= 2).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let seen = seen.lock().unwrap();
    let [(assume, asked), (describe, _)] = seen.first_chunk().unwrap();
    let signed = |headers: &HeaderMap| headers["authorization"].to_str().unwrap().to_owned();
    assert!(signed(assume).contains("Credential=AKIAPROFILE/"), "{assume:?}");
    for part in ["reader", "ExternalId=x-7", "RoleSessionName=logweir"] {
        assert!(asked.contains(part), "{asked} lacks {part}");
    }
    assert!(signed(describe).contains("Credential=ASIAROLE/"), "{describe:?}");
    assert_eq!(describe["x-amz-security-token"], "token-of-the-role");
}

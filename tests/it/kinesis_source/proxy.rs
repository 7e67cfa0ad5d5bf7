//! Requests go by the proxy that the environment names, and past it where the environment says.
//!
//! The environment belongs to a process, so the reader is a child: this test binary again.

use std::process::{Child, Command};

use logweir::demo::endpoint::Endpoint;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::rig::World;

const ENDPOINT: &str = "LOGWEIR_TEST_ENDPOINT";

/// The reader. Does nothing when it is run as a test like any other.
#[tokio::test]
async fn child_reads_one_record() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    let mut world = World::new(1).await;
    world.config.endpoint = Some(endpoint.parse().unwrap());
    let daemon = world.start();
    daemon.received(1).await;
    daemon.stop().await;
}

fn read_one_record(endpoint: &str, variables: &[(&str, &str)]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "kinesis_source::proxy::child_reads_one_record"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        child.env_remove(name).env_remove(name.to_uppercase());
    }
    child.env(ENDPOINT, endpoint).envs(variables.iter().copied()).spawn().unwrap()
}

async fn succeeds(mut child: Child) -> bool {
    tokio::task::spawn_blocking(move || child.wait().unwrap().success()).await.unwrap()
}

#[tokio::test]
async fn a_plain_endpoint_is_reached_by_http_proxy() {
    let kinesis = Endpoint::start(1).await.unwrap();
    kinesis.put(Endpoint::STREAM, "key", "000000").unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let child = read_one_record("http://kinesis.invalid", &[("HTTP_PROXY", &address)]);
    let kinesis_address = kinesis.url().replace("http://", "");
    let tasks = TaskTracker::new();
    let forward = async {
        loop {
            let (mut client, _) = proxy.accept().await.unwrap();
            let mut server = TcpStream::connect(&kinesis_address).await.unwrap();
            tasks.spawn(async move {
                // Ends with either side's connection.
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            });
        }
    };
    tokio::select! {
        () = forward => {}
        read = succeeds(child) => assert!(read),
    }
}

#[tokio::test]
async fn no_proxy_goes_past_the_proxy() {
    let kinesis = Endpoint::start(1).await.unwrap();
    kinesis.put(Endpoint::STREAM, "key", "000000").unwrap();
    let dead = [("HTTP_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "127.0.0.1")];
    assert!(succeeds(read_one_record(&kinesis.url(), &dead)).await);
}

#[tokio::test]
async fn a_tls_endpoint_is_asked_of_https_proxy_by_connect() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut child = read_one_record("https://kinesis.invalid", &[("HTTPS_PROXY", &address)]);
    let (mut client, _) = proxy.accept().await.unwrap();
    let mut line = vec![0; 32];
    client.read_exact(&mut line).await.unwrap();
    assert!(line.starts_with(b"CONNECT kinesis.invalid:443 HTTP"), "{line:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

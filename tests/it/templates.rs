//! A route waits for its index template, and only that route: the real binary against a scripted
//! engine.

use std::process::{Command, Stdio};

use logweir::demo::endpoint::Endpoint;
use serde_json::json;

use crate::fake_bulk::FakeBulk;

fn record(log_group: &str, first: usize) -> Vec<u8> {
    let events: Vec<_> = (first..first + 10)
        .map(|n| json!({"id": format!("{n:056}"), "timestamp": 1_764_000_000_000_u64, "message": "m"}))
        .collect();
    let envelope = json!({"messageType": "DATA_MESSAGE", "owner": "111122223333",
        "logGroup": log_group, "logStream": "s", "subscriptionFilters": ["f"], "logEvents": events});
    envelope.to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_its_template_waits_and_the_others_go_on() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeBulk::start().await);
    let endpoint = Endpoint::start(1).await.unwrap();
    for (n, log_group) in ["/app/a", "/web/b", "/app/a", "/web/b"].into_iter().enumerate() {
        endpoint.put(Endpoint::STREAM, "k", record(log_group, n * 10)).unwrap();
    }
    fake.refuse("/_index_template/logweir-app", 403);
    let route = |name: &str| {
        format!(
            "\n[[route]]\nname = \"{name}\"\nlog_group = \"/{name}/*\"\nparse = \"plain\"\n\
             to = [\"search\"]\nindex = \"{name}-%Y.%m.%d\"\n"
        )
    };
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n\n[log]\nlevel = \"error\"\n\n\
         [stream.{}]\nregion = \"{}\"\nendpoint = \"{}\"\n\n\
         [state.sqlite]\npath = \"{}\"\nephemeral = true\n\n\
         [destination.search.opensearch]\nurl = \"{}\"\n{}{}\n\
         [[route]]\nname = \"rest\"\ndiscard = true\n",
        Endpoint::STREAM,
        Endpoint::REGION,
        endpoint.url(),
        folder.path().join("state.db").display(),
        fake.url(),
        route("app"),
        route("web"),
    );
    let config = folder.path().join("logweir.toml");
    std::fs::write(&config, text).unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .args(["run", "--config"])
        .arg(&config)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let of = |fake: &FakeBulk, prefix: &str| {
        fake.documents().keys().filter(|(index, _)| index.starts_with(prefix)).count()
    };
    fake.wait_for("the events of the other route", |fake| of(fake, "web-") == 20).await;
    assert_eq!(of(&fake, "app-"), 0, "none was sent before its template");
    fake.refuse_nothing();
    fake.wait_for("the events of the route that waited", |fake| of(fake, "app-") == 20).await;
    let requests = fake.requests();
    let put = requests.iter().position(|request| {
        request.method == "PUT" && request.uri.path() == "/_index_template/logweir-app"
    });
    let sent = requests.iter().position(|request| {
        request.uri.path() == "/_bulk" && request.body.windows(5).any(|part| part == b"\"app-")
    });
    assert!(put.unwrap() < sent.unwrap());
    let id = daemon.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut daemon.stderr.take().unwrap(), &mut said).unwrap();
    for part in ["holding back events", "route app", "template_missing", "logweir setup"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    endpoint.stop().await;
}

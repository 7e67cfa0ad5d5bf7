//! Records that the Kinesis Producer Library has aggregated: real ones, and where reading goes on.

use std::process::{Child, Command};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use logweir::decode::user_records;
use logweir::demo::endpoint::Endpoint;
use md5::Digest as _;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::facts;
use crate::fake_bulk::FakeBulk;

#[test]
fn real_aggregates_come_apart_and_all_else_passes_through() {
    let Some(text) = facts::fact("kpl/kpl_vectors.json") else { return };
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut taken_apart = 0;
    for vector in &vectors {
        let payload = STANDARD.decode(vector["data_b64"].as_str().unwrap()).unwrap();
        let found = user_records(&payload);
        assert_eq!(found.is_some(), vector["aggregated"] == true, "{}", vector["name"]);
        let Some(found) = found else { continue };
        taken_apart += 1;
        let found: Vec<_> = found.into_iter().map(|data| str::from_utf8(data).unwrap()).collect();
        let expected = vector["user_records"].as_array().unwrap();
        let expected: Vec<_> =
            expected.iter().map(|record| record["data"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{}", vector["name"]);
    }
    assert_eq!((taken_apart, vectors.len()), (3, 8));
}

fn aggregate(user_records: &[String]) -> Vec<u8> {
    let field = |content: &[u8]| {
        let mut field = vec![3 << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut field);
        [field, content.to_vec()].concat()
    };
    let records = user_records.iter().map(|data| field(&field(data.as_bytes())));
    let message: Vec<u8> = records.flatten().collect();
    let digest = md5::Md5::digest(&message);
    [&[0xf3, 0x89, 0x9a, 0xc2], &*message, digest.as_slice()].concat()
}

fn envelope(n: usize) -> String {
    let event =
        json!({"id": format!("{n:056}"), "timestamp": 1_764_000_000_000_u64, "message": "m"});
    let envelope = json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "g",
        "logStream": "s", "subscriptionFilters": ["f"], "logEvents": [event]});
    envelope.to_string()
}

fn run(config: &std::path::Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_logweir"))
        .args(["run", "--config"])
        .arg(config)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .spawn()
        .unwrap()
}

fn stop(mut daemon: Child) {
    let id = daemon.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}

/// The numbers of the events that were sent since `requests` requests.
fn sent(fake: &FakeBulk, requests: usize) -> Vec<usize> {
    let mut sent = Vec::new();
    for request in fake.requests().iter().skip(requests) {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let lines = body.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ids = lines.filter_map(|line| line["create"]["_id"].as_str()?.parse::<usize>().ok());
        sent.extend(ids);
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_inside_an_aggregate() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeBulk::start().await);
    let endpoint = Endpoint::start(1).await.unwrap();
    let state = folder.path().join("state.db");
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n\n[log]\nlevel = \"error\"\n\n\
         [stream.{}]\nregion = \"{}\"\nendpoint = \"{}\"\n\n\
         [state.sqlite]\npath = \"{}\"\nephemeral = true\n\n\
         [destination.search.opensearch]\nurl = \"{}\"\n\n\
         [[route]]\nname = \"rest\"\nparse = \"plain\"\nto = [\"search\"]\nindex = \"cwl-%Y\"\n",
        Endpoint::STREAM,
        Endpoint::REGION,
        endpoint.url(),
        state.display(),
        fake.url(),
    );
    let config = folder.path().join("logweir.toml");
    std::fs::write(&config, text).unwrap();

    let five: Vec<_> = (0..5).map(envelope).collect();
    let (_, number) = endpoint.put(Endpoint::STREAM, "k", aggregate(&five)).unwrap();
    let daemon = run(&config);
    fake.wait_for("five documents", |fake| fake.count() == 5).await;
    stop(daemon);
    let connection = Connection::open(&state).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    let sql = "SELECT checkpoint FROM leases";
    let checkpoint: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(checkpoint, format!("{number}/4"), "a KCL worker reads this as all of it");

    // Where a KCL worker stopped that checkpoints user records.
    let within = format!("{number}/2");
    assert_eq!(connection.execute("UPDATE leases SET checkpoint = ?", [within]).unwrap(), 1);
    endpoint.put(Endpoint::STREAM, "k", envelope(5).into_bytes()).unwrap();
    let requests = fake.requests().len();
    let daemon = run(&config);
    fake.wait_for("the sixth document", |fake| fake.count() == 6).await;
    stop(daemon);
    let mut again = sent(&fake, requests);
    again.sort_unstable();
    assert_eq!(again, [3, 4, 5], "what was read before is not read again");
    let checkpoint: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(!checkpoint.contains('/') && checkpoint > number.to_string(), "{checkpoint}");
    endpoint.stop().await;
}

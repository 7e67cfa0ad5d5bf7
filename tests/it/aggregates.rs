//! Records that the Kinesis Producer Library has aggregated: real ones, and where reading goes on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use logweir::decode::user_records;
use serde_json::Value;

use crate::facts;
use crate::fake_bulk::FakeBulk;
use crate::kpl::aggregate;
use crate::small::{Small, envelope, route, stop};

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
    let small = Small::new(&route("app", "g", "plain")).await;
    let five: Vec<_> = (0..5).map(|n| envelope("g", n..n + 1)).collect();
    let number = small.put(aggregate(&five));
    let daemon = small.daemon();
    small.fake.wait_for("five documents", |fake| fake.count() == 5).await;
    stop(daemon).await;
    let connection = small.database("state.db");
    let sql = "SELECT checkpoint FROM leases";
    let checkpoint: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(checkpoint, format!("{number}/4"), "a KCL worker reads this as all of it");

    // Where a KCL worker stopped that checkpoints user records.
    let within = format!("{number}/2");
    let (code, said) = small
        .ask(&["leases", "reset", "--shard", "shardId-000000000000", "--to", &within, "--yes"])
        .await;
    assert_eq!(code, Some(0), "{said}");
    small.put(envelope("g", 5..6));
    let requests = small.fake.requests().len();
    let daemon = small.daemon();
    small.fake.wait_for("the sixth document", |fake| fake.count() == 6).await;
    stop(daemon).await;
    let mut again = sent(&small.fake, requests);
    again.sort_unstable();
    assert_eq!(again, [3, 4, 5], "what was read before is not read again");
    let checkpoint: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(!checkpoint.contains('/') && checkpoint > number, "{checkpoint}");
}

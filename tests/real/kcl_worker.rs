//! A checkpoint of logweir's is one that a worker of the Kinesis Client Library goes on from.

use serde_json::Value;

use crate::envelopes::{LogEvent, record};
use crate::kpl::aggregate;
use crate::rig::{Rig, route, stream};
use crate::servers::{Kinesis, UserRecord, read_by_kcl};

const NAME: &str = "kcl";
const SHARD: &str = "shardId-000000000000";

#[tokio::test]
async fn a_kcl_worker_goes_on_where_logweir_stopped() {
    let Some(kinesis) = Kinesis::start().await else { return };
    kinesis.create_stream(NAME, 1).await;
    let routes = route(NAME, "parse = \"plain\"", "kcl-%Y");
    let rig = Rig::with_documents(&stream(&kinesis, NAME, NAME), &routes);
    let one = |number| record(NAME, &[LogEvent::new(number, 1_764_000_000_000, "line")]);
    let five: Vec<_> = (1..6).map(one).collect();

    kinesis.put_records(NAME, &[("k", &one(0)), ("k", &aggregate(&five))]).await;
    let daemon = rig.start().await;
    daemon.settled(6).await;
    daemon.stop().await;
    let (number, within) = checkpoint(&rig);
    assert_eq!(within, Some(4), "of the last user record");

    let next = kinesis.put_records(NAME, &[("k", &one(6))]).await.remove(0).sequence_number;
    let sixth = UserRecord { sequence_number: next, sub_sequence_number: 0, data: one(6) };
    let read =
        async |at: (&str, u64), records| read_by_kcl(&kinesis, (NAME, SHARD), at, records).await;
    // What `leases reset --to NUMBER/2` means to logweir it means to the library.
    let (after_all, within) = tokio::join!(read((&number, 4), 1), read((&number, 2), 3));
    let (Some(after_all), Some(within)) = (after_all, within) else { return };
    assert_eq!(
        after_all,
        std::slice::from_ref(&sixth),
        "nothing of the aggregate again, and nothing left out"
    );
    let of_aggregate = |k: u64| UserRecord {
        sequence_number: number.clone(),
        sub_sequence_number: k,
        data: five[k as usize].clone(),
    };
    assert_eq!(within, [of_aggregate(3), of_aggregate(4), sixth]);

    let daemon = rig.start().await;
    daemon.settled(1).await;
    daemon.stop().await;
    let (number, within) = checkpoint(&rig);
    assert_eq!(within, None, "the last record is no aggregate");
    kinesis.put_records(NAME, &[("k", &one(7))]).await;
    let Some(found) = read((&number, 0), 1).await else { return };
    let data: Vec<_> = found.into_iter().map(|record| record.data).collect();
    assert_eq!(data, [one(7)]);
}

/// The sequence number, and the user record where it stands inside of one.
fn checkpoint(rig: &Rig) -> (String, Option<u64>) {
    let listed = rig.run(&["leases", "list", "--json"]);
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let checkpoint = listed["leases"][0]["checkpoint"].as_str().unwrap();
    match checkpoint.split_once('/') {
        Some((number, within)) => (number.to_owned(), Some(within.parse().unwrap())),
        None => (checkpoint.to_owned(), None),
    }
}

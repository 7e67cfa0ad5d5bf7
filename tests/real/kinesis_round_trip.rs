//! The AWS SDK over plain HTTP to a Kinesis that is not ours: what is put comes back, in order.

use std::collections::BTreeSet;

use aws_sdk_kinesis::types::{Record, ShardIteratorType};

use crate::servers::Kinesis;

/// More than two requests of `PutRecords`.
const RECORDS: usize = 1_200;

#[tokio::test]
async fn records_come_back_in_order_with_numbers_beyond_128_bits() {
    let Some(kinesis) = Kinesis::start().await else { return };
    assert!(kinesis.url().starts_with("http://127.0.0.1:"), "{}", kinesis.url());
    let stream = "round-trip";
    kinesis.create_stream(stream, 2).await;
    let texts: Vec<_> = (0..RECORDS).map(|n| (format!("key-{n}"), format!("{n:05}"))).collect();
    let records: Vec<_> = texts.iter().map(|(key, data)| (key.as_str(), data.as_bytes())).collect();
    kinesis.put_records(stream, &records).await;

    let shards = kinesis.client().list_shards().stream_name(stream).send().await.unwrap();
    let mut seen = BTreeSet::new();
    for shard in shards.shards() {
        let read = read_shard(&kinesis, stream, shard.shard_id()).await;
        assert!(!read.is_empty(), "{} got nothing", shard.shard_id());
        assert!(read.iter().all(|record| record.sequence_number().len() > 50), "{:?}", read[0]);
        // Of one length, so text compares as the numbers do.
        assert!(read.is_sorted_by(|a, b| a.sequence_number() < b.sequence_number()));
        assert!(read.is_sorted_by(|a, b| a.data().as_ref() < b.data().as_ref()));
        seen.extend(read.into_iter().map(|record| record.data.into_inner()));
    }
    assert_eq!(shards.shards().len(), 2);
    assert!(seen.iter().map(Vec::as_slice).eq(records.iter().map(|(_, data)| *data)));
}

/// Everything in a shard, page by page until the end is reached.
async fn read_shard(kinesis: &Kinesis, stream: &str, shard: &str) -> Vec<Record> {
    let first = kinesis.client().get_shard_iterator().stream_name(stream).shard_id(shard);
    let first = first.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    let mut iterator = first.shard_iterator;
    let mut read = Vec::new();
    while let Some(from) = iterator {
        let page = kinesis.client().get_records().shard_iterator(from).limit(250);
        let page = page.send().await.unwrap();
        // An empty page is the tip here; a real Kinesis may send one in the middle.
        iterator = page.next_shard_iterator.filter(|_| !page.records.is_empty());
        read.extend(page.records);
    }
    read
}

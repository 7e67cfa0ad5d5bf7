//! The endpoint as the real SDK client sees it.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::BehaviorVersion;
use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::config::Region;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_sdk_kinesis::types::ShardFilter;
use aws_sdk_kinesis::types::ShardFilterType;
use aws_sdk_kinesis::types::ShardIteratorType;

use tokio::time::Instant;

use super::*;
use crate::event::Moment;

const STREAM: &str = Endpoint::STREAM;

async fn start(shards: u32) -> (Endpoint, Client) {
    let endpoint = Endpoint::start(shards).await.unwrap();
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(Endpoint::REGION))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .endpoint_url(endpoint.url())
        .retry_config(RetryConfig::disabled())
        .build();
    (endpoint, Client::from_conf(config))
}

async fn iterator(client: &Client, shard: &ShardId, kind: ShardIteratorType) -> String {
    let asked = client.get_shard_iterator().stream_name(STREAM).shard_id(shard.as_str());
    asked.shard_iterator_type(kind).send().await.unwrap().shard_iterator.unwrap()
}

async fn read(client: &Client, iterator: &str) -> GetRecordsOutput {
    client.get_records().shard_iterator(iterator).send().await.unwrap()
}

/// The error code of a read that is refused.
async fn refusal(client: &Client, iterator: &str) -> String {
    let error = client.get_records().shard_iterator(iterator).send().await.unwrap_err();
    error.code().unwrap_or("no code").to_owned()
}

fn texts(page: &GetRecordsOutput) -> Vec<&str> {
    page.records().iter().map(|record| str::from_utf8(record.data().as_ref()).unwrap()).collect()
}

fn only_shard(endpoint: &Endpoint) -> ShardId {
    endpoint.open_shards(STREAM).unwrap().remove(0)
}

#[tokio::test]
async fn the_sdk_sees_a_stream_with_its_arn_creation_and_shards() {
    let (endpoint, client) = start(3).await;
    let asked = client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let summary = asked.stream_description_summary().unwrap();
    assert_eq!(summary.stream_arn(), "arn:aws:kinesis:us-east-1:111122223333:stream/demo");
    assert_eq!(summary.stream_status().as_str(), "ACTIVE");
    assert_eq!((summary.open_shard_count(), summary.retention_period_hours()), (3, 24));
    let by_arn = client.describe_stream_summary().stream_arn(Endpoint::arn(STREAM)).send().await;
    let first = *summary.stream_creation_timestamp();
    assert_eq!(by_arn.unwrap().stream_description_summary(), Some(summary));

    endpoint.delete_stream(STREAM).unwrap();
    let error = client.list_shards().stream_name(STREAM).send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
    client.create_stream().stream_name(STREAM).shard_count(1).send().await.unwrap();
    let again = client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let again = *again.stream_description_summary().unwrap().stream_creation_timestamp();
    assert!(again > first, "a stream made again is told by its creation time");
}

#[tokio::test]
async fn shards_are_listed_in_pages_that_cover_all_hash_keys() {
    let (endpoint, client) = start(5).await;
    let mut ranges = Vec::new();
    let mut page = client.list_shards().stream_name(STREAM).max_results(2).send().await.unwrap();
    loop {
        ranges.extend(page.shards().iter().map(|shard| shard.hash_key_range().unwrap().clone()));
        let Some(token) = page.next_token() else { break };
        let next = client.list_shards().next_token(token).max_results(2);
        page = next.send().await.unwrap();
    }
    assert_eq!(ranges.len(), 5);
    let number = |text: &str| text.parse::<u128>().unwrap();
    assert_eq!(number(ranges[0].starting_hash_key()), 0);
    assert_eq!(number(ranges[4].ending_hash_key()), u128::MAX);
    for pair in ranges.windows(2) {
        let end = number(pair[0].ending_hash_key());
        assert_eq!(end + 1, number(pair[1].starting_hash_key()));
    }
    assert_eq!(endpoint.requests(Operation::ListShards), 3);
}

#[tokio::test]
async fn what_is_put_is_read_in_order_with_rising_56_digit_numbers() {
    let (endpoint, client) = start(1).await;
    let put = client.put_record().stream_name(STREAM).partition_key("k");
    let first = put.data(Blob::new("zero")).send().await.unwrap();
    let entry = |text: &str| {
        let entry = PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new(text));
        entry.build().unwrap()
    };
    let put = client.put_records().stream_arn(Endpoint::arn(STREAM));
    let put = put.records(entry("one")).records(entry("two")).send().await.unwrap();
    assert_eq!(put.failed_record_count(), Some(0));
    endpoint.put(STREAM, "other", "three").unwrap();

    let shard = only_shard(&endpoint);
    let start = iterator(&client, &shard, ShardIteratorType::TrimHorizon).await;
    let page = read(&client, &start).await;
    assert_eq!(texts(&page), ["zero", "one", "two", "three"]);
    let numbers: Vec<_> = page.records().iter().map(|record| record.sequence_number()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|n| n.len() == 56));
    assert_eq!(numbers[0], first.sequence_number());
    assert_eq!(page.records()[3].partition_key(), Some("other"));
    assert!(page.records()[0].approximate_arrival_timestamp().is_some());
    assert_eq!(page.millis_behind_latest(), Some(0));
    let page = read(&client, page.next_shard_iterator().unwrap()).await;
    assert!(page.records().is_empty() && page.next_shard_iterator().is_some());
}

#[tokio::test]
async fn every_kind_of_iterator_starts_where_it_says() {
    let (endpoint, client) = start(1).await;
    let at = |seconds: i64| Timestamp(1_700_000_000_000 + seconds * 1000);
    let (shard, _) = endpoint.put_at(STREAM, "k", "a", at(0)).unwrap();
    let (_, number) = endpoint.put_at(STREAM, "k", "b", at(10)).unwrap();
    endpoint.put_at(STREAM, "k", "c", at(20)).unwrap();

    let asked = || client.get_shard_iterator().stream_name(STREAM).shard_id(shard.as_str());
    let from = asked().starting_sequence_number(number.as_str());
    let by_time = |seconds| asked().timestamp(DateTime::from_millis(at(seconds).0));
    let cases = [
        (asked(), ShardIteratorType::TrimHorizon, vec!["a", "b", "c"]),
        (from.clone(), ShardIteratorType::AtSequenceNumber, vec!["b", "c"]),
        (from, ShardIteratorType::AfterSequenceNumber, vec!["c"]),
        (by_time(1), ShardIteratorType::AtTimestamp, vec!["b", "c"]),
        (by_time(60), ShardIteratorType::AtTimestamp, vec!["new"]),
        (asked(), ShardIteratorType::Latest, vec!["new"]),
    ];
    let mut iterators = Vec::new();
    for (asked, kind, expected) in cases {
        let found = asked.shard_iterator_type(kind).send().await.unwrap();
        iterators.push((found.shard_iterator.unwrap(), expected));
    }
    endpoint.put_at(STREAM, "k", "new", at(60)).unwrap();
    for (iterator, expected) in iterators {
        let page = read(&client, &iterator).await;
        let found = texts(&page);
        assert!(found.starts_with(&expected) && found.ends_with(&["new"]), "{found:?}");
    }
}

#[tokio::test]
async fn a_page_keeps_to_its_limit_and_to_10_mib_and_says_how_far_behind_it_is() {
    let (endpoint, client) = start(1).await;
    let shard = only_shard(&endpoint);
    let old = Timestamp(Timestamp::now().0 - 60_000);
    for _ in 0..3 {
        endpoint.put_at(STREAM, "k", vec![b'x'; 4 * 1024 * 1024], old).unwrap();
    }
    let start = iterator(&client, &shard, ShardIteratorType::TrimHorizon).await;
    let limited = client.get_records().shard_iterator(&start).limit(1).send().await.unwrap();
    assert_eq!(limited.records().len(), 1);
    let page = read(&client, &start).await;
    assert_eq!(page.records().len(), 2);
    let behind = page.millis_behind_latest().unwrap();
    assert!((60_000..120_000).contains(&behind), "{behind}");
    let page = read(&client, page.next_shard_iterator().unwrap()).await;
    assert_eq!((page.records().len(), page.millis_behind_latest()), (1, Some(0)));
    assert!(endpoint.put(STREAM, "k", vec![0; 11 * 1024 * 1024]).is_err());
}

#[tokio::test]
async fn a_split_closes_the_parent_and_its_end_names_the_children() {
    let (endpoint, client) = start(1).await;
    let parent = only_shard(&endpoint);
    endpoint.put(STREAM, "k", "before").unwrap();
    let before = iterator(&client, &parent, ShardIteratorType::TrimHorizon).await;
    let split = client.split_shard().stream_name(STREAM).shard_to_split(parent.as_str());
    split.new_starting_hash_key((u128::MAX / 4).to_string()).send().await.unwrap();
    let children = endpoint.open_shards(STREAM).unwrap();

    let page = read(&client, &before).await;
    assert_eq!(texts(&page), ["before"]);
    assert_eq!(page.next_shard_iterator(), None);
    let named: Vec<_> = page.child_shards().iter().map(|child| child.shard_id()).collect();
    assert_eq!(named, children.iter().map(ShardId::as_str).collect::<Vec<_>>());
    assert_eq!(page.child_shards()[0].parent_shards(), [parent.as_str()]);

    let listed = client.list_shards().stream_name(STREAM).send().await.unwrap();
    let [old, low, high] = listed.shards() else { panic!("{listed:?}") };
    let last = page.records()[0].sequence_number();
    let ended = old.sequence_number_range().unwrap().ending_sequence_number().unwrap();
    assert!(ended > last && ended.len() == 56);
    assert_eq!(low.parent_shard_id(), Some(parent.as_str()));
    let opened = high.sequence_number_range().unwrap();
    assert!(opened.starting_sequence_number() > ended);
    assert_eq!(opened.ending_sequence_number(), None);
    assert!(endpoint.split(STREAM, &parent).is_err(), "a closed shard");
    assert!(endpoint.put_in(STREAM, &parent, "late").is_err());
}

#[tokio::test]
async fn a_merged_shard_has_two_parents() {
    let (endpoint, client) = start(3).await;
    let shards = endpoint.open_shards(STREAM).unwrap();
    assert!(endpoint.merge(STREAM, &shards[0], &shards[2]).is_err(), "no neighbours");
    let merge = client.merge_shards().stream_name(STREAM).shard_to_merge(shards[1].as_str());
    merge.adjacent_shard_to_merge(shards[0].as_str()).send().await.unwrap();
    let listed = client.list_shards().stream_name(STREAM).send().await.unwrap();
    let child = listed.shards().last().unwrap();
    assert_eq!(child.parent_shard_id(), Some(shards[1].as_str()));
    assert_eq!(child.adjacent_parent_shard_id(), Some(shards[0].as_str()));
}

#[tokio::test]
async fn shard_filters_let_through_what_they_name() {
    let (endpoint, client) = start(1).await;
    let parent = only_shard(&endpoint);
    let created = client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let created = *created.stream_description_summary().unwrap().stream_creation_timestamp();
    let [low, high] = endpoint.split(STREAM, &parent).unwrap();
    let later = DateTime::from_millis(Timestamp::now().0 + 60_000);
    let kind = |kind| ShardFilter::builder().r#type(kind);
    let cases = [
        (kind(ShardFilterType::FromTrimHorizon), vec![&parent, &low, &high]),
        (kind(ShardFilterType::AtTrimHorizon), vec![&parent]),
        (kind(ShardFilterType::AtLatest), vec![&low, &high]),
        (kind(ShardFilterType::AfterShardId).shard_id(low.as_str()), vec![&high]),
        (kind(ShardFilterType::AtTimestamp).timestamp(created), vec![&parent]),
        (kind(ShardFilterType::FromTimestamp).timestamp(created), vec![&parent, &low, &high]),
        (kind(ShardFilterType::FromTimestamp).timestamp(later), vec![&low, &high]),
    ];
    for (filter, expected) in cases {
        let filter = filter.build().unwrap();
        let named = format!("{filter:?}");
        let listed = client.list_shards().stream_name(STREAM).shard_filter(filter);
        let listed = listed.send().await.unwrap();
        let found: Vec<_> = listed.shards().iter().map(|shard| shard.shard_id()).collect();
        let expected: Vec<_> = expected.into_iter().map(ShardId::as_str).collect();
        assert_eq!(found, expected, "{named}");
    }
}

#[tokio::test]
async fn numbers_of_another_stream_are_refused_and_trimmed_ones_go_on_at_the_horizon() {
    let (endpoint, client) = start(1).await;
    let shard = only_shard(&endpoint);
    let (_, first) = endpoint.put(STREAM, "k", "a").unwrap();
    for text in ["b", "c", "d"] {
        endpoint.put(STREAM, "k", text).unwrap();
    }
    endpoint.trim(STREAM, &shard, 2).unwrap();
    let after = |number: &str| {
        let asked = client.get_shard_iterator().stream_name(STREAM).shard_id(shard.as_str());
        let kind = ShardIteratorType::AfterSequenceNumber;
        asked.shard_iterator_type(kind).starting_sequence_number(number).send()
    };
    let page = after(first.as_str()).await.unwrap();
    assert_eq!(texts(&read(&client, page.shard_iterator().unwrap()).await), ["c", "d"]);

    endpoint.delete_stream(STREAM).unwrap();
    endpoint.create_stream(STREAM, 1).unwrap();
    let old = refusal(&client, page.shard_iterator().unwrap()).await;
    assert_eq!(old, "ResourceNotFoundException");
    let error = after(first.as_str()).await.unwrap_err().into_service_error();
    assert!(error.is_invalid_argument_exception());
    endpoint.forget_shard(STREAM, &shard).unwrap();
    let error = after(first.as_str()).await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception());
}

#[tokio::test]
async fn planned_refusals_come_in_order_and_then_the_data() {
    let (endpoint, client) = start(1).await;
    let shard = only_shard(&endpoint);
    endpoint.put(STREAM, "k", "a").unwrap();
    let start = iterator(&client, &shard, ShardIteratorType::TrimHorizon).await;
    endpoint.faults().next(2, Fault::Throttled);
    endpoint.faults().next(1, Fault::InternalFailure);
    endpoint.faults().next(1, Fault::ExpiredIterator);
    endpoint.faults().next(1, Fault::LimitExceeded);
    for code in [
        "ProvisionedThroughputExceededException",
        "ProvisionedThroughputExceededException",
        "InternalFailure",
        "ExpiredIteratorException",
        "LimitExceededException",
    ] {
        assert_eq!(refusal(&client, &start).await, code);
    }
    assert_eq!(endpoint.faults().left(), 0);
    assert_eq!(texts(&read(&client, &start).await), ["a"]);
    assert_eq!(endpoint.requests(Operation::GetRecords), 6);
    assert_eq!(endpoint.busiest_second(STREAM, &shard), 6);
}

#[tokio::test]
async fn an_empty_page_leaves_the_data_where_it_is() {
    let (endpoint, client) = start(1).await;
    let shard = only_shard(&endpoint);
    endpoint.put(STREAM, "k", "a").unwrap();
    endpoint.split(STREAM, &shard).unwrap();
    let start = iterator(&client, &shard, ShardIteratorType::TrimHorizon).await;
    endpoint.faults().next(1, Fault::EmptyPage);
    let page = read(&client, &start).await;
    assert!(page.records().is_empty() && page.millis_behind_latest() > Some(0));
    assert_eq!(texts(&read(&client, page.next_shard_iterator().unwrap()).await), ["a"]);
}

#[tokio::test]
async fn a_connection_dropped_in_the_body_is_no_answer_of_the_service() {
    let (endpoint, client) = start(1).await;
    let shard = only_shard(&endpoint);
    endpoint.put(STREAM, "k", "a".repeat(100_000)).unwrap();
    let start = iterator(&client, &shard, ShardIteratorType::TrimHorizon).await;
    endpoint.faults().next(1, Fault::ConnectionDropped);
    let error = client.get_records().shard_iterator(&start).send().await.unwrap_err();
    assert!(!matches!(error, SdkError::ServiceError(_)), "{error:?}");
    assert_eq!(read(&client, &start).await.records().len(), 1);
}

#[tokio::test]
async fn a_slow_answer_is_late_and_true() {
    let (endpoint, client) = start(1).await;
    let shard = only_shard(&endpoint);
    endpoint.put(STREAM, "k", "a").unwrap();
    let start = iterator(&client, &shard, ShardIteratorType::TrimHorizon).await;
    endpoint.faults().next(1, Fault::Slow(Duration::from_millis(200)));
    let asked = Instant::now();
    assert_eq!(texts(&read(&client, &start).await), ["a"]);
    assert!(asked.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_fault_may_be_for_one_shard_or_for_another_operation() {
    let (endpoint, client) = start(2).await;
    let shards = endpoint.open_shards(STREAM).unwrap();
    let one = iterator(&client, &shards[0], ShardIteratorType::TrimHorizon).await;
    let other = iterator(&client, &shards[1], ShardIteratorType::TrimHorizon).await;
    endpoint.faults().next_in(STREAM, &shards[1], 1, Fault::Throttled);
    endpoint.faults().next_of(Operation::ListShards, 1, Fault::LimitExceeded);
    read(&client, &one).await;
    assert_eq!(refusal(&client, &other).await, "ProvisionedThroughputExceededException");
    let error = client.list_shards().stream_name(STREAM).send().await.unwrap_err();
    assert!(error.into_service_error().is_limit_exceeded_exception());
    read(&client, &other).await;
}

#[tokio::test]
async fn expired_iterators_stay_expired_and_new_ones_work() {
    let (endpoint, client) = start(1).await;
    let shard = only_shard(&endpoint);
    let old = iterator(&client, &shard, ShardIteratorType::TrimHorizon).await;
    endpoint.faults().expire_iterators();
    assert_eq!(refusal(&client, &old).await, "ExpiredIteratorException");
    assert_eq!(refusal(&client, &old).await, "ExpiredIteratorException");
    let new = iterator(&client, &shard, ShardIteratorType::TrimHorizon).await;
    read(&client, &new).await;
    assert_eq!(refusal(&client, "bogus").await, "InvalidArgumentException");
}

#[test]
fn an_iterator_lives_five_minutes() {
    let issued = token::Issue::new(Moment(Duration::from_secs(1)), 0);
    assert!(!issued.is_over(Moment(Duration::from_secs(301)), 0));
    assert!(issued.is_over(Moment(Duration::from_secs(302)), 0));
}

#[tokio::test]
async fn stopping_waits_for_no_idle_connection_and_closes_the_port() {
    let (endpoint, client) = start(1).await;
    client.list_shards().stream_name(STREAM).send().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), endpoint.stop()).await.unwrap();
    assert!(client.list_shards().stream_name(STREAM).send().await.is_err());
}

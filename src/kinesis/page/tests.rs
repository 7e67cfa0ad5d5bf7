//! Pages past the SDK and by it are the same, odd ones too.

use std::convert::Infallible;

use aws_sdk_kinesis::Client as SdkClient;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::http_client_fn;
use aws_smithy_runtime_api::http::StatusCode;
use futures_util::stream::{self, StreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use prometheus::Registry;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::*;
use crate::clock::Clock;
use crate::event::{ShardId, StreamName};
use crate::kinesis::KinesisMetrics;
use crate::kinesis::call_error::{CallError, FailureReason};
use crate::kinesis::status::SourceHandle;
use crate::lease::Position;
use crate::memory::FetchBudget;

/// Answers every request alike, in pieces of odd length.
#[derive(Clone, Debug)]
struct Canned {
    text: Vec<u8>,
    length: Option<usize>,
    /// Whether nothing follows the text, not even its end.
    stalls: bool,
}

impl HttpConnector for Canned {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let piece = |piece: &[u8]| Ok::<_, Infallible>(Frame::data(piece.to_vec().into()));
        let pieces = stream::iter(self.text.chunks(7).map(piece).collect::<Vec<_>>());
        let body = if self.stalls {
            SdkBody::from_body_1_x(StreamBody::new(pieces.chain(stream::pending())))
        } else {
            SdkBody::from_body_1_x(StreamBody::new(pieces))
        };
        let mut response = HttpResponse::new(StatusCode::try_from(200).unwrap(), body);
        if let Some(length) = self.length {
            response.headers_mut().insert("content-length", length.to_string());
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl Canned {
    fn whole(text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        Self { length: Some(text.len()), text, stalls: false }
    }

    fn client(self) -> SharedHttpClient {
        http_client_fn(move |_, _| SharedHttpConnector::new(self.clone()))
    }
}

fn pages() -> Pages {
    let metrics = KinesisMetrics::new(&Registry::new()).unwrap();
    let handle = SourceHandle::new(StreamName::new("logs"), Clock::start(), metrics);
    let report = handle.shard(ShardId::new("shardId-7"), &Position::TrimHorizon);
    let admission = Admission::new(FetchBudget::new(64 << 20).shard(), report);
    Pages::new(admission, Buffers::default())
}

/// What the SDK makes of the answers of this client.
async fn ask(http: SharedHttpClient) -> Result<Answer, FailureReason> {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(http)
        .build();
    let call = SdkClient::from_conf(config).get_records().shard_iterator("there").limit(1);
    let answer = call.send().await;
    answer.map(Answer::from).map_err(|error| CallError::new("GetRecords", error).reason)
}

/// The same past the SDK, and whether it saw nothing of it.
async fn ask_past(canned: Canned) -> (Result<Answer, FailureReason>, bool) {
    let pages = pages();
    let answer = ask(pages.around(canned.client())).await;
    let (_, taken) = pages.take();
    let is_past = taken.is_some();
    (answer.map(|answer| taken.unwrap_or(answer)), is_past)
}

/// What can be compared. Arrivals that no answer tells are the time of reading it.
fn shown(answer: Result<Answer, FailureReason>) -> String {
    let answer = answer.map(|Answer { records, next, behind }| {
        let record = |FetchedRecord { payload, sequence_number, arrival }: FetchedRecord| {
            let is_now = Timestamp::now().0.abs_diff(arrival.0) < 60_000;
            (payload, sequence_number, if is_now { Timestamp(0) } else { arrival })
        };
        (records.into_iter().map(record).collect::<Vec<_>>(), next, behind)
    });
    format!("{answer:?}")
}

fn page(records: &[Value]) -> Value {
    json!({"MillisBehindLatest": 120, "NextShardIterator": "AAA/b+c==", "Records": records})
}

fn record(payload: &[u8]) -> Value {
    json!({
        "ApproximateArrivalTimestamp": 1_764_010_000.5,
        "Data": base64::encode(payload),
        "EncryptionType": "KMS",
        "PartitionKey": "caf\u{e9} \"1\"",
        "SequenceNumber": "49650000000000000000000000000000000000000000000000000007",
    })
}

/// One thing about a page that is not as Kinesis writes it, or not always. Nothing wrong is in what the
/// daemon has no use for: the SDK refuses that, and past it nobody looks.
fn oddity() -> impl Strategy<Value = (Option<&'static str>, &'static str, Value)> {
    let times =
        [json!(0), json!(1_764_010_000), json!(-1.5), json!(1e300), json!("2025-11-24T20:00:00Z")];
    let data =
        ["", "=", "QQ", "QQ==", "QR==", "Q Q=", "QQ==\n", "-_-_", "é"].map(|data| json!(data));
    let numbers = ["0", "0042", "", "\"", "é"].map(|number| json!(number));
    let iterators = [json!("a\"b"), json!(""), json!(7)];
    let behind = [json!(0), json!(-3), json!(1.5), json!(1e20), json!("7"), json!(true)];
    let of = |place, key, values: Vec<Value>| {
        let odd = values.into_iter().chain([Value::Null, json!([]), json!({"a": [1, "}"]})]);
        odd.map(|value| (place, key, value)).collect::<Vec<_>>()
    };
    let all = [
        of(Some("in a record"), "ApproximateArrivalTimestamp", times.to_vec()),
        of(Some("in a record"), "Data", data.to_vec()),
        of(Some("in a record"), "SequenceNumber", numbers.to_vec()),
        of(Some("in a record"), "SomethingNew", vec![json!("\\")]),
        of(None, "NextShardIterator", iterators.to_vec()),
        of(None, "MillisBehindLatest", behind.to_vec()),
        of(None, "Records", vec![json!("none"), json!([null]), json!([7])]),
        vec![(None, "ChildShards", json!([{"ShardId": "a", "ParentShards": ["b"]}]))],
    ];
    prop::sample::select(all.concat())
}

/// What becomes of the text of a page.
fn damage() -> impl Strategy<Value = fn(&mut Vec<u8>)> {
    let all: [fn(&mut Vec<u8>); 8] = [
        |_| {},
        |text| text.truncate(text.len() / 2),
        |text| text.clear(),
        |text| text.extend_from_slice(b" \n"),
        |text| text.extend_from_slice(b"{}"),
        |text| text.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        |text| text.iter_mut().filter(|byte| **byte == b'7').for_each(|byte| *byte = 0xff),
        // As some writers of JSON escape what need not be.
        |text| *text = String::from_utf8(text.clone()).unwrap().replace('/', "\\/").into(),
    ];
    prop::sample::select(all.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_page_is_the_same_past_the_sdk_as_by_it(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        oddities in prop::collection::vec(oddity(), 0..3),
        time in any::<u32>(),
        damage in damage(),
    ) {
        let mut records: Vec<Value> = payloads.iter().map(|payload| record(payload)).collect();
        for record in &mut records {
            record["ApproximateArrivalTimestamp"] = json!(f64::from(time) / 1e3);
        }
        let mut made = page(&[]);
        for (place, key, value) in oddities {
            match place {
                Some(_) if records.is_empty() => {}
                Some(_) => records[0][key] = value,
                None => made[key] = value,
            }
        }
        if made["Records"] == json!([]) {
            made["Records"] = records.into();
        }
        let mut text = made.to_string().into_bytes();
        damage(&mut text);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (by_sdk, (past, _)) = runtime.block_on(async {
            let canned = Canned::whole(text.clone());
            (ask(canned.clone().client()).await, ask_past(canned).await)
        });
        prop_assert_eq!(shown(by_sdk), shown(past), "{}", String::from_utf8_lossy(&text));
    }
}

#[tokio::test]
async fn the_sdk_sees_no_record_of_an_ordinary_page() {
    let text = page(&[record(b"one"), record(b"two")]).to_string();
    for length in [Some(text.len()), None, Some(7), Some(usize::MAX)] {
        let canned = Canned { length, ..Canned::whole(text.clone()) };
        let (answer, is_past) = ask_past(canned).await;
        assert!(is_past);
        let Answer { records, next, behind } = answer.unwrap();
        let payloads: Vec<_> = records.iter().map(|record| &record.payload[..]).collect();
        assert_eq!(payloads, [b"one", b"two"]);
        assert_eq!(records[0].arrival, Timestamp(1_764_010_000_500));
        assert_eq!(next.as_deref(), Some("AAA/b+c=="));
        assert_eq!(behind, Duration::from_millis(120));
    }
}

#[tokio::test]
async fn bytes_are_taken_for_a_page_and_go_with_it() {
    let text = page(&[record(&[7; 3_000])]).to_string();
    let pages = pages();
    ask(pages.around(Canned::whole(text.clone()).client())).await.unwrap();
    let (permit, _) = pages.take();
    assert_eq!(permit.bytes(), text.len() + text.len() / 4 * 3);
    assert_eq!(pages.take().0.bytes(), 0);
}

#[tokio::test]
async fn the_memory_of_a_usual_page_is_used_again_and_no_one_sees_the_page_before() {
    let pages = pages();
    let long = page(&[record(&[7; 3_000])]).to_string();
    let short = page(&[record(b"one")]).to_string();
    let large = page(&[record(&vec![7; Buffers::LARGEST_KEPT])]).to_string();
    for (text, kept) in
        [(&long, long.len()), (&short, long.len()), (&large, 0), (&short, short.len())]
    {
        ask(pages.around(Canned::whole(text.clone()).client())).await.unwrap();
        let (_, taken) = pages.take();
        let by_sdk = ask(Canned::whole(text.clone()).client()).await;
        assert_eq!(shown(taken.ok_or(FailureReason::Refused)), shown(by_sdk));
        let capacities: Vec<_> = pages.buffers.kept().iter().map(Vec::capacity).collect();
        assert_eq!(capacities.iter().sum::<usize>(), kept, "{capacities:?}");
    }
}

#[tokio::test]
async fn debug_output_tells_nothing_of_what_was_logged() {
    let pages = pages();
    let text = page(&[record(b"a secret")]).to_string();
    ask(pages.around(Canned::whole(text).client())).await.unwrap();
    let shown = format!("{pages:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(format!("{:?}", pages.take().1).contains("secret"), "it was there to be shown");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_brings_nothing_more_is_given_up() {
    let text = page(&[record(b"one")]).to_string();
    let canned = Canned { stalls: true, ..Canned::whole(text) };
    let begun = tokio::time::Instant::now();
    let (answer, _) = ask_past(canned).await;
    assert_eq!(answer.unwrap_err(), FailureReason::Timeout);
    assert_eq!(begun.elapsed().as_secs(), STALL_GRACE.as_secs());
}

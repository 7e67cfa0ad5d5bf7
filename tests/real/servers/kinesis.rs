//! A Kinesis that is not ours: kinesalite, with sequence numbers like the real ones.
//!
//! It was chosen for speed (10 MB/s in, 18 out). It knows no stream ARNs, no consumers and no
//! `ChildShards`, and `ListShards` ignores its filter: tests of those need another server.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::{Kind, Server, skip};

const KIND: Kind = Kind { name: "kinesis", listening: "listening on " };

/// Kinesis takes at most this many records, and 5 MiB, in one request.
const MAX_RECORDS: usize = 500;

static SHARED: OnceCell<Option<Arc<Server>>> = OnceCell::const_new();

/// A Kinesis endpoint in memory.
pub(crate) struct Kinesis {
    server: Arc<Server>,
    client: Client,
}

impl Kinesis {
    /// The one that all tests of this binary share; `None` (said loudly) when it cannot be had.
    pub(crate) async fn start() -> Option<Self> {
        let server = SHARED.get_or_init(|| async { Server::start(KIND).await.map(Arc::new) });
        let Some(server) = server.await.clone() else {
            skip(KIND.name);
            return None;
        };
        let client = client(&format!("http://{}", server.address));
        Some(Self { server, client })
    }

    /// Without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// An SDK client of this endpoint, with credentials that are nobody's.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns when the stream is active.
    pub(crate) async fn create_stream(&self, name: &str, shards: i32) {
        let create = self.client.create_stream().stream_name(name).shard_count(shards);
        create.send().await.expect("could not create the stream");
        loop {
            let summary = self.client.describe_stream_summary().stream_name(name).send().await;
            let summary = summary.expect("could not describe the stream");
            let summary = summary.stream_description_summary().unwrap();
            if *summary.stream_status() == StreamStatus::Active {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Puts `(partition key, data)` in this order; a request holds at most 500 of them, and must
    /// stay under 5 MiB.
    pub(crate) async fn put_records(&self, stream: &str, records: &[(&str, &[u8])]) {
        for some in records.chunks(MAX_RECORDS) {
            let entries = some.iter().map(|(key, data)| {
                let entry = PutRecordsRequestEntry::builder().partition_key(*key);
                entry.data(Blob::new(*data)).build().unwrap()
            });
            let put = self.client.put_records().stream_name(stream);
            let put = put.set_records(Some(entries.collect())).send().await;
            let refused = put.expect("could not put records").failed_record_count();
            assert_eq!(refused.unwrap_or(0), 0, "records were refused");
        }
    }
}

fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("nobody", "nothing", None, None, "tests"))
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

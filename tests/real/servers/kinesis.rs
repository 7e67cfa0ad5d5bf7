//! Kinesis endpoints that are not ours.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::{Kind, Server, skip};

/// Kinesis takes at most this many records, and 5 MiB, in one request.
const MAX_RECORDS: usize = 500;

/// Where a test does not ask for another.
const REGION: &str = "us-east-1";

/// What can be had.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Emulator {
    /// Fast (10 MB/s in, 18 out), with sequence numbers like the real ones, which all tests use that
    /// do not ask for another. It knows no stream ARNs, no consumers and no `ChildShards`, and
    /// `ListShards` ignores its filter.
    Kinesalite,
    /// Splits and merges as the real one does, and has regions. 1 MB/s in, 0.8 out; the last
    /// sequence number of every closed shard is 2^63 - 1.
    KinesisLocal,
    /// Has CloudWatch Logs at the same address, which deliver to it. Its sequence numbers are 1, 2,
    /// 3 in each shard.
    Moto,
}

static SHARED: OnceCell<Option<Arc<Server>>> = OnceCell::const_new();

/// A Kinesis endpoint in memory, and a region of it.
pub(crate) struct Kinesis {
    server: Arc<Server>,
    region: &'static str,
    client: Client,
}

/// Where a record was put.
#[derive(Clone, Debug)]
pub(crate) struct PutAt {
    pub(crate) shard: String,
    pub(crate) sequence_number: String,
}

impl Kinesis {
    /// The one that all tests of this binary share; `None` (said loudly) when it cannot be had.
    pub(crate) async fn start() -> Option<Self> {
        let kind = Emulator::Kinesalite.kind();
        let server = SHARED.get_or_init(|| async { Server::start(kind).await.map(Arc::new) });
        Self::of(server.await.clone(), kind)
    }

    /// One of the caller's own, which ends with what is returned; `None` (said loudly) when it
    /// cannot be had.
    pub(crate) async fn start_own(emulator: Emulator) -> Option<Self> {
        let kind = emulator.kind();
        Self::of(Server::start(kind).await.map(Arc::new), kind)
    }

    fn of(server: Option<Arc<Server>>, kind: Kind) -> Option<Self> {
        if server.is_none() {
            skip(kind.name);
        }
        server.map(|server| Self::at(server, REGION))
    }

    fn at(server: Arc<Server>, region: &'static str) -> Self {
        let client = client(&format!("http://{}", server.address), region);
        Self { server, region, client }
    }

    /// Another region of the same endpoint.
    pub(crate) fn in_region(&self, region: &'static str) -> Self {
        Self::at(Arc::clone(&self.server), region)
    }

    /// Its region.
    pub(crate) fn region(&self) -> &'static str {
        self.region
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
        self.active(name).await;
    }

    /// Returns when the stream is split, at the middle of the shard's hash keys.
    pub(crate) async fn split(&self, stream: &str, shard: &str) {
        let listed = self.client.list_shards().stream_name(stream).send().await;
        let listed = listed.expect("could not list the shards");
        let shard = listed.shards().iter().find(|found| found.shard_id() == shard).unwrap();
        let keys = shard.hash_key_range().unwrap();
        let [first, last] =
            [keys.starting_hash_key(), keys.ending_hash_key()].map(|key| key.parse().unwrap());
        let split = self.client.split_shard().stream_name(stream);
        let split = split.shard_to_split(shard.shard_id());
        let split = split.new_starting_hash_key(u128::midpoint(first, last).to_string());
        split.send().await.expect("could not split the shard");
        self.active(stream).await;
    }

    /// Returns when the neighbours are merged.
    pub(crate) async fn merge(&self, stream: &str, shard: &str, neighbour: &str) {
        let merge = self.client.merge_shards().stream_name(stream);
        let merge = merge.shard_to_merge(shard).adjacent_shard_to_merge(neighbour);
        merge.send().await.expect("could not merge the shards");
        self.active(stream).await;
    }

    async fn active(&self, name: &str) {
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
    /// stay under 5 MiB. Returns where each went.
    pub(crate) async fn put_records(&self, stream: &str, records: &[(&str, &[u8])]) -> Vec<PutAt> {
        let mut put_at = Vec::new();
        for some in records.chunks(MAX_RECORDS) {
            let entries = some.iter().map(|(key, data)| {
                let entry = PutRecordsRequestEntry::builder().partition_key(*key);
                entry.data(Blob::new(*data)).build().unwrap()
            });
            let put = self.client.put_records().stream_name(stream);
            let put = put.set_records(Some(entries.collect())).send().await;
            let put = put.expect("could not put records");
            assert_eq!(put.failed_record_count().unwrap_or(0), 0, "records were refused");
            put_at.extend(put.records.into_iter().map(|at| PutAt {
                shard: at.shard_id.unwrap(),
                sequence_number: at.sequence_number.unwrap(),
            }));
        }
        put_at
    }
}

impl Emulator {
    fn kind(self) -> Kind {
        let (name, listening) = match self {
            Self::Kinesalite => ("kinesis", "listening on "),
            Self::KinesisLocal => ("kinesis-local", "listening on "),
            Self::Moto => ("moto", "Running on http://"),
        };
        Kind { name, listening, settings: &[] }
    }
}

fn client(url: &str, region: &'static str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(region))
        .credentials_provider(Credentials::new("nobody", "nothing", None, None, "tests"))
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

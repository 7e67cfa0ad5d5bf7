//! The calls to Kinesis, as whom and by which way they go, and what of the answers is used.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{
    Config, Credentials, IdentityCache, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{Shard, ShardIteratorType};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Builder, ConnectorBuilder, tls};

use super::admission::Admission;
use super::call_error::{CallError, FailureReason};
use super::calls::{Call, Connect, Page, ShardCalls, StreamCalls, StreamFacts};
use super::config::{StreamConfig, Target};
use super::page::{Answer, Buffers, Pages};
use super::shard_sync::ListedShard;
use crate::aws::{self, KeptCredentials};
use crate::event::{ShardId, StreamKey, StreamName};
use crate::lease::Position;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From the request to the response's headers; waiting for the fetch budget comes after that.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a body that has begun may bring nothing.
pub(super) const STALL_GRACE: Duration = Duration::from_secs(20);

/// A stream cannot be reached as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing says which region.
    #[error("no AWS region is known for stream {0}: set `region` in its table")]
    NoRegion(StreamName),
}

/// Asks by AWS's SDK, with these credentials in place of what profile and environment give.
#[must_use]
pub fn by_sdk(credentials: Option<Credentials>) -> Connect {
    Arc::new(move |name, settings| {
        let credentials = credentials.clone();
        Box::pin(async move {
            let client = StreamClient::open(name, &settings, credentials).await?;
            Ok(Arc::new(client) as Arc<dyn StreamCalls>)
        })
    })
}

/// Calls about one stream.
#[derive(Clone, Debug)]
struct StreamClient {
    name: StreamName,
    config: Config,
    client: Client,
    credentials: KeptCredentials,
    target: Target,
    region: String,
    buffers: Buffers,
}

impl StreamClient {
    /// Gathers region, credentials and proxy; makes no request but for an assumed role.
    async fn open(
        name: StreamName,
        settings: &StreamConfig,
        credentials: Option<Credentials>,
    ) -> Result<Self, OpenError> {
        let shared = aws::load(&settings.caller(), credentials.clone()).await;
        let region = shared.region().map(ToString::to_string);
        let region = region.ok_or_else(|| OpenError::NoRegion(name.clone()))?;
        let caller = settings.clone();
        let credentials = KeptCredentials::new(Arc::new(move || {
            let (caller, credentials) = (caller.clone(), credentials.clone());
            Box::pin(async move {
                aws::load(&caller.caller(), credentials).await.credentials_provider()
            })
        }));
        let mut config = aws_sdk_kinesis::config::Builder::from(&shared)
            .credentials_provider(credentials.clone())
            // They are kept already.
            .identity_cache(IdentityCache::no_cache())
            .http_client(http_client(ProxyConfig::from_env()))
            // The pace of a shard is ours: a retry inside the SDK would break it.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(READ_TIMEOUT)
                    .build(),
            )
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled()
                    .upload_enabled(false)
                    .grace_period(STALL_GRACE)
                    .build(),
            );
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint.as_str());
        }
        let config = config.build();
        let client = Client::from_conf(config.clone());
        let target = settings.target(&name);
        let buffers = Buffers::default();
        Ok(Self { name, config, client, credentials, target, region, buffers })
    }

    async fn facts(&self) -> Result<StreamFacts, CallError> {
        const ACTION: &str = "DescribeStreamSummary";
        let call = self.client.describe_stream_summary();
        let call = match &self.target {
            Target::Name(name) => call.stream_name(name),
            Target::Arn(arn) => call.stream_arn(arn),
        };
        let answer = call.send().await.map_err(|error| CallError::new(ACTION, error))?;
        let Some(summary) = answer.stream_description_summary() else {
            return Err(CallError::unreadable(ACTION, "the answer holds no summary"));
        };
        let key_prefix = format!("{} {} ", self.name, summary.stream_arn());
        let created = summary.stream_creation_timestamp();
        let created = created.to_millis().unwrap_or_else(|_| created.secs());
        let hours = u64::try_from(summary.retention_period_hours()).unwrap_or(0);
        Ok(StreamFacts {
            key: StreamKey::new(&format!("{key_prefix}{created}")),
            key_prefix,
            retention: Duration::from_secs(hours * 3600),
        })
    }

    async fn list(&self) -> Result<Vec<ListedShard>, CallError> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let call = self.client.list_shards();
            let call = match (next, &self.target) {
                // A token names the stream by itself, and the API refuses both.
                (Some(token), _) => call.next_token(token),
                (None, Target::Name(name)) => call.stream_name(name),
                (None, Target::Arn(arn)) => call.stream_arn(arn),
            };
            let answer = call.send().await;
            let answer = answer.map_err(|error| CallError::new("ListShards", error))?;
            found.extend(answer.shards().iter().map(listed));
            next = answer.next_token;
            if next.is_none() {
                return Ok(found);
            }
        }
    }
}

impl StreamCalls for StreamClient {
    fn region(&self) -> &str {
        &self.region
    }

    fn describe(&self) -> Call<'_, StreamFacts> {
        Box::pin(heeding(&self.credentials, self.facts()))
    }

    fn shards(&self) -> Call<'_, Vec<ListedShard>> {
        Box::pin(heeding(&self.credentials, self.list()))
    }

    /// On a connection of its own; see `page`.
    fn shard(&self, id: ShardId, admission: Admission) -> Box<dyn ShardCalls> {
        let pages = Pages::new(admission, self.buffers.clone());
        let http = pages.around(http_client(ProxyConfig::from_env()));
        let config = self.config.to_builder().http_client(http).build();
        let (client, target) = (Client::from_conf(config), self.target.clone());
        let credentials = self.credentials.clone();
        Box::new(ShardClient { client, credentials, target, id, pages })
    }
}

/// Calls about one shard.
#[derive(Debug)]
struct ShardClient {
    client: Client,
    credentials: KeptCredentials,
    target: Target,
    id: ShardId,
    pages: Pages,
}

impl ShardClient {
    async fn begin(&self, position: &Position) -> Result<String, CallError> {
        const ACTION: &str = "GetShardIterator";
        let call = self.client.get_shard_iterator().shard_id(self.id.as_str());
        let call = match &self.target {
            Target::Name(name) => call.stream_name(name),
            Target::Arn(arn) => call.stream_arn(arn),
        };
        let call = match position {
            // A shard at its end is not consumed; reading it again would be the safe mistake.
            Position::TrimHorizon | Position::ShardEnd => {
                call.shard_iterator_type(ShardIteratorType::TrimHorizon)
            }
            Position::At(time) => call
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(time.0)),
            Position::After(number) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number.as_str()),
            Position::Within(number, _) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(number.as_str()),
        };
        let answer = call.send().await.map_err(|error| CallError::new(ACTION, error))?;
        let missing = || CallError::unreadable(ACTION, "the answer holds no iterator");
        answer.shard_iterator.ok_or_else(missing)
    }

    async fn fetch(&self, iterator: &str, limit: i32) -> Result<Page, CallError> {
        // What a call that was dropped has left.
        drop(self.pages.take());
        let call = self.client.get_records().shard_iterator(iterator).limit(limit);
        let call = match &self.target {
            Target::Name(_) => call,
            Target::Arn(arn) => call.stream_arn(arn),
        };
        let answer = call.send().await;
        let (permit, taken) = self.pages.take();
        let answer = answer.map_err(|error| CallError::new("GetRecords", error))?;
        let Answer { records, next, behind } = taken.unwrap_or_else(|| answer.into());
        Ok(Page { records, permit, next, behind })
    }
}

impl ShardCalls for ShardClient {
    fn admission(&self) -> &Admission {
        self.pages.admission()
    }

    fn iterator<'a>(&'a self, position: &'a Position) -> Call<'a, String> {
        Box::pin(heeding(&self.credentials, self.begin(position)))
    }

    fn page<'a>(&'a self, iterator: &'a str, limit: i32) -> Call<'a, Page> {
        Box::pin(heeding(&self.credentials, self.fetch(iterator, limit)))
    }
}

/// Makes a call, and has credentials loaded anew when AWS refuses those that it was made with.
async fn heeding<T>(
    credentials: &KeptCredentials,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let answer = call.await;
    if answer.as_ref().is_err_and(|error| error.reason == FailureReason::Credentials) {
        credentials.refused().await;
    }
    answer
}

fn listed(shard: &Shard) -> ListedShard {
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    ListedShard {
        id: ShardId::new(shard.shard_id()),
        parents: parents.into_iter().flatten().map(ShardId::new).collect(),
    }
}

/// The SDK's own default client, which it gives no way to wrap: rustls, and a proxy.
fn http_client(proxy: ProxyConfig) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        let mut connector = ConnectorBuilder::default().tls_provider(provider);
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.set_proxy_config(Some(proxy.clone()));
        connector.build()
    })
}

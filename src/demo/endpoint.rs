//! A Kinesis endpoint inside this process, over real HTTP on a loopback port, that the AWS SDK
//! talks to as it talks to AWS: for `logweir demo` and for tests, which also tell it how to fail.
//!
//! Streams live in memory and are gone with it. Not spoken: `SubscribeToShard` and whatever else
//! is not in [`Operation`].

mod faults;
mod operations;
mod protocol;
mod records;
mod stream;
mod token;
mod traffic;

#[cfg(test)]
mod tests;

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::Response;
use axum::http::StatusCode;
use axum::http::header;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::faults::Fault;
pub use self::faults::Faults;
use self::operations::Account;
use self::operations::When;
pub use self::protocol::ErrorCode;
pub use self::protocol::Operation;
pub use self::protocol::ServiceError;
use self::token::ShardIterator;
use self::traffic::Traffic;
use crate::event::Moment;
use crate::event::SequenceNumber;
use crate::event::ShardId;
use crate::event::Timestamp;

/// `PutRecords` takes 10 MiB of data, which is 14 MiB of base64.
const MAX_REQUEST: usize = 32 * 1024 * 1024;

/// The endpoint; it stops when this is dropped.
pub struct Endpoint {
    address: SocketAddr,
    server: Arc<Server>,
    tasks: TaskTracker,
}

impl Endpoint {
    /// The stream that is there from the start.
    pub const STREAM: &str = "demo";
    /// The region of every stream.
    pub const REGION: &str = operations::REGION;
    /// The account that owns every stream.
    pub const ACCOUNT: &str = operations::ACCOUNT;

    /// Listens on a free loopback port, with one stream, [`Self::STREAM`], of so many shards.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(shards: u32) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Server {
            account: Mutex::default(),
            faults: Faults::default(),
            traffic: Traffic::default(),
            started: Instant::now(),
            stop: CancellationToken::new(),
        });
        server.lock().create(Self::STREAM, shards, Timestamp::now()).map_err(io::Error::other)?;
        let router = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(Arc::clone(&server));
        let tasks = TaskTracker::new();
        let stopped = server.stop.clone().cancelled_owned();
        tasks.spawn(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future());
        tasks.close();
        Ok(Self { address, server, tasks })
    }

    /// Where it listens, as an SDK's `endpoint_url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops, and waits until the last connection is closed.
    pub async fn stop(self) {
        self.server.stop.cancel();
        self.tasks.wait().await;
    }

    /// How the next answers fail.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// How many requests for this operation have come in, failed ones included.
    #[must_use]
    pub fn requests(&self, operation: Operation) -> u64 {
        self.server.traffic.requests(operation)
    }

    /// The most `GetRecords` of one shard that came within one second; AWS allows five.
    #[must_use]
    pub fn busiest_second(&self, stream: &str, shard: &ShardId) -> usize {
        self.server.traffic.busiest_second(stream, shard.as_str())
    }

    /// Makes a stream; it is active at once.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn create_stream(&self, name: &str, shards: u32) -> Result<(), ServiceError> {
        self.server.lock().create(name, shards, Timestamp::now())
    }

    /// Deletes a stream and all in it; one made again under its name is another stream.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn delete_stream(&self, name: &str) -> Result<(), ServiceError> {
        self.server.lock().delete(name)
    }

    /// The ARN of a stream of that name.
    #[must_use]
    pub fn arn(name: &str) -> String {
        operations::arn(name)
    }

    /// Puts a record where its partition key belongs, arriving now.
    ///
    /// # Errors
    /// When there is no such stream, or Kinesis would not take the record.
    pub fn put(
        &self,
        stream: &str,
        partition_key: &str,
        data: impl Into<Bytes>,
    ) -> Result<(ShardId, SequenceNumber), ServiceError> {
        self.put_at(stream, partition_key, data, Timestamp::now())
    }

    /// Puts a record that arrived at a time of the caller's.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_at(
        &self,
        stream: &str,
        partition_key: &str,
        data: impl Into<Bytes>,
        arrival: Timestamp,
    ) -> Result<(ShardId, SequenceNumber), ServiceError> {
        let mut account = self.server.lock();
        let shard = account.stream_mut(stream)?.shard_for(stream::hash_key(partition_key))?;
        let number = shard.push(partition_key, data.into(), arrival)?;
        Ok((shard.id.clone(), number))
    }

    /// Puts a record into this very shard, arriving now.
    ///
    /// # Errors
    /// As [`Self::put`], and when the shard is closed.
    pub fn put_in(
        &self,
        stream: &str,
        shard: &ShardId,
        data: impl Into<Bytes>,
    ) -> Result<SequenceNumber, ServiceError> {
        let mut account = self.server.lock();
        let shard = account.stream_mut(stream)?.shard_mut(shard.as_str())?;
        shard.push("key", data.into(), Timestamp::now())
    }

    /// The shards that take records now, oldest first.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn open_shards(&self, stream: &str) -> Result<Vec<ShardId>, ServiceError> {
        let account = self.server.lock();
        let open = account.stream(stream)?.shards.iter().filter(|shard| shard.is_open());
        Ok(open.map(|shard| shard.id.clone()).collect())
    }

    /// Splits a shard in its middle; the answer is its children.
    ///
    /// # Errors
    /// When the shard is unknown, closed, or too narrow.
    pub fn split(&self, stream: &str, shard: &ShardId) -> Result<[ShardId; 2], ServiceError> {
        self.server.lock().stream_mut(stream)?.split(shard.as_str(), None, Timestamp::now())
    }

    /// Merges two neighbours; the answer is their child.
    ///
    /// # Errors
    /// When one is unknown or closed, or they are no neighbours.
    pub fn merge(
        &self,
        stream: &str,
        shard: &ShardId,
        adjacent: &ShardId,
    ) -> Result<ShardId, ServiceError> {
        let (shard, adjacent) = (shard.as_str(), adjacent.as_str());
        self.server.lock().stream_mut(stream)?.merge(shard, adjacent, Timestamp::now())
    }

    /// Forgets the oldest `count` records of a shard, as retention does.
    ///
    /// # Errors
    /// When the shard is unknown.
    pub fn trim(&self, stream: &str, shard: &ShardId, count: usize) -> Result<(), ServiceError> {
        self.server.lock().stream_mut(stream)?.shard_mut(shard.as_str())?.trim(count);
        Ok(())
    }

    /// Forgets a whole shard, as retention does some time after it was closed.
    ///
    /// # Errors
    /// When the shard is unknown.
    pub fn forget_shard(&self, stream: &str, shard: &ShardId) -> Result<(), ServiceError> {
        let mut account = self.server.lock();
        let stream = account.stream_mut(stream)?;
        stream.shard(shard.as_str())?;
        stream.shards.retain(|kept| kept.id != *shard);
        Ok(())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.stop.cancel();
    }
}

/// What the connections share.
struct Server {
    account: Mutex<Account>,
    faults: Faults,
    traffic: Traffic,
    started: Instant,
    stop: CancellationToken,
}

async fn answer(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let answered = match Operation::named_by(&headers) {
        Ok(operation) => server.answer(operation, &body).await,
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(ServiceError::into_response)
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> When {
        let moment = Moment(self.started.elapsed());
        When { wall: Timestamp::now(), moment, generation: self.faults.generation() }
    }

    /// Counts the request, lets a planned fault happen to it, and carries it out.
    async fn answer(
        &self,
        operation: Operation,
        body: &[u8],
    ) -> Result<Response<Body>, ServiceError> {
        let iterator = shard_read(operation, body);
        let shard = iterator.as_ref().map(|(name, shard)| (name.as_str(), shard.as_str()));
        self.traffic.count(operation, shard, self.now().moment);
        let fault = self.faults.take(operation, shard);
        let refuse = |code| Err(ServiceError::new(code, "Ordered by the fault plan."));
        match fault {
            None => self.perform(operation, body, None).map(whole),
            Some(Fault::Throttled) => refuse(ErrorCode::ProvisionedThroughputExceeded),
            Some(Fault::LimitExceeded) => refuse(ErrorCode::LimitExceeded),
            Some(Fault::InternalFailure) => refuse(ErrorCode::InternalFailure),
            Some(Fault::ExpiredIterator) => refuse(ErrorCode::ExpiredIterator),
            Some(Fault::EmptyPage) => self.perform(operation, body, Some(0)).map(whole),
            Some(Fault::ConnectionDropped) => self.perform(operation, body, None).map(half),
            Some(Fault::Slow(by)) => {
                self.stop.run_until_cancelled(tokio::time::sleep(by)).await;
                self.perform(operation, body, None).map(whole)
            }
        }
    }

    /// Carries a request out; `GetRecords` returns at most so many records, whatever it asks.
    fn perform(
        &self,
        operation: Operation,
        body: &[u8],
        at_most: Option<usize>,
    ) -> Result<Vec<u8>, ServiceError> {
        let when = self.now();
        let answer = match operation {
            Operation::GetRecords => return self.get_records(body, at_most),
            Operation::CreateStream => {
                let asked: protocol::CreateStream = protocol::read(body)?;
                let shards = asked.shard_count.unwrap_or(4);
                self.lock().create(&asked.stream_name, shards, when.wall).map(nothing)
            }
            Operation::DeleteStream => {
                let asked: protocol::StreamRef = protocol::read(body)?;
                self.lock().delete(operations::required(&asked)?).map(nothing)
            }
            Operation::DescribeStreamSummary => self.lock().describe(&protocol::read(body)?),
            Operation::GetShardIterator => self.lock().shard_iterator(&protocol::read(body)?, when),
            Operation::ListShards => self.lock().list_shards(&protocol::read(body)?, when),
            Operation::MergeShards => {
                self.lock().merge_shards(&protocol::read(body)?, when.wall).map(nothing)
            }
            Operation::PutRecord => self.lock().put_record(protocol::read(body)?, when.wall),
            Operation::PutRecords => self.lock().put_records(protocol::read(body)?, when.wall),
            Operation::SplitShard => {
                self.lock().split_shard(&protocol::read(body)?, when.wall).map(nothing)
            }
        };
        answer.map(|answer| if answer.is_null() { Vec::new() } else { answer.to_string().into() })
    }

    fn get_records(&self, body: &[u8], at_most: Option<usize>) -> Result<Vec<u8>, ServiceError> {
        let asked: protocol::GetRecords = protocol::read(body)?;
        let iterator: ShardIterator = token::unseal(&asked.shard_iterator)
            .ok_or_else(|| ServiceError::invalid("Invalid ShardIterator."))?;
        let read = self.lock().read(&iterator, at_most.or(asked.limit), self.now())?;
        Ok(read.into_json())
    }
}

/// The stream and shard that a `GetRecords` reads.
fn shard_read(operation: Operation, body: &[u8]) -> Option<(String, String)> {
    if operation != Operation::GetRecords {
        return None;
    }
    let asked: protocol::GetRecords = protocol::read(body).ok()?;
    let iterator: ShardIterator = token::unseal(&asked.shard_iterator)?;
    Some((iterator.stream.name, iterator.shard))
}

/// The answer of an operation that answers nothing.
fn nothing((): ()) -> Value {
    Value::Null
}

fn whole(body: Vec<u8>) -> Response<Body> {
    protocol::respond(StatusCode::OK, Body::from(body))
}

/// Promises all of the body, sends half of it, and then fails the connection.
fn half(mut body: Vec<u8>) -> Response<Body> {
    let length = HeaderValue::from(body.len());
    body.truncate(body.len() / 2);
    let first = futures_util::stream::iter([Ok(body)]);
    // The pause lets the first half out before the connection is closed under it.
    let second = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    let mut response = protocol::respond(StatusCode::OK, Body::from_stream(first.chain(second)));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}

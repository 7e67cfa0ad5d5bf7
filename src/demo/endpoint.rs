//! A Kinesis endpoint inside this process, over real HTTP on a loopback port, that the AWS SDK
//! talks to as it talks to AWS: for `logweir demo` and for tests, which also tell it how to fail.
//!
//! Streams live in memory and are gone with it. Not spoken: `SubscribeToShard` and whatever else
//! is not in [`Operation`].

mod faults;
mod operations;
mod protocol;
mod records;
mod server;
mod stream;
mod token;
mod traffic;

#[cfg(test)]
mod tests;

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

pub use self::faults::Fault;
pub use self::faults::Faults;
pub use self::protocol::ErrorCode;
pub use self::protocol::Operation;
pub use self::protocol::ServiceError;
use self::server::Server;
use crate::event::SequenceNumber;
use crate::event::ShardId;
use crate::event::Timestamp;

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
        let server = Arc::new(Server::new());
        server.lock().create(Self::STREAM, shards, Timestamp::now()).map_err(io::Error::other)?;
        let router = server::router(Arc::clone(&server));
        let stopped = server.stop.clone().cancelled_owned();
        let tasks = TaskTracker::new();
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

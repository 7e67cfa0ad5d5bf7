//! Answers requests: counts each, lets a planned fault happen to it, and carries it out.

use std::io;
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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::faults::Fault;
use super::faults::Faults;
use super::operations;
use super::operations::Account;
use super::operations::When;
use super::protocol;
use super::protocol::ErrorCode;
use super::protocol::Operation;
use super::protocol::ServiceError;
use super::token;
use super::token::ShardIterator;
use super::traffic::Traffic;
use crate::event::Moment;
use crate::event::Timestamp;

/// `PutRecords` takes 10 MiB of data, which is 14 MiB of base64.
const MAX_REQUEST: usize = 32 * 1024 * 1024;

/// The one route that all operations share.
pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new().fallback(answer).layer(DefaultBodyLimit::max(MAX_REQUEST)).with_state(server)
}

/// What the connections share.
pub(super) struct Server {
    account: Mutex<Account>,
    pub(super) faults: Faults,
    pub(super) traffic: Traffic,
    started: Instant,
    pub(super) stop: CancellationToken,
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
    pub(super) fn new() -> Self {
        Self {
            account: Mutex::default(),
            faults: Faults::default(),
            traffic: Traffic::default(),
            started: Instant::now(),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Account> {
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

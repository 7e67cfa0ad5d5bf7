//! How a page of records comes in: past the SDK, as far as that goes.
//!
//! Only the HTTP layer sees the moment between a response's headers and its body, when bytes of the
//! fetch budget are taken for it, so this is a layer around the SDK's HTTP client. A page whose bytes
//! are not free yet waits on its connection, unread: TCP's window stops the sender. Each shard has a
//! client of its own for that reason: on one HTTP/2 connection shared by all, a few unread pages would
//! use up the connection's window and stop the page that holds the bytes they wait for.
//!
//! The body is then read here, into one piece of memory, and the records are taken out of it; the SDK
//! finds a page without any. It would gather the body in pieces and copy them together, look at Base64
//! byte by byte, and copy that before it decodes it: as much memory again, and a twentieth of all that
//! an event costs. Whatever is not as Kinesis writes it is left to the SDK, to read or to refuse.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::config::{ConfigBag, RuntimeComponents, SharedHttpClient};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_types::base64;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::time::timeout;

use super::admission::{Admission, UNKNOWN_PAGE};
use super::calls::FetchedRecord;
use super::client::STALL_GRACE;
use crate::event::{SequenceNumber, Timestamp};
use crate::memory::FetchPermit;

/// What the SDK is given in place of a page whose records were taken out.
const EMPTY_PAGE: &str = r#"{"Records":[]}"#;

/// What a page holds.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) records: Vec<FetchedRecord>,
    /// Where to go on; none at the end of the shard.
    pub(super) next: Option<String>,
    /// How far the page is from the tip of the shard.
    pub(super) behind: Duration,
}

/// Memory for bodies, which the shards of a stream use in turns. What is larger than a MiB, malloc takes
/// from the system each time, which has to zero it: 2 to 4 % of what a flow event cost.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// No budget accounts for what is kept: no more than usual pages, and few.
    const LARGEST_KEPT: usize = 4 << 20;
    const MOST_KEPT: usize = 2;

    fn take(&self) -> Vec<u8> {
        self.kept().pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        let mut kept = self.kept();
        if buffer.capacity() <= Self::LARGEST_KEPT && kept.len() < Self::MOST_KEPT {
            buffer.clear();
            kept.push(buffer);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").field("kept", &self.kept().len()).finish_non_exhaustive()
    }
}

/// The pages of one shard, one at a time.
#[derive(Clone)]
pub(super) struct Pages {
    admission: Admission,
    buffers: Buffers,
    taken: Arc<Mutex<Option<Answer>>>,
}

impl fmt::Debug for Pages {
    /// Without what people have logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("admission", &self.admission).finish_non_exhaustive()
    }
}

impl Pages {
    pub(super) fn new(admission: Admission, buffers: Buffers) -> Self {
        Self { admission, buffers, taken: Arc::default() }
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// An HTTP client that takes bytes for every page, and its records out of it.
    pub(super) fn around(&self, inner: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Client { inner, pages: self.clone() })
    }

    /// The bytes taken for the page that was just read, and what it held, unless the SDK has to read it.
    pub(super) fn take(&self) -> (FetchPermit, Option<Answer>) {
        (self.admission.take(), self.taken().take())
    }

    async fn read(&self, mut response: HttpResponse) -> Result<HttpResponse, ConnectorError> {
        // A refusal is small, and must be heard when the budget is used up, too.
        if !response.status().is_success() {
            return Ok(response);
        }
        let length = response.headers_mut().remove("content-length");
        let length = length.and_then(|length| length.parse().ok());
        self.admission.admit(length).await;
        let mut text = self.buffers.take();
        read_to_end(response.take_body(), length, &mut text).await?;
        let answer = Answer::read(&text);
        let rest = if answer.is_some() {
            self.buffers.give_back(text);
            SdkBody::from(EMPTY_PAGE)
        } else {
            SdkBody::from(text)
        };
        *self.taken() = answer;
        *response.body_mut() = rest;
        Ok(response)
    }

    fn taken(&self) -> MutexGuard<'_, Option<Answer>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a body into memory of just its length, where that was told.
async fn read_to_end(
    body: SdkBody,
    length: Option<usize>,
    text: &mut Vec<u8>,
) -> Result<(), ConnectorError> {
    let mut body = pin!(body);
    // Nobody gets more than a page by announcing it.
    text.reserve_exact(length.unwrap_or_default().min(UNKNOWN_PAGE));
    loop {
        let Ok(frame) = timeout(STALL_GRACE, body.frame()).await else {
            let waited = STALL_GRACE.as_secs();
            let stalled = format!("nothing more of a page's body came for {waited} s");
            return Err(ConnectorError::timeout(stalled.into()));
        };
        let Some(frame) = frame else { return Ok(()) };
        if let Some(data) = frame.map_err(ConnectorError::io)?.data_ref() {
            text.extend_from_slice(data);
        }
    }
}

/// A page as Kinesis writes it (`GetRecords` in the API reference), as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PageText<'a> {
    #[serde(borrow)]
    records: Vec<RecordText<'a>>,
    next_shard_iterator: Option<String>,
    millis_behind_latest: Option<i64>,
}

/// Strings without an escape.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordText<'a> {
    data: &'a str,
    sequence_number: &'a str,
    approximate_arrival_timestamp: f64,
}

impl Answer {
    /// None when the page is not written as Kinesis does.
    fn read(text: &[u8]) -> Option<Self> {
        let page: PageText<'_> = serde_json::from_slice(text).ok()?;
        let records = page.records.iter().map(RecordText::read).collect::<Option<_>>()?;
        Some(Self {
            records,
            next: page.next_shard_iterator,
            behind: behind(page.millis_behind_latest),
        })
    }
}

impl RecordText<'_> {
    fn read(&self) -> Option<FetchedRecord> {
        Some(FetchedRecord {
            sequence_number: SequenceNumber::new(self.sequence_number),
            arrival: arrival(Some(DateTime::from_secs_f64(self.approximate_arrival_timestamp))),
            payload: base64::decode(self.data).ok()?.into(),
        })
    }
}

impl From<GetRecordsOutput> for Answer {
    fn from(answer: GetRecordsOutput) -> Self {
        let records = answer.records.into_iter().map(|record| FetchedRecord {
            sequence_number: SequenceNumber::new(&record.sequence_number),
            arrival: arrival(record.approximate_arrival_timestamp),
            payload: record.data.into_inner().into(),
        });
        Self {
            records: records.collect(),
            next: answer.next_shard_iterator,
            behind: behind(answer.millis_behind_latest),
        }
    }
}

fn behind(millis: Option<i64>) -> Duration {
    Duration::from_millis(millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0))
}

fn arrival(time: Option<DateTime>) -> Timestamp {
    time.and_then(|time| time.to_millis().ok()).map_or_else(Timestamp::now, Timestamp)
}

#[derive(Debug)]
struct Client {
    inner: SharedHttpClient,
    pages: Pages,
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, pages: self.pages.clone() })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        settings: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, settings)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        settings: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, settings)
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    pages: Pages,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target");
        let is_page = target.is_some_and(|target| target.ends_with(".GetRecords"));
        let answer = self.inner.call(request);
        if !is_page {
            return answer;
        }
        let pages = self.pages.clone();
        HttpConnectorFuture::new(async move { pages.read(answer.await?).await })
    }
}

#[cfg(test)]
mod tests;

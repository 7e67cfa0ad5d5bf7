//! Takes fetch bytes for a page when its response headers are in, before its body is read.
//!
//! Only the HTTP layer sees that moment, so this is a layer around the SDK's HTTP client. A page
//! whose bytes are not free yet waits on its connection, unread: TCP's window stops the sender.
//! Each shard has a client of its own for that reason: on one HTTP/2 connection shared by all, a
//! few unread pages would use up the connection's window and stop the page that holds the bytes
//! they wait for.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::config::{ConfigBag, RuntimeComponents, SharedHttpClient};
use aws_sdk_kinesis::error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::status::{ShardReport, ShardState};
use crate::memory::{FetchPermit, ShardBudget};

/// What a page of 10 MiB, the largest there is, costs: reserved when the length is not told.
const UNKNOWN_PAGE: usize = 24 << 20;

/// What a page costs while it is read: the body, and the records decoded from its base64.
fn page_cost(content_length: Option<usize>) -> usize {
    content_length.map_or(UNKNOWN_PAGE, |length| length.saturating_add(length / 4 * 3))
}

/// Where the bytes of a shard's page in progress are kept. One page at a time.
#[derive(Clone, Debug)]
pub struct Admission {
    budget: ShardBudget,
    report: ShardReport,
    page: Arc<Mutex<FetchPermit>>,
}

impl Admission {
    pub(super) fn new(budget: ShardBudget, report: ShardReport) -> Self {
        Self { budget, report, page: Arc::default() }
    }

    /// The largest page that would be admitted without waiting, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.budget.room()
    }

    /// Waits until `bytes` would be admitted. Cancel safe.
    pub(super) async fn wait_for_room(&self, bytes: usize) {
        if self.room() < bytes {
            drop(self.reserve(bytes).await);
        }
    }

    /// The bytes taken for the page that was just read.
    #[must_use]
    pub fn take(&self) -> FetchPermit {
        std::mem::take(&mut *self.page.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An HTTP client that takes bytes for every page.
    pub(super) fn around(&self, inner: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Client { inner, admission: self.clone() })
    }

    /// Waits for the bytes of a page whose body is this long, as far as that is told.
    pub async fn admit(&self, length: Option<usize>) {
        let permit = self.reserve(page_cost(length)).await;
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }

    async fn reserve(&self, bytes: usize) -> FetchPermit {
        let mut reserved = pin!(self.budget.reserve(bytes));
        if let Some(permit) = reserved.as_mut().now_or_never() {
            return permit;
        }
        self.report.set_state(ShardState::WaitingForMemory);
        let begun = Instant::now();
        let permit = reserved.await;
        self.report.count_blocked(begun.elapsed());
        permit
    }
}

#[derive(Debug)]
struct Client {
    inner: SharedHttpClient,
    admission: Admission,
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, admission: self.admission.clone() })
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
    admission: Admission,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target");
        let is_page = target.is_some_and(|target| target.ends_with(".GetRecords"));
        let answer = self.inner.call(request);
        if !is_page {
            return answer;
        }
        let admission = self.admission.clone();
        HttpConnectorFuture::new(async move {
            let response = answer.await?;
            // A refusal is small, and must be heard when the budget is used up, too.
            if response.status().is_success() {
                let length = response.headers().get("content-length");
                admission.admit(length.and_then(|length| length.parse().ok())).await;
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_page_costs_about_24_mib() {
        let base64 = (10 << 20) / 3 * 4;
        let cost = page_cost(Some(base64));
        assert!((23 << 20..=24 << 20).contains(&cost), "{cost}");
        assert_eq!(page_cost(None), 24 << 20);
    }
}

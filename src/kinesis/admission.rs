//! Takes fetch bytes for a page when its response headers are in, before its body is read.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::status::{ShardReport, ShardState};
use crate::memory::{FetchPermit, ShardBudget};

/// What a page of 10 MiB, the largest there is, costs: reserved when the length is not told.
pub(super) const UNKNOWN_PAGE: usize = 24 << 20;

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

//! The two budgets that keep a stalled destination from growing the process.
//!
//! *Fetch* bytes are taken for a page of records before its body is read, and come back record by
//! record as each settles. *Body* bytes are taken, per destination, when an encoder opens a body,
//! and come back as each part of it gets its fate. Always in this order: with one shared budget
//! records waiting for a body would hold what the bodies need, and nothing would move.

mod bodies;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use self::bodies::{BodyBudget, BodyPermit};

/// What each shard may hold whatever the others hold: enough for a page of ordinary records.
pub const SHARD_SHARE: usize = 1 << 20;

/// The budget for fetched pages: a share for each shard, and a common rest.
#[derive(Clone, Debug)]
pub struct FetchBudget {
    common: Arc<Semaphore>,
    /// The whole, as long as shares fit into half of it.
    size: usize,
    shares: Arc<Mutex<Vec<Weak<Share>>>>,
}

/// What one shard may hold whatever the others hold.
#[derive(Debug)]
struct Share {
    free: Arc<Semaphore>,
    /// Its part of the common rest; none where it comes on top.
    taken: Option<OwnedSemaphorePermit>,
    /// Its records that wait for a destination. As long as there are any, it gets nothing of the
    /// common rest: what it read would wait behind them, and other shards would miss it.
    waiting: watch::Sender<usize>,
}

impl FetchBudget {
    /// `size` bytes in all. Shares come out of them until half is left for pages larger than a
    /// share; each shard after that adds its own.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.clamp(SHARD_SHARE, Semaphore::MAX_PERMITS);
        Self { common: Arc::new(Semaphore::new(size)), size, shares: Arc::default() }
    }

    /// One shard's access to the budget, with a share of its own for as long as it lives.
    #[must_use]
    pub fn shard(&self) -> ShardBudget {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|share| share.strong_count() > 0);
        let fits = shares.len() < (self.size - self.largest_page()) / SHARD_SHARE;
        let take = || Arc::clone(&self.common).try_acquire_many_owned(to_permits(SHARD_SHARE)).ok();
        // When the rest is taken just now, the share comes on top of it.
        let taken = if fits { take() } else { None };
        let (free, waiting) = (Arc::new(Semaphore::new(SHARD_SHARE)), watch::Sender::default());
        let share = Arc::new(Share { free, taken, waiting });
        shares.push(Arc::downgrade(&share));
        ShardBudget { share, budget: self.clone() }
    }

    /// What may be taken of the rest at once. Never more than what shares leave of it: who waited
    /// for more would wait for ever.
    fn largest_page(&self) -> usize {
        self.size / 2
    }

    /// Bytes that it may give out, all shares included, and bytes that pages and records hold.
    #[must_use]
    pub fn size_and_taken(&self) -> (usize, usize) {
        let shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut size, mut free) = (self.size, self.common_free());
        for share in shares.iter().filter_map(Weak::upgrade) {
            free += share.free.available_permits();
            size += if share.taken.is_some() { 0 } else { SHARD_SHARE };
        }
        (size, size.saturating_sub(free))
    }

    /// Bytes of the common rest that nobody holds.
    #[must_use]
    pub fn common_free(&self) -> usize {
        self.common.available_permits()
    }
}

/// One shard's access to the fetch budget.
#[derive(Clone, Debug)]
pub struct ShardBudget {
    share: Arc<Share>,
    budget: FetchBudget,
}

impl ShardBudget {
    /// The largest page that would be admitted without waiting, in bytes. A consumer keeps its
    /// `Limit` inside this when the common rest is taken.
    #[must_use]
    pub fn room(&self) -> usize {
        let own = self.share.free.available_permits();
        if self.is_waiting() { own } else { own.max(self.budget.common_free()) }
    }

    /// Waits until `bytes` fit: into the shard's own share, else into the common rest, first
    /// come, first served. Who needs more than the whole rest takes the whole rest.
    ///
    /// Cancel safe: a dropped future holds nothing.
    pub async fn reserve(&self, bytes: usize) -> FetchPermit {
        let mut waiting = self.share.waiting.subscribe();
        let permit = loop {
            if let Ok(permit) =
                Arc::clone(&self.share.free).try_acquire_many_owned(to_permits(bytes))
            {
                break Some(permit);
            }
            // The semaphores are never closed; without a permit the page would merely go uncounted.
            tokio::select! {
                biased;
                _ = waiting.changed() => {}
                permit = self.own(bytes), if self.is_waiting() => break permit,
                permit = self.common(bytes), if !self.is_waiting() => break permit,
            }
        };
        FetchPermit { permit, share: Some(Arc::clone(&self.share)) }
    }

    fn is_waiting(&self) -> bool {
        *self.share.waiting.borrow() > 0
    }

    async fn own(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes > SHARD_SHARE {
            return std::future::pending().await;
        }
        Arc::clone(&self.share.free).acquire_many_owned(to_permits(bytes)).await.ok()
    }

    async fn common(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = to_permits(bytes.min(self.budget.largest_page()));
        Arc::clone(&self.budget.common).acquire_many_owned(bytes).await.ok()
    }
}

/// Bytes taken from the fetch budget; they return when it is dropped.
#[derive(Debug, Default)]
pub struct FetchPermit {
    permit: Option<OwnedSemaphorePermit>,
    /// Of the shard that they were taken for. A consumer may end before its records do, as when its
    /// lease is lost, and what they hold must not vanish from the account with its share.
    share: Option<Arc<Share>>,
}

impl FetchPermit {
    /// The bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Moves `bytes` of it, or what is left, into a permit of their own.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes());
        let permit = self.permit.as_mut().and_then(|permit| permit.split(bytes));
        Self { permit, share: self.share.clone() }
    }

    /// Says that the record which holds this waits for a destination.
    #[must_use]
    pub fn wait(&self) -> Waiting {
        if let Some(share) = &self.share {
            share.waiting.send_modify(|waiting| *waiting += 1);
        }
        Waiting(self.share.clone())
    }
}

/// A record that waits for a destination, until it is dropped.
#[derive(Debug)]
pub struct Waiting(Option<Arc<Share>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(share) = &self.0 {
            share.waiting.send_modify(|waiting| *waiting -= 1);
        }
    }
}

/// The right to inflate a record that expands beyond the usual, or to make dead letters out of one:
/// one at a time in the process. Whoever has it never waits for another budget.
#[derive(Clone)]
pub struct DecodeSlot {
    free: Arc<Semaphore>,
    freed: Arc<dyn Fn() + Send + Sync>,
}

impl DecodeSlot {
    /// A slot that is free; `freed` is called, on any thread, after it has come back.
    #[must_use]
    pub fn new(freed: impl Fn() + Send + Sync + 'static) -> Self {
        Self { free: Arc::new(Semaphore::new(1)), freed: Arc::new(freed) }
    }

    /// Whether `try_take` would succeed now.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.free.available_permits() > 0
    }

    /// Takes it if it is free, without waiting.
    #[must_use]
    pub fn try_take(&self) -> Option<DecodePermit> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(DecodePermit { permit: Some(permit), freed: Arc::clone(&self.freed) })
    }

    /// Waits until it is free, first come, first served. Cancel safe.
    pub async fn take(&self) -> DecodePermit {
        // The semaphore is never closed; without a permit there would merely be one more.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        DecodePermit { permit, freed: Arc::clone(&self.freed) }
    }
}

impl std::fmt::Debug for DecodeSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecodeSlot").field("is_free", &self.is_free()).finish_non_exhaustive()
    }
}

/// The decode slot, taken; given back on drop, also by a thread that panics.
pub struct DecodePermit {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<dyn Fn() + Send + Sync>,
}

impl Drop for DecodePermit {
    fn drop(&mut self) {
        drop(self.permit.take());
        (self.freed)();
    }
}

fn to_permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[tokio::test]
    async fn a_shard_has_its_share_when_the_rest_is_taken() {
        let budget = FetchBudget::new(4 * SHARD_SHARE);
        let (greedy, other) = (budget.shard(), budget.shard());
        let all = greedy.reserve(100 * SHARD_SHARE).await;
        assert_eq!(all.bytes(), 2 * SHARD_SHARE);
        assert_eq!(budget.size_and_taken(), (4 * SHARD_SHARE, 2 * SHARD_SHARE));
        assert_eq!(other.room(), SHARD_SHARE);
        let own = other.reserve(SHARD_SHARE).await;
        assert_eq!(own.bytes(), SHARD_SHARE);
        assert!(other.reserve(1).now_or_never().is_none());
        drop(all);
        assert_eq!(other.reserve(1).await.bytes(), 1);
    }

    #[tokio::test]
    async fn a_shard_whose_records_wait_for_a_destination_gets_nothing_of_the_rest() {
        let budget = FetchBudget::new(8 * SHARD_SHARE);
        let (held, other) = (budget.shard(), budget.shard());
        let mut page = held.reserve(2 * SHARD_SHARE).await;
        let records = [page.split(1000), page.split(1000)];
        drop(page);
        let waiting = records.each_ref().map(FetchPermit::wait);
        assert_eq!((held.room(), other.room()), (SHARD_SHARE, 6 * SHARD_SHARE - 2000));
        let own = held.reserve(SHARD_SHARE).await;
        // It does not stand in the queue before those who may have some.
        let mut more = std::pin::pin!(held.reserve(4 * SHARD_SHARE));
        assert!(more.as_mut().now_or_never().is_none());
        drop(other.reserve(4 * SHARD_SHARE).await);
        let mut little = std::pin::pin!(held.reserve(1));
        assert!(little.as_mut().now_or_never().is_none());
        drop(own);
        assert_eq!(little.await.bytes(), 1);
        let [first, second] = waiting;
        drop(first);
        assert!(more.as_mut().now_or_never().is_none());
        drop(second);
        assert_eq!(more.await.bytes(), 4 * SHARD_SHARE);
    }

    #[tokio::test]
    async fn a_shard_that_begins_to_wait_leaves_the_queue_for_the_rest() {
        let budget = FetchBudget::new(8 * SHARD_SHARE);
        let (held, other) = (budget.shard(), budget.shard());
        let mut page = held.reserve(4 * SHARD_SHARE).await;
        let record = page.split(1000);
        let mut first = std::pin::pin!(held.reserve(4 * SHARD_SHARE));
        let mut second = std::pin::pin!(other.reserve(4 * SHARD_SHARE));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        let waiting = record.wait();
        assert!(first.as_mut().now_or_never().is_none());
        drop(page);
        let taken = second.await;
        drop(waiting);
        assert!(first.as_mut().now_or_never().is_none());
        drop(taken);
        assert_eq!(first.await.bytes(), 4 * SHARD_SHARE);
    }

    #[tokio::test]
    async fn a_page_is_returned_record_by_record() {
        let budget = FetchBudget::new(8 * SHARD_SHARE);
        let shard = budget.shard();
        let mut page = shard.reserve(2 * SHARD_SHARE).await;
        let records: Vec<_> = (0..4).map(|_| page.split(1000)).collect();
        drop(page);
        assert_eq!(budget.common_free(), 7 * SHARD_SHARE - 4000);
        drop(records);
        assert_eq!(budget.common_free(), 7 * SHARD_SHARE);
    }

    #[tokio::test]
    async fn the_budget_grows_when_shares_would_take_more_than_half() {
        let budget = FetchBudget::new(4 * SHARD_SHARE);
        let mut shards: Vec<_> = (0..5).map(|_| budget.shard()).collect();
        assert_eq!(budget.size_and_taken(), (7 * SHARD_SHARE, 0));
        let last = shards.pop().unwrap();
        assert_eq!(last.reserve(9 * SHARD_SHARE).await.bytes(), 2 * SHARD_SHARE);
        drop(last);
        assert_eq!(budget.size_and_taken(), (6 * SHARD_SHARE, 0));
        drop(shards);
        assert_eq!((budget.size_and_taken().0, budget.common_free()), (4 << 20, 4 << 20));
    }

    #[tokio::test]
    async fn what_a_shard_holds_counts_when_its_consumer_has_gone() {
        let budget = FetchBudget::new(SHARD_SHARE);
        let (size, _) = budget.size_and_taken();
        let shard = budget.shard();
        let mut page = shard.reserve(1000).await;
        drop(shard);
        let record = page.split(600);
        drop(page);
        assert_eq!(budget.size_and_taken(), (size + SHARD_SHARE, 600));
        drop(record);
        assert_eq!(budget.size_and_taken(), (size, 0));
    }

    #[tokio::test]
    async fn the_decode_slot_comes_back_from_a_thread_that_panics() {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let slot = DecodeSlot::new(move || _ = counter.fetch_add(1, Relaxed));
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _taken = slot.try_take().unwrap();
            assert!(slot.try_take().is_none(), "one at a time");
            panic!("a bug");
        }));
        assert!(broken.is_err());
        assert_eq!((slot.is_free(), told.load(Relaxed)), (true, 1));
        drop(slot.take().await);
        assert_eq!(told.load(Relaxed), 2);
    }
}

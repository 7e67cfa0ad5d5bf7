//! What goes wrong, by order of a test: the next few answers that fail, and how.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use super::protocol::Operation;
use crate::event::ShardId;

/// How an answer fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ProvisionedThroughputExceededException`.
    Throttled,
    /// `LimitExceededException`, the throttling of `ListShards` and `DescribeStreamSummary`.
    LimitExceeded,
    /// `InternalFailure`, HTTP 500.
    InternalFailure,
    /// `ExpiredIteratorException`; the iterator itself stays good.
    ExpiredIterator,
    /// No records although there are some, and an iterator to the same place (`GetRecords` only).
    EmptyPage,
    /// The headers and half of the body, then the connection is closed.
    ConnectionDropped,
    /// The true answer, this much later.
    Slow(Duration),
}

/// The faults that are still to come; clones share them.
#[derive(Clone, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    rules: Vec<Rule>,
    generation: u64,
}

struct Rule {
    operation: Operation,
    shard: Option<(String, ShardId)>,
    fault: Fault,
    left: usize,
}

impl Faults {
    /// The next `times` `GetRecords`, of any shard, fail so. Faults come in the order they were
    /// planned, each used up before the next.
    pub fn next(&self, times: usize, fault: Fault) {
        self.next_of(Operation::GetRecords, times, fault);
    }

    /// The next `times` requests for this operation fail so.
    pub fn next_of(&self, operation: Operation, times: usize, fault: Fault) {
        self.lock().rules.push(Rule { operation, shard: None, fault, left: times });
    }

    /// The next `times` `GetRecords` of this shard fail so.
    pub fn next_in(&self, stream: &str, shard: &ShardId, times: usize, fault: Fault) {
        let shard = Some((stream.to_owned(), shard.clone()));
        let operation = Operation::GetRecords;
        self.lock().rules.push(Rule { operation, shard, fault, left: times });
    }

    /// Every iterator handed out so far is expired from now on.
    pub fn expire_iterators(&self) {
        self.lock().generation += 1;
    }

    /// How many failures are still to come.
    #[must_use]
    pub fn left(&self) -> usize {
        self.lock().rules.iter().map(|rule| rule.left).sum()
    }

    /// From now on nothing fails; expired iterators stay so.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Takes the fault for this request, if there is one.
    pub(super) fn take(&self, operation: Operation, shard: Option<(&str, &str)>) -> Option<Fault> {
        let mut plan = self.lock();
        let at = plan.rules.iter().position(|rule| rule.is_for(operation, shard))?;
        let rule = plan.rules.get_mut(at)?;
        let fault = rule.fault;
        rule.left -= 1;
        if rule.left == 0 {
            plan.rules.remove(at);
        }
        Some(fault)
    }

    /// Iterators of an earlier generation are expired.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    fn is_for(&self, operation: Operation, shard: Option<(&str, &str)>) -> bool {
        let of_shard = match (&self.shard, shard) {
            (None, _) => true,
            (Some((stream, id)), Some(asked)) => (stream.as_str(), id.as_str()) == asked,
            (Some(_), None) => false,
        };
        self.left > 0 && self.operation == operation && of_shard
    }
}

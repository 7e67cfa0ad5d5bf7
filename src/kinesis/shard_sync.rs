//! Decides which shards get a lease, from where, and which may be read now: a plain function.
//!
//! A shard is read only when its parents have been read to their end (or are gone from the
//! stream), so that records of one partition key keep their order through splits and merges. A
//! child is read from its oldest record: nothing can have been read of it before.

use std::collections::BTreeMap;

use crate::event::ShardId;
use crate::lease::{Lease, Position};

/// A shard as the stream lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedShard {
    /// The shard.
    pub id: ShardId,
    /// The shards it was split or merged from; they may be gone from the stream.
    pub parents: Vec<ShardId>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Leases to make, in this order: descendants first, so that whatever part of the list was
    /// carried out, the next plan gives the rest the same positions.
    pub(super) create: Vec<(ListedShard, Position)>,
    /// Shards that may be read now, once the leases are made.
    pub(super) ready: Vec<(ShardId, Position)>,
    /// Shards to be read later, when their parents have been.
    pub(super) waiting: Vec<ShardId>,
    /// Shards with a lease that the stream no longer has, though they were not read to their end.
    pub(super) vanished: Vec<ShardId>,
    /// Shards that were read to their end and have since left the stream: nobody needs their
    /// lease any more.
    pub(super) forget: Vec<ShardId>,
}

/// Plans for the shards that the stream lists now and the leases on it. `start` is where to
/// begin when the stream has never been read.
#[must_use]
pub(super) fn plan(listed: &[ListedShard], leases: &[Lease], start: &Position) -> Plan {
    let leased: BTreeMap<&ShardId, &Lease> =
        leases.iter().map(|lease| (&lease.shard, lease)).collect();
    let of_listed: BTreeMap<&ShardId, &ListedShard> =
        listed.iter().map(|shard| (&shard.id, shard)).collect();
    let mut plan = Plan::default();
    let first = first_start(leases, start);
    let new = of_listed.values().filter(|shard| !leased.contains_key(&shard.id));
    // Shard ids rise: a child's is above its parents'.
    plan.create = new
        .rev()
        .map(|shard| ((*shard).clone(), position(shard, &leased, first.as_ref())))
        .collect();
    let position_of: BTreeMap<&ShardId, &Position> = leases
        .iter()
        .map(|lease| (&lease.shard, &lease.checkpoint))
        .chain(plan.create.iter().map(|(shard, position)| (&shard.id, position)))
        .collect();
    for (id, shard) in &of_listed {
        let Some(position) = position_of.get(id).filter(|at| ***at != Position::ShardEnd) else {
            continue;
        };
        // A parent that the stream no longer lists cannot be read any more.
        let is_over = |parent: &ShardId| {
            !of_listed.contains_key(parent) || position_of.get(parent) == Some(&&Position::ShardEnd)
        };
        if shard.parents.iter().all(is_over) {
            plan.ready.push(((*id).clone(), (*position).clone()));
        } else {
            plan.waiting.push((*id).clone());
        }
    }
    for lease in leases.iter().filter(|lease| !of_listed.contains_key(&lease.shard)) {
        let ended = lease.checkpoint == Position::ShardEnd;
        let list = if ended { &mut plan.forget } else { &mut plan.vanished };
        list.push(lease.shard.clone());
    }
    plan
}

/// Where shards without a leased parent begin, while the stream's first leases are being made.
fn first_start(leases: &[Lease], start: &Position) -> Option<Position> {
    let Some(one) = leases.first() else { return Some(start.clone()) };
    // Interrupted among the first leases, and nothing was read: the others begin at the same
    // time. `start` may be a later one by now.
    let unread = matches!(one.checkpoint, Position::At(_))
        && leases.iter().all(|lease| lease.checkpoint == one.checkpoint);
    unread.then(|| one.checkpoint.clone())
}

fn position(
    shard: &ListedShard,
    leased: &BTreeMap<&ShardId, &Lease>,
    first: Option<&Position>,
) -> Position {
    let is_child = shard.parents.iter().any(|parent| leased.contains_key(parent));
    first.filter(|_| !is_child).cloned().unwrap_or(Position::TrimHorizon)
}

#[cfg(test)]
mod tests;

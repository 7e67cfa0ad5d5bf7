//! What shard sync promises, whatever tree of splits and merges a stream has grown.

use std::collections::BTreeSet;

use super::*;
use crate::event::{SequenceNumber, StreamKey, Timestamp};
use proptest::prelude::*;

fn id(n: usize) -> ShardId {
    ShardId::new(&format!("shardId-{n:012}"))
}

fn shard(n: usize, parents: &[usize]) -> ListedShard {
    ListedShard { id: id(n), parents: parents.iter().map(|n| id(*n)).collect() }
}

fn lease(n: usize, parents: &[usize], checkpoint: Position) -> Lease {
    let ListedShard { id, parents } = shard(n, parents);
    Lease { stream: StreamKey::new("s"), shard: id, parents, checkpoint, updated: Timestamp(0) }
}

fn after() -> Position {
    Position::After(SequenceNumber::new("7"))
}

#[test]
fn at_first_every_shard_begins_at_the_configured_start() {
    let listed = [shard(0, &[]), shard(1, &[0]), shard(2, &[])];
    for start in [Position::TrimHorizon, Position::At(Timestamp(5))] {
        let plan = plan(&listed, &[], &start);
        assert!(plan.create.iter().all(|(_, position)| *position == start));
        assert_eq!(plan.ready, [(id(0), start.clone()), (id(2), start)]);
        assert_eq!(plan.waiting, [id(1)]);
    }
}

#[test]
fn a_child_begins_at_its_oldest_record_when_both_parents_have_ended() {
    let listed = [shard(0, &[]), shard(1, &[]), shard(2, &[0, 1])];
    let mut leases = vec![lease(0, &[], Position::ShardEnd), lease(1, &[], after())];
    let at = Position::At(Timestamp(9));
    let first = plan(&listed, &leases, &at);
    assert_eq!(first.create, [(shard(2, &[0, 1]), Position::TrimHorizon)]);
    assert_eq!((first.ready, first.waiting), (vec![(id(1), after())], vec![id(2)]));
    leases[1].checkpoint = Position::ShardEnd;
    assert_eq!(plan(&listed, &leases, &at).ready, [(id(2), Position::TrimHorizon)]);
}

#[test]
fn an_interrupted_first_start_goes_on_at_the_time_it_began_with() {
    let (began, later) = (Position::At(Timestamp(5)), Position::At(Timestamp(900)));
    let leases = [lease(2, &[], began.clone())];
    let plan = plan(&[shard(0, &[]), shard(2, &[])], &leases, &later);
    assert_eq!(plan.create, [(shard(0, &[]), began)]);
}

#[test]
fn a_shard_that_left_unfinished_is_told_and_its_children_go_on() {
    let leases = [lease(0, &[], after()), lease(1, &[], Position::ShardEnd)];
    let plan = plan(&[shard(2, &[0, 1])], &leases, &Position::TrimHorizon);
    assert_eq!((plan.vanished, plan.forget), (vec![id(0)], vec![id(1)]));
    assert_eq!(plan.ready, [(id(2), Position::TrimHorizon)]);
}

/// A stream that grows, and a reader that does some of what each plan says.
#[derive(Default)]
struct World {
    listed: Vec<ListedShard>,
    /// Closed by a split or merge.
    closed: BTreeSet<ShardId>,
    leases: Vec<Lease>,
    /// Every shard that was read from its start, in the order in which that began.
    read: Vec<ShardId>,
}

impl World {
    fn new(shards: usize) -> Self {
        Self { listed: (0..shards).map(|n| shard(n, &[])).collect(), ..Self::default() }
    }

    fn open(&self) -> Vec<usize> {
        let open = |n: &usize| !self.closed.contains(&id(*n));
        (0..self.listed.len()).filter(open).collect()
    }

    fn split(&mut self, choice: usize) {
        let open = self.open();
        let parent = open[choice % open.len()];
        self.closed.insert(id(parent));
        let n = self.listed.len();
        self.listed.extend([shard(n, &[parent]), shard(n + 1, &[parent])]);
    }

    fn merge(&mut self, choice: usize) {
        let open = self.open();
        let (one, other) = (open[choice % open.len()], open[(choice + 1) % open.len()]);
        if one == other {
            return;
        }
        self.closed.extend([id(one), id(other)]);
        let n = self.listed.len();
        self.listed.push(shard(n, &[one, other]));
    }

    /// Syncs, is interrupted after `made` leases or not at all, and reads what is ready; of the
    /// shards that are closed, every `ends`-th is read to its end.
    fn sync(&mut self, made: usize, ends: usize, turn: usize) -> Result<(), TestCaseError> {
        let count = self.listed.len();
        self.listed.rotate_left(turn % count);
        let plan = plan(&self.listed, &self.leases, &Position::At(Timestamp(turn as i64)));
        self.listed.sort_by(|one, other| one.id.cmp(&other.id));
        let interrupted = made < plan.create.len();
        for (shard, position) in plan.create.into_iter().take(made) {
            let (shard, parents) = (shard.id, shard.parents);
            prop_assert!(self.leases.iter().all(|lease| lease.shard != shard), "leased twice");
            let (stream, checkpoint) = (StreamKey::new("s"), position);
            self.leases.push(Lease { stream, shard, parents, checkpoint, updated: Timestamp(0) });
        }
        if interrupted {
            return Ok(());
        }
        for (n, (shard, position)) in plan.ready.into_iter().enumerate() {
            self.read(&shard, &position, n % ends.max(1) == 0)?;
        }
        Ok(())
    }

    fn read(&mut self, shard: &ShardId, from: &Position, ends: bool) -> Result<(), TestCaseError> {
        let ended = |id: &ShardId, leases: &[Lease]| {
            leases.iter().any(|lease| lease.shard == *id && lease.checkpoint == Position::ShardEnd)
        };
        let listed = self.listed.iter().find(|listed| listed.id == *shard).unwrap();
        for parent in &listed.parents {
            prop_assert!(ended(parent, &self.leases), "{} before {}", shard, parent);
        }
        if self.read.contains(shard) {
            prop_assert_eq!(from, &after());
        } else {
            self.read.push(shard.clone());
        }
        let closed = self.closed.contains(shard);
        let lease = self.leases.iter_mut().find(|lease| lease.shard == *shard).unwrap();
        lease.checkpoint = if closed && ends { Position::ShardEnd } else { after() };
        Ok(())
    }
}

proptest! {
    /// Any tree, any order of listing, interrupted anywhere: parents first, no shard skipped, none
    /// begun twice.
    #[test]
    fn every_shard_is_read_once_after_its_parents(
        shards in 1usize..5,
        steps in prop::collection::vec((0u8..4, 0usize..100, 0usize..100), 0..60),
    ) {
        let mut world = World::new(shards);
        for (turn, (step, one, other)) in steps.into_iter().enumerate() {
            match step {
                0 => world.split(one),
                1 => world.merge(one),
                2 => world.sync(one % 4, other % 3, turn)?,
                _ => world.sync(usize::MAX, other % 3, turn)?,
            }
        }
        for _ in 0..=world.listed.len() {
            world.sync(usize::MAX, 1, 0)?;
        }
        prop_assert_eq!(world.read.len(), world.listed.len());
    }

    /// A start at a time loses nothing that arrives after it, even when the first start is cut
    /// off after any number of leases and shards split before the second.
    #[test]
    fn an_interrupted_first_start_reads_as_if_it_had_not_been(
        shards in 1usize..4,
        grown in prop::collection::vec((any::<bool>(), 0usize..9), 0..5),
        made in 0usize..6,
        later in prop::collection::vec(0usize..9, 0..3),
    ) {
        let mut world = World::new(shards);
        for (split, choice) in grown {
            if split { world.split(choice) } else { world.merge(choice) }
        }
        let at_start: BTreeSet<_> = world.listed.iter().map(|shard| shard.id.clone()).collect();
        world.sync(made, 1, 5)?;
        let began = world.leases.first().map(|lease| lease.checkpoint.clone());
        later.into_iter().for_each(|choice| world.split(choice));
        let plan = plan(&world.listed, &world.leases, &Position::At(Timestamp(900)));
        for (shard, position) in plan.create {
            match &began {
                // A shard made since may begin at either: all of it is later than the start.
                Some(began) if at_start.contains(&shard.id) => prop_assert_eq!(&position, began),
                Some(began) => prop_assert!([began, &Position::TrimHorizon].contains(&&position)),
                None => prop_assert_eq!(position, Position::At(Timestamp(900))),
            }
        }
    }
}

//! What reading a stream promises, against the in-process endpoint.

mod checkpoints;
mod gaps;
mod proxy;
mod rig;
mod roles;

use std::collections::BTreeSet;

use logweir::demo::endpoint::{Endpoint, Fault, Operation};
use logweir::event::{ShardId, StreamName, Timestamp};
use logweir::kinesis::{ShardState, Start, by_sdk};
use logweir::lease::Position;

use rig::{World, wait_for};

fn numbered(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("{n:06}")).collect()
}

fn put_numbered(world: &World, shard: &ShardId, from: usize, to: usize) {
    numbered(from, to).into_iter().for_each(|payload| world.put(shard, payload));
}

#[tokio::test]
async fn every_record_is_received_once_and_in_order_per_shard() {
    let world = World::new(3).await;
    let shards = world.shards();
    shards.iter().for_each(|shard| put_numbered(&world, shard, 0, 150));
    let daemon = world.start();
    daemon.received(450).await;
    shards.iter().for_each(|shard| put_numbered(&world, shard, 150, 200));
    daemon.received(600).await;
    wait_for("readiness", || daemon.status().not_ready.is_empty()).await;
    let sink = daemon.stop().await;
    for shard in &shards {
        assert_eq!(sink.of(shard), numbered(0, 200));
        assert!(matches!(world.checkpoint(shard).await, Position::After(_)));
    }
    let again = world.start();
    put_numbered(&world, &shards[1], 200, 201);
    again.received(1).await;
    assert_eq!(again.stop().await.payloads(), numbered(200, 201));
}

#[tokio::test]
async fn after_a_kill_reading_goes_on_at_the_first_unsettled_record() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 100);
    let daemon = world.start_holding();
    daemon.received(100).await;
    daemon.sink.settle(|payload| payload != "000040");
    wait_for("one open record", || {
        let shards = daemon.status().shards;
        shards.iter().any(|shard| shard.open_records == 60)
    })
    .await;
    daemon.kill().await;
    let daemon = world.start();
    daemon.received(60).await;
    assert_eq!(daemon.stop().await.payloads(), numbered(40, 100));
}

#[tokio::test]
async fn no_failure_of_a_call_loses_or_doubles_a_record() {
    let faults = [
        (2, Fault::Throttled, "throttled"),
        (1, Fault::InternalFailure, "server_error"),
        (2, Fault::ExpiredIterator, "expired_iterator"),
        (2, Fault::ConnectionDropped, "connection"),
        (3, Fault::EmptyPage, ""),
        (1, Fault::LimitExceeded, "throttled"),
    ];
    for (times, fault, reason) in faults {
        let world = World::new(1).await;
        let shard = world.shards().remove(0);
        put_numbered(&world, &shard, 0, 50);
        world.endpoint.faults().next(times, fault);
        let daemon = world.start();
        daemon.received(50).await;
        world.endpoint.faults().next(times, fault);
        put_numbered(&world, &shard, 50, 100);
        daemon.received(100).await;
        let retries = daemon.metric("logweir_kinesis_retries_total", reason);
        assert!(reason.is_empty() || retries >= times as f64, "{fault:?}: {retries}");
        assert_eq!(daemon.stop().await.payloads(), numbered(0, 100), "{fault:?}");
    }
}

#[tokio::test]
async fn iterators_that_expire_while_a_shard_is_read_are_made_again_after_the_last_record() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 10);
    let daemon = world.start();
    daemon.received(10).await;
    world.endpoint.faults().expire_iterators();
    put_numbered(&world, &shard, 10, 20);
    daemon.received(20).await;
    assert_eq!(daemon.stop().await.payloads(), numbered(0, 20));
}

#[tokio::test]
async fn trouble_before_the_first_record_is_shown_and_outlived() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 5);
    for operation in [Operation::DescribeStreamSummary, Operation::ListShards] {
        world.endpoint.faults().next_of(operation, 1, Fault::InternalFailure);
    }
    world.endpoint.faults().next_of(Operation::GetShardIterator, 1, Fault::Throttled);
    let daemon = world.start();
    assert_eq!(daemon.status().not_ready.len(), 1);
    daemon.received(5).await;
    wait_for("readiness", || daemon.status().not_ready.is_empty()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_stream_that_does_not_exist_is_named_and_waited_for() {
    let mut world = World::new(1).await;
    world.config.stream_name = Some("later".to_owned());
    let daemon = world.start();
    wait_for("the reason", || {
        let reasons = daemon.status().not_ready.join(" ");
        reasons.contains("kinesis:DescribeStreamSummary") && reasons.contains("later")
    })
    .await;
    let reasons = daemon.status().not_ready.join(" ");
    assert!(reasons.contains("; check the stream's name, region and account"), "{reasons}");
    world.endpoint.create_stream("later", 1).unwrap();
    world.endpoint.put("later", "key", "000000").unwrap();
    daemon.received(1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn children_are_read_from_their_first_record_after_all_of_their_parents() {
    let world = World::new(2).await;
    let shards = world.shards();
    put_numbered(&world, &shards[0], 0, 20);
    let daemon = world.start_holding();
    daemon.received(20).await;
    let [low, high] = world.endpoint.split(Endpoint::STREAM, &shards[0]).unwrap();
    put_numbered(&world, &low, 20, 30);
    put_numbered(&world, &high, 30, 40);
    let merged = world.endpoint.merge(Endpoint::STREAM, &high, &shards[1]).unwrap();
    put_numbered(&world, &merged, 40, 50);
    wait_for("the parent's end", || {
        daemon.status().shards.iter().any(|shard| shard.state == ShardState::Ending)
    })
    .await;
    // Its records have no fate yet, so the children wait.
    assert_eq!(daemon.sink.payloads().len(), 20);
    assert_ne!(world.checkpoint(&shards[0]).await, Position::ShardEnd);
    daemon.sink.release();
    daemon.received(50).await;
    let sink = daemon.stop().await;
    for (shard, from, to) in
        [(&shards[0], 0, 20), (&low, 20, 30), (&high, 30, 40), (&merged, 40, 50)]
    {
        assert_eq!(sink.of(shard), numbered(from, to), "{shard}");
    }
    let all = sink.payloads();
    let place = |payload: &str| all.iter().position(|other| other == payload).unwrap();
    assert!(place("000039") < place("000040"));
    for ended in [&shards[0], &shards[1], &high] {
        assert_eq!(world.checkpoint(ended).await, Position::ShardEnd);
    }
}

#[tokio::test]
async fn a_closed_shard_of_a_stream_never_read_before_is_read_before_its_children() {
    let world = World::new(1).await;
    let parent = world.shards().remove(0);
    put_numbered(&world, &parent, 0, 10);
    let [low, _] = world.endpoint.split(Endpoint::STREAM, &parent).unwrap();
    put_numbered(&world, &low, 10, 20);
    let daemon = world.start();
    daemon.received(20).await;
    assert_eq!(daemon.stop().await.payloads(), numbered(0, 20));
}

#[tokio::test]
async fn latest_is_the_moment_of_the_first_start() {
    let mut world = World::new(1).await;
    world.config.start = Start::Latest;
    let shard = world.shards().remove(0);
    let earlier = Timestamp(Timestamp::now().0 - 1000);
    world.endpoint.put_at(Endpoint::STREAM, "key", "earlier", earlier).unwrap();
    let daemon = world.start();
    wait_for("readiness", || daemon.status().not_ready.is_empty()).await;
    daemon.stop().await;
    put_numbered(&world, &shard, 10, 20);
    let daemon = world.start();
    daemon.received(10).await;
    assert_eq!(daemon.stop().await.payloads(), numbered(10, 20));
}

#[tokio::test]
async fn without_fates_reading_stops_within_the_budget_and_goes_on_with_them() {
    let mut world = World::new(1).await;
    world.budget = 4 << 20;
    let shard = world.shards().remove(0);
    for n in 0..40 {
        world.put(&shard, format!("{n:06}{}", "x".repeat(400_000)));
    }
    let daemon = world.start_holding();
    wait_for("a full budget", || {
        daemon.status().shards.iter().any(|shard| shard.state == ShardState::WaitingForMemory)
    })
    .await;
    let (held, calls) = (daemon.sink.held_bytes(), world.endpoint.requests(Operation::GetRecords));
    assert!((1 << 20..=world.budget).contains(&held), "{held}");
    wait_for("a second without reading", || {
        daemon.metric("logweir_shard_checkpoint_age_seconds", shard.as_str()) > 1.0
    })
    .await;
    assert_eq!(daemon.sink.held_bytes(), held);
    assert!(world.endpoint.requests(Operation::GetRecords) <= calls + 1);
    daemon.sink.release();
    daemon.received(40).await;
    assert!(daemon.metric("logweir_blocked_seconds_total", "fetch") > 0.0);
    let budget = daemon.budget.clone();
    let sink = daemon.stop().await;
    assert_eq!(sink.payloads().len(), 40);
    assert_eq!(budget.common_free(), 4 << 20);
}

#[tokio::test]
async fn a_record_larger_than_the_budget_passes_alone() {
    let mut world = World::new(1).await;
    world.budget = 3 << 20;
    let shard = world.shards().remove(0);
    for n in 0..3 {
        world.put(&shard, format!("{n:06}{}", "x".repeat(5 << 20)));
    }
    let daemon = world.start_holding();
    for n in 1..=3 {
        daemon.received(n).await;
        assert_eq!(daemon.sink.payloads().len(), n);
        daemon.sink.settle(|_| true);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_drain_reads_no_more_and_waits_for_what_was_read() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 10);
    let daemon = world.start_holding();
    daemon.received(10).await;
    daemon.shutdown.drain();
    wait_for("draining", || {
        daemon.status().shards.iter().any(|shard| shard.state == ShardState::Draining)
    })
    .await;
    put_numbered(&world, &shard, 10, 20);
    assert!(!daemon.tasks.is_empty());
    daemon.sink.release();
    let sink = daemon.ended().await;
    assert_eq!(sink.payloads(), numbered(0, 10));
    let daemon = world.start();
    daemon.received(10).await;
    assert_eq!(daemon.stop().await.payloads(), numbered(10, 20));
}

#[tokio::test]
async fn a_drain_gives_back_what_was_not_begun_even_at_the_end_of_a_shard() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 10);
    world.endpoint.split(Endpoint::STREAM, &shard).unwrap();
    let daemon = world.start_holding();
    daemon.received(10).await;
    wait_for("the end of the shard", || {
        daemon.status().shards.iter().any(|shard| shard.state == ShardState::Ending)
    })
    .await;
    daemon.sink.put_off(|payload| payload >= "000004");
    // One after the others was begun: those before it are to be settled, too.
    daemon.sink.take_up(|payload| payload == "000006");
    daemon.shutdown.drain();
    daemon.sink.settle(|payload| payload <= "000006");
    let sink = daemon.ended().await;
    assert_eq!(sink.payloads(), numbered(0, 10));
    let daemon = world.start();
    daemon.received(3).await;
    assert_eq!(daemon.stop().await.payloads(), numbered(7, 10));
}

#[tokio::test]
async fn a_drain_does_not_wait_for_memory() {
    let mut world = World::new(1).await;
    world.budget = 2 << 20;
    let shard = world.shards().remove(0);
    for n in 0..10 {
        world.put(&shard, format!("{n:06}{}", "x".repeat(400_000)));
    }
    let daemon = world.start_holding();
    wait_for("a full budget", || {
        daemon.status().shards.iter().any(|shard| shard.state == ShardState::WaitingForMemory)
    })
    .await;
    daemon.shutdown.drain();
    wait_for("draining", || {
        daemon.status().shards.iter().any(|shard| shard.state == ShardState::Draining)
    })
    .await;
    daemon.kill().await;
}

#[tokio::test]
async fn every_page_of_shards_is_listed() {
    // A page has 1,000.
    let world = World::new(2_345).await;
    let connect = by_sdk(world.credentials.clone());
    let stream = StreamName::new(Endpoint::STREAM);
    let calls = connect(stream, world.config.clone()).await.unwrap();
    let listed: BTreeSet<ShardId> =
        calls.shards().await.unwrap().into_iter().map(|shard| shard.id).collect();
    assert_eq!(listed, world.shards().into_iter().collect());
    assert_eq!(listed.len(), 2_345);
    assert_eq!(world.endpoint.requests(Operation::ListShards), 3);
}

#[tokio::test]
async fn a_backlog_is_never_asked_for_more_than_five_times_a_second() {
    let mut world = World::new(1).await;
    // Pages of a few records each.
    world.budget = 2 << 20;
    let shard = world.shards().remove(0);
    for n in 0..60 {
        world.put(&shard, format!("{n:06}{}", "x".repeat(100_000)));
    }
    let daemon = world.start();
    daemon.received(60).await;
    daemon.stop().await;
    assert!(world.endpoint.requests(Operation::GetRecords) > 5);
    assert!(world.endpoint.busiest_second(Endpoint::STREAM, &shard) <= 5);
}

//! What may have been lost without us is told, and keeps the source from being ready.

use logweir::demo::endpoint::Endpoint;
use logweir::event::Timestamp;
use logweir::lease::{GapKind, Lease, Position, Which};

use super::rig::{World, wait_for};
use super::{numbered, put_numbered};

#[tokio::test]
async fn a_shard_that_left_the_stream_unfinished_is_a_possible_gap_until_it_is_accepted() {
    let world = World::new(2).await;
    let shards = world.shards();
    shards.iter().for_each(|shard| put_numbered(&world, shard, 0, 5));
    let daemon = world.start();
    daemon.received(10).await;
    daemon.stop().await;
    world.endpoint.forget_shard(Endpoint::STREAM, &shards[0]).unwrap();
    let daemon = world.start();
    wait_for("the gap", || !daemon.status().possible_gaps.is_empty()).await;
    let gap = daemon.status().possible_gaps.remove(0);
    assert_eq!(gap.shard, shards[0]);
    assert!(daemon.status().not_ready.iter().any(|reason| reason.contains("left the stream")));
    let shown = daemon.metric("logweir_possible_gap_seconds", shards[0].as_str());
    assert!(shown > 0.0 && shown < 60.0, "{shown}");
    // The other shard is read as ever.
    put_numbered(&world, &shards[1], 5, 9);
    daemon.received(4).await;
    daemon.stop().await;
    // It is there after a restart, and one shard can be accepted alone.
    let daemon = world.start();
    wait_for("the gap again", || !daemon.status().possible_gaps.is_empty()).await;
    daemon.stop().await;
    let other = Which { stream: None, shard: Some(shards[1].to_string()) };
    assert_eq!(world.leases.gaps_blocking(&other).unwrap(), []);
    let which = Which { stream: Some(Endpoint::STREAM.to_owned()), shard: None };
    let gaps = world.leases.gaps_blocking(&which).unwrap();
    assert_eq!((gaps.len(), gaps[0].kind), (1, GapKind::Vanished));
    world.leases.accept_blocking(&gaps).unwrap();
    assert_eq!(world.leases.leases_blocking(&which).unwrap().len(), 1);
    let daemon = world.start();
    wait_for("readiness", || daemon.status().not_ready.is_empty()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_stream_made_again_is_read_whole_and_its_former_self_is_a_possible_gap() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 5);
    let daemon = world.start();
    daemon.received(5).await;
    daemon.stop().await;
    world.endpoint.delete_stream(Endpoint::STREAM).unwrap();
    world.endpoint.create_stream(Endpoint::STREAM, 1).unwrap();
    put_numbered(&world, &shard, 5, 9);
    let daemon = world.start();
    daemon.received(4).await;
    wait_for("the gap", || {
        daemon.status().not_ready.iter().any(|reason| reason.contains("made again"))
    })
    .await;
    assert_eq!(daemon.stop().await.payloads(), numbered(5, 9));
    assert_eq!(world.keys().await.len(), 2);
    let gaps = world.leases.gaps_blocking(&Which::default()).unwrap();
    assert_eq!((gaps.len(), gaps[0].kind), (1, GapKind::FormerStream));
    world.leases.accept_blocking(&gaps).unwrap();
    assert_eq!(world.keys().await.len(), 1);
}

#[tokio::test]
async fn a_stream_made_again_while_it_is_read_is_noticed() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 5);
    let daemon = world.start();
    daemon.received(5).await;
    world.endpoint.delete_stream(Endpoint::STREAM).unwrap();
    world.endpoint.create_stream(Endpoint::STREAM, 1).unwrap();
    put_numbered(&world, &shard, 5, 9);
    daemon.received(9).await;
    wait_for("the gap", || !daemon.status().possible_gaps.is_empty()).await;
    assert_eq!(daemon.stop().await.payloads(), numbered(0, 9));
}

#[tokio::test]
async fn a_checkpoint_older_than_the_retention_is_a_possible_gap() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 20);
    let daemon = world.start();
    daemon.received(20).await;
    daemon.stop().await;
    let lease = world.lease(&shard).await;
    assert!(matches!(lease.checkpoint, Position::After(_)));
    // As if the daemon had been down for 30 hours; the stream keeps 24.
    let updated = Timestamp(lease.updated.0 - 30 * 3_600_000);
    world.leases.remove(&lease.stream, &shard).await.unwrap();
    assert!(world.leases.create(&Lease { updated, ..lease }).await.unwrap());
    put_numbered(&world, &shard, 20, 30);
    world.endpoint.trim(Endpoint::STREAM, &shard, 22).unwrap();
    let daemon = world.start();
    daemon.received(8).await;
    wait_for("the gap", || !daemon.status().possible_gaps.is_empty()).await;
    let gap = daemon.status().possible_gaps.remove(0);
    assert_eq!(gap.length.as_secs() / 3600, 6);
    assert_eq!(daemon.stop().await.payloads(), numbered(22, 30));
    // A restart does not hide it; accepting does not lose the checkpoint.
    let daemon = world.start();
    wait_for("the gap again", || !daemon.status().possible_gaps.is_empty()).await;
    daemon.stop().await;
    let gaps = world.leases.gaps_blocking(&Which::default()).unwrap();
    assert_eq!((gaps.len(), gaps[0].kind), (1, GapKind::Expired));
    world.leases.accept_blocking(&gaps).unwrap();
    let daemon = world.start();
    wait_for("readiness", || daemon.status().not_ready.is_empty()).await;
    let shown = daemon.metric("logweir_possible_gap_seconds", shard.as_str());
    assert!(shown.abs() < f64::EPSILON, "{shown}");
    assert_eq!(daemon.stop().await.payloads().len(), 0);
}

#[tokio::test]
async fn a_shard_with_a_gap_that_cannot_be_kept_waits_alone() {
    let world = World::new(2).await;
    let [shard, other] = world.shards().try_into().unwrap();
    put_numbered(&world, &shard, 0, 20);
    let daemon = world.start();
    daemon.received(20).await;
    daemon.stop().await;
    let lease = world.lease(&shard).await;
    let updated = Timestamp(lease.updated.0 - 30 * 3_600_000);
    world.leases.remove(&lease.stream, &shard).await.unwrap();
    assert!(world.leases.create(&Lease { updated, ..lease }).await.unwrap());
    put_numbered(&world, &shard, 20, 30);
    world.endpoint.trim(Endpoint::STREAM, &shard, 22).unwrap();
    world.execute(
        "CREATE TRIGGER full BEFORE INSERT ON possible_gaps BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    let daemon = world.start();
    for n in 30..34 {
        put_numbered(&world, &other, n, n + 1);
        daemon.received(n - 29).await;
    }
    world.execute("DROP TRIGGER full");
    daemon.received(12).await;
    let gap = daemon.status().possible_gaps.remove(0);
    assert_eq!(gap.length.as_secs() / 3600, 6);
    let payloads = daemon.stop().await.payloads();
    assert_eq!(payloads, [numbered(30, 34), numbered(22, 30)].concat());
}

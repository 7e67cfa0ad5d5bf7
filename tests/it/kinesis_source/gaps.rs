//! What may have been lost without us is told, and keeps the source from being ready.

use logweir::demo::endpoint::Endpoint;
use logweir::event::Timestamp;
use logweir::lease::{Lease, Position};

use super::rig::{World, wait_for};
use super::{numbered, put_numbered};

#[tokio::test]
async fn a_shard_that_left_the_stream_unfinished_is_a_possible_gap_until_its_lease_is_removed() {
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
    let key = world.keys().await.remove(0);
    world.leases.remove(&key, &shards[0]).await.unwrap();
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
}

//! Checkpoints that cannot be written are tried again; without a lease there are none.

use logweir::demo::endpoint::Endpoint;
use logweir::lease::Position;

use super::rig::{World, wait_for};
use super::{numbered, put_numbered};

#[tokio::test]
async fn a_checkpoint_that_fails_is_counted_and_tried_until_it_is_written() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 5);
    let daemon = world.start_holding();
    daemon.received(5).await;
    world.execute("ALTER TABLE leases RENAME TO hidden");
    daemon.sink.release();
    wait_for("a failure", || {
        daemon.metric("logweir_checkpoint_failures_total", Endpoint::STREAM) > 0.0
    })
    .await;
    put_numbered(&world, &shard, 5, 10);
    daemon.received(10).await;
    world.execute("ALTER TABLE hidden RENAME TO leases");
    daemon.stop().await;
    assert!(matches!(world.checkpoint(&shard).await, Position::After(_)));
    let daemon = world.start();
    put_numbered(&world, &shard, 10, 11);
    daemon.received(1).await;
    assert_eq!(daemon.stop().await.payloads(), numbered(10, 11));
}

#[tokio::test]
async fn a_consumer_whose_lease_is_gone_stops_without_a_checkpoint() {
    let world = World::new(1).await;
    let shard = world.shards().remove(0);
    put_numbered(&world, &shard, 0, 5);
    let daemon = world.start_holding();
    daemon.received(5).await;
    let key = world.keys().await.remove(0);
    world.leases.remove(&key, &shard).await.unwrap();
    daemon.sink.settle(|_| true);
    // The shard is free again and is read anew, as whoever removes a lease wants it.
    daemon.received(10).await;
    assert_eq!(world.checkpoint(&shard).await, Position::TrimHorizon);
    daemon.sink.settle(|_| true);
    assert_eq!(daemon.stop().await.payloads(), [numbered(0, 5), numbered(0, 5)].concat());
    assert!(matches!(world.checkpoint(&shard).await, Position::After(_)));
}

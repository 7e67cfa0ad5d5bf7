//! A daemon stopped in the middle of its work, in every way: nothing may be missing or doubled.
//!
//! With LOGWEIR_LONG=1 (`tests/run --all`) ten times as many events and twice as many kills.

use std::time::Duration;

use tokio::time::Instant;

use super::rig::Rig;

fn is_long() -> bool {
    std::env::var_os("LOGWEIR_LONG").is_some()
}

fn events() -> u64 {
    if is_long() { 300_000 } else { 30_000 }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_loses_and_doubles_nothing() {
    let (mut rig, since) = (Rig::empty(events()).await, Instant::now());
    rig.put(events() / 2);
    let first = rig.daemon().await;
    rig.wait_for(events() / 8).await;
    first.metrics().await.check_identity();
    first.signal("-TERM");
    first.log.line("draining: reading nothing more").await;
    // The stream goes on: what comes now is for the next daemon.
    rig.put(events());
    let before = rig.delivered();
    first.ends(Some(0)).await;
    let (after, expected) = (rig.delivered(), rig.expected());
    println!("SIGTERM after {before} of {expected} documents, drained to {after}");
    assert!(after < expected, "the signal came in the middle");
    rig.finish().await;
    println!("{:.1} seconds", since.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_again_and_again_loses_and_doubles_nothing() {
    let kills = if is_long() { 10 } else { 5 };
    let (rig, since) = (Rig::start(events()).await, Instant::now());
    let seed = fastrand::u64(..);
    println!(
        "{} events, {kills} kills and as many just after the start, random seed {seed}",
        events()
    );
    let mut random = fastrand::Rng::with_seed(seed);
    let longest = if is_long() { 2000 } else { 300 };
    for round in 1..=kills {
        // While it opens its files, makes its tables, or takes its first leases.
        rig.kill_young(Duration::from_millis(random.u64(..200))).await;
        let daemon = rig.daemon().await;
        // Further each time, and past what those before have delivered.
        let (before, expected) = (rig.delivered(), rig.expected());
        rig.wait_for((expected * round / (kills + 2)).max(before + 1).min(expected)).await;
        tokio::time::sleep(Duration::from_millis(random.u64(..longest))).await;
        daemon.stop("-KILL", None).await;
        println!("kill {round} after {} of {expected} documents", rig.delivered());
    }
    assert!(rig.delivered() < rig.expected(), "the last kill came in the middle");
    rig.finish().await;
    println!("{:.1} seconds", since.elapsed().as_secs_f64());
}

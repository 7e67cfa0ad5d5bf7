//! What happens to processes: killed, stopped, frozen, started twice.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::rig::{Outcome, Rig, SMALL_BODIES, Servers};

/// Events put for each daemon that is ended.
const EACH: usize = 400;

/// SIGKILL at random moments, from before the daemon listens to the middle of its work.
pub(crate) async fn kill_9(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "kill_9").await;
    rig.destination += SMALL_BODIES;
    let kills = servers.size(10, 100);
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    rig.say(&format!("random seed {seed}"));
    let mut in_the_middle = 0;
    for kill in 1..=kills {
        rig.put(EACH).await;
        let daemon = rig.spawn();
        sleep(Duration::from_millis(random.u64(100..1_500))).await;
        daemon.kill();
        let (acknowledged, put) = (rig.search.acknowledged().len(), rig.ledger.put_so_far());
        in_the_middle += usize::from(acknowledged > 0 && acknowledged < put);
        if kill % 10 == 0 {
            rig.say(&format!("kill {kill} of {kills}, {acknowledged} of {put} events there"));
        }
    }
    let killed = Instant::now();
    assert!(in_the_middle > 0, "no kill came while there was something to do");
    let again = rig.search.acknowledged().values().filter(|times| **times > 1).count();
    rig.say(&format!("{in_the_middle} kills in the middle; {again} events were sent again"));
    let daemon = rig.daemon().await;
    rig.finish(daemon, killed).await
}

/// SIGTERM at random moments: each drains, so that the next reads nothing again.
pub(crate) async fn sigterm(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "sigterm").await;
    rig.destination += SMALL_BODIES;
    let (stops, mut random, mut in_the_middle) = (servers.size(5, 50), Rng::new(), 0);
    for stop in 1..=stops {
        rig.put(EACH).await;
        let daemon = rig.daemon().await;
        sleep(Duration::from_millis(random.u64(..800))).await;
        // What comes now is in part for the next one.
        rig.put(EACH).await;
        let (code, log) = daemon.stop().await;
        assert_eq!(code, Some(0), "a drained daemon exits with 0:\n{log}");
        let there = rig.search.acknowledged().len();
        in_the_middle += usize::from(there < rig.ledger.put_so_far());
        if stop % 5 == 0 {
            rig.say(&format!("stop {stop} of {stops}, {there} events there"));
        }
    }
    let stopped = Instant::now();
    assert!(in_the_middle > 0, "every daemon had done all before it was stopped");
    let daemon = rig.daemon().await;
    rig.settled(&daemon, stopped).await;
    let again = rig.search.acknowledged().values().filter(|times| **times > 1).count();
    assert_eq!(again, 0, "a checkpoint stood before events that were delivered");
    rig.finish(daemon, stopped).await
}

/// A daemon that is frozen, as by a machine that pauses, goes on where it was.
pub(crate) async fn sigstop(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "sigstop").await;
    rig.destination += SMALL_BODIES;
    let frozen = Duration::from_secs(servers.size(10, 60));
    rig.put(2_000).await;
    let daemon = rig.daemon().await;
    rig.delivered_at_least(1).await;
    daemon.signal("-STOP");
    rig.say(&format!("frozen for {frozen:?}"));
    rig.put(2_000).await;
    sleep(Duration::from_secs(2)).await;
    let before = rig.delivered().await;
    sleep(frozen - Duration::from_secs(2)).await;
    assert_eq!(rig.delivered().await, before, "it was not frozen");
    assert!(before < rig.ledger.put_so_far(), "it was frozen after all was done");
    daemon.signal("-CONT");
    let thawed = Instant::now();
    let held = daemon
        .metrics_when("two leases held", |metrics| metrics.sum("logweir_leases_held", &[]) == 2);
    let lost = held.await.sum("logweir_leases_lost_total", &[]);
    rig.say(&format!("{lost} leases lost meanwhile"));
    rig.finish(daemon, thawed).await
}

/// A second daemon on the same state file is refused, and told who has it.
pub(crate) async fn two_daemons(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "two_daemons").await;
    rig.put(1_000).await;
    let first = rig.daemon().await;
    let began = Instant::now();
    let (code, said) = rig.spawn().ended().await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("is in use by pid"), "{said}");
    assert!(said.contains("give this one a state file of its own"), "{said}");
    rig.put(1_000).await;
    rig.finish(first, began).await
}

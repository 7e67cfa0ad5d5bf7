//! What happens to time: the wall clock jumps, or hours pass.
//!
//! `libfaketime` shifts the clocks of the daemon alone. Where hours must pass, both of its clocks run
//! so many times faster: everything else, the proxies too, stays in real time.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bulk::{is_bulk, text};
use crate::daemon::Daemon;
use crate::proxy::Fault;
use crate::rig::{Outcome, Rig, Servers};
use crate::servers::install;

const EVENTS: usize = 2_000;

/// The daemon's clocks run so many times faster.
const SPEED: u32 = 200;

/// The library that shifts clocks; `None` where it cannot be had.
pub(crate) async fn library() -> Option<String> {
    let folder = install("faketime").await?;
    Some(folder.join("libfaketime.so.1").display().to_string())
}

/// The wall clock, as the daemon's log tells it, is so many seconds before ours.
fn seconds_behind(daemon: &Daemon) -> i64 {
    let lines = daemon.lines();
    let last = lines.last().unwrap()["timestamp"].as_str().unwrap().to_owned();
    let now = logweir::event::Timestamp::now();
    let told = logweir::event::Timestamp::parse(&last).unwrap();
    (now.0 - told.0) / 1_000
}

/// The wall clock jumps back an hour while the daemon works, and after a restart is still there.
pub(crate) async fn clock_back(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "clock_back").await;
    let time = rig.folder().join("time");
    let set = |path: &Path, offset: &str| fs::write(path, format!("{offset}\n")).unwrap();
    set(&time, "+0");
    rig.variables = vec![
        ("LD_PRELOAD", library().await.expect("libfaketime")),
        ("FAKETIME_TIMESTAMP_FILE", time.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.delivered_at_least(1).await;
    set(&time, "-1h");
    let jumped = Instant::now();
    rig.put(EVENTS).await;
    rig.settled(&daemon, jumped).await;
    let (code, log) = daemon.stop().await;
    assert_eq!(code, Some(0), "{log}");
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    let behind = seconds_behind(&daemon);
    assert!((3_000..4_200).contains(&behind), "the clock is {behind} s behind");
    rig.say(&format!("the daemon's clock is {behind} s behind"));
    rig.finish(daemon, jumped).await
}

/// A rig whose daemon lives faster.
async fn fast(servers: &Arc<Servers>, name: &'static str) -> Rig {
    let mut rig = Rig::new(servers, name).await;
    rig.variables = vec![
        ("LD_PRELOAD", library().await.expect("libfaketime")),
        ("FAKETIME", format!("+0 x{SPEED}")),
    ];
    // A second of ours is three minutes of the daemon's. Threads that seal bodies would wait for more
    // events by the kernel's own clock, which `libfaketime` does not speed up: for minutes.
    rig.destination = "timeout = \"2h\"\nbulk.max_wait = \"1ms\"\n".to_owned();
    rig.tables = "[shutdown]\ndeadline = \"2h\"\n".to_owned();
    rig
}

/// Ends the daemon, and lets one in real time finish. In the fast one the threads that seal bodies
/// wait by the kernel's own clock, which `libfaketime` does not speed up: some hours too long.
async fn finish(mut rig: Rig, daemon: Daemon, fault_ended: Instant) -> Outcome {
    let (code, log) = daemon.stop().await;
    assert_eq!(code, Some(0), "a drained daemon exits with 0:\n{log}");
    rig.variables.clear();
    let daemon = rig.daemon().await;
    rig.finish(daemon, fault_ended).await
}

/// The destination is down for longer than the two hours after which Firehose gives up.
pub(crate) async fn two_hours_down(servers: Arc<Servers>) -> Outcome {
    let mut rig = fast(&servers, "two_hours_down").await;
    rig.put(EVENTS).await;
    let mut daemon = rig.daemon().await;
    rig.delivered_at_least(1).await;
    rig.search.down().await;
    rig.put(EVENTS).await;
    let down = Instant::now();
    let hours = |daemon: String| serde_json::from_str::<serde_json::Value>(&daemon).unwrap();
    let began = hours(daemon.get("/health").await.1)["uptime_seconds"].as_u64().unwrap();
    loop {
        sleep(Duration::from_secs(1)).await;
        let uptime = hours(daemon.get("/health").await.1)["uptime_seconds"].as_u64().unwrap();
        if uptime - began > 7_500 {
            rig.say(&format!(
                "down for {} s of the daemon's, {:.0?}",
                uptime - began,
                down.elapsed()
            ));
            break;
        }
        assert!(down.elapsed() < Duration::from_secs(600), "its clock does not run faster");
    }
    assert!(rig.delivered().await < rig.ledger.put_so_far());
    rig.search.up().await;
    let up = Instant::now();
    daemon.logged(|line| line["message"] == "the hold is over").await;
    finish(rig, daemon, up).await
}

/// One document is always answered with a 500, while others to its index pass: after ten minutes
/// (of the daemon's) it is a dead letter, and never stops its shard for good.
pub(crate) async fn poison(servers: Arc<Servers>) -> Outcome {
    let mut rig = fast(&servers, "poison").await;
    rig.put(EVENTS).await;
    rig.search.plan(|request| {
        let is_hit = is_bulk(request) && text(request).contains("event-777 ");
        is_hit.then_some(Fault::Failed(&[("event-777 ", 500)]))
    });
    let daemon = rig.daemon().await;
    let began = Instant::now();
    while rig.letters().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(240), "no dead letter");
        rig.put(20).await;
        sleep(Duration::from_secs(1)).await;
    }
    let letters = rig.letters();
    assert_eq!(letters[0]["reason"], "poison", "{letters:?}");
    rig.say(&format!("after {} attempts: {}", letters[0]["attempts"], letters[0]["error"]));
    finish(rig, daemon, began).await
}

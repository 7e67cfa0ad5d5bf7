//! What happens to the state file and the disk that it is on.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bulk::{is_bulk, text};
use crate::mounts::Mount;
use crate::proxy::Fault;
use crate::rig::{Outcome, Rig, Servers};

const EVENTS: usize = 2_000;

/// The disk fills up while the daemon works: what would become a dead letter waits, checkpoints are
/// written later, and nothing is forgotten.
pub(crate) async fn disk_full(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "disk_full").await;
    let folder = rig.folder().join("state");
    fs::create_dir_all(&folder).unwrap();
    let _disk = Mount::small_disk(&folder, 2 << 20);
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.settled(&daemon, Instant::now()).await;
    let filler = folder.join("filler");
    let full = fs::File::create(&filler).unwrap().write_all(&vec![0; 2 << 20]);
    rig.say(&format!("the disk is full: {}", full.unwrap_err()));
    rig.search.plan(|request| {
        let is_hit = is_bulk(request) && text(request).contains("event-333");
        is_hit.then_some(Fault::Failed(&[("event-333", 400)]))
    });
    rig.put(EVENTS).await;
    let failures = daemon.metrics_when("a checkpoint that cannot be written", |metrics| {
        metrics.sum("logweir_checkpoint_failures_total", &[]) > 0
    });
    failures.await;
    let said = daemon.not_ready("dead letters").await;
    rig.say(said.trim());
    sleep(Duration::from_secs(servers.size(1, 30))).await;
    fs::remove_file(&filler).unwrap();
    let room = Instant::now();
    rig.settled(&daemon, room).await;
    // 3330 to 3339: those below were delivered before.
    assert_eq!(rig.letters().len(), 10);
    rig.finish(daemon, room).await
}

/// The file is damaged while no daemon runs: it is refused and left alone, with a way out; the file
/// moved away, all is read again, and nothing doubled.
pub(crate) async fn state_damaged(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "state_damaged").await;
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.settled(&daemon, Instant::now()).await;
    let (code, log) = daemon.stop().await;
    assert_eq!(code, Some(0), "{log}");
    let state = rig.folder().join("state/state.db");
    let mut damaged = fs::read(&state).unwrap();
    let middle = damaged.len() / 2;
    for byte in &mut damaged[4_096..middle] {
        *byte = !*byte;
    }
    fs::write(&state, &damaged).unwrap();
    rig.put(EVENTS).await;
    let (code, said) = rig.spawn().ended().await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("is damaged") && said.contains("move it away"), "{said}");
    let last = said.lines().last().unwrap_or_default();
    rig.say(last);
    assert_eq!(fs::read(&state).unwrap(), damaged, "it is left as it was");
    fs::rename(&state, state.with_extension("damaged")).unwrap();
    let moved = Instant::now();
    let daemon = rig.daemon().await;
    let present = [("result", "already_present")];
    let again = daemon.metrics_when("all read again", |metrics| {
        metrics.sum("logweir_events_delivered_total", &present) == EVENTS as u64
    });
    again.await;
    rig.finish(daemon, moved).await
}

/// The state's folder cannot be written: the daemon does not start, and says what to do.
pub(crate) async fn state_read_only(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "state_read_only").await;
    let folder = rig.folder().join("state");
    fs::create_dir_all(&folder).unwrap();
    let mount = Mount::bind(&folder, &folder);
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.delivered_at_least(1).await;
    let (code, log) = daemon.stop().await;
    assert_eq!(code, Some(0), "{log}");
    mount.read_only(true);
    rig.put(EVENTS).await;
    let (code, said) = rig.spawn().ended().await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("mount a writable volume there"), "{said}");
    rig.say(said.lines().last().unwrap_or_default());
    mount.read_only(false);
    let writable = Instant::now();
    let daemon = rig.daemon().await;
    rig.finish(daemon, writable).await
}

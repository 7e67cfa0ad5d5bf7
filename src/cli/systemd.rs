//! Tells systemd how the daemon is, where it is systemd that runs it (`Type=notify`).
//!
//! Ready when the streams are read; alive for as long as the heartbeat of `/health/live` beats; a line
//! for `systemctl status`; stopping. Anywhere else `NOTIFY_SOCKET` is not set, and nothing is sent.

use std::future::pending;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::sleep;
use tracing::warn;

use crate::admin::{ShardSummary, Summary, View};

use super::output::counted;

/// How often `systemctl status` is told something new.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// As much as one line of a terminal or two show.
const LONGEST_STATUS: usize = 200;

/// Says that the daemon reads, then how it is, until dropped.
pub(super) async fn keep_told(view: View) {
    tell(&[NotifyState::Ready]);
    tokio::join!(feed_watchdog(&view), show_status(&view), announce_stop(&view));
}

/// What is done while systemd shows the service as reloading.
pub(super) fn reloading<T>(reload: impl FnOnce() -> T) -> T {
    // `Type=notify-reload` waits for an answer that carries the time of its question.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
    let done = reload();
    tell(&[NotifyState::Ready]);
    done
}

/// One datagram to a socket of this machine: it waits only where systemd itself hangs.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "could not tell systemd how the daemon is");
    }
}

async fn feed_watchdog(view: &View) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return pending().await };
    // Half is what sd_watchdog_enabled(3) asks for; a third leaves room for a machine that is slow.
    let every = (patience / 3).max(Duration::from_millis(1));
    loop {
        if view.heartbeat.beats(view.clock.now()) {
            tell(&[NotifyState::Watchdog]);
        }
        sleep(every).await;
    }
}

async fn show_status(view: &View) {
    loop {
        tell(&[NotifyState::Status(&line(&Summary::of(view)))]);
        sleep(STATUS_EVERY).await;
    }
}

async fn announce_stop(view: &View) {
    view.shutdown.draining().await;
    tell(&[NotifyState::Stopping, NotifyState::Status(&line(&Summary::of(view)))]);
    pending().await
}

/// The daemon in one line: what is wrong with it, or else how far it is.
fn line(summary: &Summary) -> String {
    let Summary { state, events_read, not_ready, .. } = summary;
    let text = match not_ready.as_slice() {
        [] => {
            let shards: Vec<&ShardSummary> = summary.streams.values().flatten().collect();
            let lag = shards.iter().filter_map(|shard| shard.lag_seconds).fold(0.0, f64::max);
            let in_flight: u64 = summary.destinations.values().map(|to| to.in_flight).sum();
            let shards = counted(shards.len(), "shard");
            format!(
                "{state} {shards}, {lag:.0} s behind; {events_read} events read, {in_flight} in flight"
            )
        }
        [one] => format!("{state}, not ready: {one}"),
        [first, others @ ..] => {
            format!("{state}, not ready: {first} (and {} more)", others.len())
        }
    };
    // A line end would begin another message, and some of this comes from servers.
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_STATUS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(not_ready: &[&str]) -> Summary {
        Summary {
            state: "running",
            version: "",
            uptime_seconds: 0,
            not_ready: not_ready.iter().map(|&reason| reason.to_owned()).collect(),
            records_read: 3,
            records_undecodable: 0,
            events_read: 1234,
            filtered: Default::default(),
            matched: Default::default(),
            destinations: Default::default(),
            streams: Default::default(),
        }
    }

    #[test]
    fn a_status_says_how_far_it_is_or_what_is_wrong() {
        let all_well = "running 0 shards, 0 s behind; 1234 events read, 0 in flight";
        assert_eq!(line(&summary(&[])), all_well);
        let one = "running, not ready: stream central-logs: no such stream";
        assert_eq!(line(&summary(&["stream central-logs: no such stream"])), one);
        assert_eq!(line(&summary(&["a", "b", "c"])), "running, not ready: a (and 2 more)");
    }

    #[test]
    fn an_answer_of_a_server_cannot_speak_to_systemd() {
        let told = line(&summary(&[&format!("refused:\nMAINPID=1\r{}", "é".repeat(1000))]));
        assert!(told.starts_with("running, not ready: refused: MAINPID=1 é"), "{told}");
        assert_eq!(told.chars().count(), LONGEST_STATUS);
    }
}

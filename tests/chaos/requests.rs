//! What happens to requests on their way to the destination, and to answers on their way back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bulk::is_bulk;
use crate::http::Message;
use crate::proxy::Fault;
use crate::rig::{Outcome, Rig, SMALL_BODIES, Servers};

/// The least number of events; more are put while faults strike.
const EVENTS: usize = 2_000;

/// A fault, and how the daemon must call it.
struct Broken {
    name: &'static str,
    /// TOML of the destination.
    destination: &'static str,
    /// Of `logweir_retries_total`.
    reason: &'static str,
    strikes: u64,
}

/// Every second bulk request is struck, until so many were.
async fn broken(
    servers: &Arc<Servers>,
    of: Broken,
    fault: impl Fn(u64) -> Fault + Send + 'static,
) -> (Rig, crate::daemon::Daemon, Instant) {
    let mut rig = Rig::new(servers, of.name).await;
    rig.destination += SMALL_BODIES;
    rig.destination += of.destination;
    rig.put(EVENTS).await;
    let mut requests = 0;
    rig.search.plan(move |request| {
        requests += u64::from(is_bulk(request));
        (is_bulk(request) && requests % 2 == 1).then(|| fault(requests / 2))
    });
    let daemon = rig.daemon().await;
    rig.struck(of.strikes, |rig| &rig.search).await;
    let (struck, ended) = (rig.search.calm(), Instant::now());
    let metrics = daemon.metrics_when("retried", |metrics| {
        metrics.sum("logweir_retries_total", &[("reason", of.reason)]) > 0
    });
    let retries = metrics.await.by("logweir_retries_total", "reason");
    rig.say(&format!("{struck} requests struck; events sent again: {retries:?}"));
    (rig, daemon, ended)
}

/// What was carried out although the daemon could not know it is recognised when it comes again.
async fn seen_again(rig: Rig, daemon: crate::daemon::Daemon, ended: Instant) -> Outcome {
    rig.settled(&daemon, ended).await;
    let present = [("result", "already_present")];
    let metrics = daemon.metrics().await;
    assert!(metrics.sum("logweir_events_delivered_total", &present) > 0, "{}", metrics.page());
    rig.finish(daemon, ended).await
}

/// The connection is reset in the middle of the request's body.
pub(crate) async fn reset_in_body(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "reset_in_body").await;
    rig.destination += SMALL_BODIES;
    rig.put(EVENTS).await;
    let mut requests = 0;
    rig.search.cut(move |head: &Message| {
        requests += u64::from(is_bulk(head));
        is_bulk(head) && requests % 2 == 1
    });
    let daemon = rig.daemon().await;
    rig.struck(servers.size(10, 100), |rig| &rig.search).await;
    let (struck, ended) = (rig.search.calm(), Instant::now());
    let metrics = daemon.metrics().await;
    assert!(metrics.sum("logweir_retries_total", &[("reason", "connection")]) > 0);
    rig.say(&format!("{struck} requests struck"));
    rig.finish(daemon, ended).await
}

/// The connection is reset in the middle of the answer: all was stored, and the daemon cannot know.
pub(crate) async fn reset_in_answer(servers: Arc<Servers>) -> Outcome {
    let of = Broken {
        name: "reset_in_answer",
        destination: "",
        reason: "connection",
        strikes: servers.size(10, 100),
    };
    let (rig, daemon, ended) = broken(&servers, of, |_| Fault::ResetInAnswer).await;
    seen_again(rig, daemon, ended).await
}

/// The answer ends too early, or is not JSON to its end.
pub(crate) async fn truncated_answers(servers: Arc<Servers>) -> Outcome {
    let of = Broken {
        name: "truncated_answers",
        destination: "",
        reason: "unreadable",
        strikes: servers.size(10, 100),
    };
    let fault = |n: u64| if n.is_multiple_of(2) { Fault::EndInAnswer } else { Fault::HalfAnswer };
    let (rig, daemon, ended) = broken(&servers, of, fault).await;
    seen_again(rig, daemon, ended).await
}

/// The answer tells of one item too few: nobody can know which.
pub(crate) async fn one_item_fewer(servers: Arc<Servers>) -> Outcome {
    let of = Broken {
        name: "one_item_fewer",
        destination: "",
        reason: "unreadable",
        strikes: servers.size(10, 100),
    };
    let (rig, daemon, ended) = broken(&servers, of, |_| Fault::OneItemFewer).await;
    seen_again(rig, daemon, ended).await
}

/// Requests or their answers are late by 30 s (7 s), beyond the time that a request may take.
pub(crate) async fn stalls(servers: Arc<Servers>) -> Outcome {
    let stall = Duration::from_secs(servers.size(7, 30));
    let of =
        Broken { name: "stalls", destination: "", reason: "timeout", strikes: servers.size(6, 12) };
    let fault = move |n: u64| {
        if n.is_multiple_of(2) { Fault::LateAnswer(stall) } else { Fault::Stalled(stall) }
    };
    let (rig, daemon, ended) = broken(&servers, of, fault).await;
    seen_again(rig, daemon, ended).await
}

/// A bit of a compressed body flips on its way.
pub(crate) async fn bit_flips(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "bit_flips").await;
    rig.destination += "bulk.max_body = \"64KiB\"\nbulk.compression = \"gzip\"\n";
    rig.put(EVENTS).await;
    let mut requests = 0;
    rig.search.plan(move |request| {
        let is_compressed = request.header("content-encoding") == Some("gzip");
        requests += u64::from(is_compressed);
        (is_compressed && requests % 2 == 1).then_some(Fault::FlippedBit)
    });
    let daemon = rig.daemon().await;
    rig.struck(servers.size(10, 100), |rig| &rig.search).await;
    let (struck, ended) = (rig.search.calm(), Instant::now());
    let metrics = daemon.metrics().await;
    let retries = metrics.by("logweir_retries_total", "reason");
    assert!(!retries.is_empty(), "the engine took a broken body");
    rig.say(&format!("{struck} bodies struck; events sent again: {retries:?}"));
    rig.finish(daemon, ended).await
}

/// The destination refuses connections for a while, and comes back.
pub(crate) async fn destination_down(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "destination_down").await;
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.delivered_at_least(1).await;
    rig.search.down().await;
    rig.put(EVENTS).await;
    sleep(Duration::from_secs(servers.size(5, 120))).await;
    if servers.long {
        // Half a minute makes it something that a person should look at.
        let said = daemon.not_ready("holds destination: connection").await;
        rig.say(said.trim());
    }
    let retries = daemon.metrics().await.by("logweir_retries_total", "reason");
    assert!(retries.contains_key("connection"), "{retries:?}");
    assert!(rig.delivered().await < rig.ledger.put_so_far(), "it was never down");
    rig.search.up().await;
    let ended = Instant::now();
    rig.finish(daemon, ended).await
}

/// Something between answers one body with a 403 in HTML: the one document at fault is found.
pub(crate) async fn waf(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "waf").await;
    rig.put(EVENTS).await;
    rig.search.plan(|request| {
        let is_hit = is_bulk(request) && crate::bulk::text(request).contains("event-777 ");
        let body = "<html><body><h1>403 Forbidden</h1></body></html>".to_owned();
        is_hit.then_some(Fault::Answered { status: 403, content_type: "text/html", body })
    });
    let daemon = rig.daemon().await;
    rig.struck(5, |rig| &rig.search).await;
    let began = Instant::now();
    rig.settled(&daemon, began).await;
    let letters = rig.letters();
    let of = |letter: &serde_json::Value| letter["source"]["message"].to_string();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(of(&letters[0]).contains("event-777 "), "{letters:?}");
    rig.say(&format!("{} requests refused; {}", rig.search.calm(), letters[0]["error"]));
    rig.finish(daemon, began).await
}

/// In one answer some items are taken, some to be sent again, and one is refused for good.
pub(crate) async fn mixed_answers(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "mixed_answers").await;
    rig.put(EVENTS).await;
    let mut requests = 0;
    rig.search.plan(move |request| {
        let is_hit = is_bulk(request) && crate::bulk::text(request).contains("event-1");
        requests += u64::from(is_hit);
        let busy: &[_] = &[("event-777 ", 400), ("event-1", 429)];
        let passed: &[_] = &[("event-777 ", 400)];
        is_hit.then_some(Fault::Failed(if requests < 10 { busy } else { passed }))
    });
    let daemon = rig.daemon().await;
    rig.struck(10, |rig| &rig.search).await;
    let began = Instant::now();
    rig.settled(&daemon, began).await;
    let metrics = daemon.metrics().await;
    let retries = metrics.sum("logweir_retries_total", &[("reason", "busy")]);
    let refused = [("reason", "mapping")];
    assert!(retries > 0, "{}", metrics.page());
    assert_eq!(metrics.sum("logweir_events_dead_lettered_total", &refused), 1);
    rig.say(&format!("{retries} events sent again, one dead letter"));
    rig.finish(daemon, began).await
}

/// One event is not taken while all after it are, and then the daemon is killed.
pub(crate) async fn stuck_event_then_kill(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "stuck_event_then_kill").await;
    rig.put(EVENTS).await;
    rig.search.plan(|request| {
        let is_hit = is_bulk(request) && crate::bulk::text(request).contains("event-7 ");
        is_hit.then_some(Fault::Failed(&[("event-7 ", 429)]))
    });
    let daemon = rig.daemon().await;
    rig.delivered_at_least(EVENTS - 1).await;
    // Longer than checkpoints are apart.
    sleep(Duration::from_secs(3)).await;
    assert_eq!(rig.delivered().await, EVENTS - 1);
    daemon.kill();
    let (struck, killed) = (rig.search.calm(), Instant::now());
    rig.say(&format!("one event refused {struck} times; all others delivered; killed"));
    let daemon = rig.daemon().await;
    rig.finish(daemon, killed).await
}

/// SIGTERM while nothing is answered: cut short at the deadline, and the rest is read again.
pub(crate) async fn stopped_in_flight(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "stopped_in_flight").await;
    rig.destination = format!("timeout = \"60s\"\nbulk.max_wait = \"200ms\"\n{SMALL_BODIES}");
    rig.tables = "[shutdown]\ndeadline = \"2s\"\n".to_owned();
    rig.put(EVENTS).await;
    let mut requests = 0;
    rig.search.plan(move |request| {
        requests += u64::from(is_bulk(request));
        (is_bulk(request) && requests > 2).then_some(Fault::Stalled(Duration::from_secs(50)))
    });
    let daemon = rig.daemon().await;
    rig.struck(1, |rig| &rig.search).await;
    let metrics = daemon
        .metrics_when("in flight", |metrics| metrics.sum("logweir_events_in_flight", &[]) > 0);
    let in_flight = metrics.await.sum("logweir_events_in_flight", &[]);
    let (code, log) = daemon.stop().await;
    assert_eq!(code, Some(1), "events in flight are cut short:\n{log}");
    rig.search.calm();
    rig.say(&format!("{in_flight} events in flight at SIGTERM, exit code 1"));
    let stopped = Instant::now();
    let daemon = rig.daemon().await;
    rig.finish(daemon, stopped).await
}

//! What Kinesis does to those who read it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::proxy::Fault;
use crate::rig::{Outcome, Rig, Servers};

const EVENTS: usize = 2_000;

/// How Kinesis answers a call that it does not carry out.
pub(crate) fn refusal(status: u16, error: &str) -> Fault {
    let body = format!("{{\"__type\":\"{error}\",\"message\":\"by the proxy\"}}");
    Fault::Answered { status, content_type: "application/x-amz-json-1.1", body }
}

/// Calls of an action (`None`: of each) are answered so: the first two, and of `GetRecords` two of
/// three for as long as it takes.
async fn refused(
    servers: &Arc<Servers>,
    name: &'static str,
    (action, status, error): (Option<&'static str>, u16, &'static str),
    reason: &str,
) -> Outcome {
    let mut rig = Rig::new(servers, name).await;
    rig.put(EVENTS).await;
    let mut calls = BTreeMap::<String, u64>::new();
    rig.kinesis.plan(move |request| {
        let called = request.action();
        let number = calls.entry(called.to_owned()).or_default();
        *number += 1;
        let is_meant = action.is_none_or(|action| action == called);
        let is_due = !number.is_multiple_of(3) && (*number < 3 || called == "GetRecords");
        (is_meant && is_due).then(|| refusal(status, error))
    });
    let daemon = rig.daemon().await;
    rig.struck(servers.size(10, 60), |rig| &rig.kinesis).await;
    let (struck, ended) = (rig.kinesis.calm(), Instant::now());
    let metrics = daemon.metrics().await;
    let retries = metrics.by("logweir_kinesis_retries_total", "reason");
    assert!(retries.contains_key(reason), "{retries:?}");
    rig.say(&format!("{struck} calls refused: {retries:?}"));
    rig.finish(daemon, ended).await
}

/// `ProvisionedThroughputExceededException`.
pub(crate) async fn kinesis_throttles(servers: Arc<Servers>) -> Outcome {
    let error = "ProvisionedThroughputExceededException";
    refused(&servers, "kinesis_throttles", (Some("GetRecords"), 400, error), "throttled").await
}

/// Every action fails by turns.
pub(crate) async fn kinesis_500s(servers: Arc<Servers>) -> Outcome {
    refused(&servers, "kinesis_500s", (None, 500, "InternalFailure"), "server_error").await
}

/// Iterators are too old.
pub(crate) async fn expired_iterators(servers: Arc<Servers>) -> Outcome {
    let error = "ExpiredIteratorException";
    refused(&servers, "expired_iterators", (Some("GetRecords"), 400, error), "expired_iterator")
        .await
}

/// Pages of records break off in the middle, or come too late.
pub(crate) async fn broken_pages(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "broken_pages").await;
    rig.put(EVENTS).await;
    let mut calls = 0;
    rig.kinesis.plan(move |request| {
        let is_page = request.action() == "GetRecords";
        calls += u64::from(is_page);
        let fault = match calls % 5 {
            1 => Fault::ResetInAnswer,
            2 => Fault::EndInAnswer,
            3 => Fault::HalfAnswer,
            _ => return None,
        };
        is_page.then_some(fault)
    });
    let daemon = rig.daemon().await;
    rig.struck(servers.size(10, 60), |rig| &rig.kinesis).await;
    let (struck, ended) = (rig.kinesis.calm(), Instant::now());
    let retries = daemon.metrics().await.by("logweir_kinesis_retries_total", "reason");
    assert!(retries.contains_key("connection"), "{retries:?}");
    rig.say(&format!("{struck} pages broken: {retries:?}"));
    rig.finish(daemon, ended).await
}

/// The stream is deleted and made again under its name while it is read: a possible gap, kept until
/// somebody accepts it; the new stream is read whole.
pub(crate) async fn stream_made_again(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "stream_made_again").await;
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.settled(&daemon, Instant::now()).await;
    let delete = servers.kinesis.client().delete_stream().stream_name(rig.name);
    delete.send().await.expect("could not delete the stream");
    daemon.not_ready("not_found").await;
    // Streams are told apart by the second in which they were made.
    sleep(Duration::from_secs(2)).await;
    servers.kinesis.create_stream(rig.name, 2).await;
    rig.ledger.forget_places();
    rig.put(EVENTS).await;
    let made_again = Instant::now();
    let said = daemon.not_ready("made again").await;
    rig.say(said.trim());
    rig.settled(&daemon, made_again).await;
    let (code, said) = rig.run(&["leases", "list"]);
    assert!(code == Some(0) && said.contains("possible gap"), "{said}");
    let (code, said) = rig.run(&["leases", "accept-gap", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    rig.finish(daemon, made_again).await
}

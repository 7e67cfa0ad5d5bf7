//! The list of scenarios.

use std::pin::Pin;
use std::sync::Arc;

use crate::clock;
use crate::mounts;
use crate::rig::{Outcome, Servers};

/// One scenario: a fault that really strikes, and what is then found.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// What it needs besides the servers.
    needs: &'static [Need],
    pub(crate) run: Run,
}

/// What cannot be had everywhere.
#[derive(Clone, Copy, Debug)]
enum Need {
    /// A mount namespace of our own.
    Mounts,
    /// `libfaketime`.
    FakeTime,
}

impl Scenario {
    /// What it needs and is not to be had here.
    pub(crate) async fn misses(&self) -> Option<&'static str> {
        for need in self.needs {
            match need {
                Need::Mounts if !mounts::are_ours() => return Some("a mount namespace of its own"),
                Need::FakeTime if clock::library().await.is_none() => return Some("libfaketime"),
                Need::Mounts | Need::FakeTime => {}
            }
        }
        None
    }
}

type Run = fn(Arc<Servers>) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// `name: module [need], what;`: the function of that name.
macro_rules! scenarios {
    ($($name:ident: $module:ident $([$need:ident])?, $what:literal;)+) => {
        /// In the order in which they are run.
        pub(crate) const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: stringify!($name),
            what: $what,
            needs: &[$(Need::$need)?],
            run: |servers| Box::pin(crate::$module::$name(servers)),
        },)+];
    };
}

scenarios! {
    kill_9: processes, "the daemon is killed at random moments, 100 times (10)";
    sigterm: processes, "it is stopped by SIGTERM at random moments, 50 times (5)";
    sigstop: processes, "it is frozen for a minute (10 s)";
    two_daemons: processes, "a second daemon is started on the same state file";
    reset_in_body: requests, "connections are reset in the middle of a request's body";
    reset_in_answer: requests, "connections are reset in the middle of the answer";
    truncated_answers: requests, "answers end too early, or are not JSON to their end";
    one_item_fewer: requests, "answers tell of one item too few";
    stalls: requests, "requests and answers are late by 30 s (7 s), beyond their time";
    bit_flips: requests, "a bit of a gzip'd body flips";
    destination_down: requests, "the destination refuses connections for two minutes (5 s)";
    waf: requests, "a 403 in HTML for one body";
    mixed_answers: requests, "in one answer: created, 429, and a mapping refusal";
    stuck_event_then_kill: requests, "one event is answered 429 while all after it pass; kill -9";
    stopped_in_flight: requests, "SIGTERM while nothing is answered";
    kinesis_throttles: streams, "GetRecords is throttled, two of three";
    kinesis_500s: streams, "Kinesis answers 500, two of three, to every action";
    expired_iterators: streams, "iterators have expired, two of three";
    broken_pages: streams, "pages of records break off";
    stream_made_again: streams, "the stream is deleted and made again under its name";
    expired_certificate: identity, "the destination's certificate has expired, then is renewed";
    name_gone: identity [Mounts], "the destination's name does not resolve for a minute (3 s)";
    password_rotated: identity, "the cluster takes another password before the file has it";
    credentials_expired: identity, "AWS credentials have expired, and are renewed late";
    write_queue_full: cluster, "real 429s: one writing thread, a queue of one";
    never_admitted: cluster, "bodies that indexing pressure can never admit";
    flood_stage: cluster, "the disk passes its flood stage";
    read_only_index: cluster, "one old index takes no writes, among healthy ones";
    closed_index: cluster, "one index is closed";
    template_replaced: cluster, "a template that no document fits is put in mid-run";
    index_deleted: cluster, "an index is deleted while it is written";
    disk_full: state [Mounts], "the state's disk is full";
    state_damaged: state, "the state file is damaged";
    state_read_only: state [Mounts], "the state's folder is read-only";
    clock_back: clock [FakeTime], "the wall clock jumps back an hour";
    two_hours_down: clock [FakeTime], "the destination is down for over two hours (the daemon's clocks run 200 times faster)";
    poison: clock [FakeTime], "one document always answers 500, for ten minutes (200 times faster)";
    backpressure: memory, "16 shards of 10 MiB records and bombs, the destination stalled ten minutes (one)";
    other_shards: memory, "one of two destinations stalls; shards that feed the other go on";
}

//! The list of scenarios.

use std::pin::Pin;
use std::sync::Arc;

use crate::rig::{Outcome, Servers};

/// One scenario: a fault that really strikes, and what is then found.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: Run,
}

type Run = fn(Arc<Servers>) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// `name: module, what;`: the function of that name.
macro_rules! scenarios {
    ($($name:ident: $module:ident, $what:literal;)+) => {
        /// In the order in which they are run.
        pub(crate) const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: stringify!($name),
            what: $what,
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
    destination_down: requests, "the destination refuses connections for two minutes (half of one)";
    waf: requests, "a 403 in HTML for one body";
    mixed_answers: requests, "in one answer: created, 429, and a mapping refusal";
    stuck_event_then_kill: requests, "one event is answered 429 while all after it pass; kill -9";
    stopped_in_flight: requests, "SIGTERM while nothing is answered";
    kinesis_throttles: streams, "GetRecords is throttled, two of three";
    kinesis_500s: streams, "Kinesis answers 500, two of three, to every action";
    expired_iterators: streams, "iterators have expired, two of three";
    broken_pages: streams, "pages of records break off";
    stream_made_again: streams, "the stream is deleted and made again under its name";
}

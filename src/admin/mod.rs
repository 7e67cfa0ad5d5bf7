//! The daemon's HTTP listener, for people and for Prometheus:
//!
//! * `/` a status page · `/metrics` Prometheus text
//! * `/health` a JSON summary, 200 while the daemon lives
//! * `/health/live` fails only when the daemon's loops are stuck: restarting it would help
//! * `/health/ready` says what is not ready and why; must never cause a restart

mod page;
mod ready;
mod summary;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::dead_letter::sqlite::LetterStore;
use crate::delivery::PoolStatus;
use crate::event::{DestinationName, Moment};
use crate::kinesis::SourceHandle;
use crate::shutdown::Shutdown;
use crate::telemetry::ledger::Ledger;
use crate::telemetry::ledger_metrics::Names;

use self::ready::{Readiness, ReadyMetric};
pub use self::summary::{DestinationSummary, ShardSummary, Summary};

/// A loop that has not come round for this long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// How often the loop comes round.
const BEAT: Duration = Duration::from_secs(1);

/// What the pages show.
#[derive(Clone)]
pub struct View {
    /// All metrics.
    pub registry: Registry,
    /// The fates.
    pub ledger: Arc<Ledger>,
    /// Names of routes and destinations.
    pub names: Names,
    /// What is read.
    pub sources: Vec<SourceHandle>,
    /// Whether dead letters can be stored.
    pub letters: LetterStore,
    /// What the delivery pools hold.
    pub pools: Vec<(DestinationName, Arc<PoolStatus>)>,
    /// The daemon's clock.
    pub clock: Clock,
    /// Whether it is stopping.
    pub shutdown: Shutdown,
    /// When the daemon's loop last came round.
    pub heartbeat: Arc<Heartbeat>,
}

impl View {
    /// Adds `logweir_ready` to the metrics.
    ///
    /// # Errors
    /// The name is taken.
    pub fn register_ready(&self) -> prometheus::Result<()> {
        // Of parts of the view, which without the registry in it can be dropped.
        self.registry.register(Box::new(ReadyMetric::new(Readiness::of(self))?))
    }
}

/// When the daemon's loop last came round, in milliseconds since the start.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// Comes round once a second until the daemon is cut short.
    pub async fn beat(&self, clock: Clock) {
        loop {
            let milliseconds = u64::try_from(clock.now().0.as_millis()).unwrap_or(u64::MAX);
            self.0.store(milliseconds, Ordering::Relaxed);
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Whether the loop has come round lately. Where it has not, a restart would help: `/health/live`
    /// fails, and systemd's watchdog is no longer fed.
    #[must_use]
    pub fn beats(&self, now: Moment) -> bool {
        let last = Moment(Duration::from_millis(self.0.load(Ordering::Relaxed)));
        now.since(last) <= STUCK
    }
}

/// Serves until `view.shutdown` is cut short or the future is dropped.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, view: View) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(status_page))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(view);
    axum::serve(listener, router).await
}

const SAYS_LIVE: &str = "live\n";
const SAYS_STUCK: &str = "stuck\n";
const SAYS_READY: &str = "ready\n";

/// What a daemon can be asked without a word of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether it lives.
    Live,
    /// Whether nothing is held back.
    Ready,
}

impl Question {
    /// Where it is asked.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
        }
    }

    /// What an answer of `status` with `text` says; none when it is not that of a logweir: what else
    /// listens there may well say 200 to everything.
    #[must_use]
    pub fn read(self, status: u16, text: &str) -> Option<bool> {
        match (self, status) {
            (Self::Live, 200) => (text == SAYS_LIVE).then_some(true),
            (Self::Live, 503) => (text == SAYS_STUCK).then_some(false),
            (Self::Ready, 200) => (text == SAYS_READY).then_some(true),
            (Self::Ready, 503) => ready::is_trouble(text).then_some(false),
            _ => None,
        }
    }
}

async fn status_page(State(view): State<View>) -> Response {
    let html = page::render(&view, &Summary::of(&view));
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

async fn metrics(State(view): State<View>) -> Response {
    match TextEncoder::new().encode_to_string(&view.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn health(State(view): State<View>) -> Response {
    json(StatusCode::OK, &Summary::of(&view))
}

async fn live(State(view): State<View>) -> Response {
    if view.heartbeat.beats(view.clock.now()) {
        return SAYS_LIVE.into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, SAYS_STUCK).into_response()
}

async fn ready(State(view): State<View>) -> Response {
    let not_ready = Readiness::of(&view).troubles();
    if not_ready.is_empty() {
        return SAYS_READY.into_response();
    }
    let mut text = not_ready.join("\n");
    text.push('\n');
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_something_else_is_none() {
        for (question, status, text, says) in [
            (Question::Live, 200, "live\n", Some(true)),
            (Question::Live, 503, "stuck\n", Some(false)),
            (Question::Ready, 200, "ready\n", Some(true)),
            (Question::Ready, 503, "stream a: credentials\n", Some(false)),
            (Question::Ready, 503, "dead letters: x\ndestination b: y\n", Some(false)),
            (Question::Live, 200, "<html>welcome</html>", None),
            (Question::Live, 200, "", None),
            (Question::Live, 503, "upstream is down", None),
            (Question::Live, 404, "live\n", None),
            (Question::Ready, 200, "live\n", None),
            (Question::Ready, 503, "<html>503</html>", None),
            (Question::Ready, 503, "", None),
        ] {
            assert_eq!(question.read(status, text), says, "{question:?} {status} {text}");
        }
    }

    #[test]
    fn a_heart_that_stops_for_a_minute_is_stuck() {
        let heartbeat = Heartbeat(AtomicU64::new(5000));
        let after = |seconds| Moment(Duration::from_secs(seconds));
        assert!(heartbeat.beats(after(65)));
        assert!(!heartbeat.beats(after(66)));
    }
}

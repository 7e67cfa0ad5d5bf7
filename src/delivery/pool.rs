//! Carries out what the dispatcher of one destination decides: sends, waits, buries, settles.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use crate::batch::Batch;
use crate::clock::Clock;
use crate::dead_letter::sqlite::LetterStore;
use crate::destination::{Answer, Destination, Hold, HoldScope, Trouble, Verdict};
use crate::event::{DestinationName, Moment, RouteId, RouteName, Timestamp};
use crate::memory::DecodeSlot;
use crate::shutdown::Shutdown;
use crate::telemetry::rate_limit::RateLimit;

use super::bury::{self, Buried};
use super::dispatcher::{Dispatcher, Outgoing, Step};
use super::gate::Closed;
use super::metrics::DeliveryMetrics;
use super::stuck::Stuck;

/// What a pool needs besides its destination.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The destination's name.
    pub name: DestinationName,
    /// The names of all routes, by their ids.
    pub routes: Arc<[RouteName]>,
    /// Where refused events go.
    pub letters: LetterStore,
    /// Taken while they are written, since a record is inflated again for it.
    pub slot: DecodeSlot,
    /// The daemon's clock.
    pub clock: Clock,
    /// When to stop.
    pub shutdown: Shutdown,
    /// Where requests are counted.
    pub metrics: DeliveryMetrics,
    /// Where the pool shows what it holds.
    pub status: Arc<PoolStatus>,
}

impl Surroundings {
    /// The name of a route.
    #[must_use]
    pub fn route(&self, route: RouteId) -> Option<&RouteName> {
        self.routes.get(usize::from(route.0))
    }
}

/// What a pool shows to the status page.
#[derive(Debug, Default)]
pub struct PoolStatus(Mutex<Vec<HeldView>>);

impl PoolStatus {
    /// What is held now.
    #[must_use]
    pub fn held(&self) -> Vec<HeldView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A hold as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldView {
    /// `destination`, `index NAME` or `route NAME`.
    pub scope: String,
    /// The class of the reason.
    pub reason: &'static str,
    /// What the destination said.
    pub error: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// Since when.
    pub since: Moment,
    /// Events that wait behind it.
    pub events: usize,
}

/// The delivery pool of one destination.
#[derive(Debug)]
pub struct Pool<D> {
    destination: Arc<D>,
    dispatcher: Dispatcher,
    batches: mpsc::Receiver<Batch>,
    closed: watch::Receiver<Closed>,
    around: Surroundings,
    rate_limit: RateLimit,
    /// By what letters are about, which may be called as a request's trouble is.
    buried_limit: RateLimit,
    shown: Vec<HeldView>,
}

struct Answered {
    sent: Outgoing,
    answer: Answer,
    latency: Duration,
}

impl<D: Destination> Pool<D> {
    /// A pool that is told by `closed` which routes must wait; without a word it sends nothing.
    #[must_use]
    pub fn new(
        destination: Arc<D>,
        dispatcher: Dispatcher,
        batches: mpsc::Receiver<Batch>,
        closed: watch::Receiver<Closed>,
        around: Surroundings,
    ) -> Self {
        let (rate_limit, buried_limit) = Default::default();
        let shown = Vec::new();
        Self { destination, dispatcher, batches, closed, around, rate_limit, buried_limit, shown }
    }

    /// Runs until the encoders have gone and every batch has its fate, or until cut short: then
    /// what is left is dropped and so abandoned.
    pub async fn run(mut self) {
        let shutdown = self.around.shutdown.clone();
        let mut sending = FuturesUnordered::new();
        let mut burying = FuturesUnordered::new();
        let mut open = true;
        self.dispatcher.close(self.around.clock.now(), &self.closed.borrow_and_update());
        loop {
            let wake_at = loop {
                match self.dispatcher.step(self.around.clock.now()) {
                    Step::Send(outgoing) => sending.push(self.send(outgoing)),
                    Step::Bury(refused) => burying.push(bury::all(self.around.clone(), refused)),
                    Step::Wait(at) => break at,
                }
            };
            self.settle();
            self.show();
            if !open && sending.is_empty() && burying.is_empty() && self.dispatcher.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = shutdown.cut() => return,
                Some(answered) = sending.next() => self.answered(answered),
                Some(buried) = burying.next() => self.log_buried(buried),
                batch = self.batches.recv(), if open => match batch {
                    Some(batch) => self.dispatcher.offer(batch),
                    None => open = false,
                },
                // Nobody speaks any more when all is open.
                Ok(()) = self.closed.changed() => {
                    let now = self.around.clock.now();
                    self.dispatcher.close(now, &self.closed.borrow_and_update());
                }
                () = sleep_until(self.around.clock, wake_at) => {}
            }
        }
    }

    fn send(&self, mut sent: Outgoing) -> impl Future<Output = Answered> + use<D> {
        let (destination, clock) = (Arc::clone(&self.destination), self.around.clock);
        let size = sent.batch.size() as f64;
        let name = self.around.name.as_str();
        self.around.metrics.request_bytes.with_label_values(&[name]).observe(size);
        async move {
            let started = clock.now();
            let answer = destination.send(&mut sent.batch).await.of(sent.batch.len());
            Answered { sent, answer, latency: clock.now().since(started) }
        }
    }

    fn answered(&mut self, Answered { sent, answer, latency }: Answered) {
        self.log_trouble(&answer);
        let name = self.around.name.as_str();
        let seconds = self.around.metrics.request_seconds.with_label_values(&[name]);
        seconds.observe(latency.as_secs_f64());
        debug!(destination = name, events = sent.batch.len(), ?latency, "answered");
        self.dispatcher.answered(self.around.clock.now(), sent, answer, latency);
    }

    fn settle(&mut self) {
        let metrics = &self.around.metrics;
        let name = self.around.name.as_str();
        let now = Timestamp::now();
        for (batch, already_present) in self.dispatcher.take_delivered() {
            let seconds = metrics.event_to_delivered_seconds.with_label_values(&[name]);
            for record in batch.records() {
                seconds.observe(now.0.saturating_sub(record.arrival.0).max(0) as f64 / 1000.0);
            }
            batch.settle_delivered(already_present);
        }
        for retried in self.dispatcher.take_retried() {
            let events = retried.events as u64;
            metrics.retries.with_label_values(&[name, retried.reason.as_str()]).inc_by(events);
            if !self.destination.deduplicates() && retried.reason.is_unclear() {
                metrics.possible_duplicates.with_label_values(&[name]).inc_by(events);
            }
        }
        let limit = i64::try_from(self.dispatcher.limit()).unwrap_or(i64::MAX);
        metrics.concurrency.with_label_values(&[name]).set(limit);
    }

    fn log_trouble(&mut self, answer: &Answer) {
        let item = |verdict: &Verdict| match verdict {
            Verdict::Retry { reason, error } => Some((reason.as_str(), error.clone())),
            // Holds are told when they begin and end, dead letters when they are stored.
            Verdict::Delivered(_) | Verdict::Refused(_) | Verdict::Hold(_) => None,
        };
        let (what, told) = match answer {
            Answer::Created(_) => return,
            Answer::Items(verdicts) => {
                ("items of a bulk request are sent again", verdicts.iter().find_map(item))
            }
            Answer::Whole(trouble) => ("a bulk request failed, sending it again", whole(trouble)),
        };
        let Some((reason, error)) = told else { return };
        if let Some(silenced) = self.rate_limit.admit(self.around.clock.now(), reason) {
            warn!(destination = self.around.name.as_str(), reason, %error, silenced, "{what}");
        }
    }

    fn log_buried(&mut self, buried: Buried) {
        let name = self.around.name.as_str();
        for (reason, (events, error)) in buried {
            if let Some(silenced) = self.buried_limit.admit(self.around.clock.now(), reason) {
                let remedy = format!("see `logweir dead-letter list --reason {reason}`");
                let what = "events became dead letters";
                warn!(destination = name, reason, events, %error, silenced, remedy, "{what}");
            }
        }
    }

    /// Shows what is held, and tells when a hold begins or ends.
    fn show(&mut self) {
        let mut held: Vec<_> = self.dispatcher.holds().map(|held| self.view(held)).collect();
        if let Some((stuck, events)) = self.dispatcher.stuck(self.around.clock.now()) {
            let Stuck { since, reason, error } = stuck;
            let scope = "destination".to_owned();
            let (reason, remedy) = (reason.as_str(), reason.remedy());
            held.push(HeldView { scope, reason, error, remedy, since, events });
        }
        if held == self.shown {
            return;
        }
        let name = self.around.name.as_str();
        let is_in = |views: &[HeldView], view: &HeldView| {
            views.iter().any(|other| other.scope == view.scope && other.reason == view.reason)
        };
        for view in held.iter().filter(|view| !is_in(&self.shown, view)) {
            let HeldView { scope, reason, error, remedy, .. } = view;
            error!(destination = name, %scope, reason, %error, remedy, "holding back events");
        }
        for view in self.shown.iter().filter(|view| !is_in(&held, view)) {
            let HeldView { scope, reason, .. } = view;
            info!(destination = name, %scope, reason, "the hold is over");
        }
        self.count_held(&held);
        *self.around.status.0.lock().unwrap_or_else(PoisonError::into_inner) = held.clone();
        self.shown = held;
    }

    fn count_held(&self, held: &[HeldView]) {
        let name = self.around.name.as_str();
        let gauge = &self.around.metrics.held;
        // The scope is labelled by its kind alone: index names are many.
        let kind = |view: &HeldView| view.scope.split(' ').next().unwrap_or_default().to_owned();
        for view in &self.shown {
            gauge.with_label_values(&[name, &kind(view), view.reason]).set(0);
        }
        for view in held {
            let events = i64::try_from(view.events).unwrap_or(i64::MAX);
            gauge.with_label_values(&[name, &kind(view), view.reason]).add(events);
        }
    }

    fn view(&self, (hold, since, events): (&Hold, Moment, usize)) -> HeldView {
        let Hold { scope, reason, error } = hold;
        let scope = match scope {
            HoldScope::Destination => "destination".to_owned(),
            HoldScope::Index(index) => format!("index {index}"),
            HoldScope::Route(route) => {
                format!("route {}", self.around.route(*route).map_or("?", RouteName::as_str))
            }
        };
        HeldView {
            scope,
            reason: reason.as_str(),
            error: error.clone(),
            remedy: reason.remedy(),
            since,
            events,
        }
    }
}

/// Why a whole request is sent again, whole or in parts.
fn whole(trouble: &Trouble) -> Option<(&'static str, String)> {
    match trouble {
        Trouble::Retry { reason, error, .. } => Some((reason.as_str(), error.clone())),
        Trouble::TooLarge { error } => Some(("too_large", error.clone())),
        Trouble::Refused(refusal) => Some(("refused", refusal.error.clone())),
        Trouble::Hold(_) => None,
    }
}

async fn sleep_until(clock: Clock, at: Option<Moment>) {
    match at {
        Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
        None => std::future::pending().await,
    }
}

//! Makes the dead letters of refused items, record by record, and has them stored.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::futures::Notified;
use tracing::error;

use crate::backoff::Backoff;
use crate::dead_letter::{self, Letter};
use crate::event::RouteName;
use crate::telemetry::chain::Chain;

use super::judge::Refused;
use super::pool::Surroundings;

/// How long the letter store is left alone after it refused letters, unless it takes others meanwhile.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(30) };

/// The same once the daemon stops, for there may be no half minute left.
const RETRY_AT_END: Duration = Duration::from_secs(1);

/// The events that became dead letters, by reason: how many, and what was said of the first.
pub(super) type Buried = BTreeMap<&'static str, (usize, String)>;

/// Writes dead letters until the store has made them durable; only then are their events settled.
/// Those that are sent again are in the report of that, and not in what is returned.
pub(super) async fn all(around: Surroundings, mut refused: Refused) -> Buried {
    let (mut failures, mut waiting) = (0, None);
    let stored = around.letters.stored();
    loop {
        // From here on, so that none is missed.
        let mut others = pin!(stored.notified());
        others.as_mut().enable();
        // Given back before any waiting.
        let taken = around.slot.take().await;
        let names = around.clone();
        let written = around.letters.spawn_blocking(move |store| {
            let letters = letters(&names, &refused);
            let result = if refused.batch.is_replay() {
                store.rewrite_blocking(&letters)
            } else {
                store.write_blocking(&letters)
            };
            drop((letters, taken));
            (refused, result)
        });
        // Blocking tasks are never cancelled, so only a panic ends one without a result.
        let Ok((back, result)) = written.await else {
            error!(
                "writing dead letters failed for a bug in logweir: their events will be read again"
            );
            return Buried::new();
        };
        refused = back;
        let Err(error) = result else {
            let buried = if refused.batch.is_replay() { Buried::new() } else { summary(&refused) };
            let reasons = refused.refusals.iter().map(|refusal| refusal.reason);
            refused.batch.settle_dead_lettered(reasons);
            return buried;
        };
        failures += 1;
        waiting.get_or_insert_with(|| around.letters.wait(&error));
        if let Some(silenced) = around.letters.may_tell(around.clock.now()) {
            let (events, error) = (refused.batch.len(), Chain(&error));
            error!(events, %error, silenced, "could not store dead letters: they wait");
        }
        pause(&around, others, RETRY.jittered(failures, None)).await;
    }
}

/// Waits, unless others' letters are stored or the daemon begins to stop: either may make room.
async fn pause(around: &Surroundings, others: Pin<&mut Notified<'_>>, most: Duration) {
    let is_end = around.shutdown.is_draining();
    let most = if is_end { most.min(RETRY_AT_END) } else { most };
    tokio::select! {
        biased;
        () = tokio::time::sleep(most) => {}
        () = others => {}
        () = around.shutdown.draining(), if !is_end => {}
    }
}

fn summary(refused: &Refused) -> Buried {
    let mut buried = Buried::new();
    for refusal in &refused.refusals {
        let first = || (0, refusal.error.clone());
        buried.entry(refusal.reason.as_str()).or_insert_with(first).0 += 1;
    }
    buried
}

/// A letter for each item. Inflates each record once; blocks for as long as that takes.
pub(super) fn letters(around: &Surroundings, refused: &Refused) -> Vec<Letter> {
    // In the order of the items: by their addresses letters would be stored in another one each time.
    let mut by_record: Vec<(_, Vec<_>)> = Vec::new();
    let mut places = BTreeMap::new();
    for (view, refusal) in refused.batch.views().zip(&refused.refusals) {
        let event = dead_letter::Refused {
            ordinal: view.event,
            route: around.route(view.route).map_or("", RouteName::as_str),
            destination: around.name.as_str(),
            index: view.index,
            document_id: view.id,
            document: view.document,
            reason: refusal.reason.as_str(),
            status: refusal.status,
            error_type: &refusal.error_type,
            error: &refusal.error,
        };
        let place = *places.entry(Arc::as_ptr(view.record)).or_insert(by_record.len());
        match by_record.get_mut(place) {
            Some((_, events)) => events.push(event),
            None => by_record.push((view.record, vec![event])),
        }
    }
    let letters = by_record.into_iter();
    letters.flat_map(|(record, events)| dead_letter::refused(record, &events)).collect()
}

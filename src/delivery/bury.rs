//! Makes the dead letters of refused items, record by record.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dead_letter::{self, Letter};
use crate::event::RouteName;

use super::judge::Refused;
use super::pool::Surroundings;

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

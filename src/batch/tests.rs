//! What a body and its spans promise.

use super::*;
use crate::ack::ShardAcks;
use crate::memory::BodyBudget;
use crate::record::tests::record;
use proptest::prelude::*;

/// A batch of `per_record.len()` records, with a document per event that names both.
pub(crate) fn batch_of(framing: Framing, per_record: &[u32]) -> (Batch, Arc<ShardAcks>, Account) {
    batch_in(Book::Live, framing, per_record)
}

/// The same of live events or dead letters.
pub(crate) fn batch_in(
    book: Book,
    framing: Framing,
    per_record: &[u32],
) -> (Batch, Arc<ShardAcks>, Account) {
    let acks = Arc::new(ShardAcks::default());
    let account = Account { ledger: Arc::default(), destination: DestinationId(0), book };
    let permit = BodyBudget::new(1 << 20, || {}).try_reserve(1 << 20).unwrap();
    let mut builder = BatchBuilder::open(framing, account.clone(), permit, Moment::default());
    for (n, events) in per_record.iter().enumerate() {
        let ack = record(&acks, 100 + u32::try_from(n).unwrap(), b"payload");
        for event in 0..*events {
            let index: Arc<str> = format!("index-{}", event % 2).into();
            let id = format!("{n}-{event}");
            let entry = Entry { ack: &ack, event, route: RouteId(0), index: &index, id: &id };
            builder.push(entry, |out| out.extend_from_slice(format!("{{\"n\":{n}}}").as_bytes()));
        }
        builder.declare();
        ack.settle();
    }
    let batch = builder.seal();
    let events = batch.len() as u64;
    account.ledger.book(|accounts| _ = accounts.routed.insert(DestinationId(0), events));
    (batch, acks, account)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_bulk_body_has_an_action_line_before_each_document() {
    let (mut batch, _acks, _) = batch_of(Framing::Bulk, &[2]);
    let expected = "{\"create\":{\"_index\":\"index-0\",\"_id\":\"0-0\"}}\n{\"n\":0}\n\
                    {\"create\":{\"_index\":\"index-1\",\"_id\":\"0-1\"}}\n{\"n\":0}\n";
    assert_eq!(text(&batch.body()), expected);
    batch.settle_delivered(0);
}

#[test]
fn without_ids_in_its_body_a_batch_still_knows_them() {
    let (mut batch, _acks, _) = batch_of(Framing::BulkWithoutIds, &[3, 1]);
    let mut taken = batch.take(|n, _| n == 1 || n == 3);
    let expected = "{\"create\":{\"_index\":\"index-1\"}}\n{\"n\":0}\n\
                    {\"create\":{\"_index\":\"index-0\"}}\n{\"n\":1}\n";
    assert_eq!(text(&taken.body()), expected);
    let ids = |batch: &Batch| batch.views().map(|view| view.id.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&batch), ids(&taken)),
        (vec!["0-0".into(), "0-2".into()], vec!["0-1".into(), "1-0".into()])
    );
    batch.settle_delivered(0);
    taken.settle_delivered(0);
}

#[test]
fn a_taken_item_is_cut_out_by_its_span() {
    let (mut batch, acks, account) = batch_of(Framing::Lines, &[3, 2]);
    let mut taken = batch.take(|n, _| n == 1 || n == 4);
    assert_eq!(text(&taken.body()), "0-1\n{\"n\":0}\n1-1\n{\"n\":1}\n");
    assert_eq!(text(&batch.body()), "0-0\n{\"n\":0}\n0-2\n{\"n\":0}\n1-0\n{\"n\":1}\n");
    batch.settle_delivered(1);
    assert_eq!(acks.progress().borrow().open, 2);
    taken.settle_dead_lettered([RefusalReason::Mapping; 2].into_iter());
    assert_eq!(acks.progress().borrow().open, 0);
    let accounts = account.ledger.snapshot();
    assert_eq!(accounts.delivered[&(DestinationId(0), Delivery::AlreadyPresent)], 1);
    assert_eq!(accounts.in_flight(DestinationId(0)), 0);
}

#[test]
fn a_dropped_batch_is_abandoned_and_holds_the_checkpoint() {
    let (batch, acks, account) = batch_of(Framing::Bulk, &[1, 1]);
    drop(batch);
    assert_eq!(acks.progress().borrow().settled, None);
    let accounts = account.ledger.snapshot();
    assert_eq!(accounts.abandoned[&(DestinationId(0), AbandonReason::Shutdown)], 2);
    assert_eq!(accounts.in_flight(DestinationId(0)), 0);
}

proptest! {
    /// However a batch is cut, each event is in exactly one part, and settling all the parts
    /// settles all the records.
    #[test]
    fn cutting_loses_and_doubles_nothing(
        per_record in prop::collection::vec(0u32..6, 1..6),
        cuts in prop::collection::vec(prop::collection::vec(any::<bool>(), 36), 0..5),
    ) {
        let (batch, acks, _) = batch_of(Framing::Lines, &per_record);
        let mut expected: Vec<_> = batch.views().map(|view| view.id.to_owned()).collect();
        let mut parts = vec![batch];
        for cut in cuts {
            let mut last = parts.pop().unwrap();
            let taken = last.take(|n, _| cut[n]);
            parts.extend([taken, last]);
        }
        let mut found = Vec::new();
        for part in &mut parts {
            let body = part.body();
            let lines: Vec<_> = text(&body).lines().step_by(2).map(str::to_owned).collect();
            prop_assert_eq!(&lines, &part.views().map(|view| view.id.to_owned()).collect::<Vec<_>>());
            found.extend(lines);
        }
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
        parts.into_iter().for_each(|part| part.settle_delivered(0));
        prop_assert_eq!(acks.progress().borrow().open, 0);
    }
}

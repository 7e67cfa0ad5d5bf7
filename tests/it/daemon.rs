//! The real binary, as a process: started, asked, signalled and killed.

mod health;
mod interrupted;
pub(crate) mod page;
pub(crate) mod rig;
mod signals;

use self::rig::Rig;
use crate::fake_bulk::{FakeBulk, OWN_ID, Script, item_error};

#[tokio::test(flavor = "multi_thread")]
async fn a_search_engine_gets_its_templates_first_and_then_every_event() {
    let fake = FakeBulk::start().await;
    let rig = Rig::for_search(20_000, &fake).await;
    let daemon = rig.daemon().await;
    let expected = rig.expected_of_search();
    fake.wait_for("all is there", |fake| fake.count() >= expected).await;
    daemon.settled().await;
    daemon.stop("-TERM", Some(0)).await;
    assert_eq!(fake.count(), expected);
    let requests = fake.requests();
    let first = |path: &str| requests.iter().position(|request| request.uri.path().contains(path));
    assert!(first("_index_template").unwrap() < first("_bulk").unwrap(), "templates come first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_series_collection_gets_every_event_and_what_may_be_there_twice_is_counted() {
    let fake = FakeBulk::start().await;
    let refused = "Document ID is not supported in create/index operation request";
    fake.rule(|_, id, _| {
        let is_ours = !id.starts_with(OWN_ID);
        is_ours.then(|| item_error(400, "illegal_argument_exception", refused))
    });
    fake.answer(Script::CloseAfterStoring);
    let rig = Rig::for_search(5_000, &fake).await;
    let collection =
        "[destination.search.opensearch]\nengine = \"opensearch_serverless\"\nids = false";
    rig.configure(|text| text.replace("[destination.search.opensearch]", collection));
    let daemon = rig.daemon().await;
    let expected = rig.expected_of_search();
    let page = loop {
        let page = daemon.metrics().await;
        if page.sum("logweir_events_delivered_total", "") >= expected as u64 {
            break page;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    daemon.stop("-TERM", Some(0)).await;

    let sum = |name, label| usize::try_from(page.sum(name, label)).unwrap();
    assert_eq!(sum("logweir_events_delivered_total", "result=\"created\""), expected);
    let doubled = sum("logweir_possible_duplicates_total", "");
    assert!(doubled > 0, "the answer to the first request was lost");
    assert_eq!(fake.count(), expected + doubled);
    assert!(
        fake.requests().iter().all(|seen| seen.uri.path() != "/"),
        "a collection cannot be asked"
    );
}

//! The real binary, as a process: started, asked, signalled and killed.

mod health;
mod interrupted;
mod page;
pub(crate) mod rig;
mod signals;

use self::rig::Rig;
use crate::fake_bulk::FakeBulk;

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

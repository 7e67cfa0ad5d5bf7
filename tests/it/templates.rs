//! A route waits for its index template, and only that route: the real binary against a scripted
//! engine.

use crate::fake_bulk::FakeBulk;
use crate::small::{Small, envelope, route, stop};

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_its_template_waits_and_the_others_go_on() {
    let routes = [route("app", "/app/*", "plain"), route("web", "/web/*", "plain")].concat();
    let small = Small::new(&routes).await;
    let fake = &small.fake;
    for (n, log_group) in ["/app/a", "/web/b", "/app/a", "/web/b"].into_iter().enumerate() {
        small.put(envelope(log_group, n * 10..n * 10 + 10));
    }
    fake.refuse("/_index_template/logweir-app", 403);
    let daemon = small.daemon();
    let of = |fake: &FakeBulk, prefix: &str| {
        fake.documents().keys().filter(|(index, _)| index.starts_with(prefix)).count()
    };
    fake.wait_for("the events of the other route", |fake| of(fake, "web-") == 20).await;
    assert_eq!(of(fake, "app-"), 0, "none was sent before its template");
    fake.refuse_nothing();
    fake.wait_for("the events of the route that waited", |fake| of(fake, "app-") == 20).await;
    let requests = fake.requests();
    let put = requests.iter().position(|request| {
        request.method == "PUT" && request.uri.path() == "/_index_template/logweir-app"
    });
    let sent = requests.iter().position(|request| {
        request.uri.path() == "/_bulk" && request.body.windows(5).any(|part| part == b"\"app-")
    });
    assert!(put.unwrap() < sent.unwrap());
    let said = stop(daemon).await;
    for part in ["holding back events", "route app", "template_missing", "logweir setup"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

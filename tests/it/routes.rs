//! Events part by all that a route may ask for, in the daemon and when dead letters are sent again.

use std::collections::BTreeMap;

use logweir::demo::endpoint::Endpoint;
use serde_json::{Value, json};

use crate::daemon::page::Page;
use crate::fake_bulk::item_error;
use crate::small::{PATIENCE, Small, stop};

const EDGE: &str = "edge";

const TRAIL: &str = r#"{"eventVersion":"1.11","eventTime":"2026-01-31T06:00:00Z","eventID":"11111111-2222-3333-4444-555555555555","eventName":"GetObject"}"#;
const FLOW: &str =
    "2 111122223333 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1764000000 1764000060 ACCEPT OK";
const JSON: &str = "{\"level\":\"info\"}";
const TEXT: &str = "it is quiet";

/// Log events in both streams.
const EVENTS: usize = 3 + 2 + 2 + 4 + 4;

fn route(name: &str, conditions: &str, index: &str) -> String {
    format!(
        "\n[[route]]\nname = \"{name}\"\n{conditions}\nparse = \"auto\"\nto = [\"search\"]\n\
         index = \"{index}\"\n"
    )
}

fn routes() -> String {
    let routes = [
        route("audit", "account = \"444455556666\"", "audit-{account}-%Y"),
        route("edge", "stream = \"edge\"", "edge-{region}"),
        route(
            "web",
            "log_group = \"/app/*\"\nlog_stream = [\"web-*\", \"www-?\"]",
            "web-{log_group}-%Y.%m.%d",
        ),
        route("network", "kind = [\"cloudtrail\", \"vpc_flow\"]", "network-%Y"),
        "\n[[route]]\nname = \"quiet\"\nlog_group = \"/app/*\"\nkind = \"json\"\ndiscard = true\n"
            .to_owned(),
        route("app", "log_group = \"/app/*\"", "app-{log_group}"),
    ];
    routes.concat()
}

/// Where each event belongs, but for those that are discarded.
fn expected() -> BTreeMap<String, usize> {
    let counts = [
        ("audit-444455556666-2025", 3),
        // That of the second stream.
        ("edge-us-east-1", 2),
        ("web-app.shop-2025.11.24", 2),
        ("network-2025", 4),
        ("app-app.shop", 1),
    ];
    counts.map(|(index, count)| (index.to_owned(), count)).into()
}

struct Rig {
    small: Small,
    events: usize,
}

impl Rig {
    async fn start(routes: &str) -> Self {
        let mut rig = Self { small: Small::new("").await, events: 0 };
        rig.small.endpoint.create_stream(EDGE, 1).unwrap();
        rig.configure(routes);
        let demo = Endpoint::STREAM;
        rig.put(demo, ["444455556666", "/app/shop", "web-1"], &[JSON, TEXT, FLOW]);
        rig.put(EDGE, ["111122223333", "/app/shop", "web-1"], &[JSON, FLOW]);
        rig.put(demo, ["111122223333", "/app/shop", "www-7"], &[JSON, TEXT]);
        rig.put(demo, ["111122223333", "/app/shop", "batch-1"], &[TRAIL, JSON, FLOW, TEXT]);
        rig.put(demo, ["111122223333", "/other", "web-1"], &[JSON, FLOW, FLOW, TEXT]);
        assert_eq!(rig.events, EVENTS);
        rig
    }

    fn configure(&self, routes: &str) {
        let (region, kinesis) = (Endpoint::REGION, self.small.endpoint.url());
        self.small.configure(&format!(
            "\n[stream.{EDGE}]\nregion = \"{region}\"\nendpoint = \"{kinesis}\"\n{routes}"
        ));
    }

    fn put(&mut self, stream: &str, [owner, group, log_stream]: [&str; 3], messages: &[&str]) {
        let first = self.events;
        self.events += messages.len();
        let events: Vec<Value> = (first..)
            .zip(messages)
            .map(|(n, message)| {
                json!({"id": format!("{n:056}"), "timestamp": 1_764_000_000_000_u64,
                    "message": message})
            })
            .collect();
        let envelope = json!({"messageType": "DATA_MESSAGE", "owner": owner, "logGroup": group,
            "logStream": log_stream, "subscriptionFilters": ["f"], "logEvents": events});
        self.small.endpoint.put(stream, "k", envelope.to_string()).unwrap();
    }

    fn by_index(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (index, _) in self.small.fake.documents().into_keys() {
            *counts.entry(index).or_default() += 1;
        }
        counts
    }
}

async fn page(listen: &str) -> Page {
    let answer = reqwest::get(format!("http://{listen}/metrics")).await.unwrap();
    Page::read(&answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_part_by_stream_account_log_stream_and_kind() {
    let rig = Rig::start(&routes()).await;
    let delivered: usize = expected().values().sum();
    let (daemon, listen) = rig.small.daemon_that_listens().await;
    rig.small.fake.wait_for("every document", |fake| fake.count() == delivered).await;
    let settled = async {
        loop {
            let page = page(&listen).await;
            let read = page.sum("logweir_events_read_total", "");
            if (read, page.sum("logweir_events_in_flight", "")) == (EVENTS as u64, 0) {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let page = tokio::time::timeout(PATIENCE, settled).await.unwrap();
    page.check_identity();
    let of = |name: &str, route: &str| {
        page.sum(&format!("logweir_events_{name}_total"), &format!("route=\"{route}\""))
    };
    for (route, matched) in [("audit", 3), ("edge", 2), ("web", 2), ("network", 4), ("app", 1)] {
        assert_eq!(of("matched", route), matched, "{route}");
    }
    assert_eq!((of("filtered", "quiet"), of("filtered", "nowhere")), (1, 2));
    // What auto found out to choose the route is what it made of the event.
    assert_eq!((of("detected", "network"), of("detected", "app")), (4, 1));
    assert_eq!(rig.by_index(), expected());
    let patterns: Vec<_> = rig.small.fake.settings().into_keys().collect();
    for name in ["app", "audit", "edge", "network", "web"] {
        let path = format!("/_index_template/logweir-{name}");
        assert!(patterns.contains(&path), "{path}: {patterns:?}");
    }
    stop(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_sent_again_take_the_routes_that_their_events_take_today() {
    let all = "log_group = [\"/app/*\", \"/other\"]";
    let rig = Rig::start(&route("all", all, "all")).await;
    rig.small.fake.rule(|_, _, _| Some(item_error(400, "mapper_parsing_exception", "no")));
    let daemon = rig.small.daemon();
    let letters = async {
        let count = || {
            let count = "SELECT count(*) FROM dead_letters";
            let count = rig.small.database("state.db").query_row(count, [], |row| row.get(0));
            count.unwrap_or(0_i64)
        };
        while !rig.small.path("state.db").exists() || count() != EVENTS as i64 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, letters).await.unwrap();
    stop(daemon).await;

    rig.small.fake.no_rule();
    rig.configure(&routes());
    let (code, said) = rig.small.ask(&["dead-letter", "replay", "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!((code, &said["kept"]), (Some(1), &json!({"discarded": 3})), "{said}");
    assert_eq!(rig.by_index(), expected());
}

//! What a supervisor and an on-call person are told about a daemon.

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Daemon, Rig, logweir};
use crate::fake_bulk::{FakeBulk, Script, item, whole};

const EVENTS: u64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_that_is_moved_away_is_missed_at_once() {
    let fake = FakeBulk::start().await;
    let mut rig = Rig::empty(2_000).await;
    rig.deliver_to(&fake);
    rig.put(1_000);
    let daemon = rig.daemon().await;
    fake.wait_for("all is there", |fake| fake.count() >= rig.expected_of_search()).await;
    let (here, away) = (rig.folder().join("state.db"), rig.folder().join("away.db"));
    std::fs::rename(&here, &away).unwrap();
    rig.put(2_000);
    let ready = async |wanted: u16| {
        loop {
            let (status, text) = daemon.get("/health/ready").await;
            if status == wanted {
                break text;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let said = ready(503).await;
    assert!(said.contains("removed or replaced") && said.contains("state.db"), "{said}");
    std::fs::rename(&away, &here).unwrap();
    ready(200).await;
    daemon.stop("-TERM", Some(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_destination_makes_a_daemon_unready_and_leaves_it_live() {
    let fake = FakeBulk::start().await;
    let error = json!({"type": "security_exception", "reason": "missing authentication"});
    fake.always(Some(Script::from(whole(401, &json!({"error": error, "status": 401})))));
    let rig = Rig::for_search(EVENTS, &fake).await;
    let daemon = rig.daemon().await;
    let held = "destination search: holds";
    let text = loop {
        let (status, text) = daemon.get("/health/ready").await;
        if text.contains(held) {
            assert_eq!(status, 503, "{text}");
            break text;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(text.contains("missing authentication"), "it says why: {text}");
    assert_eq!(ready(&daemon).await, 0, "as a metric too");
    assert_eq!(daemon.get("/health/live").await, (200, "live\n".to_owned()));
    let (status, summary) = daemon.get("/health").await;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((status, &summary["state"]), (200, &json!("running")));
    let not_ready = summary["not_ready"][0].as_str().unwrap();
    assert!(not_ready.starts_with(held), "{summary}");
    assert!(summary["destinations"]["search"]["held"][0].is_string(), "{summary}");
    assert!(summary["destinations"]["search"]["in_flight"].as_u64() > Some(0), "{summary}");

    assert_eq!(ask(daemon.address, &[]), (Some(0), "live\n".to_owned()));
    let (code, said) = ask(daemon.address, &["--ready"]);
    assert_eq!(code, Some(1));
    assert!(said.contains(held), "{said}");

    fake.always(None);
    fake.wait_for("all is there", |fake| fake.count() >= rig.expected_of_search()).await;
    daemon.settled().await;
    assert_eq!(daemon.get("/health/ready").await, (200, "ready\n".to_owned()));
    assert_eq!(ask(daemon.address, &["--ready"]), (Some(0), "ready\n".to_owned()));
    assert_eq!(ready(&daemon).await, 1);
    let address = daemon.address;
    daemon.stop("-TERM", Some(0)).await;
    assert_eq!(ask(address, &[]).0, Some(1), "a dead daemon is not live");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_told_and_those_that_wait_for_room_are_too() {
    let fake = FakeBulk::start().await;
    fake.rule(|_, id, _| id.ends_with("07").then(|| item(400)));
    let rig = Rig::for_search(EVENTS, &fake).await;
    rig.configure(|text| {
        let table = "[destination.search.opensearch]\n";
        let small = format!("{table}bulk.max_body = \"64KiB\"\n");
        format!("{text}\n[dead_letters]\nmax_size = \"1KiB\"\n").replace(table, &small)
    });
    let daemon = rig.daemon().await;
    // The first of them always finds room.
    let told = ["events became dead letters", "cannot be decoded became a dead letter"];
    let line = loop {
        let lines = daemon.log.lines();
        if let Some(line) =
            lines.into_iter().find(|line| told.iter().any(|told| line.contains(told)))
        {
            break line;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(line.contains("WARN") && line.contains("logweir dead-letter list --reason"), "{line}");
    daemon.log.line("could not store").await;
    let (status, text) = daemon.get("/health/ready").await;
    assert!(status == 503 && text.contains("dead letters: what would become one waits"), "{text}");
    // Room, again and again, while the daemon stops.
    daemon.signal("-TERM");
    let drop = || {
        let mut command = logweir();
        command.args(["dead-letter", "drop", "--yes", "--config"]);
        command.arg(rig.folder().join("logweir.toml")).output().unwrap()
    };
    let dropping = async {
        loop {
            assert!(drop().status.success());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = daemon.ends(Some(0)) => {}
        () = dropping => {}
    }
}

async fn ready(daemon: &Daemon) -> u64 {
    let page = daemon.get("/metrics").await.1;
    let value = page.lines().find_map(|line| line.strip_prefix("logweir_ready "));
    value.unwrap_or_else(|| panic!("{page}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_to_know_where_the_daemon_listens_and_nothing_else() {
    let rig = Rig::start(10).await;
    let daemon = rig.daemon().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logweir.toml");
    let rest =
        "[stream.a]\nregoin = 1\n[destination.b.opensearch]\nauth.basic.password = \"${UNSET}\"";
    std::fs::write(&file, format!("[http]\nlisten = \"{}\"\n{rest}", daemon.address)).unwrap();
    let health = |listen: Option<SocketAddr>| {
        let mut command = logweir();
        command.args(["health", "--config"]).arg(&file);
        command.envs(listen.map(|address| ("LOGWEIR_HTTP_LISTEN", address.to_string())));
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    };
    assert_eq!(health(None), (Some(0), "live\n".to_owned()));
    std::fs::write(&file, format!("[http]\nlisten = \"${{ADDRESS}}\"\n{rest}")).unwrap();
    let (code, said) = health(None);
    assert_eq!(code, Some(64), "{said}");
    let wrong = "logweir.toml:2:10: `listen`: \"${ADDRESS}\" is not an address";
    assert!(said.contains(wrong), "{said}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(health(Some(daemon.address)), (Some(0), "live\n".to_owned()));
    let by_name = format!("localhost:{}", daemon.address.port());
    assert_eq!(ask(&by_name, &[]), (Some(0), "live\n".to_owned()));

    let address = daemon.address;
    // What has read nothing yet has no figures for its end to be checked by.
    rig.wait_for(1).await;
    daemon.stop("-TERM", Some(0)).await;
    let (code, said) = health(Some(address));
    assert_eq!(code, Some(1), "{said}");
    let start = format!("error: no logweir answers at {address}: is it running");
    assert!(said.starts_with(&start) && said.contains("refused"), "{said}");
    assert!(!said.contains("sending request"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_that_listens_there_is_no_live_logweir() {
    let fake = FakeBulk::start().await;
    let address = fake.url().trim_start_matches("http://").to_owned();
    fake.put("/health/live", json!("welcome")).put("/health/ready", json!("welcome"));
    for status in [200, 503] {
        for options in [&[][..], &["--ready"]] {
            let mut command = logweir();
            command.args(["health", "--address", &address]).args(options);
            let Output { status: exit, stdout, stderr } = command.output().unwrap();
            let said = String::from_utf8(stderr).unwrap();
            assert_eq!((exit.code(), &stdout[..]), (Some(1), &b""[..]), "{options:?}: {said}");
            let tells = format!("error: what answers at {address} is no logweir");
            assert!(said.starts_with(&tells) && said.contains(&status.to_string()), "{said}");
        }
        fake.refuse("/health/live", 503).refuse("/health/ready", 503);
    }
}

/// Asks as a container check does.
fn ask(address: impl ToString, more: &[&str]) -> (Option<i32>, String) {
    let mut command = logweir();
    command.args(["health", "--address", &address.to_string()]).args(more);
    let Output { status, stdout, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

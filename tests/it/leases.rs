//! `logweir leases`, the real binary.

use serde_json::{Value, json};

use crate::small::{Small, envelope, route, stop};

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_shard_is_read_again_and_nothing_is_doubled() {
    let small = Small::new(&route("app", "/app/*", "json")).await;
    let first = small.put(envelope("/app/a", 0..10));
    let last = small.put(envelope("/app/a", 10..20));
    let daemon = small.daemon();
    small.fake.wait_for("20 documents", |fake| fake.count() == 20).await;
    let (code, said) = small.ask(&["leases", "reset", "--to", "trim_horizon", "--yes"]).await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&daemon.id().unwrap().to_string()), "{said}");
    let (code, said) = small.ask(&["leases", "list"]).await;
    assert_eq!(code, Some(0), "beside a daemon: {said}");
    stop(daemon).await;

    let (code, said) = small.ask(&["leases", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &listed["leases"][0]["checkpoint"]), (Some(0), &json!(last)), "{said}");
    assert_eq!(listed["possible_gaps"], json!([]));
    let shard = listed["leases"][0]["shard"].as_str().unwrap();

    let (code, said) = small.ask(&["leases", "reset", "--to", &first]).await;
    assert_eq!(code, Some(64), "{said}");
    let reset = ["leases", "reset", "--shard", shard, "--to", &first];
    let (code, said) = small.ask(&reset).await;
    assert_eq!(code, Some(0), "{said}");
    let back = format!("from {last} to {first}: back, events in between are read again");
    assert!(said.contains(&back), "{said}");
    let (code, said) = small.ask(&["leases", "reset", "--to", "2999-01-31T06:00:00Z"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("to AT_TIMESTAMP 2999-01-31T06:00:00.000Z: a time in the future"),
        "{said}"
    );
    assert!(small.ask(&["leases", "list"]).await.1.contains(&last), "nothing is moved yet");
    let (code, said) = small.ask(&[&reset[..], &["--yes"]].concat()).await;
    assert_eq!((code, said.contains("moved 1 checkpoint\n")), (Some(0), true), "{said}");

    let requests = small.fake.requests().len();
    let daemon = small.daemon();
    let again = |seen: &crate::fake_bulk::FakeBulk| {
        seen.requests().iter().skip(requests).any(|request| request.uri.path() == "/_bulk")
    };
    small.fake.wait_for("the second record again", again).await;
    stop(daemon).await;
    let bodies: Vec<_> = small.fake.requests().into_iter().skip(requests).collect();
    let bodies: Vec<_> = bodies.iter().map(|seen| String::from_utf8_lossy(&seen.body)).collect();
    let sent = |n: usize| bodies.iter().any(|body| body.contains(&format!("{n:056}")));
    assert!((10..20).all(sent) && !(0..10).any(sent));
    assert_eq!(small.fake.count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_told() {
    let small = Small::new(&route("app", "/app/*", "json")).await;
    let (code, said) = small.ask(&["leases", "list"]).await;
    assert_eq!(code, Some(69), "no daemon has run yet: {said}");
    let daemon = small.daemon();
    small.put(envelope("/app/a", 0..1));
    small.fake.wait_for("a document", |fake| fake.count() == 1).await;
    stop(daemon).await;
    for words in [
        &["leases", "reset", "--to", "yesterday"][..],
        &["leases", "reset", "--to", "latest", "--shard", "shardId-9"],
        &["leases", "list", "--stream", "other"],
        &["leases", "list", "--shard", "shardId-9"],
        &["leases", "list", "--shard", "shardId-9", "--json"],
        &["leases", "accept-gap", "--shard", "shardId-9"],
    ] {
        let (code, said) = small.ask(words).await;
        assert_eq!(code, Some(64), "{words:?}: {said}");
        assert!(said.starts_with("error: "), "{words:?}: {said}");
        let is_of_shard = words.contains(&"--shard");
        let known = "no shard `shardId-9`, only `shardId-000000000000`";
        assert!(!is_of_shard || said.contains(known), "{words:?}: {said}");
    }
    let (code, said) = small.ask(&["leases", "accept-gap"]).await;
    assert_eq!((code, said.as_str()), (Some(0), "no possible gaps\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_state_file_is_used_with_a_warning_of_what_is_gone() {
    let small = Small::new(&route("app", "/app/*", "json")).await;
    let warning = "the state file is there and empty";
    for (is_empty, warns) in [(false, false), (true, true), (false, false)] {
        if is_empty {
            std::fs::write(small.path("state.db"), "").unwrap();
        }
        let (daemon, _) = small.daemon_that_listens().await;
        stop(daemon).await;
        let said = std::fs::read_to_string(small.path("daemon.log")).unwrap();
        assert_eq!(said.contains(warning), warns, "{said}");
        assert!(!warns || (said.contains("WARN") && said.contains("dead letters")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_that_is_not_there_is_told_by_every_command_and_made_by_none() {
    let small = Small::new(&route("app", "/app/*", "json")).await;
    for words in [
        &["dead-letter", "list"][..],
        &["dead-letter", "show", "3f9c"],
        &["dead-letter", "replay"],
        &["dead-letter", "replay", "--json"],
        &["dead-letter", "drop", "--yes"],
        &["leases", "list"],
        &["leases", "reset", "--to", "trim_horizon", "--yes"],
        &["leases", "accept-gap", "--yes"],
    ] {
        let (code, said) = small.ask(words).await;
        assert_eq!(code, Some(69), "{words:?}: {said}");
        let state = small.path("state.db");
        for says in [state.to_str().unwrap(), "`logweir run`", "`state.sqlite.path`"] {
            assert!(said.contains(says), "{words:?}: {said} lacks {says}");
        }
        let left = std::fs::read_dir(small.folder.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["logweir.toml"], "{words:?}");
    }
}

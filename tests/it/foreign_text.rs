//! What a document says by the mouth of an engine stays text: no line, no colour, no bell of its own.

use serde_json::Value;

use crate::fake_bulk::item_error;
use crate::small::{Small, envelope, route, signal};

/// Written by whoever writes logs: a line of a log, a colour, a bell, C1's escape, and text that
/// runs backwards.
const FORGED: &str =
    "'x\n2026-01-01T00:00:00Z ERROR fake line\r\u{1b}[31mred\u{7}\u{9b}1m\u{2028}\u{202e}'";

const SHOWN: &str =
    r"'x\n2026-01-01T00:00:00Z ERROR fake line\r\u{1b}[31mred\u{7}\u{9b}1m\u{2028}\u{202e}'";

fn acts(text: &str) -> bool {
    let acts = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}');
    text.lines().any(|line| line.contains(acts) || line.starts_with("2026-01-01T"))
}

/// One event is refused, another one held, both with the words of a document.
async fn rig() -> Small {
    let routes = route("app", "/app/*", "json") + &route("held", "/held/*", "json");
    let small = Small::new(&routes).await;
    small.fake.rule(|index, _, _| {
        let (status, kind, words) = if index.starts_with("held") {
            (403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)];")
        } else {
            (400, "mapper_parsing_exception", "failed to parse: For input string:")
        };
        Some(item_error(status, kind, &format!("{words} {FORGED}")))
    });
    small.put(envelope("/app/orders", 0..1));
    small.put(envelope("/held/orders", 1..2));
    small
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_quotes_forges_no_line_and_no_colour() {
    let small = rig().await;
    let (daemon, address) = small.daemon_that_listens().await;
    let ready = loop {
        let answer = reqwest::get(format!("http://{address}/health/ready")).await.unwrap();
        let text = answer.text().await.unwrap();
        if text.contains("FORBIDDEN/8") {
            break text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert!(!acts(&ready) && ready.contains(SHOWN), "{ready:?}");
    assert!(ready.contains("write_block, 1 event waits: "), "{ready:?}");
    let listed = loop {
        let (code, said) = small.ask(&["dead-letter", "list"]).await;
        assert_eq!(code, Some(0), "{said}");
        if said.contains("mapping") {
            break said;
        }
    };
    assert!(!acts(&listed) && listed.lines().count() == 3, "{listed:?}");
    signal(&daemon, "-TERM").await;
    signal(&daemon, "-TERM").await;
    daemon.wait_with_output().await.unwrap();
    let log = std::fs::read_to_string(small.path("daemon.log")).unwrap();
    let held = log.lines().find(|line| line.contains("holding back events")).unwrap();
    assert!(!acts(&log) && held.contains(SHOWN), "{log:?}");

    // As an earlier version stored it.
    let database = small.database("state.db");
    let text = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let stored = database.query_row("SELECT letter FROM dead_letters", [], text).unwrap();
    let mut letter: Value = serde_json::from_str(&stored).unwrap();
    assert!(letter["error"].as_str().unwrap().ends_with(SHOWN), "{stored}");
    letter["error"] = FORGED.into();
    letter["document"]["quoted"] = FORGED.into();
    let before = letter.to_string();
    assert_eq!(database.execute("UPDATE dead_letters SET letter = ?1", [&before]), Ok(1));
    let (_, listed) = small.ask(&["dead-letter", "list"]).await;
    assert!(!acts(&listed) && listed.contains(SHOWN), "{listed:?}");
    let (_, json) = small.ask(&["dead-letter", "list", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), letter);
    let id = letter["id"].as_str().unwrap();
    let (_, shown) = small.ask(&["dead-letter", "show", id]).await;
    assert!(!acts(&shown), "{shown:?}");
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), letter);
}

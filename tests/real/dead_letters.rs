//! What an engine refuses can be found, understood, and sent again once the cause is mended.

use logweir::event::Timestamp;
use serde_json::{Value, json};

use crate::envelopes::{LogEvent, put, records};
use crate::rig::{Rig, route};
use crate::servers::{Kinesis, OpenSearch};

const INDEX: &str = "refusals";
const REFUSED: &str =
    "2 123456789010 eni-1 10.0.0.9 10.0.0.1 40001 22 6 1 40 1418530010 1418530070 REJECT OK";
/// It has no destination port.
const TAKEN: &str = "2 123456789010 eni-1 - - - - - - - 1418530010 1418530070 - NODATA";

#[tokio::test]
async fn a_refused_document_is_a_letter_with_the_engines_reason_until_it_is_replayed() {
    let Some(search) = OpenSearch::start().await else { return };
    let Some(kinesis) = Kinesis::start().await else { return };
    let stream = "refusals";
    kinesis.create_stream(stream, 1).await;
    let now = Timestamp::now().0;
    let (refused, taken) = (LogEvent::new(1, now, REFUSED), LogEvent::new(2, now, TAKEN));
    let rng = &mut fastrand::Rng::with_seed(7);
    put(&kinesis, stream, &records("flow", vec![refused.clone(), taken], rng)).await;
    // Somebody has made the index, and has thought that a port is an address.
    make_index(&search, "ip").await;
    let destination = format!("url = \"{}\"\ntemplates = \"manual\"", search.url());
    let routes = route("flow", "parse = \"vpc_flow\"", INDEX);
    let rig = Rig::new(&kinesis, stream, &destination, &routes);

    let daemon = rig.start().await;
    let metrics = daemon.settled(2).await;
    let dead = metrics.by("logweir_events_dead_lettered_total", "reason");
    assert_eq!(dead, [("mapping".to_owned(), 1)].into());
    assert_eq!(metrics.sum("logweir_dead_letters_stored", &[]), 1);
    // A running daemon does not keep the letters to itself.
    let listed = letters(&rig);
    let [letter] = listed.as_slice() else { panic!("not one letter: {listed:?}") };
    println!("{}", letter["error"]);
    assert_letter(letter, &refused);
    assert_eq!(document(&search, &refused.id).await, Value::Null);

    // Nothing is mended yet: whoever sends it, it is refused again, and stays.
    replay(&rig, 1);
    daemon.stop().await;
    replay(&rig, 1);
    let again = letters(&rig);
    assert_eq!((again.len(), &again[0]["attempts"]), (1, &json!(3)));
    assert_eq!(again[0]["id"], letter["id"]);

    assert_eq!(search.delete(INDEX).await.status, 200);
    make_index(&search, "integer").await;
    let daemon = rig.start().await;
    replay(&rig, 0);
    daemon.stop().await;
    assert_eq!(letters(&rig), Vec::<Value>::new());
    assert_eq!(document(&search, &refused.id).await, letter["document"]);
}

/// By the daemon where one runs, else by the command itself.
fn replay(rig: &Rig, code: i32) {
    let replay = rig.run(&["dead-letter", "replay"]);
    println!("{}", String::from_utf8_lossy(&replay.stdout));
    assert_eq!(replay.status.code(), Some(code), "{replay:?}");
}

/// Everything that is needed to understand it, and to send it again.
fn assert_letter(letter: &Value, event: &LogEvent) {
    let error = letter["error"].as_str().unwrap();
    assert!(error.contains("failed to parse field [dstport] of type [ip]"), "{error}");
    assert!(error.contains("'22' is not an IP string literal"), "{error}");
    let expected = json!({
        "stage": "deliver",
        "reason": "mapping",
        "status": 400,
        "error_type": "mapper_parsing_exception",
        "attempts": 1,
        "route": "flow",
        "destination": "search",
        "index": INDEX,
        "document_id": event.id,
        "stream": "refusals",
        "shard": "shardId-000000000000",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(letter[key], *value, "{key}");
    }
    assert_eq!(letter["source"]["message"], REFUSED);
    assert_eq!(letter["source"]["log_group"], "/real/flow");
    assert_eq!(letter["source"]["id"], event.id);
    assert_eq!(letter["source"]["timestamp"], event.timestamp);
    assert_eq!(letter["document"]["dstport"], 22);
}

/// As the command lists them.
fn letters(rig: &Rig) -> Vec<Value> {
    let listed = rig.run(&["dead-letter", "list", "--json"]);
    assert!(listed.status.success(), "{listed:?}");
    let lines = String::from_utf8(listed.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn make_index(search: &OpenSearch, type_of_port: &str) {
    let properties = json!({"dstport": {"type": type_of_port}});
    let made = search.put(INDEX, &json!({"mappings": {"properties": properties}})).await;
    assert_eq!(made.status, 200, "{made:?}");
}

/// Null when it is not there.
async fn document(search: &OpenSearch, id: &str) -> Value {
    search.get(&format!("{INDEX}/_doc/{id}")).await.body["_source"].clone()
}

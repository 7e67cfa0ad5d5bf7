//! The documents of `parse = "lambda"` in a real engine: all are taken, those that cost the Lambda
//! its event too, and queries written for the Lambda's indices find them.

use fastrand::Rng;
use logweir::event::Timestamp;
use serde_json::{Value, json};

use crate::envelopes::{LogEvent, put, records};
use crate::rig::{Rig, route};
use crate::servers::{Kinesis, OpenSearch};

/// Each with fields of its own, since the engine gives a field one type.
const MESSAGES: [&str; 22] = [
    // A message like a date, perhaps the first one, must not make a date of all of them.
    "2023-01-01",
    "plain REJECT text",
    r#"INFO {"action":"REJECT","bytes":1000,"nested":{"level":"WARN","list":[{"n":1.0},{"n":2.5}]}}"#,
    r#"{"action":"ACCEPT","bytes":9000000000,"message":{"any":"thing"},"log":1,"log_text":"x"}"#,
    r#"{"@id":{"a":1},"@timestamp":"never","@message":1,"@owner":[],"@log_group":null,"b":1}"#,
    r#"{"@aws":1,"@extracted":"x","@parse_error":{"a":1},"_HOSTNAME":"h","__proto__":"p"}"#,
    // The engine refuses what follows as the Lambda sends it.
    r#"{"whole":123456789012345678901,"just":9223372036854775808}"#,
    r#"{"_id":1,"c":1}"#,
    r#"{"_source":{"x":1},"_index":"x","_routing":"x","_type":"x","_seq_no":1,"_version":1}"#,
    r#"{"_doc_count":"x","_field_names":1,"_ignored":1,"_nested_path":1,"_primary_term":1}"#,
    r#"{"_id.x":1,"@id.x":1,"@message.keyword":2,"d":1}"#,
    r#"{"":1,"e":1}"#,
    r#"{"f":{"":1},"g":[{"a..b":1}],"h":1}"#,
    r#"{"\ud800":1}"#,
    r#"{"i":{"\udc00":1},"j":"\ud800"}"#,
    r#"{"@other_text":{"a":1},"@original_time":{"a":1}}"#,
    r#"{"k":[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]}"#,
    // It takes these, because they are sent as JavaScript sends them.
    r#"{"l":1e999,"m":-1e999,"n":-0,"o":1.0,"p":1e5}"#,
    r#"{"q":{"a":1,"a":2},"r":1,"r":2}"#,
    r#"{"s":"\u0000","t\u0000":1,"u":[],"v":{},"w":null}"#,
    r#"{"broken":"#,
    "",
];

/// Queries, and how many of the messages they must find.
fn cases() -> [(&'static str, Value, usize); 9] {
    let text = |query: &str| json!({"query_string": {"query": query}});
    [
        ("a keyword", text(r#"action.keyword:"REJECT""#), 1),
        ("its words", text("action:reject"), 1),
        ("a word of the message", text(r#"@message:"REJECT""#), 2),
        ("a whole message", json!({"term": {"@message.keyword": "2023-01-01"}}), 1),
        ("the log group", text(r#"@log_group.keyword:"/real/lambda""#), MESSAGES.len()),
        ("the account", text("@owner:123456789012"), MESSAGES.len()),
        ("a number", json!({"range": {"bytes": {"gt": 1000}}}), 1),
        (
            "an inner field",
            text(r#"nested.level.keyword:"WARN" AND nested.list.n:[0.5 TO 1.5]"#),
            1,
        ),
        ("a name like an engine's", text("_HOSTNAME.keyword:h AND __proto__:p"), 1),
    ]
}

#[tokio::test]
async fn every_document_is_taken_and_found_by_the_queries_of_the_lambdas_indices() {
    let Some(search) = OpenSearch::start().await else { return };
    let Some(kinesis) = Kinesis::start().await else { return };
    let stream = "lambda";
    kinesis.create_stream(stream, 1).await;
    let routes = route("lambda", "parse = \"lambda\"", "cwl-%Y.%m.%d");
    let rig = Rig::new(&kinesis, stream, &format!("url = \"{}\"", search.url()), &routes);
    let daemon = rig.start().await;

    let now = Timestamp::now().0;
    let event = |(number, message): (usize, &&str)| LogEvent::new(number, now, message);
    let events = MESSAGES.iter().enumerate().map(event).collect();
    put(&kinesis, stream, &records("lambda", events, &mut Rng::with_seed(7))).await;
    let all = MESSAGES.len() as u64;
    let metrics = daemon.settled(all).await;
    assert_eq!(daemon.errors(), Vec::<Value>::new());
    daemon.stop().await;
    let letters = String::from_utf8(rig.run(&["dead-letter", "list", "--json"]).stdout).unwrap();
    let created = metrics.sum("logweir_events_delivered_total", &[("result", "created")]);
    assert_eq!(created, all, "{letters}");
    assert_eq!(metrics.sum("logweir_parse_errors_total", &[]), 0);

    search.refresh("cwl-*").await;
    for (name, query, expected) in cases() {
        let answer = search.post("cwl-*/_count", &json!({"query": query})).await;
        assert_eq!(answer.body["count"], expected, "{name}: {answer:?}");
    }
    let id = &LogEvent::new(3, now, "").id;
    let query = json!({"query": {"ids": {"values": [id]}}});
    let answer = search.post("cwl-*/_search", &query).await;
    let found = &answer.body["hits"]["hits"][0]["_source"];
    assert_eq!((&found["@id"], &found["bytes"]), (&json!(id), &json!(9_000_000_000_u64)));
    assert_eq!(found["@message"], MESSAGES[3]);
}

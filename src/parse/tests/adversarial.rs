//! Messages written to hide something: another event, or a value.

use super::*;

#[test]
fn what_only_looks_like_cloudtrail_gets_neither_its_id_nor_its_time() {
    let trail = |name: &str| {
        format!(
            "{{\"eventVersion\":\"1.08\",\"eventTime\":\"2006-01-02T03:04:05Z\",\
             \"eventID\":\"293ba626-3be5-4a26-ab1b-0f4c54f49959\",\"eventName\":\"{name}\"}}"
        )
    };
    let auto = parser("parse = 'auto'");
    let of = |log_group: &str, message: &str| {
        let (source, event) = (from(log_group), event(message, None));
        let parsed = auto.read(&source, &event);
        let id = parsed.document_id(&source).into_owned();
        (parsed.kind(), id, parsed.time() == event.timestamp)
    };
    let (harmless, deletion) = (trail("Harmless"), trail("DeleteTrail"));
    let (kind, first, own_time) = of("/app/any", &harmless);
    assert_eq!((kind, own_time), (Kind::CloudTrail, true));
    assert_eq!(first, CWL_ID, "or one could hide another");
    let (kind, id, own_time) = of("aws-cloudtrail-logs-1", &deletion);
    let expected = "293ba626-3be5-4a26-ab1b-0f4c54f49959";
    assert_eq!((kind, id.as_str(), own_time), (Kind::CloudTrail, expected, false));
}

#[test]
fn no_value_of_a_name_that_comes_twice_is_lost() {
    for (table, kept) in [
        ("parse = 'json'", r#""log_text":"{\"a\":1,\"b\":2,\"a\":3}""#),
        ("parse.json = { own_fields = true }", r#""@other_text":"{\"a\":1}""#),
        ("parse = 'cloudtrail'", r#""@other_text":"{\"a\":1}""#),
    ] {
        let more = if table.contains("trail") { r#""eventName":"x","# } else { "" };
        let (document, written) = write(&parser(table), &format!(r#"{{{more}"a":1,"b":2,"a":3}}"#));
        assert_eq!(written.fields_as_text, 1, "{document}");
        assert!(document.contains(kept), "{document}");
    }
}

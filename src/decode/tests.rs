//! What decoding promises: all of a record or nothing, within the cap, whatever the bytes.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::Digest as _;
use proptest::prelude::*;

use super::{Buffers, Undecodable, decode};
use crate::event::Timestamp;

const CAP: usize = 1024 * 1024;
const ONE: &str = r#"{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1700000000000,"message":"hello"}]}"#;
const CONTROL: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}]}"#;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn event(event: &str) -> String {
    format!(
        r#"{{"logEvents":[{event}],"logStream":"s","logGroup":"g","owner":"o","messageType":"DATA_MESSAGE"}}"#
    )
}

fn label(payload: &[u8]) -> &'static str {
    let label = decode(payload, CAP, &mut Buffers::default()).expect_err("undecodable").label();
    assert!(Undecodable::LABELS.contains(&label), "{label}");
    label
}

/// Everything a record decodes to, as text to compare.
fn outcome(payload: &[u8]) -> String {
    let mut buffers = Buffers::default();
    format!("{:?}", decode(payload, CAP, &mut buffers).unwrap())
}

#[test]
fn gzip_and_plain_json_decode_the_same() {
    assert_eq!(outcome(ONE.as_bytes()), outcome(&gzip(ONE.as_bytes())));
    assert!(outcome(ONE.as_bytes()).contains("hello"));
}

#[test]
fn control_messages_are_counted_and_have_no_events() {
    let both = format!("{CONTROL}\n{ONE} {CONTROL}");
    let mut buffers = Buffers::default();
    let decoded = decode(&gzip(both.as_bytes()), CAP, &mut buffers).unwrap();
    assert_eq!((decoded.envelopes.len(), decoded.control_messages), (1, 2));
}

/// As the Kinesis Producer Library packs user records, with what a reader must skip.
fn aggregate(user_records: &[&[u8]]) -> Vec<u8> {
    let field = |tag: u8, content: &[u8]| {
        let mut field = vec![tag << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut field);
        [field, content.to_vec()].concat()
    };
    let mut message = [field(1, b"key"), field(2, b"12345")].concat();
    for data in user_records {
        // partition_key_index = 0, data, one tag
        message.extend(field(3, &[&[8, 0], &*field(3, data), &*field(4, b"t")].concat()));
    }
    let digest = md5::Md5::digest(&message);
    [&[0xf3, 0x89, 0x9a, 0xc2], &*message, digest.as_slice()].concat()
}

#[test]
fn every_user_record_of_an_aggregate_is_read_and_numbered() {
    let two = format!("{ONE}{ONE}");
    let parts: [&[u8]; 4] =
        [&gzip(ONE.as_bytes()), CONTROL.as_bytes(), two.as_bytes(), &gzip(ONE.as_bytes())];
    let mut buffers = Buffers::default();
    let payload = aggregate(&parts);
    let decoded = decode(&payload, CAP, &mut buffers).unwrap();
    let numbers: Vec<_> = decoded.envelopes.iter().map(|envelope| envelope.user_record).collect();
    assert_eq!(numbers, [Some(0), Some(2), Some(2), Some(3)]);
    assert_eq!((decoded.control_messages, decoded.user_records), (1, Some(3)));
    let mut plain = Buffers::default();
    let whole = [ONE, CONTROL, ONE, ONE, ONE].concat();
    let plain = decode(whole.as_bytes(), CAP, &mut plain).unwrap();
    assert_eq!((plain.user_records, plain.envelopes[0].user_record), (None, None));
    let messages = |decoded: &super::Decoded<'_>| -> Vec<String> {
        decoded.envelopes.iter().map(|envelope| format!("{:?}", envelope.log_events)).collect()
    };
    let mut again = Buffers::default();
    let decoded = decode(&payload, CAP, &mut again).unwrap();
    assert_eq!(messages(&decoded), messages(&plain));
}

#[test]
fn a_broken_user_record_makes_the_whole_record_undecodable() {
    let good = gzip(ONE.as_bytes());
    let broken = aggregate(&[&good, &good[..good.len() - 3], &good]);
    assert_eq!(label(&broken), "truncated");
    let error = decode(&broken, CAP, &mut Buffers::default()).unwrap_err();
    assert!(error.to_string().contains("user record 1"), "{error}");
    assert_eq!(label(&aggregate(&[&good, b""])), "empty");
    let large = gzip(&vec![b' '; CAP]);
    assert_eq!(label(&aggregate(&[&large, &large])), "too_large");
    // Without its checksum it is no aggregate, and no envelope either.
    let mut other = aggregate(&[&good]);
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(label(&other), "format");
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_skipped() {
    let text = r#"{"policyLevel":{"a":[1]},"logEvents":[{"x":1,"message":"m","timestamp":5,"id":"i","extractedFields":{"k":"v"}}],"logStream":"s","owner":"o","messageType":"DATA_MESSAGE","logGroup":"g"}"#;
    let mut buffers = Buffers::default();
    let decoded = decode(text.as_bytes(), CAP, &mut buffers).unwrap();
    let event = &decoded.envelopes[0].log_events[0];
    assert_eq!((event.id.as_ref(), event.message.as_ref()), ("i", "m"));
    assert_eq!(event.extracted_fields.unwrap().get(), r#"{"k":"v"}"#);
}

#[test]
fn an_id_may_be_text_or_a_number_of_any_length() {
    let long = "38480917865042697267627490045603633139480491071049695232";
    let cases = [
        (r#""id":"a\"b","#, "a\"b"),
        (&format!(r#""id":{long},"#), long),
        (r#""id":null,"#, ""),
        ("", ""),
    ];
    for (id, expected) in cases {
        let text = event(&format!(r#"{{{id}"message":"m"}}"#));
        let mut buffers = Buffers::default();
        let decoded = decode(text.as_bytes(), CAP, &mut buffers).unwrap();
        assert_eq!(decoded.envelopes[0].log_events[0].id, expected, "{id}");
    }
    assert_eq!(label(event(r#"{"id":{},"message":"m"}"#).as_bytes()), "envelope");
}

#[test]
fn a_timestamp_that_is_no_number_is_none() {
    let cases = [
        ("1700000000000", Some(1_700_000_000_000)),
        (r#""1700000000000""#, Some(1_700_000_000_000)),
        ("1.7e12", Some(1_700_000_000_000)),
        ("-1", Some(-1)),
        ("1.5", None),
        ("99999999999999999999", None),
        ("null", None),
        (r#""yesterday""#, None),
        ("{}", None),
    ];
    for (json, expected) in cases {
        let text = event(&format!(r#"{{"id":"1","timestamp":{json},"message":"m"}}"#));
        let mut buffers = Buffers::default();
        let decoded = decode(text.as_bytes(), CAP, &mut buffers).unwrap();
        let found = decoded.envelopes[0].log_events[0].timestamp;
        assert_eq!(found, expected.map(Timestamp), "{json}");
    }
}

#[test]
fn every_kind_of_broken_record_has_its_label() {
    let good = gzip(ONE.as_bytes());
    let mut bad_checksum = good.clone();
    let checksum = bad_checksum.len() - 8;
    bad_checksum[checksum] ^= 1;
    let mut bad_header = good.clone();
    bad_header[2] = 7;
    let trailing = [good.as_slice(), b"x"].concat();
    let half_envelope = [ONE, r#"{"messageType":"DATA_MESSAGE""#].concat();
    let cases: [(&str, &[u8]); 16] = [
        ("empty", b""),
        ("empty", &gzip(b"")),
        ("empty", &gzip(b" \n")),
        ("format", b"hello"),
        ("format", b"[]"),
        ("gzip", &bad_checksum),
        ("gzip", &bad_header),
        ("truncated", &good[..good.len() - 1]),
        ("truncated", &good[..5]),
        ("trailing_bytes", &trailing),
        ("too_large", &gzip(&vec![b' '; CAP + 1])),
        ("utf8", &gzip(b"{\"a\":\"\xff\"}")),
        ("json", half_envelope.as_bytes()),
        ("json", &[ONE.as_bytes(), b"x"].concat()),
        ("envelope", &gzip(b"[1]")),
        ("message_type", br#"{"messageType":"NEW_MESSAGE","owner":"o"}"#),
    ];
    for (expected, payload) in cases {
        assert_eq!(label(payload), expected);
    }
}

#[test]
fn an_envelope_without_what_makes_it_one_is_undecodable() {
    for key in ["messageType", "owner", "logGroup", "logStream", "logEvents", "message"] {
        let text = ONE.replace(&format!("\"{key}\""), "\"other\"");
        assert_eq!(label(text.as_bytes()), "envelope", "without {key}");
    }
    assert_eq!(label(event(r#"{"id":"1","message":null}"#).as_bytes()), "envelope");
    assert_eq!(
        label(event(r#"["1",5,"message",null]"#).as_bytes()),
        "envelope",
        "no list of values"
    );
    let list = gzip(br#"["DATA_MESSAGE","o","g","s",[]]"#);
    assert_eq!(label(&list), "envelope");
    assert_eq!(label(event(r#"{"id":"1","message":{"a":1}}"#).as_bytes()), "envelope");
}

#[test]
fn zero_padding_after_the_last_member_is_no_error() {
    let padded = [gzip(ONE.as_bytes()), vec![0; 512]].concat();
    assert_eq!(outcome(&padded), outcome(ONE.as_bytes()));
    let hidden = [gzip(ONE.as_bytes()), vec![0; 4], gzip(ONE.as_bytes())].concat();
    assert_eq!(label(&hidden), "trailing_bytes", "a member behind padding is not ignored");
}

#[test]
fn a_bomb_stops_at_the_cap_and_a_larger_cap_reads_it() {
    let spaces = [ONE.as_bytes(), &vec![b' '; 8 * CAP]].concat();
    let payload = gzip(&spaces);
    let mut buffers = Buffers::default();
    let error = decode(&payload, CAP, &mut buffers).unwrap_err();
    assert!(matches!(error, Undecodable::TooLarge { cap: CAP }), "{error}");
    assert!(
        buffers.inflater.bytes.capacity() <= CAP + 64 * 1024,
        "{} bytes taken",
        buffers.inflater.bytes.capacity()
    );
    decode(&payload, spaces.len(), &mut buffers).unwrap();
    assert!(buffers.inflater.bytes.capacity() <= spaces.len() + 64 * 1024);
    assert!(decode(&payload, spaces.len() - 1, &mut buffers).is_err());
}

#[test]
fn many_empty_members_cost_little() {
    let payload = [gzip(b"").repeat(20_000), gzip(ONE.as_bytes())].concat();
    assert_eq!(outcome(&payload), outcome(ONE.as_bytes()));
}

#[test]
fn many_envelopes_take_no_room_for_events_that_they_do_not_have() {
    let text =
        [event(""), event(r#"{"id":"1","timestamp":2,"message":"m"}"#)].concat().repeat(2_000);
    let mut buffers = Buffers::default();
    let decoded = decode(text.as_bytes(), CAP, &mut buffers).unwrap();
    let (mut events, mut room) = (0, 0);
    for envelope in &decoded.envelopes {
        events += envelope.log_events.len();
        room += envelope.log_events.capacity();
    }
    assert_eq!((decoded.envelopes.len(), events), (4_000, 2_000));
    // The last one's stays.
    assert!(room < events + 1_024, "{room}");
}

#[test]
fn deep_nesting_does_not_end_the_process() {
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(label(deep.as_bytes()), "envelope");
}

proptest! {
    // What fails is written down as a test, not as a seed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut buffers = Buffers::default();
        drop(decode(&payload, CAP, &mut buffers));
        drop(decode(&[&[0x1f, 0x8b, 8][..], &payload].concat(), CAP, &mut buffers));
        drop(decode(&gzip(&payload), CAP, &mut buffers));
    }

    #[test]
    fn a_damaged_record_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut payload = gzip(ONE.as_bytes());
        let at = at.index(payload.len());
        payload[at] = byte;
        let mut text = ONE.as_bytes().to_vec();
        let at = at % text.len();
        text[at] = byte;
        let mut buffers = Buffers::default();
        drop(decode(&payload, CAP, &mut buffers));
        drop(decode(&text, CAP, &mut buffers));
    }

    #[test]
    fn the_cap_holds(size in 0_usize..300_000, cap in 0_usize..300_000) {
        let text = [ONE.as_bytes(), &vec![b' '; size]].concat();
        let mut buffers = Buffers::default();
        let read = decode(&gzip(&text), cap, &mut buffers).is_ok();
        prop_assert_eq!(read, text.len() <= cap);
        prop_assert!(buffers.inflater.bytes.capacity() <= cap + 64 * 1024);
    }

    #[test]
    fn members_may_split_the_text_anywhere(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let text = [ONE, CONTROL, "\n", ONE].concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut payload = Vec::new();
        let mut from = 0;
        for cut in cuts {
            payload.extend(gzip(&text.as_bytes()[from..cut]));
            from = cut;
        }
        prop_assert_eq!(outcome(&payload), outcome(text.as_bytes()));
    }
}

//! Writes JSON text into a body, without a tree of values in between.

use std::io::Write as _;

use crate::event::Timestamp;

/// Appends `text` as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Appends `text` as the inside of a JSON string.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (clean, from) = rest.split_at(at);
        out.extend_from_slice(clean);
        let Some((byte, tail)) = from.split_first() else { break };
        escape(out, *byte);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// The characters that RFC 8259 §7 does not allow inside a string.
const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        control => {
            out.extend_from_slice(b"\\u00");
            let digits = [control >> 4, control & 0x0f];
            out.extend(digits.iter().filter_map(|digit| HEX.get(usize::from(*digit))));
        }
    }
}

/// Appends `,"name":`.
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    escaped(out, name);
    out.extend_from_slice(b"\":");
}

/// Appends what `Display` says, as a JSON string; by hand, since every document has one and the
/// formatting machinery costs more than the rest of a flow log line.
pub(super) fn timestamp(out: &mut Vec<u8>, timestamp: Timestamp) {
    let year = timestamp.date().map(|date| (date, date.year()));
    let Some((date, year @ 0..=9999)) = year else {
        // Writing to a Vec cannot fail.
        drop(write!(out, "\"{timestamp}\""));
        return;
    };
    let in_day = timestamp.0.rem_euclid(86_400_000);
    out.push(b'"');
    digits(out, year.into(), 4);
    out.push(b'-');
    digits(out, date.month().into(), 2);
    out.push(b'-');
    digits(out, date.day().into(), 2);
    out.push(b'T');
    digits(out, in_day / 3_600_000, 2);
    out.push(b':');
    digits(out, in_day / 60_000 % 60, 2);
    out.push(b':');
    digits(out, in_day / 1_000 % 60, 2);
    out.push(b'.');
    digits(out, in_day % 1_000, 3);
    out.extend_from_slice(b"Z\"");
}

fn digits(out: &mut Vec<u8>, number: i64, count: u32) {
    for place in (0..count).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_comes_back_from_its_json(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn a_timestamp_reads_as_its_display(ms in prop_oneof![any::<i64>(), -99_999_999_999_999..999_999_999_999_999_i64]) {
            let mut out = Vec::new();
            timestamp(&mut out, Timestamp(ms));
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("\"{}\"", Timestamp(ms)));
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        let text: String = (0..=0x7f_u8).map(char::from).collect();
        let mut out = Vec::new();
        string(&mut out, &text);
        assert!(out.iter().all(|byte| *byte >= 0x20));
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}

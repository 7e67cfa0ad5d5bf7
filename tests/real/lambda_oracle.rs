//! The documents of `parse = "lambda"` are the Lambda's: checked by a second implementation of its
//! rules, in JavaScript, on envelopes made to be awkward.

use std::env;
use std::io::Write as _;
use std::process::{Command, Stdio};

use fastrand::Rng;
use logweir::decode::{Buffers, decode};
use logweir::event::Timestamp;
use logweir::parse::{Parser, Source, Stamp};
use serde_json::{Value, json};

use crate::servers::skip;

const EVENTS: usize = 10_000;

/// What both sides must read as the same number, or as none.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "1.0",
    "-1.50",
    "1e5",
    "1E+5",
    "1e-7",
    "1e999",
    "-1e999",
    "1e-999",
    "0.1",
    "9007199254740993",
    "123456789012345678901234567890",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "1.7976931348623157e308",
    "5e-324",
    "2.5e-8",
];

/// Texts that are numbers to JavaScript, or nearly.
const NEARLY: &[&str] = &[
    "",
    " ",
    "-",
    "00",
    "007",
    "+3",
    ".5",
    "5.",
    ".",
    "5.e1",
    ".e1",
    "e5",
    "1e",
    "1e+",
    "--1",
    "+-1",
    "0x10",
    "0X1f",
    "0xg",
    "0x",
    "-0x10",
    "0b11",
    "0b2",
    "0o17",
    "0O8",
    "1_000",
    "1,000",
    "12abc",
    "1 2",
    "10.0.0.1",
    "Infinity",
    "-Infinity",
    "infinity",
    "inf",
    "NaN",
    "nan",
    "null",
    "true",
    "false",
    "undefined",
    " 12 ",
    "\t5\n",
    "\u{a0}6\u{feff}",
    "\u{85}7",
    "\u{2028}8\u{3000}",
    "9\0",
    "١٢",
    "0x20000000000001",
    "0x20000000000003",
    "0xfffffffffffffbff",
    "0xffffffffffffffffffff",
    "0x2000000000000100000000000000000000001",
    "-",
    "n/a",
    "é",
    "😀",
    "\"5\"",
    "[1,2",
    "[5]",
];

/// Names that something depends on, as JSON writes them.
const NAMES: &[&str] = &[
    "a",
    "b",
    "$a",
    "$b",
    "$$a",
    "A",
    "0",
    "1",
    "10",
    "01",
    "$1",
    "$01",
    "4294967294",
    "4294967295",
    "@id",
    "@timestamp",
    "@message",
    "@owner",
    "@log_group",
    "@log_stream",
    "@aws.region",
    "@extracted",
    "message",
    "a_text",
    "@parse_error",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "_HOSTNAME",
    "é",
    "\\u00e9",
    "\\u0061",
    "\\ud83d\\ude00",
    "a.b",
    "x y",
    "\\u0000",
    "\\n",
];

/// Names that engines refuse, or that are ours.
const REFUSED: &[&str] = &[
    "",
    " ",
    ".",
    "a.",
    "a..b",
    "_id",
    "_source",
    "_id.x",
    "@id.x",
    "@other_text",
    "@original_time",
    "\\ud800",
    "$",
    "\\u005fid",
];

struct Maker {
    rng: Rng,
}

impl Maker {
    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of[self.rng.usize(..of.len())]
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn name(&mut self) -> &'static str {
        let refused = self.chance(3);
        self.one(if refused { REFUSED } else { NAMES })
    }

    fn space(&mut self) -> &'static str {
        self.one(&["", "", "", " ", "\n", " \t\r\n"])
    }

    /// A JSON number: a known one, or digits of any number.
    fn number(&mut self) -> String {
        if self.chance(50) {
            return self.one(NUMBERS).to_owned();
        }
        let digits = self.rng.u64(..) >> self.rng.u32(..64);
        let exponent = self.rng.i32(-330..330);
        match self.rng.u8(..4) {
            0 => digits.to_string(),
            1 => format!("-{digits}.{:04}", self.rng.u16(..10_000)),
            2 => format!("{digits}e{exponent}"),
            _ => format!("0.{digits}E{exponent:+}"),
        }
    }

    /// A JSON string.
    fn string(&mut self) -> String {
        if self.chance(30) {
            let token = self.one(&[
                r#""\ud800""#,
                r#""x\udc00y""#,
                r#""\ud83d\ude00""#,
                r#""\/\b\f\u0000""#,
            ]);
            return token.to_owned();
        }
        Value::from(self.text(0)).to_string()
    }

    /// A JSON value.
    fn value(&mut self, depth: usize) -> String {
        match self.rng.u8(..10) {
            0 => "null".to_owned(),
            1 => self.one(&["true", "false"]).to_owned(),
            2..=4 => self.number(),
            5..=6 => self.string(),
            _ if depth == 0 => self.one(&["{}", "[]"]).to_owned(),
            7 => {
                let values: Vec<_> = (0..self.rng.u8(..4)).map(|_| self.value(depth - 1)).collect();
                format!("[{}]", values.join(" ,"))
            }
            8 if self.chance(3) => {
                let levels = self.rng.usize(15..22);
                format!("{}{}{}", "[".repeat(levels), self.number(), "]".repeat(levels))
            }
            _ => self.object(depth - 1),
        }
    }

    fn object(&mut self, depth: usize) -> String {
        let fields: Vec<_> = (0..self.rng.u8(..6))
            .map(|_| {
                let (name, space) = (self.name(), self.space());
                format!("{space}\"{name}\"{space}:{}{}", self.space(), self.value(depth))
            })
            .collect();
        format!("{{{}{}}}", fields.join(","), self.space())
    }

    /// Text that may hold JSON, whole, in the middle, at the end, broken.
    fn text(&mut self, depth: usize) -> String {
        let prefix = self.one(&["", "", "INFO ", "[x] ", "{", "a{b ", "\u{feff}", "}", "é\t"]);
        match self.rng.u8(..8) {
            0 => self.one(NEARLY).to_owned(),
            1 => self.number(),
            2 => format!("{}{}{}", self.space(), self.number(), self.space()),
            3 => (0..self.rng.u8(..9)).map(|_| self.rng.char(..)).collect(),
            4 => format!("{prefix}{}", self.value(depth)),
            5 => {
                let mut broken = self.object(depth);
                let end = self.rng.usize(..=broken.len());
                let end = (0..=end).rev().find(|end| broken.is_char_boundary(*end)).unwrap();
                broken.truncate(end);
                format!("{prefix}{broken}")
            }
            6 => {
                let tail = self.one(&[" tail", "\n", " \t", "\u{a0}", "{}", "\0", ","]);
                format!("{prefix}{}{tail}", self.object(depth))
            }
            _ => format!("{prefix}{}", self.object(depth)),
        }
    }

    /// `extractedFields`, as JSON; mostly what CloudWatch Logs sends.
    fn extracted(&mut self) -> String {
        if self.chance(15) {
            return self.one(&["{}", "null", "\"\"", "0", "-0.0", "false", "{ }"]).to_owned();
        }
        let fields: Vec<_> = (0..self.rng.u8(..8))
            .map(|_| {
                let mut name = self.name();
                while name.contains("\\ud800") {
                    name = self.name();
                }
                format!("\"{name}\":{}", self.extracted_value())
            })
            .collect();
        format!("{{{}}}", fields.join(","))
    }

    fn extracted_value(&mut self) -> String {
        if self.chance(4) {
            let other =
                self.one(&["null", "false", "true", "0", "0e9", "5", "-1.50", "[]", "{\"a\":1}"]);
            return other.to_owned();
        }
        Value::from(self.text(2)).to_string()
    }

    fn envelope(&mut self) -> String {
        let id = format!("38{:054}", self.rng.u64(..));
        // From 2006 to 2033, in the forms that a number of milliseconds may have.
        let time = self.rng.u64(1_136_073_600_000..2_000_000_000_000);
        let time = if self.chance(10) { json!(time.to_string()) } else { json!(time) };
        let message = Value::from(self.text(4));
        let extracted = if self.chance(50) {
            format!(",\"extractedFields\":{}", self.extracted())
        } else {
            String::new()
        };
        format!(
            "{{\"messageType\":\"DATA_MESSAGE\",\"owner\":\"111122223333\",\"logGroup\":\"/g\",\
             \"logStream\":\"s\\u00e9\",\"subscriptionFilters\":[\"f\"],\"logEvents\":[{{\
             \"id\":\"{id}\",\"timestamp\":{time},\"message\":{message}{extracted}}}]}}"
        )
    }
}

/// logweir's document for the one event of an envelope, and how many fields it put aside.
fn document(envelope: &str) -> (String, u32) {
    let mut buffers = Buffers::default();
    let decoded = decode(envelope.as_bytes(), 1 << 20, &mut buffers).expect(envelope);
    let from = &decoded.envelopes[0];
    let (owner, log_group, log_stream) = (&from.owner, &from.log_group, &from.log_stream);
    let source = Source::new(owner, log_group, log_stream, "eu-central-1");
    let parsed = Parser::Lambda.read(&source, &from.log_events[0]);
    let stamp = Stamp { timestamp: parsed.time().unwrap_or(Timestamp(0)), undated: false };
    let mut out = Vec::new();
    let written = parsed.write(&source, stamp, &mut out);
    assert_eq!(parsed.document_id(&source), from.log_events[0].id);
    (String::from_utf8(out).unwrap(), written.fields_as_text)
}

/// What the oracle says to pairs of an envelope and a document; `None` (said loudly) without node.
fn judged(pairs: &[(String, String)]) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/lambda_oracle.js");
    let oracle =
        Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut oracle) = oracle else {
        skip("node");
        return None;
    };
    let mut input = oracle.stdin.take().unwrap();
    for (envelope, document) in pairs {
        assert!(!envelope.contains('\n') && !document.contains('\n'));
        writeln!(input, "{envelope}\n{document}").unwrap();
    }
    drop(input);
    let output = oracle.wait_with_output().unwrap();
    assert!(output.status.success(), "the oracle failed");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn ten_thousand_awkward_events_become_what_the_lambda_makes_of_them() {
    let seed =
        env::var("LOGWEIR_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("LOGWEIR_SEED={seed} makes the same events again");
    let mut maker = Maker { rng: Rng::with_seed(seed) };
    let mut aside = 0;
    let pairs: Vec<_> = (0..EVENTS)
        .map(|_| {
            let envelope = maker.envelope();
            let (document, as_text) = document(&envelope);
            aside += usize::from(as_text > 0);
            (envelope, document)
        })
        .collect();
    let Some(said) = judged(&pairs) else { return };
    let (complaints, summary) =
        said.trim_end().rsplit_once('\n').unwrap_or_else(|| ("", said.trim_end()));
    println!("{summary}, of which {aside} had a field put aside");
    let first: String = complaints.chars().take(4_000).collect();
    assert!(complaints.is_empty(), "LOGWEIR_SEED={seed}:\n{first}");
    assert!(summary.starts_with(&format!("read {EVENTS} events with ")), "{summary}");
    assert!(aside > EVENTS / 100 && aside < EVENTS / 4, "{aside} show too little");
}

#[test]
fn the_oracle_notices_a_document_that_is_not_the_lambdas() {
    let event = |rest: &str| {
        format!(
            "{{\"messageType\":\"DATA_MESSAGE\",\"owner\":\"1\",\"logGroup\":\"g\",\"logStream\":\"s\",\
             \"logEvents\":[{{\"id\":\"1\",\"timestamp\":0,{rest}}}]}}"
        )
    };
    let wrong = |rest: &str, fields: &str| {
        let message: Value = serde_json::from_str(&format!("{{{rest}}}")).unwrap();
        let keys = json!({"@id": "1", "@timestamp": "1970-01-01T00:00:00.000Z", "@owner": "1",
            "@log_group": "g", "@log_stream": "s", "@message": message["message"]});
        let keys = keys.to_string();
        (event(rest), format!("{}{fields}}}", keys.trim_end_matches('}')))
    };
    let right = wrong(r#""message":"{\"a\":1.0}""#, r#","a":1"#);
    let pairs = [
        wrong(r#""message":"{\"a\":1}""#, r#","a":"1""#),
        wrong(r#""message":"{\"a\":1}""#, ""),
        wrong(r#""message":"m""#, r#","a":1"#),
        wrong(r#""message":"{\"a\":1e999}""#, r#","a":1e999"#),
        wrong(r#""message":"{\"__proto__\":1}""#, ""),
        wrong(r#""message":"{\"a\":1}""#, r#","@other_text":"{\"a\":1}""#),
        wrong(r#""message":"{\"a\":1}""#, r#","@aws.region":"x","a":1"#),
        wrong(r#""message":"{\"a\":1}""#, r#","a":1,"#),
        wrong(r#""message":"m","extractedFields":{"f":"0x10"}"#, r#","f":"0x10""#),
        wrong(r#""message":"m","extractedFields":{"f":"{}"}"#, r#","f":"{}""#),
    ];
    let Some(said) = judged(std::slice::from_ref(&right)) else { return };
    assert_eq!(said, "read 1 events with 1 fields\n");
    for pair in pairs {
        let said = judged(std::slice::from_ref(&pair)).unwrap();
        assert!(said.contains("logweir makes: "), "{pair:?} passes:\n{said}");
    }
}

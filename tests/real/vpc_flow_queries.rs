//! Flow logs in a real engine answer the queries that people have written for them, with the
//! counts that the lines themselves give.

use std::net::IpAddr;

use fastrand::Rng;
use logweir::event::Timestamp;
use serde_json::{Value, json};

use crate::data::VERSION_5;
use crate::envelopes::{LogEvent, put, records};
use crate::facts;
use crate::rig::{Rig, route};
use crate::servers::{Kinesis, OpenSearch};

/// What the facts lack: traffic inside and outside 10.200.0.0/16, refused and not. And for want of facts a
/// line that does not fit, and one of another format.
const OWN_FORMAT: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol \
                          packets bytes start end action log-status";
const OWN_LINES: [&str; 8] = [
    "2 123456789010 eni-1 10.0.0.9 10.200.0.1 40001 22 6 1 40 1418530010 1418530070 REJECT OK",
    "2 123456789010 eni-1 10.0.0.9 10.200.255.255 40002 23 6 1 40 1418530010 1418530070 REJECT OK",
    "2 123456789010 eni-1 10.0.0.9 10.201.0.0 40003 1023 6 1 999 1418530010 1418530070 REJECT OK",
    "2 123456789010 eni-1 11.0.0.9 10.199.255.255 40004 1024 6 1 1000 1418530010 1418530070 REJECT OK",
    "2 123456789010 eni-1 10.0.0.9 10.200.7.7 40005 443 6 9 9000000000 1418530010 1418530070 ACCEPT OK",
    "2 123456789010 eni-1 2001:db8::1 2001:db8::2 40006 22 6 1 40 1418530010 1418530070 REJECT OK",
    "2 123456789010 eni-1 - - - - - - - 1418530010 1418530070 - NODATA OK",
    "2 123456789010 eni-1",
];
const OWN_VERSION_5: &str = "5 123456789010 eni-1 10.0.1.5 10.0.0.62 443 40007 6 100701 4294967297 1418530010 \
                             1418530070 ACCEPT OK vpc-1 subnet-1 i-1 19 IPv4 52.213.180.42 10.0.0.62 \
                             eu-west-1 euw1-az2 - - S3 - ingress -";

/// A flow log line with the format it is written in.
struct Line {
    format: String,
    text: String,
}

/// The lines of the facts, if they are found, and our own, each once just now and once too long ago for the
/// queries.
pub(crate) struct Flows {
    lines: Vec<Line>,
    formats: Vec<String>,
}

impl Flows {
    pub(crate) fn read() -> Self {
        let facts = facts::read("vpcflow/vpcflow_lines.ndjson").unwrap_or_else(|error| {
            println!("our own lines alone, for there are no facts ({error})");
            String::new()
        });
        let facts = facts.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            Line { format: text("format"), text: text("line") }
        });
        let own = OWN_LINES.iter().map(|text| (OWN_FORMAT, *text));
        let own = own.chain([(VERSION_5, OWN_VERSION_5)]);
        let own =
            own.map(|(format, text)| Line { format: format.to_owned(), text: text.to_owned() });
        let lines: Vec<_> = facts.chain(own).collect();
        let mut formats: Vec<_> = lines.iter().map(|line| line.format.clone()).collect();
        formats.sort_unstable();
        formats.dedup();
        Self { lines, formats }
    }

    /// One for each format, all to `vpc-flowlogs-*`.
    pub(crate) fn routes(&self) -> String {
        let routes = self.formats.iter().enumerate().map(|(number, format)| {
            let parse = format!("parse.vpc_flow = \"{format}\"");
            route(&format!("flow-{number}"), &parse, "vpc-flowlogs-%Y.%m.%d")
        });
        routes.collect()
    }

    /// The events that [`Self::put`] puts.
    pub(crate) fn count(&self) -> u64 {
        2 * self.lines.len() as u64
    }

    pub(crate) async fn put(&self, kinesis: &Kinesis, stream: &str, rng: &mut Rng) {
        let now = Timestamp::now().0;
        for (route, format) in self.formats.iter().enumerate() {
            let own = self.lines.iter().enumerate().filter(|(_, line)| line.format == *format);
            let events = own.flat_map(|(number, line)| {
                let event = |number, age| LogEvent::new(number, now - age, &line.text);
                [event(2 * number, 1_000), event(2 * number + 1, 20 * 60 * 1_000)]
            });
            put(kinesis, stream, &records(&format!("flow-{route}"), events.collect(), rng)).await;
        }
    }

    /// The queries find what the lines say.
    pub(crate) async fn assert_found(&self, search: &OpenSearch) {
        search.refresh("vpc-flowlogs-*").await;
        assert_eq!(search.count("vpc-flowlogs-*").await, self.count());
        for case in cases() {
            let expected = self.lines.iter().filter(|line| (case.finds)(line)).count();
            let answer = search.post("vpc-flowlogs-*/_count", &json!({"query": case.query})).await;
            let (found, all) = (&answer.body["count"], self.lines.len());
            println!("{}: {found} found, {expected} of {all} lines", case.name);
            assert!(expected > 0 && expected < all, "{} shows nothing", case.name);
            assert_eq!(*found, expected, "{}: {answer:?}", case.name);
        }
    }
}

impl Line {
    /// None when the line does not fit its format.
    fn tokens(&self) -> Option<Vec<&str>> {
        let tokens: Vec<_> = self.text.split_whitespace().collect();
        (tokens.len() == self.format.split_whitespace().count()).then_some(tokens)
    }

    /// The value of a field; none when there is none.
    fn token(&self, field: &str) -> Option<&str> {
        let place = self.format.split_whitespace().position(|name| name == field)?;
        self.tokens().map(|tokens| tokens[place]).filter(|token| *token != "-")
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.token(field).map(|token| token.parse().unwrap())
    }

    /// Whether the address of a field begins with these bytes.
    fn is_within(&self, field: &str, network: &[u8]) -> bool {
        match self.token(field).map(|token| token.parse().unwrap()) {
            Some(IpAddr::V4(address)) => address.octets().starts_with(network),
            Some(IpAddr::V6(_)) | None => false,
        }
    }
}

/// A query, and the lines that it must find.
struct Case {
    name: &'static str,
    query: Value,
    finds: fn(&Line) -> bool,
}

fn cases() -> [Case; 8] {
    let text = |query: &str| {
        let text = json!({"query": query, "analyze_wildcard": true, "default_field": "*"});
        json!({"query_string": text})
    };
    let recent = json!({"range": {"@timestamp": {"gte": "now-15m", "lte": "now"}}});
    let rejected = r#"action.keyword:"REJECT" AND !dstaddr:"10.200.0.0/16""#;
    let within = |query: Value| json!({"bool": {"must": [query, recent]}});
    let case = |name, query, finds| Case { name, query: within(query), finds };
    [
        case("rejected, not to 10.200.0.0/16", text(rejected), |line| {
            line.token("action") == Some("REJECT") && !line.is_within("dstaddr", &[10, 200])
        }),
        case("rejected", json!({"term": {"action": "REJECT"}}), |line| {
            line.token("action") == Some("REJECT")
        }),
        case("bytes ≥ 1000", json!({"range": {"bytes": {"gte": 1000}}}), |line| {
            line.number("bytes").is_some_and(|bytes| bytes >= 1_000)
        }),
        case("bytes > 2³²", text("bytes:>4294967296"), |line| {
            line.number("bytes").is_some_and(|bytes| bytes > 1 << 32)
        }),
        case("dstport < 1024", json!({"range": {"dstport": {"lt": 1024}}}), |line| {
            line.number("dstport").is_some_and(|port| port < 1_024)
        }),
        case("from 10.0.0.0/8", json!({"term": {"srcaddr": "10.0.0.0/8"}}), |line| {
            line.is_within("srcaddr", &[10])
        }),
        case("from 10.0.0.0/8, as text", text(r#"srcaddr:"10.0.0.0/8""#), |line| {
            line.is_within("srcaddr", &[10])
        }),
        case("to 2001:db8::/32", json!({"term": {"dstaddr": "2001:db8::/32"}}), |line| {
            line.token("dstaddr").is_some_and(|address| address.starts_with("2001:db8:"))
        }),
    ]
}

#[tokio::test]
async fn queries_by_action_address_port_size_and_time_find_the_right_flows() {
    let Some(search) = OpenSearch::start().await else { return };
    let Some(kinesis) = Kinesis::start().await else { return };
    let (stream, flows) = ("flow-logs", Flows::read());
    kinesis.create_stream(stream, 1).await;
    let destination = format!("url = \"{}\"", search.url());
    let rig = Rig::new(&kinesis, stream, &destination, &flows.routes());
    let daemon = rig.start().await;

    flows.put(&kinesis, stream, &mut Rng::with_seed(3)).await;
    let metrics = daemon.settled(flows.count()).await;
    let created = metrics.sum("logweir_events_delivered_total", &[("result", "created")]);
    assert_eq!(created, flows.count());
    let unfit = flows.lines.iter().filter(|line| line.tokens().is_none()).count() as u64;
    assert!(unfit > 0);
    assert_eq!(metrics.sum("logweir_parse_errors_total", &[]), 2 * unfit, "each is put twice");
    assert_eq!(daemon.errors(), Vec::<Value>::new());
    daemon.stop().await;
    flows.assert_found(&search).await;
}

//! The search engine that counts: a process that finds the action lines of a bulk request, and answers
//! that each document was created.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use libdeflater::Decompressor;

use super::http::{Answer, Request, serve};
use crate::cpu::monotonic;
use crate::data::RECORD_DIGITS;

const ITEM: &[u8] = br#"{"create":{"status":201}},"#;

/// Items of the longest answer that is ready: more than a body of 5 MiB can ask for.
const READY: usize = 50_000;

struct Server {
    /// So many make the run complete.
    expected: u64,
    received: AtomicU64,
    first: OnceLock<u64>,
    /// By record: when the last of its documents so far was acknowledged. Empty where nobody asks.
    acknowledged: Mutex<Vec<u64>>,
    items: Bytes,
}

/// The process: runs until its standard input ends. `tell` there makes it say when which record was
/// acknowledged.
pub(crate) fn run(words: &[String]) {
    let [expected, records] = words else { panic!("not the arguments of the bulk endpoint") };
    let server = Server {
        expected: expected.parse().unwrap(),
        received: AtomicU64::new(0),
        first: OnceLock::new(),
        acknowledged: Mutex::new(vec![0; records.parse().unwrap()]),
        items: ITEM.repeat(READY).into(),
    };
    serve(Arc::new(server), Server::answer, Server::answered, Server::told);
}

impl Server {
    fn answer(&self, request: &Request) -> Answer {
        if request.line.starts_with("GET / ") {
            let about = r#"{"version":{"distribution":"opensearch","number":"3.8.0"}}"#;
            return answer(vec![Bytes::from_static(about.as_bytes())]);
        }
        assert!(request.line.starts_with("POST /_bulk?filter_path="), "{}", request.line);
        let documents = with_plain(request, |body| actions(body).count());
        assert!((1..READY).contains(&documents), "{documents} documents in one request");
        let items = self.items.slice(..documents * ITEM.len() - 1);
        let begin = Bytes::from_static(br#"{"errors":false,"items":["#);
        answer(vec![begin, items, Bytes::from_static(b"]}")])
    }

    /// Counts what it has acknowledged, now that it has.
    fn answered(&self, request: &Request) {
        if !request.line.starts_with("POST ") {
            return;
        }
        let now = monotonic();
        let documents = with_plain(request, |body| {
            let mut acknowledged = self.acknowledged.lock().unwrap();
            if !acknowledged.is_empty() {
                actions(body).for_each(|action| acknowledged[record_of(action)] = now);
            }
            actions(body).count() as u64
        });
        self.first.get_or_init(|| {
            println!("first {now}");
            now
        });
        let before = self.received.fetch_add(documents, Ordering::Relaxed);
        if before < self.expected && before + documents >= self.expected {
            assert_eq!(before + documents, self.expected, "as many documents as events");
            println!("done {now}");
        }
    }

    fn told(&self, line: &str) {
        assert_eq!(line, "tell");
        let mut out = std::io::stdout().lock();
        let acknowledged = self.acknowledged.lock().unwrap();
        let times: Vec<String> = acknowledged.iter().map(u64::to_string).collect();
        writeln!(out, "acknowledged {}", times.join(",")).unwrap();
    }
}

/// The body as it was before it was compressed.
fn with_plain<T>(request: &Request, act: impl FnOnce(&[u8]) -> T) -> T {
    if !request.is_gzip {
        return act(&request.body);
    }
    // The length of one member of less than 4 GiB is its last four bytes.
    let length = request.body.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let mut plain = vec![0; length as usize];
    let inflated = Decompressor::new().gzip_decompress(&request.body, &mut plain);
    assert_eq!(inflated, Ok(plain.len()));
    act(&plain)
}

/// The action lines, each of which has a document behind it.
fn actions(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        let rest = body.get(begin..).filter(|rest| !rest.is_empty())?;
        let action = memchr::memchr(b'\n', rest).expect("an action line ends");
        assert!(rest.starts_with(b"{\"create\":{\"_index\":"), "no action line");
        let document = memchr::memchr(b'\n', &rest[action + 1..]).expect("a document's line ends");
        begin += action + 1 + document + 1;
        Some(&rest[..action])
    })
}

/// The number of the record that a document came in, which its id tells.
fn record_of(action: &[u8]) -> usize {
    let id = memchr::memmem::find(action, b"\"_id\":\"").expect("an id") + b"\"_id\":\"".len();
    let digits = &action[id..][RECORD_DIGITS];
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

fn answer(body: Vec<Bytes>) -> Answer {
    Answer { content_type: "application/json", body }
}

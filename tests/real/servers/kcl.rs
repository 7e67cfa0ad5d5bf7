//! A worker of the Kinesis Client Library.

use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use super::{Kinesis, install, script, skip};

/// A record as the library gives it to an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserRecord {
    pub(crate) sequence_number: String,
    pub(crate) sub_sequence_number: u64,
    pub(crate) data: Vec<u8>,
}

/// What a worker is given that finds this checkpoint in its lease table, and waits for this many
/// records and some seconds for more; `None` (said loudly) when the library cannot be had.
pub(crate) async fn read_by_kcl(
    kinesis: &Kinesis,
    (stream, shard): (&str, &str),
    (sequence_number, sub_sequence_number): (&str, u64),
    records: usize,
) -> Option<Vec<UserRecord>> {
    let Some(folder) = install("kcl").await else {
        skip("kcl");
        return None;
    };
    let mut worker = Command::new(folder.join("java"));
    let lib = folder.join("lib");
    worker.arg("-cp").arg(lib.join("*"));
    worker.arg(format!("-Djava.library.path={}", lib.display())).arg("-XX:TieredStopAtLevel=1");
    worker.arg(script("KclWorker.java")).args([&kinesis.url(), stream, shard, sequence_number]);
    worker.args([sub_sequence_number.to_string(), records.to_string()]);
    // DynamoDB Local would tell its makers that it runs, and writes a number for it where it starts.
    worker.env("DDB_LOCAL_TELEMETRY", "0").current_dir(&folder);
    worker.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = spawn_blocking(move || worker.output()).await.unwrap();
    let output = output.expect("could not run java");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "the worker failed: its words are above\n{text}");
    Some(text.lines().map(record).collect())
}

fn record(line: &str) -> UserRecord {
    let [sequence_number, sub_sequence_number, hex] =
        line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    UserRecord {
        sequence_number: sequence_number.to_owned(),
        sub_sequence_number: sub_sequence_number.parse().unwrap(),
        data: hex.as_bytes().chunks(2).map(byte).collect(),
    }
}

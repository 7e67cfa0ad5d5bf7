//! A CloudWatch Logs that is not ours, which delivers by subscription to the Kinesis beside it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Kinesis, install, script};

/// What one call of `PutLogEvents` brings.
#[derive(Clone, Debug)]
pub(crate) struct LogBatch {
    pub(crate) log_group: String,
    pub(crate) log_stream: &'static str,
    /// Milliseconds since the epoch, and the message.
    pub(crate) events: Vec<(i64, String)>,
}

/// Has the log groups of these batches subscribed to a stream of `moto`, and puts them in this order.
pub(crate) async fn subscribe_and_put(moto: &Kinesis, stream: &str, batches: &[LogBatch]) {
    // It runs, so it is installed.
    let folder = install("moto").await.expect("moto is gone");
    let input = json!({
        "endpoint": moto.url(),
        "region": moto.region(),
        "stream": stream,
        "batches": batches.iter().map(LogBatch::json).collect::<Vec<_>>(),
    });
    let put = move || {
        let mut python = Command::new("python3")
            .arg(script("put_log_events.py"))
            .env("PYTHONPATH", folder.join("lib"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("could not run python3");
        let input = input.to_string();
        python.stdin.take().unwrap().write_all(input.as_bytes()).expect("python3 did not read");
        python.wait().expect("could not wait for python3")
    };
    let status = spawn_blocking(put).await.unwrap();
    assert!(status.success(), "the log events were not put: python's words are above");
}

impl LogBatch {
    fn json(&self) -> Value {
        let events = self.events.iter();
        let events = events.map(|(time, message)| json!({"timestamp": time, "message": message}));
        json!({
            "logGroupName": self.log_group,
            "logStreamName": self.log_stream,
            "logEvents": events.collect::<Vec<_>>(),
        })
    }
}

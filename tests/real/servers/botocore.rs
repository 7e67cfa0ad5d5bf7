//! Python's AWS library, which signs a request again.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{install, script, skip};

/// The `Authorization` header that botocore gives each of the requests (`sigv4.py` says how they
/// are written down); `None` (said loudly) when it cannot be had.
pub(crate) async fn signed_by_botocore(requests: &[Value]) -> Option<Vec<String>> {
    let Some(folder) = install("botocore").await else {
        skip("botocore");
        return None;
    };
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let sign = move || {
        let mut python = Command::new("python3")
            .arg(script("sigv4.py"))
            .env("PYTHONPATH", folder.join("lib"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("could not run python3");
        python.stdin.take().unwrap().write_all(lines.as_bytes()).expect("python3 did not read");
        python.wait_with_output().expect("could not wait for python3")
    };
    let output = spawn_blocking(sign).await.unwrap();
    assert!(output.status.success(), "botocore does not sign them: its words are above");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

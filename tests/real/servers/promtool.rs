//! Prometheus's own tool: it lints a `/metrics` page, and checks and tries out rules.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use tokio::task::spawn_blocking;

use super::{install, root, skip};

/// What `promtool check metrics` has against a page, empty when nothing; `None` (said loudly) when
/// it cannot be had.
pub(crate) async fn promtool_complaints(page: &str) -> Option<String> {
    let Some(folder) = install("promtool").await else {
        skip("promtool");
        return None;
    };
    let page = page.to_owned();
    let check = move || {
        let mut promtool = Command::new(folder.join("usr/bin/promtool"))
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("could not run promtool");
        promtool.stdin.take().unwrap().write_all(page.as_bytes()).expect("promtool did not read");
        promtool.wait_with_output().expect("could not wait for promtool")
    };
    Some(complaints(&spawn_blocking(check).await.unwrap()))
}

/// Whether `promtool` with these arguments is content, run at the top of the repository, and what it
/// said; `None` (said loudly) when it cannot be had.
pub(crate) async fn promtool_on_rules(arguments: &[&'static str]) -> Option<(bool, String)> {
    let Some(folder) = install("promtool").await else {
        skip("promtool");
        return None;
    };
    let arguments = arguments.to_vec();
    let run = move || {
        let mut promtool = Command::new(folder.join("usr/bin/promtool"));
        promtool.args(arguments).current_dir(root()).output().expect("could not run promtool")
    };
    let output = spawn_blocking(run).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

fn complaints(output: &Output) -> String {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let silent = said.trim().is_empty();
    assert!(output.status.success() || !silent, "promtool failed and did not say why");
    said
}

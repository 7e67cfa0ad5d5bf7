//! Where the fuzzer starts: our own samples, and the facts where there are any.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const ENVELOPE: &str = r#"{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1700000000000,"message":"hello","extractedFields":{"k":"v"}}]}"#;
const CONTROL: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}]}"#;
const GZIP: &str = "H4sIAAAAAAAAA6tWyk6tVLJSUCpLzClNVaoFABtINTMQAAAA";
const ANSWER: &str = r#"{"took":3,"errors":true,"items":[{"create":{"_index":"a","status":201}},{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"[x]"}}},{"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy","caused_by":{"type":"x","reason":"y"}}}}]}"#;

/// Of the thousands of CloudTrail events every so-manieth is enough.
const STEP: usize = 60;

/// Writes the inputs that a target starts with, each as a file of `folder`.
///
/// # Errors
/// A file cannot be written. What cannot be read is left out.
pub fn write(target: &str, folder: &Path) -> io::Result<()> {
    for (number, seed) in of(target).into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:03}")), seed)?;
    }
    Ok(())
}

fn of(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = files(&own(&format!("tests/samples/fuzz/{target}")));
    seeds.extend(match target {
        "gunzip" => envelopes().into_iter().chain([decoded(GZIP)]).collect(),
        "aggregate" => packed(),
        "envelope" => envelopes(),
        "cloudtrail" | "json" | "auto" | "lambda" | "deflate" => messages(),
        "vpc_flow" => flow_lines(),
        "config" => files(&own("config")),
        "bulk_answer" => answers(),
        _ => Vec::new(),
    });
    seeds
}

fn envelopes() -> Vec<Vec<u8>> {
    let own = [ENVELOPE, CONTROL].map(|text| text.as_bytes().to_vec());
    own.into_iter().chain(files(&facts("cwl_envelopes"))).collect()
}

fn packed() -> Vec<Vec<u8>> {
    let mut seeds = vec![[ENVELOPE, "|", CONTROL, "|", ENVELOPE, "\0"].concat().into_bytes()];
    let vectors = fs::read_to_string(facts("kpl/kpl_vectors.json")).unwrap_or_default();
    let vectors: Vec<Value> = serde_json::from_str(&vectors).unwrap_or_default();
    let payloads = vectors.iter().filter_map(|vector| vector["data_b64"].as_str());
    for payload in payloads.map(decoded) {
        // The fuzzer adds magic number and checksum itself.
        let message = payload.get(4..payload.len().saturating_sub(16)).unwrap_or_default();
        seeds.extend([[message, b"\0"].concat(), payload]);
    }
    seeds
}

fn messages() -> Vec<Vec<u8>> {
    let of = |sample: Value| {
        let message = &sample["message"];
        let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
        let extracted = sample["extracted"].to_string();
        let group = sample["group"].as_str().unwrap_or_default();
        [&*message, &*extracted, group].join("\0").into_bytes()
    };
    let samples = ["documents.ndjson", "lambda_documents.ndjson"];
    let samples = samples.map(|name| own("tests/samples").join(name));
    let trail = lines(&facts("cloudtrail/invictus.ndjson"));
    let trail = trail.into_iter().step_by(STEP).map(|line| line.to_string().into_bytes());
    samples.iter().flat_map(|path| lines(path)).map(of).chain(trail).collect()
}

fn flow_lines() -> Vec<Vec<u8>> {
    let line = "2 1 eni-1 1.2.3.4 ::1 1 2 6 10 20 30 40 ACCEPT OK";
    let known = lines(&facts("vpcflow/vpcflow_lines.ndjson"));
    let known = known.iter().filter_map(|known| {
        Some(format!("{}\n{}", known["format"].as_str()?, known["line"].as_str()?))
    });
    known.chain([line.to_owned()]).map(String::into_bytes).collect()
}

fn answers() -> Vec<Vec<u8>> {
    let item = |shape: Value| {
        let result = serde_json::json!({"status": shape["status"], "error": shape["error"]});
        serde_json::json!({"items": [{"create": result}]}).to_string()
    };
    let items = lines(&facts("bulk_errors/item_shapes.ndjson")).into_iter().map(item);
    let requests = lines(&facts("bulk_errors/request_shapes.ndjson"));
    let requests = requests.iter().filter_map(|shape| shape["body"].as_str()).map(str::to_owned);
    let known = items.chain(requests).map(String::into_bytes);
    let headers = ["120", "Wed, 21 Oct 2015 07:28:30 GMT"].map(|text| text.as_bytes().to_vec());
    known.chain(headers).chain([ANSWER.as_bytes().to_vec()]).collect()
}

fn decoded(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap_or_default()
}

/// The JSON values of a file, one a line.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The contents of a folder's files.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn facts(path: &str) -> PathBuf {
    let root = std::env::var_os("LOGWEIR_FACTS");
    root.map_or_else(|| own("../shared/facts"), PathBuf::from).join(path)
}

//! The samples of the facts: real data of others, which is not part of this repository.

use std::path::PathBuf;
use std::{env, fs, io};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Counts, Pair};
use crate::data;

/// Compares every sample there is. Returns how many.
pub(super) fn compare() -> u64 {
    match all() {
        Ok(samples) => samples,
        Err(error) => {
            println!("LEFT OUT: no facts to test against ({error}); set LOGWEIR_FACTS");
            0
        }
    }
}

fn all() -> io::Result<u64> {
    let root = env::var_os("LOGWEIR_FACTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/facts"),
        PathBuf::from,
    );
    let read = |path: &str| {
        let path = root.join(path);
        fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let pair = Pair::new(&[data::VERSION_5.to_owned()]);
    let events = read("cloudtrail/invictus.ndjson")?;
    let events: Vec<_> = events.lines().collect();
    // As CloudTrail's, as JSON, as text, and as what they turn out to be.
    for log_group in ["aws-cloudtrail-logs-1", "/app/x", "/web/x", "prod/cloudtrail", "misc"] {
        let records: Vec<_> = events.chunks(50).map(|some| envelope(log_group, some)).collect();
        let compared = compare_some(&pair, &records, log_group);
        assert_eq!(compared, events.len() as u64, "{log_group}");
    }
    let lines = flow_lines(&read("vpcflow/vpcflow_lines.ndjson")?);
    let envelopes = envelopes(&pair, &root)?;
    Ok(events.len() as u64 + lines + envelopes)
}

fn compare_some(pair: &Pair, records: &[impl AsRef<[u8]>], what: &str) -> u64 {
    let compared = pair.compare(records, &mut Counts::default());
    compared.unwrap_or_else(|why| panic!("{what}: {why}"))
}

/// Each line in the format that it is of, and in the default one.
fn flow_lines(lines: &str) -> u64 {
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let formats: Vec<_> = lines.iter().map(|line| line["format"].as_str().unwrap()).collect();
    let mut known: Vec<_> = formats.iter().map(|format| (*format).to_owned()).collect();
    known.sort();
    known.dedup();
    let pair = Pair::new(&known);
    for (line, format) in lines.iter().zip(formats) {
        let place = known.iter().position(|known| known == format).unwrap();
        for log_group in [format!("/formats/{place}/x"), "/vpc/x".to_owned(), "misc".to_owned()] {
            let record = envelope(&log_group, &[line["line"].as_str().unwrap()]);
            compare_some(&pair, &[record], &format!("{log_group}: {line}"));
        }
    }
    lines.len() as u64
}

/// Each file as it is, and what is wrapped in it.
fn envelopes(pair: &Pair, root: &std::path::Path) -> io::Result<u64> {
    let mut samples = 0;
    for file in fs::read_dir(root.join("cwl_envelopes"))? {
        let path = file?.path();
        let what = path.display().to_string();
        if what.ends_with("SOURCE.txt") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        samples += 1;
        compare_some(pair, &[&text], &what);
        let Ok(wrapper) = serde_json::from_str::<Value>(&text) else { continue };
        for inside in ["/awslogs/data", "/data_b64"] {
            let Some(payload) = wrapper.pointer(inside).and_then(Value::as_str) else { continue };
            let payload = BASE64_STANDARD.decode(payload).unwrap();
            let mut text = String::new();
            let mut gunzip = flate2::bufread::MultiGzDecoder::new(payload.as_slice());
            io::Read::read_to_string(&mut gunzip, &mut text)?;
            compare_some(pair, &[&text], &what);
        }
    }
    assert!(samples > 0, "envelopes are there");
    Ok(samples)
}

/// An envelope of messages, as AWS writes it.
fn envelope(log_group: &str, messages: &[&str]) -> String {
    let events = messages.iter().zip(0_u64..).map(|(message, number)| {
        json!({
            "id": format!("3{number:055}"),
            "timestamp": 1_764_000_000_000 + number,
            "message": message,
        })
    });
    json!({
        "messageType": "DATA_MESSAGE",
        "owner": "111122223333",
        "logGroup": log_group,
        "logStream": "s",
        "subscriptionFilters": ["f"],
        "logEvents": events.collect::<Vec<_>>(),
    })
    .to_string()
}

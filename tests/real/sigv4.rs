//! What the daemon signs, an independent implementation signs in the same way.

use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use logweir::demo::endpoint::Endpoint;
use logweir::demo::generator::{Generator, GeneratorOptions};
use logweir::demo::ledger::Ledger;
use logweir::event::Timestamp;
use serde_json::{Value, json};

use crate::fake_bulk::{FakeBulk, Seen};
use crate::servers::signed_by_botocore;

const EVENTS: u64 = 300;
const KEY: &str = "AKIAOFTHETEST";
const SECRET: &str = "secret/of+the=test";
const TOKEN: &str = "token/of+the==test";

/// Kills it, however the test ends.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing is left to do if it has ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

async fn stream() -> Endpoint {
    let endpoint = Endpoint::start(1).await.unwrap();
    let options = GeneratorOptions { seed: 7, events: EVENTS, now: Timestamp::now() };
    let (mut generator, mut ledger) = (Generator::new(options), Ledger::default());
    while let Some(record) = generator.next_record(&mut ledger) {
        endpoint.put(Endpoint::STREAM, &record.partition_key, record.data).unwrap();
    }
    endpoint
}

fn start(folder: &tempfile::TempDir, endpoint: &Endpoint, fakes: [&FakeBulk; 2]) -> Daemon {
    let [domain, collection] = fakes.map(FakeBulk::url);
    let (state, stream, region) =
        (folder.path().join("state.db"), Endpoint::STREAM, Endpoint::REGION);
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[stream.{stream}]\nregion = \"{region}\"\n\
         endpoint = \"{}\"\n[state.sqlite]\npath = \"{}\"\nephemeral = true\n\
         [destination.domain.opensearch]\nurl = \"{domain}/behind/a%20prefix\"\n\
         bulk.compression = \"gzip\"\nauth.sigv4 = {{ region = \"eu-west-1\" }}\n\
         [destination.collection.opensearch]\nurl = \"{collection}\"\n\
         auth.sigv4 = {{ region = \"us-east-1\", service = \"aoss\" }}\n\
         [[route]]\nname = \"all\"\nparse = \"plain\"\nindex = \"logs-%Y\"\n\
         to = [\"domain\", \"collection\"]\n",
        endpoint.url(),
        state.display(),
    );
    let config = folder.path().join("logweir.toml");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.args(["run", "--config"]).arg(config).stderr(Stdio::null());
    command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
    Daemon(command.env("AWS_SESSION_TOKEN", TOKEN).spawn().unwrap())
}

/// As `sigv4.py` reads it: only what the signature says it covers.
fn written_down(seen: &Seen, region: &str, service: &str) -> Value {
    let header = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
    let authorization = header("authorization");
    let (_, names) = authorization.split_once("SignedHeaders=").unwrap();
    let names: Vec<&str> = names.split(',').next().unwrap().split(';').collect();
    for needed in ["host", "x-amz-date", "x-amz-security-token"] {
        assert!(names.contains(&needed), "{needed} is not in {names:?}");
    }
    let is_aoss = service == "aoss";
    assert_eq!(names.contains(&"x-amz-content-sha256"), is_aoss, "{names:?}");
    let headers: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!(header(name)))).collect();
    json!({
        "method": seen.method.as_str(),
        "url": format!("http://{}{}", header("host"), seen.uri),
        "headers": headers,
        "body": STANDARD.encode(&seen.body),
        "key": KEY, "secret": SECRET, "token": TOKEN, "region": region, "service": service,
    })
}

#[tokio::test]
async fn botocore_signs_our_requests_as_we_do() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), stream().await);
    let (domain, collection) = (FakeBulk::start().await, FakeBulk::start().await);
    domain.at("/behind/a%20prefix");
    let daemon = start(&folder, &endpoint, [&domain, &collection]);
    for fake in [&domain, &collection] {
        fake.wait_for("documents", |fake| fake.count() > 0).await;
    }
    drop(daemon);
    let (mut ours, mut requests) = (Vec::new(), Vec::new());
    for (fake, region, service) in
        [(&domain, "eu-west-1", "es"), (&collection, "us-east-1", "aoss")]
    {
        for seen in fake.requests() {
            ours.push(seen.headers["authorization"].to_str().unwrap().to_owned());
            requests.push(written_down(&seen, region, service));
        }
        let methods: Vec<_> = fake.requests().into_iter().map(|seen| seen.method).collect();
        for method in ["GET", "PUT", "POST"] {
            assert!(methods.iter().any(|seen| seen == method), "no {method} in {methods:?}");
        }
    }
    let Some(theirs) = signed_by_botocore(&requests).await else { return };
    assert_eq!(ours, theirs);
    endpoint.stop().await;
}

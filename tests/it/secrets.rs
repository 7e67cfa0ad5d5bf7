//! No secret leaves the daemon by anything that people or machines read, whatever goes wrong: the
//! real binary, every kind of secret, at trace level, with failures.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::daemon::rig::{Daemon, Rig, logweir};
use crate::fake_bulk::{FakeBulk, Script, item_error, whole};
use crate::transport::Authority;

/// Few enough that refusing one in ten of them is no reason for the breaker.
const EVENTS: u64 = 600;

const PASSWORD: &str = "sesame-inline-7Fq2";
const FILE_PASSWORD: &str = "sesame-file-9Xw4";
const API_KEY: &str = "keyid:sesame-apikey-3Kd8";
const FILE_API_KEY: &str = "c2VzYW1lLWZpbGUta2V5LTVKcDE=";
const SECRET_KEY: &str = "sesame/aws/secret/6Tb0";
const SESSION_TOKEN: &str = "sesame-session-token-1Lm5";
const PROXY_PASSWORD: &str = "sesame-proxy-8Vn3";

/// Secrets where they do not belong, and files that are none.
const MISTAKES: [(&str, &str); 6] = [
    ("password = \"${SEARCH_PASSWORD}\"", "passwort = \"${SEARCH_PASSWORD}\""),
    ("key = \"${API_KEY}\"", "key = \"${API_KEY}\", key_file = \"${API_KEY}\""),
    (
        "url = \"http://search.invalid\"",
        "url = \"http://logweir:${SEARCH_PASSWORD}@search.invalid\"",
    ),
    ("url = \"http://search.invalid\"", "url = \"logweir:${SEARCH_PASSWORD}@search.invalid\""),
    (
        "region = \"eu-west-1\" }",
        "region = \"${AWS_SECRET_ACCESS_KEY}\", service = \"${API_KEY}\" }",
    ),
    ("us.pem", "us.key"),
];

/// The secrets, as they were given and as they are sent.
fn secrets(private_key: &str) -> Vec<String> {
    let plain = [
        PASSWORD,
        FILE_PASSWORD,
        API_KEY,
        FILE_API_KEY,
        SECRET_KEY,
        SESSION_TOKEN,
        PROXY_PASSWORD,
        private_key,
    ];
    let sent = [
        format!("logweir:{PASSWORD}"),
        format!("logweir:{FILE_PASSWORD}"),
        API_KEY.to_owned(),
        format!("proxy:{PROXY_PASSWORD}"),
    ];
    let sent = sent.iter().map(|secret| STANDARD.encode(secret));
    plain.iter().map(|secret| (*secret).to_owned()).chain(sent).collect()
}

fn hits(place: &str, text: &[u8], secrets: &[String]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let found = secrets.iter().filter_map(|secret| {
        let line = text.lines().find(|line| line.contains(secret.as_str()))?;
        Some(format!("{place}: {secret} in {line}"))
    });
    found.collect()
}

/// Streams that are reached by the proxy only, one of them as a role.
const STREAMS: &str = "[stream.far]\nregion = \"eu-west-1\"\nendpoint = \"http://kinesis.invalid\"\n\n\
    [stream.role]\nregion = \"eu-west-1\"\nassume_role = \"arn:aws:iam::123456789012:role/r\"\n\n";

/// Destinations that fail in all ways, each with a secret.
fn destinations(fakes: &Fakes, files: &Path) -> String {
    let (search, aws, tls) = (fakes.search.url(), fakes.aws.url(), fakes.tls.url());
    let shown = Authority::new().shown(files);
    let [password, key] = ["password", "key"].map(|name| files.join(name));
    std::fs::write(&password, FILE_PASSWORD).unwrap();
    std::fs::write(&key, FILE_API_KEY).unwrap();
    let (password, key) = (password.display(), key.display());
    format!(
        "[destination.search.opensearch]\nurl = \"{search}\"\ntemplates = \"manual\"\n\
         auth.basic = {{ user = \"logweir\", password = \"${{SEARCH_PASSWORD}}\" }}\n\n\
         [destination.nobody.opensearch]\nurl = \"http://127.0.0.1:9\"\ntemplates = \"manual\"\n\
         auth.basic = {{ user = \"logweir\", password_file = \"{password}\" }}\n\n\
         [destination.stranger.opensearch]\nurl = \"{tls}\"\ntemplates = \"manual\"\n\
         auth.api_key = {{ key = \"${{API_KEY}}\" }}\n{shown}\n\
         [destination.firewall.elasticsearch]\nurl = \"{search}/firewall\"\n\
         auth.api_key = {{ key_file = \"{key}\" }}\n\n\
         [destination.domain.opensearch]\nurl = \"{aws}\"\ntemplates = \"manual\"\n\
         bulk.compression = \"gzip\"\nauth.sigv4 = {{ region = \"eu-west-1\" }}\n\n\
         [destination.far.opensearch]\nurl = \"http://search.invalid\"\ntemplates = \"manual\"\n\
         auth.sigv4 = {{ region = \"eu-west-1\", service = \"aoss\" }}\n\n\
         [[route]]\nname = \"all\"\nparse = \"plain\"\nindex = \"logs-%Y\"\n\
         to = [\"search\", \"nobody\", \"stranger\", \"firewall\", \"domain\", \"far\"]\n"
    )
}

struct Fakes {
    search: FakeBulk,
    aws: FakeBulk,
    tls: FakeBulk,
    proxy: FakeBulk,
}

impl Fakes {
    async fn start() -> Self {
        let fakes = Self {
            search: FakeBulk::start().await,
            aws: FakeBulk::start().await,
            tls: FakeBulk::start_tls(Authority::new().server(None)).await,
            proxy: FakeBulk::start().await,
        };
        // Some show what they were sent.
        let sent = STANDARD.encode(format!("logweir:{PASSWORD}"));
        let unknown = format!("who are you? Authorization: Basic {sent} is logweir, {PASSWORD}");
        let unknown = json!({"error": {"type": "security_exception", "reason": unknown}});
        fakes.search.answer(whole(401, &unknown));
        fakes.search.rule(|_, id, _| {
            id.ends_with('7').then(|| item_error(400, "mapper_parsing_exception", "no such field"))
        });
        let expired = "The security token included in the request is expired";
        let expired = format!("{expired}: x-amz-security-token:{SESSION_TOKEN}");
        let expired = whole(403, &json!({"message": expired}));
        fakes.aws.always(Some(Script::Whole(expired)));
        fakes.proxy.always(Some(Script::Whole(whole(407, &json!({"error": "no"})))));
        fakes
    }

    /// The variables, all of them secrets but the first.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let proxy = self.proxy.url().replace("http://", &format!("http://proxy:{PROXY_PASSWORD}@"));
        let secrets = [
            ("NO_PROXY", "127.0.0.1"),
            ("SEARCH_PASSWORD", PASSWORD),
            ("API_KEY", API_KEY),
            ("AWS_ACCESS_KEY_ID", "AKIAOFTHETEST"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN),
            ("HTTP_PROXY", &proxy),
            ("HTTPS_PROXY", &proxy),
        ];
        secrets.map(|(name, value)| (name, value.to_owned())).into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_seen_in_anything_the_daemon_writes_or_answers() {
    let (fakes, files) = (Fakes::start().await, tempfile::tempdir().unwrap());
    let mut rig = Rig::start(EVENTS).await;
    rig.variables = fakes.variables();
    let destinations = destinations(&fakes, files.path());
    rig.configure(|text| {
        let (before, _) = text.split_once("# So low").unwrap();
        let before = before.replace("warn,logweir::app=info", "trace").replace("2m", "1s");
        format!("{before}{STREAMS}{destinations}")
    });
    let key = std::fs::read_to_string(files.path().join("us.key")).unwrap();
    let secrets = secrets(key.lines().nth(1).unwrap());
    let daemon = rig.daemon().await;
    all_has_gone_wrong(&daemon, &rig, &fakes).await;
    were_sent(&fakes);
    let mut found = Vec::new();
    for path in ["/", "/metrics", "/health", "/health/live", "/health/ready"] {
        let (_, text) = daemon.get(path).await;
        assert!(text.len() > 4, "{path}");
        found.extend(hits(path, text.as_bytes(), &secrets));
    }
    let log = daemon.log.clone();
    daemon.signal("-TERM");
    daemon.ends(Some(1)).await;
    let log = log.lines().join("\n");
    assert!(log.contains("TRACE"), "it was at trace level");
    found.extend(hits("the log", log.as_bytes(), &secrets));
    let mut files = 0;
    for entry in std::fs::read_dir(rig.folder()).unwrap() {
        let path = entry.unwrap().path();
        found.extend(hits(&path.display().to_string(), &std::fs::read(&path).unwrap(), &secrets));
        files += 1;
    }
    assert!(files >= 2, "configuration and state");
    assert!(!rig.letters().is_empty(), "with dead letters");
    found.extend(said_by_commands(&rig, &fakes, &secrets));
    assert!(found.is_empty(), "{found:#?}");
}

/// What other commands say, and the daemon to a wrong configuration.
fn said_by_commands(rig: &Rig, fakes: &Fakes, secrets: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for arguments in [&["dead-letter", "list", "--json"][..], &["validate"], &["setup"]] {
        let mut command = logweir();
        command.args(arguments).arg("--config").arg(rig.folder().join("logweir.toml"));
        let answer = command.envs(fakes.variables()).output().unwrap();
        let text = [answer.stdout, answer.stderr].concat();
        assert!(!text.is_empty(), "{arguments:?}");
        found.extend(hits(&format!("{arguments:?}"), &text, secrets));
    }
    for (find, replace) in MISTAKES {
        rig.configure(|text| {
            assert!(text.contains(find), "{find}");
            text.replacen(find, replace, 1)
        });
        let config = rig.folder().join("logweir.toml");
        let mut run = logweir();
        run.args(["run", "--config"]).arg(&config).envs(fakes.variables());
        let answer = run.output().unwrap();
        assert_eq!(answer.status.code(), Some(64), "{replace}");
        found.extend(hits(replace, &[answer.stdout, answer.stderr].concat(), secrets));
        rig.configure(|text| text.replacen(replace, find, 1));
    }
    found
}

/// Waits until each destination has had its trouble, and one has taken what it takes.
async fn all_has_gone_wrong(daemon: &Daemon, rig: &Rig, fakes: &Fakes) {
    let troubles = [
        ("logweir_events_dead_lettered_total", "search", "mapping"),
        ("logweir_retries_total", "nobody", "connection"),
        ("logweir_retries_total", "stranger", "connection"),
        ("logweir_held", "firewall", "no_engine"),
        ("logweir_held", "domain", "credentials"),
        ("logweir_held", "far", "all_refused"),
    ];
    for (metric, destination, reason) in troubles {
        let labels = [format!("destination=\"{destination}\""), format!("reason=\"{reason}\"")];
        let mut tries = 0;
        while !daemon.get("/metrics").await.1.lines().any(|line| {
            let is_it = line.starts_with(metric) && labels.iter().all(|label| line.contains(label));
            is_it && !line.ends_with(" 0")
        }) {
            tries += 1;
            assert!(tries < 600, "no {metric} of {destination}: {}", daemon.get("/health").await.1);
            sleep(Duration::from_millis(100)).await;
        }
    }
    fakes
        .proxy
        .wait_for("calls to AWS", |proxy| {
            let seen = proxy.requests();
            let to = |host: &str| seen.iter().any(|seen| seen.uri.to_string().contains(host));
            to("kinesis.invalid") && to("sts.eu-west-1.amazonaws.com:443")
        })
        .await;
    assert!(!rig.letters().is_empty());
}

/// What was not sent could not have been shown.
fn were_sent(fakes: &Fakes) {
    let header = |fake: &FakeBulk, path: &str, name: &str| {
        let requests = fake.requests();
        let seen = requests.iter().find(|seen| seen.uri.path() == path).unwrap();
        seen.headers[name].to_str().unwrap().to_owned()
    };
    let basic = STANDARD.encode(format!("logweir:{PASSWORD}"));
    assert_eq!(header(&fakes.search, "/_bulk", "authorization"), format!("Basic {basic}"));
    let key = header(&fakes.search, "/firewall/", "authorization");
    assert_eq!(key, format!("ApiKey {FILE_API_KEY}"));
    assert_eq!(header(&fakes.aws, "/_bulk", "x-amz-security-token"), SESSION_TOKEN);
    let proxy = STANDARD.encode(format!("proxy:{PROXY_PASSWORD}"));
    let sent = header(&fakes.proxy, "/_bulk", "proxy-authorization");
    assert_eq!(sent, format!("Basic {proxy}"));
}

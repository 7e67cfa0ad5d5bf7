//! What the real binary answers to wrong files and command lines: one error, with its place, what is
//! wrong and what to do, and never a secret.
//!
//! All answers are in `tests/samples/wrong_configs.txt`, to be read in one go; `BLESS=1` writes it.

use std::path::Path;
use std::process::{Command, Output};

/// The right file that each case spoils.
const BASE: &str = include_str!("../../config/opensearch.toml");

/// A password that must not be seen, however it comes in.
const SECRET: &str = "hunter2-sesame";

/// What is replaced in [`BASE`], by what, and what the error must say besides its place.
type Case = (&'static str, &'static str, &'static str);

const REGION: &str = "region = \"eu-west-1\"";
const STATE: &str = "path = \"/var/lib/logweir/state.db\"";
const URL: &str = "url = \"https://search.example.com:9200\"";
const AUTH: &str =
    "auth.basic = { user = \"logweir\", password_file = \"/run/secrets/search-password\" }";
const FLOW_GROUPS: &str = "log_group = [\"/vpc/*\", \"*flow-logs*\"]";
const LONG_INDEX: &str = "index = \"a-name-of-so-many-words-that-in-the-255-bytes-of-an-index-name-the-names-of-two-log-groups-find-no-room-unless-each-were-cut-down-to-what-nobody-would-recognise-again-in-a-list-of-indices-{log_group}-{log_group}\"";
const REST: &str = "name = \"rest\"";

const CASES: &[Case] = &[
    // What is no TOML, or not ours.
    (REGION, "region = \"eu-west-1", "the quote at the end of the text is missing"),
    (REGION, "region = eu-west-1", "`region`: text must stand in quotes"),
    (REGION, "region = \"a\"\nregion = \"b\"", "a second `region`"),
    ("[[route]]\nname = \"rest\"", "[route]\nname = \"rest\"", "[[route]]"),
    ("[state.sqlite]", "[[http]]\nlisten = \"127.0.0.1:9598\"\n[state.sqlite]", "single brackets"),
    (REGION, "regoin = \"eu-west-1\"", "did you mean `region`?"),
    ("[state.sqlite]", "[shutdwn]\n[state.sqlite]", "did you mean `shutdown`?"),
    (REST, "name = \"rest\"\nlog_groups = \"*\"", "did you mean `log_group`?"),
    (URL, "url = \"https://a\"\nbulk.max_size = \"5MiB\"", "did you mean `max_body`?"),
    ("search.opensearch]", "search.opensaerch]", "did you mean `opensearch`?"),
    (URL, "url = \"https://a\"\nengine = \"serverless\"", "`opensearch_serverless`"),
    (URL, "url = \"https://a\"\nids = \"no\"", "true or false"),
    // Streams.
    (REGION, "start = \"yesterday\"", "trim_horizon"),
    (REGION, "start = 2026-01-31T06:00:00Z", "put it in quotes"),
    (REGION, "read = \"fan_out\"", "`poll`"),
    (REGION, "stream_arn = \"central-logs\"", "arn:aws:kinesis"),
    (
        REGION,
        "region = \"us-east-1\"\nstream_arn = \"arn:aws:kinesis:eu-west-1:123456789012:stream/a\"",
        "is not the region of `stream_arn`",
    ),
    (REGION, "region = \"\"", "such as \"eu-west-1\""),
    (REGION, "region = \"eu west 1\"", "such as \"eu-west-1\""),
    (REGION, "stream_name = \"central logs\"", "letters, digits"),
    ("[stream.central-logs]", "[stream.\"central logs\"]", "must not have ' '"),
    ("[stream.central-logs]", "[stream.\"\"]", "is empty"),
    ("[stream.central-logs]", "[stream.\"central:logs\"]", "as `stream_name`"),
    (REGION, "assume_role = \"reader\"", "arn:aws:iam"),
    (REGION, "endpoint = \"localhost\"", "http://"),
    (REGION, "endpoint = \"ftp://localhost\"", "http://"),
    (REGION, "endpoint = \"http://admin:hunter2-sesame@localhost:4567\"", "leave them out"),
    (REGION, "endpoint = \"http://admin:hunter2-sesame@localhost:99999\"", "port"),
    ("[stream.central-logs]\nregion = \"eu-west-1\"\n", "", "[stream.NAME]"),
    // The daemon.
    ("[state.sqlite]\npath = \"/var/lib/logweir/state.db\"\n", "", "[state.sqlite]"),
    ("[state.sqlite]\npath =", "[state.dynamodb]\ntable =", "`sqlite`"),
    (STATE, "path = \"\"", "names no file"),
    (STATE, "path = \"/\"", "names no file"),
    (STATE, "ephemeral = true", "`path` is missing"),
    (STATE, "path = \"state.db\"\nephemeral = \"yes\"", "true or false"),
    (STATE, "path = \"state.db\"\n[shutdown]\ndeadline = 25", "\"30s\""),
    (STATE, "path = \"state.db\"\n[shutdown]\ndeadline = \"0s\"", "\"25s\""),
    (STATE, "path = \"state.db\"\n[memory]\nfetch = \"64 megs\"", "\"64MiB\""),
    (STATE, "path = \"state.db\"\n[memory]\nfetch = \"1MiB\"", "56MiB or more"),
    (STATE, "path = \"state.db\"\n[memory]\nfetch = \"9999999GiB\"", "1TiB or less"),
    (STATE, "path = \"state.db\"\n[memory]\nbody = 0", "10MiB or more"),
    (STATE, "path = \"state.db\"\n[memory]\nbody = \"2TiB\"", "1TiB or less"),
    (STATE, "path = \"state.db\"\n[http]\nlisten = \"localhost\"", "127.0.0.1:9598"),
    (STATE, "path = \"state.db\"\n[log]\nlevel = \"loud\"", "debug"),
    (STATE, "path = \"state.db\"\n[log]\nlevel = \"nonsense=,,\"", "logweir::kinesis=debug"),
    (STATE, "path = \"state.db\"\n[log]\nformat = \"xml\"", "`json`"),
    (STATE, "path = \"state.db\"\n[dead_letters]\nmax_age = \"0d\"", "leave it out"),
    (STATE, "path = \"state.db\"\n[dead_letters]\nmax_size = 0", "leave it out"),
    (STATE, "path = \"state.db\"\n[dead_letters]\nmax_size = \"1B\"", "1KiB or more"),
    // Destinations.
    (URL, "", "url = \"https://"),
    (URL, "url = \"search.example.com\"", "https://"),
    (URL, "url = \"ftp://search.example.com\"", "https://"),
    (URL, "url = \"https://search.example.com/?pretty\"", "without `?`"),
    (URL, "url = \"https://admin:hunter2-sesame@search.example.com\"", "auth.basic"),
    (URL, "url = \"admin:hunter2-sesame@search.example.com\"", "auth.basic"),
    (URL, "url = \"https://admin:hunter2-sesame@search.example.com:99999\"", "port"),
    (URL, "url = \"https://admin:hunter2-sesame@\"", "no host"),
    (URL, "url = \"https://admin:hunter2-sesame@[::1\"", "no URL"),
    (URL, "url = \"https://search.example.com/?token=hunter2-sesame\"", "without `?`"),
    (URL, "url = \"admin:hunter2-sesame\"", "https://"),
    (URL, "url = \"//admin:hunter2-sesame@search.example.com\"", "https://"),
    (URL, "url = \"https://a\"\nbulk.max_in_flight = 0", "1 or more"),
    (URL, "url = \"https://a\"\nbulk.max_in_flight = \"4\"", "without quotes"),
    (URL, "url = \"https://a\"\nbulk.max_in_flight = 100000", "1000 or fewer"),
    (URL, "url = \"https://a\"\nbulk.max_body = \"1GiB\"", "64KiB to 100MiB"),
    (URL, "url = \"https://a\"\ntimeout = \"0s\"", "60s"),
    (URL, "url = \"https://a\"\nshards = 0", "1 or more"),
    (URL, "url = \"https://a\"\nshards = 5000", "1024 or fewer"),
    (URL, "url = \"https://a\"\ntimeout = \"60h\"", "2h or less"),
    (URL, "url = \"https://a\"\nreplicas = -1", "0 or more"),
    (URL, "url = \"https://a\"\nkeep = \"30s\"", "1h or more"),
    (URL, "url = \"https://a\"\nkeep = \"0d\"", "1h or more"),
    (URL, "url = \"https://a\"\nkeep = \"99999999999999d\"", "longer than can be counted"),
    (URL, "url = \"https://a\"\ntemplates = \"automatic\"", "`install` or `manual`"),
    (URL, "url = \"https://a\"\nbulk.compression = \"zstd\"", "`none` or `gzip`"),
    (URL, "url = \"https://a\"\nclient_cert_file = \"us.pem\"", "both `client_cert_file`"),
    (AUTH, "auth.digest = {}", "`sigv4`"),
    (AUTH, "auth = \"hunter2-sesame\"", "`sigv4`"),
    (AUTH, "auth = \"basic\"", "{ basic = { … } }"),
    (AUTH, "auth = true", "text in quotes, or a table"),
    (AUTH, "auth = {}", "`basic`, `api_key`, `sigv4`"),
    (AUTH, "[destination.search.opensearch.auth]", "`basic`, `api_key`, `sigv4`"),
    (AUTH, "auth = { basic = {}, api_key = {} }", "`basic`, `api_key`, `sigv4`"),
    (AUTH, "auth.basic = {}\nauth.api_key = {}", "`basic`, `api_key`, `sigv4`"),
    (AUTH, "auth.basic = { user = \"logweir\" }", "password_file"),
    (AUTH, "auth.basic = { user = \"a:b\", password = \"x\" }", "colon"),
    (AUTH, "auth.basic = \"logweir:hunter2-sesame\"", "a table"),
    (AUTH, "auth.basic = [\"logweir\", \"hunter2-sesame\"]", "this is a list"),
    (AUTH, "auth.api_key = \"hunter2-sesame\"", "a table"),
    (AUTH, "auth.api_key = { id = \"hunter2-sesame\" }", "`key` or `key_file`"),
    (AUTH, "auth.api_key = { key = \"hunter2-sesame\", key_file = \"key\" }", "either `key`"),
    (AUTH, "auth.sigv4 = { service = \"es\" }", "`region` is missing"),
    (AUTH, "auth.sigv4 = { region = \"\" }", "such as \"eu-west-1\""),
    (AUTH, "auth.sigv4 = { region = \"eu-west-1\", service = \"s3\" }", "`es` or `aoss`"),
    (AUTH, "auth.sigv4 = { region = \"eu-west-1\", assume_role = \"writer\" }", "arn:aws:iam"),
    (
        "[destination.search.opensearch]",
        "[destination.file.sqlite]\npath = \"a.db\"\nmax_document = \"1KiB\"\n[destination.search.opensearch]",
        "64KiB or more",
    ),
    (
        "[destination.search.opensearch]",
        "[destination.file.sqlite]\npath = \"\"\n[destination.search.opensearch]",
        "names no file",
    ),
    (
        "[destination.search.opensearch]",
        "[destination.file.sqlite]\npath = \"/var/lib/./logweir/state.db\"\n[destination.search.opensearch]",
        "the file of the state",
    ),
    (AUTH, "[destination.other]", "`opensearch`, `elasticsearch`, `sqlite`"),
    (AUTH, "[destination.auth]", "`opensearch`, `elasticsearch`, `sqlite`"),
    (AUTH, "[destination.search.sqlite]", "`opensearch`, `elasticsearch`, `sqlite`"),
    (AUTH, "templates = {}", "text in quotes"),
    // Secrets.
    (AUTH, "auth.basic = { user = \"logweir\", password = 7007007 }", "text in quotes"),
    (AUTH, "auth.basic = { user = \"logweir\", password = \"${SEARCH_PASS}\" }", "is not set"),
    (AUTH, "auth.basic = { user = \"logweir\", password = \"${EMPTY}\" }", "`EMPTY` is empty"),
    (AUTH, "auth.basic = { user = \"logweir\", password = \"\" }", "a secret is empty"),
    (AUTH, "timeout = \"${SEARCH_PASSWORD}\"", "`${SEARCH_PASSWORD}` is not a length of time"),
    ("[destination.search.", "[destination.\"search me\".", "must not have ' '"),
    // Routes.
    (REST, "name = \"the rest\"", "must not have ' '"),
    (REST, "name = \"flow\"", "a name of its own"),
    (REST, "name = \"rest\"\nlog_group = \"/aws/*\"", "let the last route take everything"),
    (REST, "name = \"rest\"\nlog_group = 7", "/vpc/*"),
    (
        REST,
        "name = \"rest\"\nkind = \"json\"\nlog_stream = \"a\"",
        "(leave `log_stream` and `kind` out)",
    ),
    (FLOW_GROUPS, "", "route `flow` before it takes everything"),
    (FLOW_GROUPS, "log_group = \"*\"", "Move `rest` up"),
    (FLOW_GROUPS, "log_group = \"CloudTrail/*\"", "route `cloudtrail` before it takes everything"),
    (
        "name = \"cloudtrail\"\nlog_group = [\"aws-cloudtrail-logs-*\", \"CloudTrail/*\"]",
        "name = \"cloudtrail\"\nkind = [\"cloudtrail\", \"json\", \"vpc_flow\", \"plain\"]",
        "`kind` lets in `vpc_flow`",
    ),
    (FLOW_GROUPS, "kind = \"json\"", "`kind` lets in `json`"),
    (FLOW_GROUPS, "log_group = []", "an empty list"),
    (FLOW_GROUPS, "log_group = [\"\"]", "an empty pattern"),
    (FLOW_GROUPS, "account = \"12345\"", "its 12 digits"),
    (FLOW_GROUPS, "account = [\"111122223333\", \"1111-2222-3333\"]", "its 12 digits"),
    (FLOW_GROUPS, "account = 111122223333", "in quotes"),
    (FLOW_GROUPS, "log_stream = []", "an empty list"),
    (FLOW_GROUPS, "stream = \"central-lugs\"", "did you mean `central-logs`?"),
    (FLOW_GROUPS, "stream = [\"central-logs\", \"edge\"]", "only `central-logs`"),
    (FLOW_GROUPS, "stream = \"central-*\"", "write one of `central-logs`"),
    (FLOW_GROUPS, "account = [\"111122223333\", 111122223333]", "`account`: "),
    (FLOW_GROUPS, "kind = \"vpcflow\"", "did you mean `vpc_flow`?"),
    (FLOW_GROUPS, "kind = [\"json\", \"lambda\"]", "cloudtrail, vpc_flow, json, plain"),
    (FLOW_GROUPS, "kind = []", "an empty list"),
    ("to = [\"search\"]", "to = \"search\"", "a list"),
    ("to = [\"search\"]", "to = [\"serch\"]", "did you mean `search`?"),
    ("to = [\"search\"]", "to = [\"splunk\"]", "[destination.splunk."),
    ("to = [\"search\"]", "to = [\"search\", \"search\"]", "listed twice"),
    ("to = [\"search\"]", "", "it leads nowhere"),
    ("to = [\"search\"]", "discard = true", "leaves nothing for"),
    ("parse = \"vpc_flow\"", "parse = \"vpcflow\"", "did you mean `vpc_flow`?"),
    ("parse = \"vpc_flow\"", "parse.vpc_flow = \"version src-addr\"", "did you mean `srcaddr`?"),
    ("parse = \"vpc_flow\"", "parse = {}", "cloudtrail, vpc_flow, json"),
    ("parse = \"vpc_flow\"", "parse.vpc_flow = \"\"", "the flow log format is empty"),
    ("parse = \"vpc_flow\"", "parse.json.lift = [\"@id\"]", "cannot be lifted"),
    ("parse = \"vpc_flow\"", "", "parse = \"auto\""),
    ("index = \"cwl-%Y.%m.%d\"", "index = \"CWL-%Y\"", "lower case"),
    ("index = \"cwl-%Y.%m.%d\"", "index = \"cwl-%H\"", "%Y, %m or %d"),
    ("index = \"cwl-%Y.%m.%d\"", "index = \"%Y-cwl\"", "begin with text"),
    ("index = \"cwl-%Y.%m.%d\"", "index = \"{account}-%Y\"", "begin with text"),
    ("index = \"cwl-%Y.%m.%d\"", "index = \"cwl-{log_stream}\"", "{log_group}"),
    ("index = \"cwl-%Y.%m.%d\"", "index = \"cwl-{account-%Y\"", "is missing"),
    ("index = \"cwl-%Y.%m.%d\"", LONG_INDEX, "shorten its text"),
    (
        "parse = \"auto\"\nto = [\"search\"]\nindex = \"cwl-%Y.%m.%d\"",
        "parse.json.lift = [\"srcaddr\"]\nto = [\"search\"]\nindex = \"vpc-flowlogs-%Y\"",
        "`vpc-flowlogs*` but not the type of `srcaddr`",
    ),
    ("index = \"cwl-%Y.%m.%d\"", "", "index = \"logs-%Y.%m.%d\""),
];

/// Settings of the environment over a right file.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("LOGWEIR_MEMORY_FETCH", "lots", "64MiB"),
    ("LOGWEIR_MEMORY_BODY", "1MiB", "10MiB or more"),
    ("LOGWEIR_LOG_LEVEL", "loud", "debug"),
    ("LOGWEIR_LOG_LEVEL", "nonsense=,,", "logweir::kinesis=debug"),
    ("LOGWEIR_LOG_LEVEL", "", "such as \"info\""),
    ("LOGWEIR_LOG_FORMAT", "yaml", "expected `text` or `json`"),
    ("LOGWEIR_SHUTDOWN_DEADLINE", "0s", "\"25s\""),
    ("LOGWEIR_HTTP_LISTEN", "everywhere", "127.0.0.1:9598"),
];

const COMMAND_LINES: &[&[&str]] = &[
    &[],
    &["strat"],
    &["run", "--conifg", "logweir.toml"],
    &["validate", "--config"],
    &["validate", "logweir.toml"],
    &["demo", "--events", "many"],
    &["health", "--address", "localhost"],
    &["dead-letter", "eat"],
];

#[test]
fn each_wrong_file_is_answered_with_one_error_that_says_where_what_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut answers = String::new();
    for (find, replace, says) in CASES {
        assert!(BASE.contains(find), "{find}");
        std::fs::write(folder.path().join("logweir.toml"), BASE.replacen(find, replace, 1))
            .unwrap();
        let error = error_of(&logweir(folder.path(), &["validate", "--config", "logweir.toml"]));
        let place = error.strip_prefix("error: logweir.toml:").unwrap_or_else(|| panic!("{error}"));
        // What is not there has no line.
        let is_missing = error.contains("there is no") && replace.is_empty();
        assert!(is_missing || place.starts_with(|c: char| c.is_ascii_digit()), "{error}");
        assert!(error.contains(says), "{replace}: {error} lacks {says}");
        let written =
            if replace.is_empty() { format!("without {find}") } else { (*replace).to_owned() };
        answers.push_str(&format!("{}\n{error}\n\n", indented(&written)));
    }
    std::fs::write(folder.path().join("logweir.toml"), BASE).unwrap();
    for (name, value, says) in VARIABLES {
        let mut validate = command(folder.path(), &["validate", "--config", "logweir.toml"]);
        let error = error_of(&validate.env(name, value).output().unwrap());
        assert!(error.contains(says) && error.contains(name), "{error} lacks {says}");
        answers.push_str(&format!("    {name}={value}\n{error}\n\n"));
    }
    let error = error_of(&logweir(folder.path(), &["validate", "--config", "nowhere.toml"]));
    assert!(error.contains("nowhere.toml") && error.contains("--config"), "{error}");
    answers.push_str(&format!("    --config nowhere.toml\n{error}\n\n"));
    answers.push_str(&without_its_password_file(folder.path()));
    for arguments in COMMAND_LINES {
        let answer = logweir(folder.path(), arguments);
        let text = String::from_utf8(answer.stderr).unwrap();
        assert_eq!(answer.status.code(), Some(64), "{arguments:?}: {text}");
        // What follows the first line is the whole help.
        let first = text.lines().next().unwrap();
        let line = format!("logweir {}", arguments.join(" "));
        answers.push_str(&format!("    {}\n{first}\n\n", line.trim_end()));
    }
    golden(&answers);
}

#[test]
fn a_misspelt_setting_of_the_environment_is_a_warning_that_names_the_right_one() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sqlite.toml");
    let mut validate = command(Path::new("/"), &["validate", "--config", config]);
    let answer = validate.env("LOGWEIR_LOG_LEVL", "debug").output().unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(answer.status.code(), Some(0), "{text}");
    let warning = "warning: the environment variable `LOGWEIR_LOG_LEVL` is no setting; ";
    assert!(text.contains(&format!("{warning}did you mean `LOGWEIR_LOG_LEVEL`?\n")), "{text}");
}

#[test]
fn a_state_file_that_the_daemon_would_refuse_is_refused_before_in_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let state = "path = \"state.db\"\nephemeral = true\n[http]\nlisten = \"127.0.0.1:0\"";
    let text = BASE.replace(STATE, state).replace(AUTH, "");
    std::fs::write(folder.path().join("logweir.toml"), text).unwrap();
    let ask = |name| {
        let answer = logweir(folder.path(), &[name, "--config", "logweir.toml"]);
        let text = String::from_utf8(answer.stderr).unwrap();
        (answer.status.code(), text.lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(ask("validate"), (Some(0), String::new()), "nothing has run yet");
    let path = folder.path().join("state.db");
    assert!(!path.exists());
    std::fs::write(path, "somebody's notes".repeat(100)).unwrap();
    let (code, error) = ask("validate");
    assert!(error.contains("state.db is not a state file") && error.contains("restore a copy"));
    assert!(error.starts_with("error: logweir.toml:8:8: could not open the state file"), "{error}");
    assert_eq!((code, &error), (Some(69), &ask("run").1));
}

#[test]
fn a_file_of_documents_that_the_daemon_would_refuse_is_refused_before_in_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let state = "path = \"state.db\"\nephemeral = true\n[http]\nlisten = \"127.0.0.1:0\"\n\
                 [destination.file.sqlite]\npath = \"documents\"";
    let text = BASE.replace(STATE, state).replace(AUTH, "");
    std::fs::write(folder.path().join("logweir.toml"), text).unwrap();
    let path = folder.path().join("documents");
    let ask = |name| {
        let answer = logweir(folder.path(), &[name, "--config", "logweir.toml"]);
        let text = String::from_utf8(answer.stderr).unwrap();
        (answer.status.code(), text.lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(ask("validate"), (Some(0), String::new()), "nothing has run yet");
    assert!(!path.exists());
    std::fs::create_dir(&path).unwrap();
    for says in ["is a folder", "must be a SQLite file", "a SQLite file of something else"] {
        let (code, error) = ask("validate");
        assert!(error.starts_with("error: logweir.toml:13:8: ") && error.contains(says), "{error}");
        assert_eq!((code, &error), (Some(64), &ask("run").1));
        if path.is_dir() {
            std::fs::remove_dir(&path).unwrap();
            std::fs::write(&path, "somebody's notes".repeat(100)).unwrap();
        } else {
            // As another daemon would have made it.
            std::fs::copy(folder.path().join("state.db"), &path).unwrap();
        }
    }
}

/// The files that a configuration names are read when the daemon starts: missing, no files, empty.
fn without_its_password_file(folder: &Path) -> String {
    let text = BASE
        .replace(STATE, "path = \"state.db\"\nephemeral = true\n[http]\nlisten = \"127.0.0.1:0\"")
        .replace("/run/secrets/", "secrets/");
    std::fs::write(folder.join("logweir.toml"), text).unwrap();
    let secret = folder.join("secrets/search-password");
    let mut answers = String::new();
    for what in ["nothing", "a folder", "an empty file"] {
        match what {
            "a folder" => std::fs::create_dir_all(&secret).unwrap(),
            "an empty file" => {
                std::fs::remove_dir(&secret).unwrap();
                std::fs::write(&secret, "").unwrap();
            }
            _ => {}
        }
        let errors = ["validate", "setup", "run"].map(|name| {
            let answer = logweir(folder, &[name, "--config", "logweir.toml"]);
            let text = String::from_utf8(answer.stderr).unwrap();
            assert_eq!(answer.status.code(), Some(64), "{text}");
            let error = text.lines().find(|line| line.starts_with("error: ")).unwrap();
            for says in ["logweir.toml:", "`search`", "`password_file`", "secrets/search-password"]
            {
                assert!(error.contains(says), "{error} lacks {says}");
            }
            error.to_owned()
        });
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:#?}");
        answers.push_str(&format!("    the file of the password is {what}\n{}\n\n", errors[0]));
    }
    answers
}

fn error_of(answer: &Output) -> String {
    let text = String::from_utf8(answer.stderr.clone()).unwrap();
    assert_eq!(answer.status.code(), Some(64), "{text}");
    assert!(answer.stdout.is_empty(), "{text}");
    assert!(text.starts_with("error: "), "{text}");
    assert_eq!((text.matches("error: ").count(), text.lines().count()), (1, 1), "{text}");
    for secret in [SECRET, "7007007"] {
        assert!(!text.contains(secret), "a secret is shown: {text}");
    }
    text.trim_end().to_owned()
}

fn logweir(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.args(arguments).current_dir(folder).env_remove("LOGWEIR_CONFIG");
    command.env("SEARCH_PASSWORD", SECRET).env_remove("SEARCH_PASS").env("EMPTY", "");
    command
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect::<String>().trim_end().to_owned()
}

/// Compares with the file; `BLESS=1` writes it instead.
fn golden(text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/wrong_configs.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs: look, then run with BLESS=1", path.display());
}

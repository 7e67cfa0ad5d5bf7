//! What a wrong configuration is answered with: file, line, value and remedy.

use super::*;

const GOOD: &str = r#"
[stream.central]
region = "eu-west-1"

[state.sqlite]
path = "/var/lib/logweir/state.db"

[destination.search.opensearch]
url = "https://search.example.com"
auth.basic = { user = "logweir", password = "${SEARCH_PASSWORD}" }

[[route]]
name = "flow"
log_group = ["flowlogs/*", "/vpc/*"]
parse.vpc_flow = "${version} ${srcaddr} ${dstaddr}"
to = ["search"]
index = "vpc-flowlogs-%Y.%m.%d"

[[route]]
name = "rest"
parse = "auto"
to = ["search"]
index = "cwl-%Y.%m.%d"
"#;

fn environment(name: &str) -> Option<String> {
    (name == "SEARCH_PASSWORD").then(|| "s3cr\"et".to_owned())
}

fn error(find: &str, replace: &str) -> String {
    assert!(GOOD.contains(find), "{find}");
    let text = GOOD.replacen(find, replace, 1);
    Config::parse("logweir.toml", &text, environment).unwrap_err().to_string()
}

#[test]
fn a_good_file_becomes_routes_in_file_order() {
    let config = Config::parse("logweir.toml", GOOD, environment).unwrap();
    let names: Vec<_> = config.routes.iter().map(|(_, route)| route.name.as_str()).collect();
    assert_eq!(names, ["flow", "rest"]);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn each_mistake_is_named_with_its_line_and_remedy() {
    let cases = [
        (
            "to = [\"search\"]\nindex = \"vpc",
            "to = [\"serch\"]\nindex = \"vpc",
            "logweir.toml:16:7: there is no destination `serch`; did you mean `search`?",
        ),
        ("region =", "regoin =", "did you mean `region`?"),
        ("parse = \"auto\"", "parse = \"cloudtrial\"", "cloudtrail"),
        (
            "name = \"rest\"",
            "name = \"rest\"\nlog_group = \"x*\"",
            "let the last route take everything",
        ),
        ("name = \"rest\"", "name = \"flow\"", "a second route is called `flow`"),
        ("index = \"cwl-%Y.%m.%d\"", "index = \"CWL-%Y\"", "lower case"),
        ("index = \"cwl-%Y.%m.%d\"", "", "add the index that its documents go to"),
        ("to = [\"search\"]\nindex = \"cwl", "index = \"cwl", "it leads nowhere"),
        (
            "${SEARCH_PASSWORD}",
            "${SEARCH_PASS}",
            "logweir.toml:10:46: the environment variable `SEARCH_PASS` is not set",
        ),
        ("[stream.central]\nregion = \"eu-west-1\"", "", "add a table `[stream.NAME]`"),
        ("${srcaddr}", "${srcadr}", "srcaddr"),
        ("https://search", "ftp://search", "http"),
    ];
    for (find, replace, expected) in cases {
        let text = error(find, replace);
        assert!(text.starts_with("logweir.toml"), "{text}");
        assert!(text.contains(expected), "{replace}: {text}");
        assert!(!text.contains("s3cr"), "a secret is shown: {text}");
    }
}

#[test]
fn the_environment_overrides_settings() {
    let config = Config::parse("logweir.toml", GOOD, |name| match name {
        "LOGWEIR_LOG_LEVEL" => Some("debug".to_owned()),
        "LOGWEIR_MEMORY_FETCH" => Some("128MiB".to_owned()),
        other => environment(other),
    });
    let config = config.unwrap();
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.memory.fetch, ByteSize(128 << 20));
    let wrong = Config::parse("logweir.toml", GOOD, |name| match name {
        "LOGWEIR_MEMORY_FETCH" => Some("lots".to_owned()),
        other => environment(other),
    });
    let text = wrong.unwrap_err().to_string();
    assert!(text.contains("LOGWEIR_MEMORY_FETCH") && text.contains("lots"), "{text}");
}

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
            "logweir.toml:16:7: `to`: there is no destination `serch`; did you mean `search`?",
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
            "logweir.toml:10:46: `password`: the environment variable `SEARCH_PASS` is not set",
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
fn a_name_that_is_empty_or_has_spaces_is_refused_where_it_stands() {
    let spoilt = |table: &str, name: &str| {
        let header = format!("[{table}.");
        let (before, after) = GOOD.split_once(&header).unwrap();
        let (_, rest) = after.split_at(after.find(['.', ']']).unwrap());
        let text = format!("{before}{header}\"{name}\"{rest}");
        Config::parse("logweir.toml", &text, environment).unwrap_err().to_string()
    };
    for (name, says) in [("", "is empty"), ("a b", "not have ' '"), ("a\\u0000", "not have '\\0'")]
    {
        for (text, expected) in [
            (spoilt("stream", name), "2:1: the name of "),
            (spoilt("destination", name), "8:14: the name of "),
            (error("\"rest\"", &format!("\"{name}\"")), "20:8: `name`: the name of "),
        ] {
            assert!(text.starts_with(&format!("logweir.toml:{expected}")), "{text}");
            assert!(text.contains(says), "{text}");
        }
    }
    let text = error("[stream.central]", "[stream.\"größe\"]");
    assert!(text.starts_with("logweir.toml:2:1: stream `größe`: "), "{text}");
}

#[test]
fn a_mistake_in_a_list_is_named_with_its_key_on_whichever_line_it_stands() {
    let name = "name = \"rest\"";
    for (list, expected) in [
        ("account = [\"111122223333\", 7]", "21:28: `account`: write text in quotes"),
        ("account = [\n  \"111122223333\",\n  7,\n]", "23:3: `account`: write text in quotes"),
        ("account = [\"x\"]", "21:11: `account`: `x` is no AWS account"),
    ] {
        let text = error(name, &format!("{name}\n{list}"));
        assert!(text.starts_with(&format!("logweir.toml:{expected}")), "{text}");
    }
    // What stands behind a list is not in it.
    let text = error(name, &format!("{name}\naccount = [\"111122223333\"]\n7 = 7"));
    assert!(text.starts_with("logweir.toml:22:1: unknown key `7`"), "{text}");
}

#[test]
fn a_route_that_could_read_none_of_what_it_lets_in_is_refused() {
    let with = |kind: &str, parse: &str| {
        let name = "name = \"flow\"\n";
        let text = GOOD
            .replace("parse.vpc_flow = \"${version} ${srcaddr} ${dstaddr}\"", parse)
            .replace(name, &format!("{name}kind = {kind}\n"));
        Config::parse("logweir.toml", &text, environment).map_err(|problem| problem.to_string())
    };
    for (kind, parse, unreadable) in [
        ("'json'", "parse.vpc_flow = 'version srcaddr'", "json"),
        ("'vpc_flow'", "parse = 'cloudtrail'", "vpc_flow"),
        ("['json', 'plain']", "parse.json = {}", "plain"),
        ("['vpc_flow', 'cloudtrail']", "parse = 'vpc_flow'", "cloudtrail"),
    ] {
        let text = with(kind, parse).unwrap_err();
        assert!(text.starts_with("logweir.toml:14:8: route `flow`: `kind` lets in "), "{text}");
        assert!(text.contains(&format!("`{unreadable}`, and `parse` as `")), "{text}");
    }
    let all = "['cloudtrail', 'vpc_flow', 'json', 'plain']";
    for (kind, parse) in [
        (all, "parse = 'auto'"),
        (all, "parse = 'plain'"),
        (all, "parse = 'lambda'"),
        ("['cloudtrail', 'json']", "parse = 'json'"),
        ("['cloudtrail', 'json']", "parse = 'cloudtrail'"),
        ("['vpc_flow', 'plain']", "parse.vpc_flow = 'version srcaddr'"),
    ] {
        with(kind, parse).unwrap();
    }
}

#[test]
fn a_list_is_not_taken_for_a_table() {
    let state = "[state.sqlite]\npath = \"/var/lib/logweir/state.db\"\n";
    let url = "url = \"https://search.example.com\"";
    let auth = "auth.basic = { user = \"logweir\", password = \"${SEARCH_PASSWORD}\" }";
    let flow = "parse.vpc_flow = \"${version} ${srcaddr} ${dstaddr}\"";
    for (find, replace, expected) in [
        (state, &*format!("{state}[[memory]]\n"), ":7:1: there is one such table"),
        (state, "[[state.sqlite]]\npath = \"a.db\"", ":5:1: there is one such table"),
        (state, "[state]\nsqlite = [\"a.db\"]", ":6:10: `state.sqlite`: write a table"),
        (url, &format!("{url}\nbulk = [\"5MiB\"]"), ":10:8: `destination.search.opensearch.bulk`"),
        (
            auth,
            "auth.basic = [\"hunter2\", \"sesame\"]",
            ":10:14: `auth.basic`: write a table; this is a list",
        ),
        (flow, "parse.json = [[\"a\"]]", ":15:14: `route.parse.json`"),
    ] {
        let text = error(find, replace);
        assert!(text.starts_with(&format!("logweir.toml{expected}")), "{replace}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    // By position this would be `[http]` with its `listen`.
    let text = Config::parse("x", &format!("http = ['127.0.0.1:1']\n{GOOD}"), environment);
    let expected = "x:1:8: `http`: write a table, as in [http]; this is a list";
    assert_eq!(text.unwrap_err().to_string(), expected);
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

#[test]
fn a_variable_that_is_empty_is_named_with_its_key_where_it_would_be_the_whole_value() {
    let parse = |text: &str| {
        let empty = |name: &str| (name == "EMPTY").then(String::new);
        Config::parse("logweir.toml", text, |name| empty(name).or_else(|| environment(name)))
    };
    let secret = GOOD.replace("${SEARCH_PASSWORD}", "${EMPTY}");
    let text = parse(&secret).unwrap_err().to_string();
    assert!(text.starts_with("logweir.toml:10:46: `password`: "), "{text}");
    assert!(text.contains("`EMPTY` is empty"), "{text}");
    let url = GOOD.replace("https://search.example.com", "${EMPTY}");
    let text = parse(&url).unwrap_err().to_string();
    assert!(text.contains("`url`: ") && text.contains("`EMPTY`"), "{text}");
    // Part of a value may well be nothing.
    parse(&GOOD.replace("/var/lib/logweir", "${EMPTY}/var/lib/logweir")).unwrap();
}

#[test]
fn what_is_written_by_us_is_read_back_whatever_is_in_it() {
    for path in
        ["/tmp/a b", "/tmp/it's \"so\"", "/c:\\temp\\n", "/${HOME}/größe", "/\\${A}\n\t\u{7f}"]
    {
        let text = GOOD.replace("\"/var/lib/logweir/state.db\"", &quoted(path));
        let config = Config::parse("logweir.toml", &text, environment).unwrap();
        assert_eq!(config.state.path.to_str(), Some(path), "{text}");
    }
}

#[test]
fn no_file_is_written_by_two_parts_of_the_daemon() {
    let with = |tables: &str| {
        let text = GOOD
            .replace("[[route]]\nname = \"flow\"", &format!("{tables}[[route]]\nname = \"flow\""));
        Config::parse("logweir.toml", &text, environment).map_err(|problem| problem.to_string())
    };
    let file =
        |name: &str, path: &str| format!("[destination.{name}.sqlite]\npath = \"{path}\"\n\n");
    let two = file("one", "docs/a.db") + &file("two", "./docs/a.db");
    let text = with(&two).unwrap_err();
    for part in ["logweir.toml:", "`one`", "`two`", "docs/a.db"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let text = with(&file("one", "/var/lib/logweir/./state.db")).unwrap_err();
    assert!(text.contains("`one`") && text.contains("the file of the state"), "{text}");
    with(&(file("one", "docs/a.db") + &file("two", "docs/b.db"))).unwrap();
}

#[test]
fn a_variable_that_is_called_like_a_setting_and_is_none_is_told_with_the_nearest() {
    let read =
        ["LOGWEIR_LOG_LEVEL", "LOGWEIR_CONFIG", "SEARCH_PASSWORD", "LOGWEIR_SEARCH_PASSWORD"];
    let read = read.map(str::to_owned).into();
    let unread = |name: &str| unread([name.to_owned()].into_iter(), &read);
    let told = unread("LOGWEIR_LOG_LEVL");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("`LOGWEIR_LOG_LEVL`"), "{told:?}");
    assert!(told[0].contains("did you mean `LOGWEIR_LOG_LEVEL`?"), "{told:?}");
    assert!(unread("LOGWEIR_FACTS")[0].ends_with("nothing reads it"));
    for known in ["LOGWEIR_CONFIG", "LOGWEIR_SEARCH_PASSWORD", "HOME", "LOGWEIR_SERVICE_HOST"] {
        assert!(unread(known).is_empty(), "{known}");
    }
    assert!(unread("LOGWEIR_PORT_9598_TCP_ADDR").is_empty(), "Kubernetes sets it for a service");
}

#[test]
fn a_deadline_that_nobody_can_mean_is_told() {
    let with = |deadline: &str| {
        let text = format!("{GOOD}\n[shutdown]\ndeadline = \"{deadline}\"\n");
        Config::parse("logweir.toml", &text, environment).map_err(|problem| problem.to_string())
    };
    let text = with("0s").unwrap_err();
    assert!(text.contains("`deadline`: ") && text.contains("\"25s\""), "{text}");
    assert!(with("10m").unwrap().warnings.is_empty());
    let warnings = with("25h").unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("TimeoutStopSec"), "{warnings:?}");
}

#[test]
fn a_start_that_has_not_come_yet_is_told() {
    let with = |start: &str| {
        let text =
            GOOD.replace("[stream.central]", &format!("[stream.central]\nstart = '{start}'"));
        Config::parse("logweir.toml", &text, environment).unwrap().warnings
    };
    let warnings = with("9000-01-31T06:00:00Z");
    assert!(warnings.len() == 1 && warnings[0].starts_with("stream `central`: "), "{warnings:?}");
    assert!(warnings[0].contains("9000-01-31T06:00:00.000Z"), "{warnings:?}");
    for start in ["2020-01-31T06:00:00Z", "latest"] {
        assert_eq!(with(start), Vec::<String>::new());
    }
}

#[test]
fn an_event_that_only_says_that_it_is_of_cloudtrail_is_not_trusted_without_a_word() {
    let with = |condition: &str| {
        let route = format!(
            "[[route]]\nname = \"trail\"\n{condition}\nparse = \"cloudtrail\"\nto = [\"search\"]\n\
             index = \"trail\"\n\n[[route]]\nname = \"rest\""
        );
        let text = GOOD.replacen("[[route]]\nname = \"rest\"", &route, 1);
        Config::parse("logweir.toml", &text, environment).unwrap().warnings
    };
    let warnings = with("kind = \"cloudtrail\"");
    assert!(warnings.len() == 1 && warnings[0].contains("`parse = \"auto\"`"), "{warnings:?}");
    assert!(with("kind = \"cloudtrail\"\nlog_group = \"trails/*\"").is_empty());
}

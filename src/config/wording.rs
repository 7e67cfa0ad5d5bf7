//! Says in the words of a configuration file what serde and the TOML reader say in those of Rust.

const DOUBLE_BRACKETS: &str =
    "this table is one of a list: write it with double brackets, as in [[route]]";

const SINGLE_BRACKETS: &str =
    "there is one such table, not a list of them: write it with single brackets";

/// How the list of the kinds of `auth` ends.
const AUTH_KINDS: &str = "`none`, `basic`, `api_key`, `sigv4`";

/// The kinds of a destination.
const DESTINATION_KINDS: &str = "`opensearch`, `elasticsearch`, `sqlite`";

/// For a table with no key or with several that must have one: which there are, by its path.
pub(super) fn one_key(message: &str, path: &str) -> Option<String> {
    if !message.starts_with("wanted exactly 1 element") {
        return None;
    }
    let kinds = match path.split('.').collect::<Vec<_>>().as_slice() {
        // Whatever its name is.
        ["destination", _] => DESTINATION_KINDS,
        [.., "auth"] => AUTH_KINDS,
        _ => return Some("write text in quotes; this is a table".to_owned()),
    };
    Some(format!("write exactly one key in this table, one of {kinds}"))
}

/// The message as a person needs it. `found` is the text that it is about.
pub(super) fn plain(message: &str, found: &str) -> String {
    let Some((wrong, expected)) = message.split_once(", expected ") else {
        return without_expectation(message, found);
    };
    if (wrong, expected) == ("invalid type: map", "a sequence") {
        return DOUBLE_BRACKETS.to_owned();
    }
    if wrong == "invalid type: map" && found.starts_with("[[") {
        return SINGLE_BRACKETS.to_owned();
    }
    if wrong.starts_with("unknown variant") && expected.contains(AUTH_KINDS) {
        // What stands in place of a kind may be the password.
        return format!("this is no way to authenticate, expected one of {AUTH_KINDS}");
    }
    if expected == "newtype variant" {
        let name = found.trim_matches(['"', '\'']);
        return format!(
            "{found} alone says too little: write a table, as in {{ {name} = {{ … }} }}"
        );
    }
    let expected = expectation(expected);
    if wrong == "invalid type: map" && found.starts_with(|c: char| c.is_ascii_digit()) {
        // What only TOML calls a time of its own.
        return format!("write {expected}; this is a time without quotes: put it in quotes");
    }
    if let Some(found) = wrong.strip_prefix("invalid type: ") {
        // Not the value itself: a password without quotes is a number.
        return format!("write {expected}; this is {}", kind(found));
    }
    if let Some(found) = wrong.strip_prefix("invalid value: ") {
        let value = found.split('`').nth(1).unwrap_or(found);
        return format!("write {expected}; this is {value}");
    }
    if wrong.starts_with("invalid length ") {
        return format!("write {expected}; this is a list");
    }
    match wrong {
        "string values must be quoted" => "text must stand in quotes: \"…\"".to_owned(),
        "invalid basic string" => "the quote at the end of the text is missing".to_owned(),
        _ => {
            let wrong = wrong.replacen("unknown field", "unknown key", 1);
            format!(
                "{}, expected {expected}",
                wrong.replacen("unknown variant", "unknown value", 1)
            )
        }
    }
}

fn without_expectation(message: &str, found: &str) -> String {
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("{field} is missing: add it to this table");
    }
    if let Some(wrong) = wrong_url(message) {
        return format!("this is no URL: {wrong}");
    }
    match message {
        "wanted string or table" => "write text in quotes, or a table".to_owned(),
        "duplicate key" if found == "route" => DOUBLE_BRACKETS.to_owned(),
        "duplicate key" => format!("a second `{found}`: leave one of the two"),
        "invalid socket address syntax" => format!(
            "{found} is not an address with a port: write one such as \"127.0.0.1:9598\", or \
             \"0.0.0.0:9598\" for all"
        ),
        other => other.to_owned(),
    }
}

/// What is wrong with a URL, without the URL: what cannot be read may hold a password anywhere.
fn wrong_url(message: &str) -> Option<&str> {
    let (wrong, rest) = message.split_once(": ")?;
    if !rest.starts_with('"') {
        return None;
    }
    match wrong {
        "relative URL without a base" => Some("it must begin with https:// or http://"),
        "invalid port number" => Some("its port must be a number up to 65535"),
        "empty host" => Some("it names no host"),
        _ => (wrong.starts_with("invalid") || wrong.contains("URL")).then_some(wrong),
    }
}

fn expectation(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false, without quotes",
        "a string" | "path string" => "text in quotes",
        "a sequence" => "a list, such as [\"a\", \"b\"]",
        "a map" => "a table",
        "u16" | "u32" | "u64" | "usize" => "a whole number of 0 or more, without quotes",
        nonzero if nonzero.starts_with("a nonzero") => {
            "a whole number of 1 or more, without quotes"
        }
        table if table.starts_with("struct ") => "a table",
        other => other,
    }
}

fn kind(found: &str) -> &'static str {
    const KINDS: [(&str, &str); 6] = [
        ("string", "text"),
        ("integer", "a number"),
        ("floating point", "a number"),
        ("boolean", "true or false"),
        ("map", "a table"),
        ("sequence", "a list"),
    ];
    let known = KINDS.iter().find(|(name, _)| found.starts_with(name));
    known.map_or("something else", |(_, kind)| kind)
}

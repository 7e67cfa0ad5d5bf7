//! Tells whether two files send events, and dead letters again, in the same way.

use toml::{Table, Value};

use crate::fingerprint::Fingerprint;

/// A digest of the `route` and `destination` tables in `text`: of what they say, not of how it is
/// laid out. Variables count by their names, for their values may be secrets; and `auth`, which
/// decides nothing about a document, is left out for the same reason.
pub(super) fn digest(text: &str) -> String {
    // What cannot be read was refused before.
    let root: Table = text.parse().unwrap_or_default();
    let mut hash = Fingerprint::default();
    for key in ["route", "destination"] {
        if let Some(value) = root.get(key) {
            hash.part(key.as_bytes());
            add(&mut hash, value, 0);
        }
    }
    hash.hex(16)
}

/// Settings of `[destination.NAME.KIND]` are this deep below `destination`.
const SETTINGS: usize = 2;

fn add(hash: &mut Fingerprint, value: &Value, depth: usize) {
    hash.part(value.type_str().as_bytes());
    match value {
        Value::Table(table) => {
            let is_secret = |key: &String| depth == SETTINGS && key == "auth";
            let mut entries: Vec<_> = table.iter().filter(|(key, _)| !is_secret(key)).collect();
            entries.sort_by_key(|(key, _)| *key);
            hash.part(entries.len().to_string().as_bytes());
            for (key, value) in entries {
                hash.part(key.as_bytes());
                add(hash, value, depth + 1);
            }
        }
        Value::Array(values) => {
            hash.part(values.len().to_string().as_bytes());
            values.iter().for_each(|value| add(hash, value, depth));
        }
        Value::String(text) => hash.part(text.as_bytes()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            hash.part(value.to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[log]
level = "info"
[destination.search.opensearch]
url = "${SEARCH_URL}"
auth.basic = { user = "u", password = "hunter2" }
[[route]]
name = "a"
log_group = ["/a/*", "/b/*"]
to = ["search"]
[[route]]
name = "b"
discard = true
"#;

    #[test]
    fn how_a_file_is_laid_out_changes_nothing_and_neither_does_what_decides_no_replay() {
        for (old, new) in [
            ("name = \"a\"", "  name='a' # the first"),
            ("to = [\"search\"]\n", "to = [\n\"search\", # there\n]\n"),
            ("level = \"info\"", "level = \"debug\""),
            ("hunter2", "another"),
            (
                "log_group = [\"/a/*\", \"/b/*\"]\nto = [\"search\"]",
                "to = [\"search\"]\nlog_group = [\"/a/*\", \"/b/*\"]",
            ),
        ] {
            assert!(FILE.contains(old), "{old}");
            assert_eq!(digest(&FILE.replace(old, new)), digest(FILE), "{new}");
        }
    }

    #[test]
    fn another_route_or_destination_is_another_digest() {
        let mut seen = vec![digest(FILE)];
        for (old, new) in [
            ("/a/*", "/c/*"),
            ("\"/a/*\", \"/b/*\"", "\"/a/*/b/*\""),
            ("SEARCH_URL", "OTHER_URL"),
            ("name = \"b\"", "name = \"c\""),
            ("[destination.search.opensearch]", "[destination.other.opensearch]"),
            ("[destination.search.opensearch]", "[destination.auth.opensearch]"),
            ("[log]", "[destination.auth.sqlite]\npath = \"a.db\"\n[log]"),
            ("discard = true", "discard = true\n[[route]]\nname = \"c\""),
        ] {
            assert!(FILE.contains(old), "{old}");
            seen.push(digest(&FILE.replace(old, new)));
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}

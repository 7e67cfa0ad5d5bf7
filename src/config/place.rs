//! Finds where in its file a setting stands that turns out to be wrong only when it is used.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Locator;

/// The place of a destination's `key` in the file, as errors begin with it; of the destination
/// where the key is not given or not found. None when the file has changed beyond that.
#[must_use]
pub fn place(path: &Path, destination: &str, key: Option<&str>) -> Option<String> {
    found(path, |root| {
        let table = child(child(root, "destination")?.get_ref().as_table()?, destination)?;
        let value = key.and_then(|key| below(table, key)).unwrap_or(table);
        Some(value.span().start)
    })
}

/// The place of `state.sqlite.path` in the file, likewise.
#[must_use]
pub fn place_of_state(path: &Path) -> Option<String> {
    found(path, |root| {
        let table = child(root, "state")?;
        Some(below(table, "path").unwrap_or(table).span().start)
    })
}

fn found(path: &Path, find: impl Fn(&DeTable<'_>) -> Option<usize>) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let start = find(DeTable::parse(&text).ok()?.get_ref())?;
    Some(Locator { file: &path.display().to_string(), text: &text }.place(start))
}

fn child<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

/// The value of the key in the table, or in one inside of it.
fn below<'t, 'i>(value: &'t Spanned<DeValue<'i>>, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    let table = value.get_ref().as_table()?;
    child(table, key).or_else(|| table.iter().find_map(|(_, value)| below(value, key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_every_way_to_write_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, expected) in [
            ("[destination.a.opensearch]\nauth.basic = { user = 'u', key = 'x' }", ":2:34"),
            ("[destination.a.opensearch.auth.basic]\n# why\nkey = 'x'", ":3:7"),
            ("[destination.b.opensearch]\nkey = 1\n[destination.a.sqlite]\nkey='x'", ":4:5"),
            ("[destination]\na.sqlite.key = '''\nx'''", ":2:16"),
            ("[destination.a.sqlite]\nother = 1", ":1:14"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let found = place(file.path(), "a", Some("key")).unwrap();
            assert_eq!(found.strip_prefix(file.path().to_str().unwrap()), Some(expected), "{text}");
        }
        std::fs::write(file.path(), "[stream.a]").unwrap();
        assert_eq!(place(file.path(), "a", Some("key")), None);
        assert_eq!(place_of_state(file.path()), None);
        std::fs::write(file.path(), "[state]\nsqlite = { path = 'x' }").unwrap();
        assert!(place_of_state(file.path()).unwrap().ends_with(":2:19"));
    }
}

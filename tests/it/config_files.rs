//! The files in `config/` say what is true: they load, nothing is missing, defaults are defaults.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use logweir::config::Config;
use toml::Value;

/// The complete one.
const COMPLETE: &str = "logweir.toml";

/// A starting point must be seen at one glance.
const MOST_LINES: usize = 40;

/// Lists of keys that the configuration knows: a table that is left out of the file would go unseen.
const SORTS_OF_TABLES: usize = 18;

/// A key and a value that no option has.
const UNKNOWN: &str = "zzz";

#[test]
fn every_file_in_config_loads_without_a_warning() {
    let files = files();
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let config = Config::load(&path, environment).unwrap_or_else(|problem| panic!("{problem}"));
        assert!(config.warnings.is_empty(), "{}: {:?}", path.display(), config.warnings);
    }
}

#[test]
fn an_example_is_short() {
    for path in files().iter().filter(|path| !path.ends_with(COMPLETE)) {
        let lines = read(path).lines().count();
        assert!(lines <= MOST_LINES, "{}: {lines} lines", path.display());
    }
}

#[test]
fn what_is_commented_out_with_one_hash_is_the_default() {
    let examples = uncommented(&complete(), &["##"]);
    let all = uncommented(&complete(), &["##", "#"]);
    let defaults =
        all.lines().zip(examples.lines()).filter(|(all, examples)| all != examples).count();
    assert!(defaults > 10, "only {defaults} options are at their defaults");
    assert_eq!(format!("{:#?}", parse(&examples)), format!("{:#?}", parse(&all)));
    // An example that were a default would be marked wrongly.
    for example in complete().lines().filter(|line| line.starts_with("##") && line.contains('=')) {
        let without = examples.replacen(&uncommented(example, &["##"]), "\n", 1);
        let Ok(without) = Config::parse(COMPLETE, &without, environment) else { continue };
        let without = Config { digest: String::new(), ..without };
        let with = format!("{:?}", parse(&examples));
        assert_ne!(format!("{without:?}"), with, "{example} is the default");
    }
}

#[test]
fn every_option_is_in_the_complete_file() {
    let text = uncommented(&complete(), &["##", "#"]);
    let root: Value = toml::from_str(&text).unwrap();
    // Tables of the same sort share the list of keys that they know.
    let mut present: BTreeMap<BTreeSet<String>, BTreeSet<String>> = BTreeMap::new();
    let mut places = Vec::new();
    walk(&root, &mut Vec::new(), &mut places);
    for place in &places {
        let Value::Table(table) = at(&mut root.clone(), place).clone() else { continue };
        let mut extra = table.clone();
        extra.insert(UNKNOWN.to_owned(), Value::Integer(1));
        let error = error(&root, place, Value::Table(extra));
        let Some(known) = error.as_deref().and_then(known_keys) else { continue };
        present.entry(known).or_default().extend(table.keys().cloned());
    }
    assert_eq!(present.len(), SORTS_OF_TABLES, "{present:#?}");
    for (known, present) in present {
        assert_eq!(known, present, "known options and those in the file");
    }
}

#[test]
fn every_choice_is_in_the_complete_file() {
    let text = uncommented(&complete(), &["##", "#"]);
    let root: Value = toml::from_str(&text).unwrap();
    let mut places = Vec::new();
    walk(&root, &mut Vec::new(), &mut places);
    let mut choices = BTreeSet::new();
    for place in &places {
        let value = at(&mut root.clone(), place).clone();
        let unknown = if value.is_table() {
            let empty = Value::Table(toml::Table::new());
            Value::Table(toml::Table::from_iter([(UNKNOWN.to_owned(), empty)]))
        } else if value.is_str() {
            Value::String(UNKNOWN.to_owned())
        } else {
            continue;
        };
        let error = error(&root, place, unknown);
        choices.extend(error.as_deref().and_then(known_choices).unwrap_or_default());
    }
    for choice in ["basic", "cloudtrail", "json", "manual", "off", "poll", "sqlite"] {
        assert!(choices.contains(choice), "{choice} is not in {choices:?}");
    }
    // In quotes as a value, in backquotes as a kind, or as a key.
    let words = complete();
    let words: BTreeSet<&str> =
        words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing: Vec<_> =
        choices.iter().filter(|choice| !words.contains(choice.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_unit_is_in_the_complete_file() {
    let words = complete().replace("\n# ", " ");
    for (key, unit) in [("fetch", "size"), ("deadline", "length of time")] {
        let table = if key == "fetch" { "memory" } else { "shutdown" };
        let wrong =
            complete().replace(&format!("[{table}]"), &format!("[{table}]\n{key} = \"1 x\""));
        let error = Config::parse(COMPLETE, &wrong, environment).unwrap_err().to_string();
        let (_, units) = error.split_once(&format!("{unit}: write a whole number with ")).unwrap();
        let (units, _) = units.split_once(", such as").unwrap();
        assert!(words.contains(units), "not in the file: {units}");
    }
}

#[test]
fn every_variable_is_in_the_complete_file() {
    let asked = RefCell::new(BTreeSet::new());
    let record = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        environment(name)
    };
    Config::parse(COMPLETE, &complete(), record).unwrap();
    let text = complete();
    let asked = asked.into_inner();
    let settings: Vec<_> = asked.iter().filter(|name| name.starts_with("LOGWEIR_")).collect();
    assert!(!settings.is_empty());
    for name in settings {
        assert!(text.contains(name.as_str()), "{name}");
    }
}

/// The keys that may stand where [`UNKNOWN`] stands in this text.
fn known_keys(error: &str) -> Option<BTreeSet<String>> {
    let (_, known) = error.split_once(&format!("unknown key `{UNKNOWN}`, expected "))?;
    Some(quoted(known))
}

/// The words that may.
fn known_choices(error: &str) -> Option<BTreeSet<String>> {
    if let Some((_, parsers)) = error.split_once("There are: ") {
        return Some(parsers.split(", ").map(str::to_owned).collect());
    }
    let unknown = format!("unknown value `{UNKNOWN}`, expected ");
    // Under `auth` the value is not repeated: it may be a password.
    let known = error.split_once(&unknown).or_else(|| error.split_once("authenticate, expected "));
    Some(quoted(known?.1))
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What is wrong when `value` stands at `place`, if anything is.
fn error(root: &Value, place: &[Step], value: Value) -> Option<String> {
    let mut root = root.clone();
    *at(&mut root, place) = value;
    let text = toml::to_string(&root).unwrap();
    Config::parse(COMPLETE, &text, environment).err().map(|problem| problem.to_string())
}

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Every place in a value, itself included.
fn walk(value: &Value, place: &mut Vec<Step>, places: &mut Vec<Vec<Step>>) {
    places.push(place.clone());
    let inside = value.as_table().into_iter().flatten();
    let mut inner: Vec<_> = inside.map(|(key, value)| (Step::Key(key.clone()), value)).collect();
    let listed = value.as_array().into_iter().flatten().enumerate();
    inner.extend(listed.map(|(index, value)| (Step::Index(index), value)));
    for (step, value) in inner {
        place.push(step);
        walk(value, place, places);
        place.pop();
    }
}

fn at<'v>(root: &'v mut Value, place: &[Step]) -> &'v mut Value {
    place.iter().fold(root, |value, step| match step {
        Step::Key(key) => value.get_mut(key).unwrap(),
        Step::Index(index) => value.get_mut(index).unwrap(),
    })
}

/// The text with the options behind these marks in force. Prose has a space after its `#`.
fn uncommented(text: &str, marks: &[&str]) -> String {
    let line = |line: &str| {
        let hashes = line.len() - line.trim_start_matches('#').len();
        let (mark, rest) = line.split_at(hashes);
        let is_option = rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
        let line = if is_option && marks.contains(&mark) { rest } else { line };
        format!("{line}\n")
    };
    text.lines().map(line).collect()
}

fn parse(text: &str) -> Config {
    let config = Config::parse(COMPLETE, text, environment);
    let config = config.unwrap_or_else(|problem| panic!("{problem}"));
    // That of a file which says a default is not that of one which does not.
    Config { digest: String::new(), ..config }
}

fn environment(name: &str) -> Option<String> {
    (!name.starts_with("LOGWEIR_")).then(|| "from the environment".to_owned())
}

fn complete() -> String {
    read(&folder().join(COMPLETE))
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

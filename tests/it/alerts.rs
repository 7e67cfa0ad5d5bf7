//! `config/alerts.yml` asks for metrics that there are, and sends people to paragraphs that there are.

use std::collections::BTreeSet;
use std::path::Path;

/// One rule, as far as this test reads it: the file's layout is kept simple for that.
#[derive(Debug, Default)]
struct Rule {
    name: String,
    expression: String,
    keys: BTreeSet<String>,
    runbook: String,
}

#[test]
fn every_rule_is_whole_and_leads_to_its_own_paragraph() {
    let headings = headings();
    let (rules, mut seen) = (rules(), BTreeSet::new());
    assert!(rules.len() >= 12, "{rules:?}");
    for Rule { name, keys, runbook, .. } in &rules {
        assert!(seen.insert(name), "{name} is there twice");
        for key in ["expr", "for", "labels", "summary", "runbook"] {
            assert!(keys.contains(key), "{name} has no {key}");
        }
        assert_eq!(*runbook, format!("README.md#{}", name.to_lowercase()));
        assert!(headings.contains(name.as_str()), "README has no paragraph {name}");
    }
    let alerts: Vec<_> = headings.iter().filter(|name| name.starts_with("Logweir")).collect();
    assert_eq!(alerts.len(), rules.len(), "paragraphs without an alert: {alerts:?}");
}

#[test]
fn every_metric_of_a_rule_is_one_that_the_readme_lists() {
    let readme = read("README.md");
    let (_, table) = readme.split_once("<!-- metrics -->").unwrap();
    let (table, _) = table.split_once("<!-- end of metrics -->").unwrap();
    let listed: BTreeSet<&str> = metrics(table).collect();
    assert!(listed.len() > 20, "{listed:?}");
    for Rule { name, expression, .. } in rules() {
        let mut asked = metrics(&expression).peekable();
        assert!(asked.peek().is_some(), "{name} asks for nothing: {expression}");
        asked.for_each(|metric| assert!(listed.contains(metric), "{name}: {metric}"));
    }
}

/// A good hour and a bad one are played to each rule by `tests/real/alerts.rs`.
#[test]
fn every_rule_is_tried_out_both_ways() {
    let tests = read("tests/real/alerts_test.yml");
    for Rule { name, runbook, .. } in rules() {
        assert!(tests.contains(&format!("eval_time: 1h50m, alertname: {name} }}")), "{name}");
        assert!(tests.contains(&format!("runbook: {runbook}\n")), "{name} never speaks");
    }
}

fn rules() -> Vec<Rule> {
    let text = read("config/alerts.yml");
    let mut rules: Vec<Rule> = Vec::new();
    let mut key = "";
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            rules.push(Rule { name: name.to_owned(), ..Rule::default() });
        }
        let Some(rule) = rules.last_mut() else { continue };
        // A line of a folded expression has no key of its own.
        let keys = ["expr", "for", "labels", "annotations", "summary", "runbook"];
        let begun = line.split_once(':').filter(|(name, _)| keys.contains(name));
        let rest = begun.map_or(line, |(name, rest)| {
            key = name;
            rule.keys.insert(name.to_owned());
            rest.trim()
        });
        match key {
            "expr" => rule.expression.push_str(rest),
            "runbook" if begun.is_some() => rest.clone_into(&mut rule.runbook),
            _ => {}
        }
    }
    rules
}

fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("logweir_"))
}

fn headings() -> BTreeSet<String> {
    let readme = read("README.md");
    let headings = readme.lines().filter_map(|line| line.strip_prefix("### "));
    headings.map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

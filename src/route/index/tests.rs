//! What index names promise.

use super::*;
use proptest::prelude::*;
use wildmatch::WildMatch;

const ARRIVAL: Timestamp = Timestamp(1_725_544_035_523);

fn lambda() -> Source<'static> {
    Source::new("111122223333", "/aws/lambda/checkout", "s", "eu-west-1")
}

fn template(text: &str) -> IndexTemplate {
    text.parse().unwrap()
}

fn error(text: &str) -> IndexTemplateError {
    text.parse::<IndexTemplate>().unwrap_err()
}

fn name(text: &str, time: i64) -> String {
    let template = template(text);
    template.name(template.place(Timestamp(time), ARRIVAL), &lambda()).to_string()
}

#[test]
fn the_events_own_day_names_the_index() {
    assert_eq!(name("cwl-%Y.%m.%d", ARRIVAL.0), "cwl-2024.09.05");
    assert_eq!(name("cwl-%Y.%m.%d", ARRIVAL.0 - 10 * DAY), "cwl-2024.08.26");
    assert_eq!(name("flat", 0), "flat");
}

#[test]
fn placeholders_say_where_the_event_comes_from() {
    let all = "cwl-{account}_{region}_{log_group}-%Y";
    assert_eq!(name(all, ARRIVAL.0), "cwl-111122223333_eu-west-1_aws.lambda.checkout-2024");
    assert_eq!(name("audit-{account}", 0), "audit-111122223333");
    assert_eq!(name(all, 0), "cwl-undated");
}

#[test]
fn impossible_times_go_to_the_undated_index() {
    for time in [0, -1, i64::MIN, i64::MAX, EARLIEST.0 - 1, ARRIVAL.0 + DAY + 1] {
        assert_eq!(name("cloudtrail-%Y.%m.%d", time), "cloudtrail-undated");
    }
    assert_eq!(name("cloudtrail-%Y.%m.%d", EARLIEST.0), "cloudtrail-2006.01.01");
    assert_eq!(name("cloudtrail-%Y.%m.%d", ARRIVAL.0 + DAY), "cloudtrail-2024.09.06");
}

#[test]
fn what_no_engine_admits_is_refused_with_the_remedy() {
    use IndexTemplateError::{Character, Empty, First, NoPrefix, Open, Part, Placeholder, TooLong};
    assert_eq!(error(""), Empty);
    assert_eq!(error("%Y-logs"), NoPrefix);
    assert_eq!(error("{account}-logs"), NoPrefix);
    assert_eq!(error("-{account}-logs"), NoPrefix);
    assert_eq!(error("Logs-%Y"), Character('L'));
    assert_eq!(error("a b"), Character(' '));
    assert_eq!(error("a-account}"), Character('}'));
    assert_eq!(error("_logs"), First('_'));
    assert_eq!(error("logs-%H"), Part("H".to_owned()));
    assert_eq!(error("logs-%"), Part(String::new()));
    assert_eq!(error("logs-{log_stream}"), Placeholder("log_stream".to_owned()));
    assert_eq!(error("logs-{account"), Open("account".to_owned()));
    assert_eq!(error(&"a".repeat(248)), TooLong);
    assert_eq!(error(&format!("a{}", "%Y".repeat(64))), TooLong);
    assert_eq!(error(&format!("{}{{log_group}}", "a".repeat(216))), TooLong);
    assert!("a".repeat(247).parse::<IndexTemplate>().is_ok());
    let text = error("logs-{log_stream}").to_string();
    assert!(text.starts_with("`{log_stream}` is no placeholder"), "{text}");
}

#[test]
fn no_digit_makes_an_undated_index_look_dated() {
    assert_eq!(template("x-%d.%m.%Y").dated_patterns(), ["x-0*", "x-1*", "x-2*", "x-3*"]);
    assert_eq!(template("x-{account}-%Y").dated_patterns(), ["x-*-2*"]);
    assert_eq!(template("x-{account}").dated_patterns(), [""; 0]);
}

/// Templates of every shape, with their first text.
fn templates() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["%Y", "%m", "%d", "{account}", "{region}", "{log_group}"]);
    let rest = prop::collection::vec((part, "[-._]{0,1}[a-z2]{0,2}"), 0..4);
    ("[a-z][a-z0-9]{0,3}[-_.]{0,2}", rest).prop_map(|(prefix, rest)| {
        rest.iter().fold(prefix, |text, (part, between)| format!("{text}{part}{between}"))
    })
}

proptest! {
    #[test]
    fn whatever_the_event_its_name_is_legal_and_the_pattern_matches_it(
        text in templates(),
        time in prop_oneof![any::<i64>(), EARLIEST.0..ARRIVAL.0],
        [owner, log_group, region] in prop::array::uniform3("[a-zA-Z0-9/#._ -]{0,600}|\\PC{0,80}"),
    ) {
        let template = template(&text);
        let source =
            Source::new(&owner, &log_group, "s", &region);
        let placed = template.place(Timestamp(time), ARRIVAL);
        let name = template.name(placed, &source);
        prop_assert!(name.len() <= 255, "{}", name);
        prop_assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{}", name);
        let is_legal = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
        };
        prop_assert!(name.chars().all(is_legal), "{}", name);
        let is_in = |pattern: &str| WildMatch::new(pattern).matches(&name);
        prop_assert!(is_in(&template.pattern()), "{} {}", template.pattern(), name);
        let dated = template.dated_patterns();
        let is_dated = template.has_date() && placed != Placed::Undated;
        prop_assert_eq!(dated.iter().any(|pattern| is_in(pattern)), is_dated, "{} {:?}", name, dated);
        let other = Source::new(&owner, "/another", "s", &region);
        let depends = template.filled_from(&source) != template.filled_from(&other);
        prop_assert!(depends || template.name(placed, &other) == name);
    }

    #[test]
    fn any_text_is_a_template_or_an_error(text in "\\PC{0,30}|[a%{}_]{0,12}") {
        _ = text.parse::<IndexTemplate>();
    }
}

//! The configuration: a file is taken, or refused with its place, and never with a secret.

use logweir::config::Config;
use logweir::event::Timestamp;
use logweir::parse::Source;
use logweir::route::Way;

const FILE: &str = "fuzz.toml";

/// What no answer may show, unless the file itself does.
const SECRET: &str = "hunter2\"-sesame\n\\";

/// Where every dated index begins.
const ARRIVAL: Timestamp = Timestamp(1_700_000_000_123);

/// Any text as a file.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let environment = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    match Config::parse(FILE, &text, environment) {
        Ok(config) => assert_usable(&config),
        Err(problem) => assert_helpful(&problem.to_string(), &text),
    }
}

fn assert_helpful(problem: &str, text: &str) {
    let rest = problem.strip_prefix(FILE).expect(problem);
    // Of the whole file, or of a line and a column that it has.
    let (place, said) = rest.split_once(": ").expect(problem);
    if !place.is_empty() {
        let numbers: Vec<usize> = place.split(':').skip(1).map(|it| it.parse().unwrap()).collect();
        let lines = text.split('\n').count();
        assert_eq!(numbers.len(), 2, "{problem}");
        assert!((1..=lines).contains(&numbers[0]) && numbers[1] >= 1, "{problem}");
    }
    assert!(!said.trim().is_empty(), "{problem}");
    let shown = |part: &str| problem.contains(part) && !text.contains(part);
    assert!(!shown("hunter2") && !shown("sesame"), "a secret is shown: {problem}");
}

fn assert_usable(config: &Config) {
    assert!(!config.streams.is_empty() && !config.destinations.is_empty());
    let table = config.routes.iter();
    for (_, route) in table {
        let Way::Send { parser, to, index } = &route.way else { continue };
        assert!(!to.is_empty());
        assert!(to.iter().all(|id| usize::from(id.0) < config.destinations.len()));
        assert!(!parser.schema().fields.is_empty());
        for log_group in ["", "/aws/lambda/Größe", index.as_str()] {
            let source = Source::new("1", log_group, "s", "eu-west-1");
            for time in [Timestamp(0), ARRIVAL] {
                assert_legal(&index.name(index.place(time, ARRIVAL), &source));
            }
        }
    }
}

/// What OpenSearch and Elasticsearch demand of the name of an index.
fn assert_legal(name: &str) {
    let refused = |c: char| c.is_control() || c.is_uppercase() || "\\/*?\"<>| ,#:".contains(c);
    assert!((1..=255).contains(&name.len()), "{} bytes: {name}", name.len());
    assert!(!name.contains(refused), "{name}");
    assert!(!name.starts_with(['-', '_', '+']) && name != "." && name != "..", "{name}");
}

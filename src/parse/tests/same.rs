//! When two JSON values are the same text, for the tests here and for the fuzzer.

/// Equal but for white space between tokens.
pub(crate) fn same(compact: &str, other: &str) -> bool {
    let (mut inside, mut escaped) = (false, false);
    let kept = other.chars().filter(|c| {
        if *c == '"' && !escaped {
            inside = !inside;
        }
        escaped = *c == '\\' && !escaped;
        inside || !c.is_ascii_whitespace()
    });
    kept.eq(compact.chars())
}

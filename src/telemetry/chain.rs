//! Writes an error with all its causes: the text of an error never repeats its source.

use std::error::Error;
use std::fmt;

use super::visible::Visible;

/// Shows an error and its sources in one line, each after a colon.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Visible(self.0))?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {}", Visible(error))?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not save {name}")]
    struct Outer {
        name: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn every_cause_is_named_once() {
        let error = Outer { name: "x", source: std::io::Error::other("disk full") };
        assert_eq!(Chain(&error).to_string(), "could not save x: disk full");
    }

    #[test]
    fn a_cause_with_lines_of_its_own_stays_in_one() {
        let source = std::io::Error::other("no\n2026-01-01 ERROR \u{1b}[31mred");
        let error = Outer { name: "x", source };
        let shown = r"could not save x: no\n2026-01-01 ERROR \u{1b}[31mred";
        assert_eq!(Chain(&error).to_string(), shown);
    }
}

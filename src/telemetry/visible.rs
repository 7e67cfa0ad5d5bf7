//! Text of others in a line of ours: engines quote documents, so whoever writes a log chooses what
//! a terminal, a table or a log gets to see.

use std::fmt::{self, Display, Write};

/// Shows what would break a line, move a cursor or turn the order of letters round as an escape,
/// such as `\n` or `\u{1b}`. Shown once more, it stays as it is.
pub struct Visible<T>(pub T);

impl<T: Display> Display for Visible<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f, char::escape_default), "{}", self.0)
    }
}

/// The same JSON, with what JSON leaves as it is in a string written as JSON escapes. Its white space
/// can only be between the parts: line breaks stay, and what moves the cursor is a space.
pub struct VisibleJson<'a>(pub &'a str);

impl Display for VisibleJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.split('\n').enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            let escape = |c| match c {
                '\t' | '\r' => " ".to_owned(),
                // All of them have four digits at most.
                c => format!("\\u{:04x}", u32::from(c)),
            };
            Escaping(f, escape).write_str(line)?;
        }
        Ok(())
    }
}

/// Writes on, with an escape for each character that does more than be seen.
struct Escaping<'f, 'a, E>(&'f mut fmt::Formatter<'a>, E);

impl<E: Fn(char) -> D, D: Display> Write for Escaping<'_, '_, E> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(acts) {
            let mut rest = part.chars();
            match rest.next_back().filter(|last| acts(*last)) {
                Some(last) => write!(self.0, "{}{}", rest.as_str(), (self.1)(last))?,
                None => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Controls of C0 and C1, the separators of lines and paragraphs, and all that sets the direction
/// of what follows (Unicode Standard Annex 9, 2.1 to 2.6).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_or_a_line_is_shown_and_all_else_stays() {
        let text =
            "a\n2026 ERROR\r\t\u{1b}[31m\u{7}\0é😀\u{7f}\u{9b}\u{2028}\u{202e}\u{2069}\u{200f}b\\n";
        let shown = Visible(text).to_string();
        let expected = r"a\n2026 ERROR\r\t\u{1b}[31m\u{7}\u{0}é😀\u{7f}\u{9b}\u{2028}\u{202e}\u{2069}\u{200f}b\n";
        assert_eq!(shown, expected);
        assert_eq!(Visible(&shown).to_string(), shown);
        assert_eq!(Visible("\n").to_string(), r"\n");
        assert_eq!(Visible("").to_string(), "");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a": ["\u{9b}31m\u{7f}\u{2028}\u{202e}é😀\n\u{1b}"]});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = VisibleJson(&text).to_string();
        assert!(shown.contains(r"\u009b31m\u007f\u2028\u202eé😀\n\u001b"), "{shown}");
        assert_eq!(shown.lines().count(), text.lines().count());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert_eq!(VisibleJson("{\"a\":\t1,\r\n\"b\": 2}").to_string(), "{\"a\": 1, \n\"b\": 2}");
    }
}

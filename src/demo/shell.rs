//! Writes commands so that they can be copied into a shell and mean there what they say here.

use std::env;
use std::path::{Path, PathBuf};

/// What the program is called where it is installed.
const NAME: &str = "logweir";

/// A word as a shell has to be given it: in quotes, where it would make something else of it.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// How this very program is called from any folder: by its name alone where the shell finds it by
/// that, else by its path.
pub(super) fn program() -> String {
    let Ok(own) = env::current_exe() else { return NAME.to_owned() };
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(NAME)).find(|file| file.is_file());
    if found.is_some_and(|found| real(&found) == real(&own)) {
        return NAME.to_owned();
    }
    word(&own.to_string_lossy())
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        assert_eq!(word("/tmp/demo-1_a.db"), "/tmp/demo-1_a.db");
        for text in ["", "a b", "it's", "\"$HOME\" `id` \\ !", "größe", "*", "~", "a\nb", "-x=1"]
        {
            let script = format!("printf %s {}", word(text));
            let said = Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
            assert_eq!(String::from_utf8(said).unwrap(), text, "{script}");
        }
    }
}

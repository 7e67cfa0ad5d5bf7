//! Sees to it that no two parts of the daemon write to one file, where each would spoil the other's,
//! and that what is said to be delivered to a file is kept.

use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::state::untrusted;

use super::problem::Locator;
use super::{DestinationConfig, Problem};

/// Refuses a SQLite destination whose file is the state's, or that of another destination. Returns
/// warnings of those that would lose their documents.
pub(super) fn check<'d>(
    state: &Path,
    destinations: impl Iterator<Item = (&'d str, &'d Spanned<DestinationConfig>)>,
    at: &Locator<'_>,
) -> Result<Vec<String>, Problem> {
    let mut warnings = Vec::new();
    let mut files = vec![(real(state), "the state".to_owned())];
    for (name, config) in destinations {
        let DestinationConfig::Sqlite(sqlite) = config.get_ref() else { continue };
        let file = real(&sqlite.path);
        if let Some((_, owner)) = files.iter().find(|(taken, _)| *taken == file) {
            let path = sqlite.path.display();
            let text = format!(
                "destination `{name}` would write to {path}, the file of {owner}: give it another `path`"
            );
            return Err(at.problem(config.span().start, text));
        }
        warnings.extend(short_lived(name, &file, state));
        files.push((file, format!("destination `{name}`")));
    }
    Ok(warnings)
}

/// For a file on what does not keep it. Where the state is on the like, it goes with the documents, or
/// has the worse of it: that is asked for by `ephemeral`.
fn short_lived(name: &str, file: &Path, state: &Path) -> Option<String> {
    let filesystem = untrusted(file).filter(|_| untrusted(state).is_none())?;
    Some(format!(
        "destination `{name}`: its file {} would lie on {filesystem}, which loses it with a restart or \
         does not keep its locks; the checkpoints stay, so that lost documents are not read again: use a \
         path on a local disk or volume",
        file.display()
    ))
}

/// One path for all names of a file, as far as it, or its folder, is there already.
fn real(path: &Path) -> PathBuf {
    let in_folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().ok().or_else(in_folder).unwrap_or(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn documents_that_would_be_gone_while_the_checkpoints_stay_are_told() {
        if !Path::new("/dev/shm").exists() {
            return;
        }
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let told = |state: &str, documents: &str| {
            let text = format!(
                "[stream.a]\n[state.sqlite]\npath = '{state}'\nephemeral = true\n\
                 [destination.archive.sqlite]\npath = '{documents}'\n[[route]]\nname = 'all'\n\
                 parse = 'auto'\nindex = 'logs'\nto = ['archive']\n"
            );
            crate::config::Config::parse("logweir.toml", &text, |_| None).unwrap().warnings
        };
        let warnings = told("/nowhere/state.db", &at("documents.db"));
        assert!(warnings.len() == 1 && warnings[0].contains("would lie on tmpfs"), "{warnings:?}");
        assert!(warnings[0].contains("destination `archive`: its file /dev/shm"), "{warnings:?}");
        let none: [String; 0] = [];
        assert_eq!(told(&at("state.db"), &at("documents.db")), none);
        assert_eq!(told("/nowhere/state.db", "/nowhere/documents.db"), none);
    }

    #[test]
    fn two_names_of_one_file_are_one_file_whether_it_is_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("a")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("b")).unwrap();
        assert_eq!(real(&at("a/x.db")), real(&at("b/../a/./x.db")));
        std::fs::write(at("a/x.db"), "").unwrap();
        std::os::unix::fs::symlink(at("a/x.db"), at("y.db")).unwrap();
        assert_eq!(real(&at("b/x.db")), real(&at("y.db")));
        assert_eq!(real("no/x.db".as_ref()), real("./no/x.db".as_ref()));
        assert_ne!(real(&at("a/x.db")), real(&at("x.db")));
    }
}

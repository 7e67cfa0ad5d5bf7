//! Sees to it that no two parts of the daemon write to one file: each would spoil the other's.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::problem::Locator;
use super::{DestinationConfig, Problem};

/// Refuses a SQLite destination whose file is the state's, or that of another destination.
pub(super) fn check<'d>(
    state: &Path,
    destinations: impl Iterator<Item = (&'d str, &'d Spanned<DestinationConfig>)>,
    at: &Locator<'_>,
) -> Result<(), Problem> {
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
        files.push((file, format!("destination `{name}`")));
    }
    Ok(())
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

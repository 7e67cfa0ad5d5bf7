//! Refuses names that the state file, commands and metrics could not tell from others, or show.

/// What is wrong with the name of a `what`: a stream, a destination or a route.
///
/// A key in the state file is the name of a stream, a space, and where the stream is: with spaces in
/// names, `leases reset --stream a` would move the shards of `a b` too.
pub(super) fn wrong(what: &str, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some(format!("the name of this {what} is empty: give it one"));
    }
    let refused = name.chars().find(|c| c.is_whitespace() || c.is_control())?;
    Some(format!("the name of {what} {name:?} must not have {refused:?}: write `-` or `_` for it"))
}

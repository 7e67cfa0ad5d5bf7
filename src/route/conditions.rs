//! What a route asks of an event before it takes it.

use wildmatch::WildMatch;

use crate::event::StreamName;
use crate::parse::{Kind, Source};

/// What a route asks; all of it must agree. An empty list asks nothing.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The streams that it takes events from.
    pub streams: Vec<StreamName>,
    /// The AWS accounts that own the log group.
    pub accounts: Vec<String>,
    /// The log groups.
    pub log_groups: Patterns,
    /// The log streams.
    pub log_streams: Patterns,
    /// What `auto` takes the event for.
    pub kinds: Vec<Kind>,
}

impl Conditions {
    /// Whether all that is the same for a whole envelope agrees.
    #[must_use]
    pub fn agree(&self, stream: &StreamName, source: &Source<'_>) -> bool {
        self.are_asked_of(stream)
            && (self.accounts.is_empty() || self.accounts.iter().any(|it| it == source.owner()))
            && self.log_groups.matches(source.log_group())
            && self.log_streams.matches(source.log_stream())
    }

    /// Whether events of this stream may be taken.
    #[must_use]
    pub fn are_asked_of(&self, stream: &StreamName) -> bool {
        self.streams.is_empty() || self.streams.contains(stream)
    }

    /// Whether accounts, log groups and log streams leave out nothing that `others` take. Says no
    /// where patterns overlap in ways that are not easily told.
    #[must_use]
    pub fn cover_sources(&self, others: &Self) -> bool {
        let is_known = |account| self.accounts.contains(account);
        let all_accounts = self.accounts.is_empty()
            || (!others.accounts.is_empty() && others.accounts.iter().all(is_known));
        all_accounts
            && self.log_groups.cover(&others.log_groups)
            && self.log_streams.cover(&others.log_streams)
    }

    /// Whether an event of this kind is taken.
    #[must_use]
    pub fn take(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// The options that keep some event away, as the configuration calls them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let conditions = [
            ("stream", !self.streams.is_empty()),
            ("account", !self.accounts.is_empty()),
            ("log_group", !self.log_groups.matches_all()),
            ("log_stream", !self.log_streams.matches_all()),
            ("kind", !self.kinds.is_empty()),
        ];
        conditions.into_iter().filter_map(|(name, is_asked)| is_asked.then_some(name))
    }

    /// Whether every event is taken.
    #[must_use]
    pub fn take_everything(&self) -> bool {
        self.names().next().is_none()
    }
}

/// Names with `*` (any text, also none) and `?` (one character); none at all takes everything.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<WildMatch>);

impl Patterns {
    /// Compiles patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self(patterns.into_iter().map(WildMatch::new).collect())
    }

    /// Whether one of them matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether every name that `others` match certainly matches.
    #[must_use]
    pub fn cover(&self, others: &Self) -> bool {
        let is_covered = |other: &WildMatch| self.0.iter().any(|own| covers(own, other));
        self.matches_all() || (!others.0.is_empty() && others.0.iter().all(is_covered))
    }

    /// Whether every name matches.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.pattern() == "*")
    }
}

/// Whether `own` matches `other` taken as a name, whose `*` and `?` only wildcards of `own` can match.
/// That says nothing where a `?` has matched a `*`, which stands for any length.
fn covers(own: &WildMatch, other: &WildMatch) -> bool {
    let (own_text, other_text) = (own.pattern(), other.pattern());
    let is_told = !own_text.contains('?') || !other_text.contains('*');
    own_text == other_text || (is_told && own.matches(&other_text))
}

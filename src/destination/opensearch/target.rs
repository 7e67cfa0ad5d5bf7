//! What the routes to a destination need there, and which of them may meet in one index.

use std::collections::BTreeMap;

use wildmatch::WildMatch;

use crate::event::{DestinationId, RouteId, RouteName};
use crate::parse::Schema;
use crate::route::{IndexTemplate, RouteTable, Way};

use super::template::Pattern;

/// A route that writes to this destination.
#[derive(Clone, Debug)]
pub struct Target {
    /// The route.
    pub route: RouteId,
    /// Its name.
    pub name: RouteName,
    /// Where its documents go.
    pub index: IndexTemplate,
    /// What they may contain.
    pub schema: Schema,
}

impl Target {
    pub(super) fn pattern(&self) -> Pattern {
        Pattern::new(self.index.pattern())
    }

    /// Whether some of its indices may match the narrower pattern of another.
    pub(super) fn may_reach(&self, narrower: &Pattern) -> bool {
        let begins_so = narrower.as_str().starts_with(self.index.prefix());
        self.index.has_placeholder() && begins_so && self.pattern() != *narrower
    }

    /// Whether some of its indices, which have no date, could be deleted with those of `dated`
    /// patterns, or by the policy that the template of `pattern` names.
    pub(super) fn is_endangered(&self, pattern: &Pattern, dated: &[String]) -> bool {
        if self.index.has_date() {
            return false;
        }
        if !self.index.has_placeholder() {
            return dated.iter().any(|dated| WildMatch::new(dated).matches(self.index.prefix()));
        }
        let begins_alike = |dated: &String| {
            let (own, theirs) = (self.index.prefix(), dated.split('*').next().unwrap_or_default());
            own.starts_with(theirs) || theirs.starts_with(own)
        };
        self.pattern() == *pattern || self.may_reach(pattern) || dated.iter().any(begins_alike)
    }
}

/// What the routes to a destination need there.
#[must_use]
pub fn targets(routes: &RouteTable, destination: DestinationId) -> Vec<Target> {
    let targets = routes.iter().filter_map(|(id, route)| match &route.way {
        Way::Send { parser, to, index } if to.contains(&destination) => Some(Target {
            route: id,
            name: route.name.clone(),
            index: index.clone(),
            schema: parser.schema(),
        }),
        Way::Send { .. } | Way::Discard => None,
    });
    targets.collect()
}

/// Pairs of routes that may share an index, though only the first leaves it to the engine to find
/// types for the fields of its documents.
#[must_use]
pub fn mixed(targets: &[Target]) -> Vec<(&Target, &Target)> {
    let (free, typed): (Vec<_>, Vec<_>) = targets.iter().partition(|it| it.schema.dynamic);
    let share = |one: &Target, other: &Target| {
        let (own, theirs) = (one.pattern(), other.pattern());
        own == theirs || one.may_reach(&theirs) || other.may_reach(&own)
    };
    let with_typed = |free| typed.iter().map(move |typed| (free, *typed));
    free.into_iter().flat_map(with_typed).filter(|(free, typed)| share(free, typed)).collect()
}

/// Routes by their index pattern.
pub(super) fn by_pattern(targets: &[Target]) -> BTreeMap<Pattern, Vec<&Target>> {
    let mut by_pattern: BTreeMap<Pattern, Vec<&Target>> = BTreeMap::new();
    for target in targets {
        by_pattern.entry(target.pattern()).or_default().push(target);
    }
    by_pattern
}

//! The leaves that are copied to fields of their own, from an event on a tape: each object is gone
//! through once, whatever number of leaves may be in it.

use std::sync::LazyLock;

use crate::parse::document::Document;
use crate::parse::tape::{Token, Value, hash_of};
use crate::parse::writer::{Lead, beginning};

use super::names::Names;
use super::{LEAVES, Wanted, write_leaf};

/// How many fields there can be, each with a bit in a word.
const FIELDS: usize = 24;

/// An open-ended field with leaves.
pub(super) struct Root {
    pub(super) wanted: Wanted,
    /// By the first name of their paths.
    leaves: Leaves,
}

type Leaves = Names<Vec<Leaf>, 32>;

struct Leaf {
    /// The place of its field among all.
    field: usize,
    /// The names that lead to it from the first one, and their hashes.
    deeper: Vec<(u32, &'static str)>,
}

/// A field, and what stands before its value.
struct Field {
    name: &'static str,
    lead: Lead,
}

/// Most values are shorter. A chunk of a known length is copied without a call.
const CHUNK: usize = 64;

/// In their order in documents.
static ALL: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let mut fields: Vec<_> = super::all_leaves().map(|leaf| leaf.field).collect();
    // Those of one field follow one another.
    fields.dedup();
    let field = |name| Some(Field { name, lead: Lead::new(name, false)? });
    fields.into_iter().filter_map(field).collect()
});

pub(super) static ROOTS: LazyLock<Vec<Root>> = LazyLock::new(|| {
    let root = |(name, leaves): &(&'static str, &[super::Leaf])| {
        let wanted = Wanted::ALL.into_iter().find(|wanted| wanted.name() == *name)?;
        Some(Root { wanted, leaves: by_first_name(leaves) })
    };
    LEAVES.iter().filter_map(root).collect()
});

fn by_first_name(leaves: &[super::Leaf]) -> Leaves {
    let first = |leaf: &super::Leaf| leaf.path.first().copied().unwrap_or_default();
    let mut names: Vec<_> = leaves.iter().map(first).collect();
    names.sort_unstable();
    names.dedup();
    let mut by_name = Names::default();
    for name in names {
        let same = leaves.iter().filter(|leaf| first(leaf) == name);
        by_name.put(name, same.filter_map(Leaf::of).collect());
    }
    by_name
}

impl Leaf {
    fn of(leaf: &super::Leaf) -> Option<Self> {
        let deeper = leaf.path.iter().skip(1).map(|name| (hash_of(name), *name));
        let field = ALL.iter().position(|field| field.name == leaf.field)?;
        Some(Self { field, deeper: deeper.collect() })
    }
}

/// The texts, still as JSON, that were found for the fields.
pub(super) struct Found<'a> {
    /// A bit for each field that has any, and for each that has several.
    has: u32,
    has_several: u32,
    text: &'a str,
    /// Where in the text the first of each field begins and ends.
    first: [(usize, usize); FIELDS],
    /// Those of fields that have several, after their first.
    others: Vec<(usize, &'a str)>,
}

impl<'a> Found<'a> {
    /// Nothing yet.
    pub(super) const fn in_text(text: &'a str) -> Self {
        Self { has: 0, has_several: 0, text, first: [(0, 0); FIELDS], others: Vec::new() }
    }

    /// Collects the leaves of an object, or of those of an array.
    pub(super) fn collect(&mut self, from: Value<'_, 'a>, root: &Root) {
        for member in from.members() {
            for leaf in root.leaves.find(member).into_iter().flatten() {
                self.follow(member.value(), leaf.field, &leaf.deeper);
            }
        }
        for object in objects(from) {
            self.collect(object, root);
        }
    }

    /// Collects the text at the end of a path, whose names are left to be followed.
    fn follow(&mut self, from: Value<'_, 'a>, field: usize, path: &[(u32, &str)]) {
        let Some(((hash, name), deeper)) = path.split_first() else {
            if matches!(from.token(), Token::Text { .. }) {
                self.put(field, from);
            }
            return;
        };
        if let Some(value) = from.get_by(*hash, name) {
            self.follow(value, field, deeper);
        }
        for object in objects(from) {
            self.follow(object, field, path);
        }
    }

    fn put(&mut self, field: usize, value: Value<'_, 'a>) {
        let bit = 1 << field;
        if self.has & bit != 0 {
            self.others.push((field, value.json()));
            self.has_several |= bit;
        } else if let Some(first) = self.first.get_mut(field) {
            *first = value.span();
            self.has |= bit;
        }
    }

    /// Writes the fields that have any.
    pub(super) fn write(&self, document: &mut Document<'_>) {
        let mut left = self.has;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            let (Some(field), Some(span)) = (ALL.get(place), self.first.get(place)) else { return };
            if self.has_several >> place & 1 == 0 {
                document.fields(|out| {
                    field.lead.append(out);
                    let (begin, end) = *span;
                    match self.text.as_bytes().get(begin..)?.first_chunk::<CHUNK>() {
                        Some(chunk) if end - begin <= CHUNK => beginning(out, chunk, end - begin),
                        _ => out.extend_from_slice(self.text.as_bytes().get(begin..end)?),
                    }
                    Some(())
                });
            } else {
                let first = self.text.get(span.0..span.1);
                let others = self.others.iter().filter(|(other, _)| *other == place);
                let mut all: Vec<_> = others.map(|(_, json)| *json).chain(first).collect();
                write_leaf(field.name, &mut all, document);
            }
        }
    }
}

/// The objects of an array; an array in it is no object.
fn objects<'t, 'a>(value: Value<'t, 'a>) -> impl Iterator<Item = Value<'t, 'a>> {
    value.elements().filter(|element| element.token() == Token::Object)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_leaf_has_a_bit_for_its_field_and_a_slot_for_its_name() {
        assert!(ALL.len() <= FIELDS);
        let fields: HashSet<_> = super::super::all_leaves().map(|leaf| leaf.field).collect();
        assert_eq!(ALL.iter().map(|field| field.name).collect::<HashSet<_>>(), fields);
        assert_eq!(ROOTS.len(), LEAVES.len());
        assert!(LEAVES.iter().all(|(_, leaves)| leaves.len() < 16));
    }
}

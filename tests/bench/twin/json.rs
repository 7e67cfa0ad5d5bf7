//! JSON read one level at a time by serde_json, so that every value keeps the text that it came as.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object in their order, whatever names come twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl<'a> Members<'a> {
    /// None for what is no object.
    pub(super) fn of(json: &'a str) -> Option<Self> {
        if json.trim_start().starts_with('{') { serde_json::from_str(json).ok() } else { None }
    }

    /// The value of the last member of that name.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    /// Takes out every member that a later one of the same name replaces; that one gets its place.
    pub(super) fn take_replaced(&mut self) -> Self {
        let (mut kept, mut replaced) = (Self::default(), Self::default());
        for (name, value) in std::mem::take(&mut self.0) {
            match kept.0.iter_mut().find(|(own, _)| *own == name) {
                Some((_, earlier)) => replaced.0.push((name, std::mem::replace(earlier, value))),
                None => kept.0.push((name, value)),
            }
        }
        *self = kept;
        replaced
    }
}

/// The elements of an array; none for what is no array.
pub(super) fn elements(json: &str) -> Vec<&str> {
    if !json.starts_with('[') {
        return Vec::new();
    }
    let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
    elements.into_iter().map(RawValue::get).collect()
}

/// The text of a string; none for what is no string, or none of characters.
pub(super) fn text(json: &str) -> Option<String> {
    if json.starts_with('"') { serde_json::from_str(json).ok() } else { None }
}

/// How long the text of a scalar is, if it is one.
pub(super) fn scalar(json: &str) -> Option<usize> {
    match json.as_bytes()[0] {
        b'{' | b'[' => None,
        b'"' => text(json).map(|text| text.len()),
        _ => Some(json.len()).filter(|length| *length <= 1_000),
    }
}

/// A string as the product writes its own.
pub(super) fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..' ' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => json.push(c),
        }
    }
    json + "\""
}

/// JSON without the white space between its tokens.
pub(super) fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let is_kept = |c: &char| {
        if *c == '"' && !escaped {
            inside = !inside;
        }
        escaped = *c == '\\' && !escaped;
        inside || !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    json.chars().filter(is_kept).collect()
}

/// Whether every engine takes the value inside an open-ended field: `deep` objects and arrays are open
/// around it, and the names on the way to it have `path` bytes, each with one more.
pub(super) fn is_within_rule(json: &str, deep: usize, path: usize) -> bool {
    const DEPTH: usize = 18;
    const LEAF: usize = 8 << 10;
    match json.as_bytes()[0] {
        b'{' => {
            let Some(Members(members)) = Members::of(json) else { return false };
            let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
            names.sort();
            deep < DEPTH
                && names.windows(2).all(|pair| pair[0] != pair[1])
                && members.iter().all(|(name, value)| {
                    let path = path + name.len() + 1;
                    let fits = !name.is_empty() && !name.contains('\0') && path <= LEAF;
                    fits && is_within_rule(value, deep + 1, path)
                })
        }
        b'[' => {
            let all = |json: &&str| is_within_rule(json, deep + 1, path);
            deep < DEPTH && elements(json).iter().all(all)
        }
        _ => scalar(json).is_some_and(|length| length <= LEAF),
    }
}

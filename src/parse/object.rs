//! A JSON object whose values stay the text they are: one level is read, nothing below is.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::Text;

use super::ParseError;

/// The fields of an object, in order, each name once.
#[derive(Debug)]
pub(super) struct Object<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Values that a later one of the same name replaced.
    replaced: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads `text`, which must be one JSON object and nothing else.
    ///
    /// Where a name comes twice the last value counts, as in JavaScript and nearly every parser;
    /// the others are in `replaced`.
    pub(super) fn read(text: &'a str) -> Result<Self, ParseError> {
        match serde_json::from_str(text) {
            Ok(object) => Ok(object),
            Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() && !opens_object(text) => {
                Err(ParseError::NotAnObject)
            }
            Err(error) => Err(ParseError::NotJson(error.to_string())),
        }
    }

    /// Reads a value that is an object; `None` for anything else.
    pub(super) fn of(value: &'a RawValue) -> Option<Self> {
        if opens_object(value.get()) { serde_json::from_str(value.get()).ok() } else { None }
    }

    /// The fields, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// Fields whose names came again, so that their values are in none of `iter`.
    pub(super) fn replaced(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.replaced.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// The value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    fn from_wire(mut fields: Vec<(Cow<'a, str>, &'a RawValue)>) -> Self {
        let mut replaced = Vec::new();
        if has_duplicates(fields.iter().map(|(name, _)| name.as_ref()).collect()) {
            let mut places = std::collections::HashMap::new();
            let mut kept: Vec<(Cow<'a, str>, &'a RawValue)> = Vec::new();
            for (name, value) in fields {
                let place = *places.entry(name.clone()).or_insert(kept.len());
                match kept.get_mut(place) {
                    Some((_, earlier)) => {
                        replaced.push((name, std::mem::replace(earlier, value)));
                    }
                    None => kept.push((name, value)),
                }
            }
            fields = kept;
        }
        Self { fields, replaced }
    }
}

fn opens_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Whether a name comes twice; sorting keeps that cheap for objects with very many names.
pub(super) fn has_duplicates(mut names: Vec<&str>) -> bool {
    names.sort_unstable();
    names.windows(2).any(|pair| pair.first() == pair.last())
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, _>()? {
                    fields.push((name, value));
                }
                Ok(Object::from_wire(fields))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_equal_names_counts_and_is_there_once() {
        let object = Object::read(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap();
        let fields: Vec<_> = object.iter().map(|(name, value)| (name, value.get())).collect();
        assert_eq!(fields, [("a", "3"), ("b", "2")]);
        let replaced: Vec<_> = object.replaced().map(|(name, value)| (name, value.get())).collect();
        assert_eq!(replaced, [("a", "1")]);
    }

    #[test]
    fn what_is_no_object_is_told_apart_from_what_is_no_json() {
        for text in ["1", "[{}]", "\"{}\"", "null", " true "] {
            assert_eq!(Object::read(text).unwrap_err(), ParseError::NotAnObject, "{text}");
        }
        for text in ["", "[ERROR] it broke", "{", "{}x", "INFO {}", "{\"a\":}", "{'a':1}"] {
            assert_eq!(Object::read(text).unwrap_err().label(), "not_json", "{text}");
        }
    }
}

//! JSON messages: the object under `log`, or at the root for those who ask for it.

use serde_json::value::RawValue;

use super::ParseError;
use super::document::{Document, may_be_at_root};
use super::object::Object;
use super::schema::{self, FieldType, Schema};
use super::structural::{MAX_LEAF, is_path, scalar_length};

/// How JSON messages are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    lift: Vec<Lift>,
    own_fields: bool,
}

/// A leaf that gets a typed field of its own, by its path in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lift(String);

/// Why a path cannot be lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiftError {
    /// A part of the path is missing, or an engine refuses the name.
    #[error("`{0}` cannot be lifted: it is not the path of a field")]
    NotAPath(String),
    /// Every document has a field of that name already.
    #[error("`{0}` cannot be lifted: every document has a field of that name; leave it out")]
    Taken(String),
    /// Two lifted paths are equal, or one is the object that holds the other.
    #[error("`{0}` and `{1}` cannot both be lifted: they would be one field; leave one out")]
    Collision(String, String),
}

impl JsonOptions {
    /// Options that copy the leaves at the paths `lift` to typed fields, and with `own_fields` put
    /// the object's fields at the root of the document.
    ///
    /// # Errors
    /// A path that is none, or whose field would collide with another.
    pub fn new(lift: &[String], own_fields: bool) -> Result<Self, LiftError> {
        let mut lifts: Vec<Lift> = Vec::new();
        for path in lift {
            let parent = path.split('.').next().unwrap_or_default();
            if !is_path(path) || path.starts_with('_') {
                return Err(LiftError::NotAPath(path.clone()));
            }
            if is_taken(path) || is_taken(parent) {
                return Err(LiftError::Taken(path.clone()));
            }
            if let Some(Lift(other)) = lifts.iter().find(|other| collide(&other.0, path)) {
                return Err(LiftError::Collision(other.clone(), path.clone()));
            }
            lifts.push(Lift(path.clone()));
        }
        Ok(Self { lift: lifts, own_fields })
    }

    /// Reads a message that is to be one JSON object.
    pub(super) fn read<'a>(&'a self, message: &'a str) -> Result<Log<'a>, ParseError> {
        Object::read(message).map(|object| self.log(object, message))
    }

    /// Takes an object that was read from `message`.
    pub(super) fn log<'a>(&'a self, object: Object<'a>, message: &'a str) -> Log<'a> {
        Log { options: self, object, message }
    }

    /// Adds the fields of these documents.
    pub(super) fn describe(&self, schema: &mut Schema) {
        schema.dynamic |= self.own_fields;
        if !self.own_fields {
            schema.add_open("log");
        }
        for Lift(path) in &self.lift {
            schema.add(path.clone(), FieldType::Keyword);
        }
    }

    /// Whether a field at the root agrees with the types that lifting gave to it or inside it.
    fn agrees(&self, name: &str, value: &RawValue) -> bool {
        self.lift.iter().all(|Lift(path)| {
            if let Some(deeper) = below(name, path) {
                agrees_inside(value, deeper)
            } else {
                path != name || is_leaf_or_null(value)
            }
        })
    }
}

fn is_taken(name: &str) -> bool {
    schema::is_ours(name) || matches!(name, "log" | "log_text" | "message_text")
}

fn collide(one: &str, other: &str) -> bool {
    one == other || below(one, other).is_some() || below(other, one).is_some()
}

/// The rest of `path` inside `outer`, when it leads there.
fn below<'p>(outer: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(outer)?.strip_prefix('.')
}

/// A JSON message that was read.
#[derive(Debug)]
pub(super) struct Log<'a> {
    options: &'a JsonOptions,
    object: Object<'a>,
    message: &'a str,
}

impl Log<'_> {
    pub(super) fn write(&self, document: &mut Document<'_>) {
        if self.options.own_fields {
            document.others(self.object.replaced());
            for (name, value) in self.object.iter() {
                self.write_own_field(name, value, document);
            }
            return;
        }
        if self.object.replaced().next().is_some() {
            // As an object it would lose a value.
            document.kept_as_text("log", self.message);
        } else {
            document.open_object("log", &self.object, self.message);
        }
        for Lift(path) in &self.options.lift {
            if let Some(leaf) = find(&self.object, path).filter(|leaf| is_leaf(leaf)) {
                document.as_it_came(path, leaf.get());
            }
        }
    }

    /// A name inside a lifted leaf would make an object of it.
    fn may_be_at_root(&self, name: &str) -> bool {
        may_be_at_root(name, |other| self.object.get(other).is_some())
            && self.options.lift.iter().all(|Lift(path)| below(path, name).is_none())
    }

    /// A field whose type the template fixes must have it; lifting only fixes types here, since
    /// the leaf is at the root already.
    fn write_own_field(&self, name: &str, value: &RawValue, document: &mut Document<'_>) {
        let json = value.get();
        let fits = match name {
            "message" => json.starts_with('"') && scalar_length(json).is_some(),
            _ if !self.may_be_at_root(name) => return document.other(name, value),
            _ => self.options.agrees(name, value),
        };
        if fits {
            document.dynamic(name, value);
        } else {
            document.kept_as_text(name, json);
        }
    }
}

/// The value at a path: the field of that very name, else the path's parts one inside the other.
fn find<'a>(object: &Object<'a>, path: &str) -> Option<&'a RawValue> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let (name, deeper) = path.split_once('.')?;
    find(&Object::of(object.get(name)?)?, deeper)
}

/// Whether a keyword field takes the value.
fn is_leaf(value: &RawValue) -> bool {
    let json = value.get();
    json != "null" && scalar_length(json).is_some_and(|length| length <= MAX_LEAF)
}

fn is_leaf_or_null(value: &RawValue) -> bool {
    value.get() == "null" || is_leaf(value)
}

/// Whether nothing in `value` is an object where `path` has a leaf, or a leaf where it has an object.
fn agrees_inside(value: &RawValue, path: &str) -> bool {
    let Some(object) = Object::of(value) else { return value.get() == "null" };
    let exact = object.get(path).is_none_or(is_leaf_or_null);
    let nested = path.split_once('.').is_none_or(|(name, deeper)| {
        object.get(name).is_none_or(|value| agrees_inside(value, deeper))
    });
    exact && nested
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lift(paths: &[&str]) -> Result<JsonOptions, LiftError> {
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        JsonOptions::new(&paths, false)
    }

    #[test]
    fn paths_whose_fields_would_collide_are_refused() {
        assert!(lift(&["level", "context.requestId", "context.user", "contexts"]).is_ok());
        for paths in [&["a", "a"], &["a", "a.b"], &["a.b.c", "a.b"]] {
            assert!(matches!(lift(paths), Err(LiftError::Collision(..))), "{paths:?}");
        }
        for path in ["@id", "@aws.x", "@timestamp", "message", "log", "log.x", "log_text"] {
            assert_eq!(lift(&[path]), Err(LiftError::Taken(path.to_owned())));
        }
        for path in ["", ".", "a.", ".a", "a..b", " ", "_id"] {
            assert_eq!(lift(&[path]), Err(LiftError::NotAPath(path.to_owned())));
        }
    }

    #[test]
    fn a_path_finds_the_exact_name_first_and_the_nested_one_else() {
        let object = Object::read(r#"{"a.b":1,"a":{"b":2,"c":{"d":3}},"x":[{"y":1}]}"#).unwrap();
        let found = |path| find(&object, path).map(RawValue::get);
        assert_eq!(found("a.b"), Some("1"));
        assert_eq!(found("a.c.d"), Some("3"));
        assert_eq!(found("x.y"), None);
        assert_eq!(found("nothing"), None);
    }
}

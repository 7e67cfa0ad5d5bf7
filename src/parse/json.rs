//! JSON messages: the object under `log`, or at the root for those who ask for it.

use serde_json::value::RawValue;

use crate::decode::LogEvent;

use super::document::{Document, may_be_at_root};
use super::object::Object;
use super::schema::{self, FieldType, Schema};
use super::structural::{MAX_LEAF, is_path, scalar_length};
use super::tape::{Tape, Token, Value};
use super::{ParseError, Source};

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
    /// Nothing at all.
    #[error("a path to lift is empty: write the field's name, such as \"level\", or leave it out")]
    Empty,
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
            if path.is_empty() {
                return Err(LiftError::Empty);
            }
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
    pub(super) fn read<'a>(
        &'a self,
        source: &Source<'_>,
        event: &'a LogEvent<'a>,
    ) -> Result<Log<'a>, ParseError> {
        if let Some(log) = self.quickly(source, event) {
            return Ok(log);
        }
        let message = &event.message;
        Object::read(message).map(|object| self.log(object, message))
    }

    /// Reads an object that can be copied as it is, with all that is in it.
    fn quickly<'a>(&'a self, source: &Source<'_>, event: &'a LogEvent<'a>) -> Option<Log<'a>> {
        if self.own_fields {
            return None;
        }
        let tape = Tape::read(&event.message, event.marks, &mut source.tape_memory())?;
        Some(Log { options: self, fields: Fields::Quick(tape) })
    }

    /// Takes an object that was read from `message`.
    pub(super) fn log<'a>(&'a self, object: Object<'a>, message: &'a str) -> Log<'a> {
        Log { options: self, fields: Fields::Any(object, message) }
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
    fields: Fields<'a>,
}

#[derive(Debug)]
enum Fields<'a> {
    /// Of a message that is copied as it is.
    Quick(Tape<'a>),
    /// Of any message, with its text.
    Any(Object<'a>, &'a str),
}

impl Log<'_> {
    /// Gives its memory to the next event of its source.
    pub(super) fn give_back(&mut self, source: &Source<'_>) {
        if let Fields::Quick(tape) = &mut self.fields {
            tape.give_back(&mut source.tape_memory());
        }
    }

    pub(super) fn write(&self, document: &mut Document<'_>) {
        match &self.fields {
            Fields::Quick(tape) => {
                document.as_it_came("log", tape.text());
                for Lift(path) in &self.options.lift {
                    if let Some(leaf) =
                        find_on_tape(tape.root(), path).filter(|leaf| is_leaf_on_tape(*leaf))
                    {
                        document.as_it_came(path, leaf.json());
                    }
                }
            }
            Fields::Any(object, message) => {
                WithObject { options: self.options, object, message }.write(document);
            }
        }
    }
}

/// A message with one level of it read.
struct WithObject<'l, 'a> {
    options: &'l JsonOptions,
    object: &'l Object<'a>,
    message: &'l str,
}

impl WithObject<'_, '_> {
    fn write(&self, document: &mut Document<'_>) {
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
            document.open_object("log", self.object, self.message);
        }
        for Lift(path) in &self.options.lift {
            if let Some(leaf) = find(self.object, path).filter(|leaf| is_leaf(leaf)) {
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

/// As [`find`], on a tape.
fn find_on_tape<'t, 'a>(object: Value<'t, 'a>, path: &str) -> Option<Value<'t, 'a>> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let (name, deeper) = path.split_once('.')?;
    find_on_tape(object.get(name)?, deeper)
}

/// Whether a keyword field takes the value.
fn is_leaf(value: &RawValue) -> bool {
    let json = value.get();
    json != "null" && scalar_length(json).is_some_and(|length| length <= MAX_LEAF)
}

/// As [`is_leaf`], on a tape, where no text is too long.
fn is_leaf_on_tape(value: Value<'_, '_>) -> bool {
    match value.token() {
        Token::Text { .. } | Token::Number | Token::Boolean => true,
        Token::Object | Token::Array | Token::Null | Token::Name => false,
    }
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
    use proptest::prelude::*;

    use super::*;
    use crate::event::Timestamp;
    use crate::parse::tests::made_up;

    /// Names with dots, so that a path can lead to one or through several.
    fn name() -> BoxedStrategy<String> {
        let names = ["a", "b", "a.b", "message", "log", "level"].map(str::to_owned);
        prop_oneof![6 => prop::sample::select(names.to_vec()), 1 => any::<String>()].boxed()
    }

    fn source() -> Source<'static> {
        Source::new("1", "g", "s", "r")
    }

    fn document(log: &Log<'_>) -> String {
        let source = source();
        let mut out = Vec::new();
        let mut document = Document::begin(&mut out, &source, true, Timestamp(0), ("1", false));
        log.write(&mut document);
        let written = document.end();
        format!("{written:?} {}", String::from_utf8(out).unwrap())
    }

    /// Whether the message was read quickly; then both ways must make the same of it.
    fn is_quick(message: &str) -> bool {
        let options = lift(&["a.b.a", "b", "level"]).unwrap();
        let event = LogEvent { message: message.into(), ..LogEvent::default() };
        let Some(log) = options.quickly(&source(), &event) else { return false };
        let object = Object::read(message).expect("a tape is of valid JSON alone");
        assert_eq!(document(&log), document(&options.log(object, message)), "{message}");
        true
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_message_makes_the_same_document_both_ways(message in made_up::object(name())) {
            is_quick(&message);
        }

        #[test]
        fn a_damaged_message_makes_the_same_document_both_ways(message in made_up::damaged(name())) {
            is_quick(&message);
        }
    }

    #[test]
    fn an_ordinary_message_is_quick() {
        assert!(is_quick(
            r#"{"level":"INFO","a":{"b":{"a":[1]}},"b":-1.5e3,"x":"a \"b\" \u003c"}"#
        ));
        assert!(!is_quick(r#"{"level": "INFO"}"#));
        assert!(!is_quick(r#"{"a":1,"a":2}"#));
    }

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
        assert_eq!(lift(&["a", ""]), Err(LiftError::Empty));
        for path in [".", "a.", ".a", "a..b", " ", "_id"] {
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

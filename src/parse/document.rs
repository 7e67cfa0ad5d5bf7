//! A document while it is written: the fields that all have, and the ways a field can be kept.

use serde_json::value::RawValue;

use crate::event::{Timestamp, append_id};

use super::object::Object;
use super::writer::Fields;
use super::{Source, Written, javascript, schema, structural, writer};

/// The open end of a document in a body.
pub(super) struct Document<'o> {
    out: &'o mut Vec<u8>,
    /// Fields that cannot be at the root under their own name, as JSON text, each after a comma.
    others: Vec<u8>,
    fields_as_text: u32,
}

impl<'o> Document<'o> {
    /// Appends the fields that every document has; `is_plain` says that no byte of the id has to be escaped.
    #[inline]
    pub(super) fn begin(
        out: &'o mut Vec<u8>,
        source: &Source<'_>,
        with_region: bool,
        timestamp: Timestamp,
        (id, is_plain): (&str, bool),
    ) -> Self {
        source.begin_document(timestamp, out);
        if is_plain {
            append_id(out, id);
        } else {
            writer::escaped(out, id);
        }
        out.extend_from_slice(source.head(with_region));
        Self { out, others: Vec::new(), fields_as_text: 0 }
    }

    /// Appends the fields that could not be written as they were, and closes the document.
    #[inline]
    pub(super) fn end(&mut self) -> Written {
        if !self.others.is_empty() {
            self.write_others();
        }
        self.out.push(b'}');
        Written { fields_as_text: self.fields_as_text }
    }

    /// Appends a field's name, and lends what its value must be appended to.
    pub(super) fn value_of(&mut self, name: &str) -> &mut Vec<u8> {
        writer::name(self.out, name);
        self.out
    }

    /// Appends members of an object as they came, as many as there are.
    pub(super) fn members(&mut self, json: &str) {
        if !json.is_empty() {
            self.out.push(b',');
            self.out.extend_from_slice(json.as_bytes());
        }
    }

    /// Appends any number of fields, or none of them.
    pub(super) fn fields(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
        let start = self.out.len();
        let written = write(self.out);
        if written.is_none() {
            self.out.truncate(start);
        }
        written
    }

    /// Appends fields that were written before.
    pub(super) fn append(&mut self, fields: &Fields) {
        self.out.extend_from_slice(fields.as_bytes());
    }

    /// Appends a string.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        writer::string(self.value_of(name), text);
    }

    /// Appends a string; `is_plain` says that no byte of it has to be escaped.
    pub(super) fn text_that(&mut self, is_plain: bool, name: &str, text: &str) {
        writer::string_that(is_plain, self.value_of(name), text);
    }

    /// Appends a number.
    pub(super) fn number(&mut self, name: &str, number: f64) {
        javascript::write_number(self.value_of(name), number);
    }

    /// Appends a value that is known to be good for its field, as it came.
    pub(super) fn as_it_came(&mut self, name: &str, json: &str) {
        self.value_of(name).extend_from_slice(json.as_bytes());
    }

    /// Appends `name` by the structural rule; JSON's null stays null.
    pub(super) fn open_ended(&mut self, name: &str, value: &RawValue) {
        match value.get() {
            "null" => self.as_it_came(name, "null"),
            json => self.unless_unfit(name, json, |out| structural::copy_object(json, out)),
        }
    }

    /// Appends `name` by the structural rule, for an object that was read from `json`.
    pub(super) fn open_object(&mut self, name: &str, object: &Object<'_>, json: &str) {
        self.unless_unfit(name, json, |out| structural::copy_fields(object, out));
    }

    /// Appends `name` as dynamic mapping can take it, or else as text.
    pub(super) fn dynamic(&mut self, name: &str, value: &RawValue) {
        self.unless_unfit(name, value.get(), |out| structural::copy_dynamic(value.get(), out));
    }

    /// Appends `name` as JavaScript would write it; else keeps it among the others, where nothing
    /// but `@other_text` can be in its way.
    pub(super) fn javascript(&mut self, name: &str, value: &RawValue) {
        let start = self.out.len();
        if !javascript::copy(value.get(), self.value_of(name)) {
            self.out.truncate(start);
            self.other(name, value);
        }
    }

    /// Appends `name_text`: the whole value as JSON text.
    pub(super) fn kept_as_text(&mut self, name: &str, json: &str) {
        self.fields_as_text = self.fields_as_text.saturating_add(1);
        self.out.extend_from_slice(b",\"");
        writer::escaped(self.out, name);
        self.out.extend_from_slice(b"_text\":");
        writer::string(self.out, json);
    }

    /// Keeps a field whose name cannot be at the root for `@other_text`.
    pub(super) fn other(&mut self, name: &str, value: &RawValue) {
        self.fields_as_text = self.fields_as_text.saturating_add(1);
        writer::name(&mut self.others, name);
        self.others.extend_from_slice(value.get().as_bytes());
    }

    /// Keeps fields for `@other_text`.
    pub(super) fn others<'f>(&mut self, fields: impl Iterator<Item = (&'f str, &'f RawValue)>) {
        fields.for_each(|(name, value)| self.other(name, value));
    }

    fn unless_unfit(&mut self, name: &str, json: &str, copy: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.out.len();
        if !copy(self.value_of(name)) {
            self.out.truncate(start);
            self.kept_as_text(name, json);
        }
    }

    fn write_others(&mut self) {
        let mut json = std::mem::take(&mut self.others);
        json.push(b'}');
        // The comma before the first name becomes the brace.
        if let Some(first) = json.first_mut() {
            *first = b'{';
        }
        writer::string(self.value_of("@other_text"), &String::from_utf8_lossy(&json));
    }
}

/// Whether a field of a message may be at the root under its own name, beside our own fields.
///
/// An engine refuses empty names and names that begin with `_` where it has one like it; a name of
/// ours, or one that could be the `F_text` of another field, would be there twice. `has` tells which
/// names the message has.
pub(super) fn may_be_at_root(name: &str, has: impl Fn(&str) -> bool) -> bool {
    let is_text_of_another = name.strip_suffix("_text").is_some_and(has);
    structural::is_path(name)
        && !name.starts_with('_')
        && !schema::is_ours(name)
        && !is_text_of_another
}

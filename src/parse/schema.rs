//! What a route's documents may contain, for whoever writes an index template.
//!
//! The documents are the same for every engine; how an engine maps a type is its destination's
//! business.

use std::borrow::Cow;

/// How a field is to be indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text that is compared whole, at most 8 KiB. Each but `@id` is to have a `.keyword` sub-field.
    Keyword,
    /// Text of any length that is searched by its words.
    Text,
    /// Text of any length as dynamic mapping has it: searched by its words, and while it is short
    /// by its `.keyword` too.
    TextAndKeyword,
    /// A whole number of up to 64 bits.
    Long,
    /// A whole number of up to 32 bits.
    Integer,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A time as ISO-8601 text in UTC.
    Date,
    /// A time as a number of seconds since the Unix epoch.
    DateEpochSecond,
    /// `true` or `false`.
    Boolean,
    /// An object with anything in it, within the structural rule.
    Open,
    /// Text that is stored and not indexed.
    Kept,
}

/// One field of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name at the root; a dot means a path.
    pub name: Cow<'static, str>,
    /// How it is indexed.
    pub ty: FieldType,
}

/// The fields of a route's documents, each name once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The fields that have a type of their own. Every other field is stored and not indexed,
    /// unless `dynamic`.
    pub fields: Vec<Field>,
    /// Whether fields that are not listed are mapped as they come (`own_fields = true`, and `lambda`).
    pub dynamic: bool,
}

/// The fields that are ours in every document, whatever the message calls its own.
const OURS: [(&str, FieldType); 12] = [
    ("@timestamp", FieldType::Date),
    ("@id", FieldType::Keyword),
    ("@owner", FieldType::Keyword),
    ("@log_group", FieldType::Keyword),
    ("@log_stream", FieldType::Keyword),
    ("@aws.region", FieldType::Keyword),
    ("@original_time", FieldType::Keyword),
    ("@parse_error", FieldType::Keyword),
    ("@extracted", FieldType::Open),
    ("@extracted_text", FieldType::Kept),
    ("@other_text", FieldType::Kept),
    ("message", FieldType::Text),
];

/// Whether a name is one of [`OURS`], or would be in its way: `@aws` is an object to the engines.
pub(super) fn is_ours(name: &str) -> bool {
    name == "@aws" || name.starts_with("@aws.") || OURS.iter().any(|(ours, _)| *ours == name)
}

impl Schema {
    /// What every document may have, a `plain` one with a parse error included.
    pub(super) fn of_every_document() -> Self {
        let mut schema = Self { fields: Vec::new(), dynamic: false };
        for (name, ty) in OURS {
            schema.add(name, ty);
        }
        schema
    }

    /// No field has a type of its own yet; all are mapped as they come.
    pub(super) fn open() -> Self {
        Self { fields: Vec::new(), dynamic: true }
    }

    /// Adds a field; one that is there already stays as it is.
    pub(super) fn add(&mut self, name: impl Into<Cow<'static, str>>, ty: FieldType) {
        let name = name.into();
        if self.field(&name).is_none() {
            self.fields.push(Field { name, ty });
        }
    }

    /// Adds an open-ended field and the text that takes its place.
    pub(super) fn add_open(&mut self, name: &'static str) {
        self.add(name, FieldType::Open);
        self.add(format!("{name}_text"), FieldType::Kept);
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

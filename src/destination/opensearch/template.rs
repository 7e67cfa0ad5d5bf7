//! Builds index templates and lifecycle policies. Pure: the same routes always give the same text.
//!
//! Routes with one index pattern share one template, with the fields of all of them. A template
//! carries a stamp: who made it, by which version, and a hash of the rest, so that `setup` can tell
//! ours from yours and old from new.

use serde_json::{Map, Value, json};

use crate::event::RouteName;
use crate::fingerprint::Fingerprint;
use crate::parse::{Field, FieldType, Schema};
use crate::units::Period;

use super::config::IndexSettings;
use super::engine::{Engine, Lifecycle, TYPE, TemplateApi};

/// Lucene takes terms of up to 32,766 bytes; this counts characters of up to 4 bytes. Longer text
/// stays in the document and is not indexed, so it never refuses one.
const IGNORE_ABOVE: u32 = 8191;

/// What dynamic mapping gives the `.keyword` of a text.
const DYNAMIC_IGNORE_ABOVE: u32 = 256;

/// The engines' own templates for `logs-*-*` have priority 100.
const BASE_PRIORITY: usize = 200;

/// Index names, by one pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern of the engine: a name, perhaps with a `*` at its end.
    #[must_use]
    pub fn new(pattern: String) -> Self {
        Self(pattern)
    }

    /// As engines read it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its template and policy: one per pattern, whichever routes there are.
    #[must_use]
    pub fn template_name(&self) -> String {
        match self.0.strip_suffix('*') {
            Some(prefix) => format!("logweir-{prefix}"),
            None => format!("logweir-{}-exact", self.0),
        }
    }

    /// Of two patterns that match one index, the longer has the higher priority, and the name
    /// itself the highest: engines refuse equal ones.
    fn priority(&self) -> usize {
        BASE_PRIORITY + 2 * self.0.len() + usize::from(!self.0.ends_with('*'))
    }
}

/// Two routes write a field in different types into indices of one pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "routes `{one}` and `{other}` share the index pattern `{}` but not the type of `{field}`: \
     give one of them another index", pattern.as_str()
)]
pub struct Conflict {
    /// The field.
    pub field: String,
    /// The route that came first.
    pub one: RouteName,
    /// The route that differs.
    pub other: RouteName,
    /// Their pattern.
    pub pattern: Pattern,
}

/// The fields of all routes of one pattern.
#[derive(Clone, Debug)]
pub struct Merged {
    pattern: Pattern,
    fields: Vec<(Field, RouteName)>,
    dynamic: bool,
}

impl Merged {
    /// No fields yet.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self { pattern, fields: Vec::new(), dynamic: false }
    }

    /// Adds the fields of a route.
    ///
    /// # Errors
    /// A field has another type already, or is both a value and an object. What was added before
    /// it stays.
    pub fn add(&mut self, route: &RouteName, schema: &Schema) -> Result<(), Conflict> {
        for field in &schema.fields {
            match self.fields.iter().find(|(known, _)| clash(known, field)) {
                Some((known, _)) if known == field => {}
                Some((_, one)) => {
                    return Err(Conflict {
                        field: field.name.to_string(),
                        one: one.clone(),
                        other: route.clone(),
                        pattern: self.pattern.clone(),
                    });
                }
                None => self.fields.push((field.clone(), route.clone())),
            }
        }
        self.dynamic |= schema.dynamic;
        Ok(())
    }

    /// The same fields for indices of another pattern.
    #[must_use]
    pub fn with_pattern(self, pattern: Pattern) -> Self {
        Self { pattern, ..self }
    }

    /// The index template, without its stamp; `policy` is the lifecycle that its indices name.
    #[must_use]
    pub fn template(
        &self,
        engine: &Engine,
        settings: &IndexSettings,
        policy: Option<&str>,
    ) -> Value {
        let mut properties = Map::new();
        for (field, _) in &self.fields {
            insert(&mut properties, &field.name, mapping(engine, field));
        }
        let dynamic = Value::from(self.dynamic);
        let mappings = object([("dynamic", dynamic), ("properties", properties.into())]);
        let own = if engine.takes_settings() { settings } else { &IndexSettings::default() };
        let settings = index_settings(own, policy);
        wrap(engine.template_api(), &self.pattern, settings, mappings)
    }
}

/// Whether both cannot be in one mapping, or are the same.
fn clash(known: &Field, new: &Field) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
    };
    known.name == new.name || inside(&known.name, &new.name) || inside(&new.name, &known.name)
}

fn mapping(engine: &Engine, field: &Field) -> Value {
    match field.ty {
        FieldType::Keyword => keyword(&field.name),
        FieldType::Text => json!({"type": "text"}),
        FieldType::TextAndKeyword => json!({
            "type": "text",
            "fields": {"keyword": {"type": "keyword", "ignore_above": DYNAMIC_IGNORE_ABOVE}},
        }),
        FieldType::Long => json!({"type": "long"}),
        FieldType::Integer => json!({"type": "integer"}),
        FieldType::Ip => json!({"type": "ip"}),
        FieldType::Date => json!({"type": "date"}),
        FieldType::DateEpochSecond => json!({"type": "date", "format": "epoch_second"}),
        FieldType::Boolean => json!({"type": "boolean"}),
        FieldType::Open => engine.open_object(),
        // Not `keyword`: that would still be limited, by what doc values admit.
        FieldType::Kept => json!({"type": "text", "index": false}),
    }
}

/// Queries written for dynamically mapped indices ask for `action.keyword`.
fn keyword(name: &str) -> Value {
    let mut mapping = json!({"type": "keyword", "ignore_above": IGNORE_ABOVE});
    if name != "@id"
        && let Some(object) = mapping.as_object_mut()
    {
        let fields = json!({"keyword": {"type": "keyword", "ignore_above": IGNORE_ABOVE}});
        _ = object.insert("fields".to_owned(), fields);
    }
    mapping
}

/// Puts `a.b` as the property `b` of the object `a`.
fn insert(properties: &mut Map<String, Value>, name: &str, mapping: Value) {
    let Some((object, rest)) = name.split_once('.') else {
        _ = properties.insert(name.to_owned(), mapping);
        return;
    };
    let object = properties.entry(object).or_insert_with(|| json!({"properties": {}}));
    // `Merged` lets no field be both: here it is always an object.
    if let Some(inner) = object.get_mut("properties").and_then(Value::as_object_mut) {
        insert(inner, rest, mapping);
    }
}

fn index_settings(settings: &IndexSettings, policy: Option<&str>) -> Map<String, Value> {
    let refresh = settings.refresh_interval.map(|interval| interval.to_string());
    let lifecycle = policy.map(|name| json!({"name": name}));
    [
        ("number_of_shards", settings.shards.map(Value::from)),
        ("number_of_replicas", settings.replicas.map(Value::from)),
        ("refresh_interval", refresh.map(Value::from)),
        ("lifecycle", lifecycle),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect()
}

fn wrap(
    api: TemplateApi,
    pattern: &Pattern,
    settings: Map<String, Value>,
    mappings: Value,
) -> Value {
    let patterns = ("index_patterns", json!([pattern.as_str()]));
    let priority = Value::from(pattern.priority());
    let mappings = match api {
        TemplateApi::Composable | TemplateApi::Legacy => mappings,
        TemplateApi::Typed => object([(TYPE, mappings)]),
    };
    let settings = ("settings", object([("index", settings.into())]));
    let mappings = ("mappings", mappings);
    match api {
        TemplateApi::Composable => {
            let template = ("template", object([settings, mappings]));
            object([patterns, ("priority", priority), template])
        }
        TemplateApi::Legacy | TemplateApi::Typed => {
            object([patterns, ("order", priority), settings, mappings])
        }
    }
}

/// What `json!` makes, without a copy of each value: mappings are large.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}

/// The policy that deletes the indices of some patterns when they are `keep` old.
#[must_use]
pub fn policy(lifecycle: Lifecycle, pattern: &Pattern, dated: &[String], keep: Period) -> Value {
    match lifecycle {
        Lifecycle::Ism => json!({"policy": {
            "description": format!("deletes indices after {keep}"),
            "default_state": "live",
            "states": [
                {
                    "name": "live",
                    "actions": [],
                    "transitions": [
                        {"state_name": "old", "conditions": {"min_index_age": keep.to_string()}},
                    ],
                },
                {"name": "old", "actions": [{"delete": {}}], "transitions": []},
            ],
            "ism_template": [{"index_patterns": dated, "priority": pattern.priority()}],
        }}),
        Lifecycle::Ilm => json!({"policy": {"phases": {
            "hot": {"min_age": "0ms", "actions": {}},
            "delete": {"min_age": keep.to_string(), "actions": {"delete": {}}},
        }}}),
    }
}

/// A hash of what was made, to tell whether what is there was made from the same.
#[must_use]
pub fn hash(body: &Value) -> String {
    Fingerprint::of(body.to_string().as_bytes()).hex(8)
}

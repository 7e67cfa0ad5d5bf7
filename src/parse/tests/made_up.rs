//! Made-up JSON for property tests.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any value, its objects with names from `name`.
pub(in crate::parse) fn value(name: BoxedStrategy<String>) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => "[ -~]{0,12}".prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!(null)),
        1 => Just(json!("2023-07-10T11:42:36Z")),
        1 => Just(json!("293ba626-3be5-4a26-ab1b-0f4c54f49959")),
        1 => Just(json!("203.0.113.7")),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => members(name.clone(), inner).prop_map(Value::from),
        ]
    })
}

/// Any object, as text: mostly compact, sometimes with white space.
pub(in crate::parse) fn object(name: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    (members(name.clone(), value(name)), 0..8_u8).prop_map(|(members, pretty)| {
        let object = Value::from(members);
        if pretty == 0 { format!("{object:#}") } else { object.to_string() }
    })
}

/// The same, with one character replaced by some others.
pub(in crate::parse) fn damaged(name: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let with = "[\"\\\\{}\\[\\]:,0-9a-z .-]{0,3}";
    (object(name), any::<prop::sample::Index>(), with).prop_map(|(text, at, with)| {
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, from) = text.split_at(at);
        let next = from.chars().next().map_or(0, char::len_utf8);
        [before, &with, from.split_at(next).1].concat()
    })
}

fn members(
    name: BoxedStrategy<String>,
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((name, value), 0..8).prop_map(|members| members.into_iter().collect())
}

//! The `parse` option of a route: a kind by its name, or a table that names a kind and its options.
//!
//! `parse = "vpc_flow"` and `parse.vpc_flow = "version srcaddr"` are both accepted, which serde
//! derives for no enum, so the reading is written out.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::{Auto, JsonOptions, Kind, Parser, VpcFormat};

const AUTO: &str = "auto";

/// Every name that `parse` may have.
const NAMES: [&str; 6] = [
    Kind::CloudTrail.as_str(),
    Kind::VpcFlow.as_str(),
    Kind::Json.as_str(),
    Kind::Plain.as_str(),
    Kind::Lambda.as_str(),
    AUTO,
];

/// The name that was most likely meant.
pub(super) fn nearest<'n>(found: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names.min_by_key(|name| strsim::damerau_levenshtein(found, name))
}

impl Parser {
    /// The parser of this name, with its defaults.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "cloudtrail" => Self::CloudTrail,
            "vpc_flow" => Self::VpcFlow(VpcFormat::default()),
            "json" => Self::Json(JsonOptions::default()),
            "plain" => Self::Plain,
            "lambda" => Self::Lambda,
            "auto" => Self::Auto(Auto::default()),
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Parser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParserVisitor)
    }
}

struct ParserVisitor;

impl<'de> Visitor<'de> for ParserVisitor {
    type Value = Parser;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}, or a table such as `json = {{ lift = [] }}`", NAMES.join(", "))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Parser, E> {
        Parser::named(name).ok_or_else(|| unknown(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parser, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            let known = NAMES.join(", ");
            return Err(de::Error::custom(format!(
                "the table names no parser. There are: {known}"
            )));
        };
        let parser = match Parser::named(&name).ok_or_else(|| unknown(&name))? {
            Parser::VpcFlow(_) => Parser::VpcFlow(map.next_value()?),
            Parser::Json(_) => Parser::Json(map.next_value()?),
            Parser::CloudTrail | Parser::Plain | Parser::Lambda | Parser::Auto(_) => {
                let message = format!("`{name}` has no options: write `parse = \"{name}\"`");
                return Err(de::Error::custom(message));
            }
        };
        match map.next_key::<String>()? {
            None => Ok(parser),
            Some(other) => {
                let message =
                    format!("a route has one parser, and here are `{name}` and `{other}`");
                Err(de::Error::custom(message))
            }
        }
    }
}

fn unknown<E: de::Error>(name: &str) -> E {
    let known = NAMES.join(", ");
    let meant = nearest(name, NAMES.into_iter()).unwrap_or(AUTO);
    E::custom(format!("unknown parser `{name}`, did you mean `{meant}`? There are: {known}"))
}

impl<'de> Deserialize<'de> for VpcFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let format = String::deserialize(deserializer)?;
        format.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for JsonOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Written {
            lift: Vec<String>,
            own_fields: bool,
        }
        let written = Written::deserialize(deserializer)?;
        Self::new(&written.lift, written.own_fields).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Route {
        parse: Parser,
    }

    fn parser(text: &str) -> Result<Parser, String> {
        toml::from_str::<Route>(text).map(|route| route.parse).map_err(|error| error.to_string())
    }

    #[test]
    fn a_parser_is_named_or_given_options() {
        assert_eq!(parser("parse = 'cloudtrail'"), Ok(Parser::CloudTrail));
        assert_eq!(parser("parse = 'vpc_flow'"), Ok(Parser::VpcFlow(VpcFormat::default())));
        assert_eq!(parser("parse = 'json'"), Ok(Parser::Json(JsonOptions::default())));
        assert_eq!(parser("parse = 'plain'"), Ok(Parser::Plain));
        assert_eq!(parser("parse = 'lambda'"), Ok(Parser::Lambda));
        assert_eq!(parser("parse = 'auto'"), Ok(Parser::Auto(Auto::default())));
        let format = "version srcaddr".parse().unwrap();
        assert_eq!(parser("parse.vpc_flow = 'version srcaddr'"), Ok(Parser::VpcFlow(format)));
        let options = JsonOptions::new(&["level".to_owned()], true).unwrap();
        let written = "parse.json = { lift = ['level'], own_fields = true }";
        assert_eq!(parser(written), Ok(Parser::Json(options)));
        assert_eq!(parser("[parse.json]"), Ok(Parser::Json(JsonOptions::default())));
    }

    #[test]
    fn every_name_has_a_parser() {
        assert!(NAMES.iter().all(|name| Parser::named(name).is_some()));
    }

    #[test]
    fn a_mistake_is_named_with_its_place_and_the_nearest_right_name() {
        let cases = [
            ("parse = 'vpcflow'", "did you mean `vpc_flow`?"),
            ("parse.jason = {}", "did you mean `json`?"),
            ("parse = 1", "expected one of cloudtrail"),
            ("parse.plain = {}", "write `parse = \"plain\"`"),
            ("parse = {}", "names no parser"),
            ("parse.json = { lifted = [] }", "unknown field `lifted`, expected `lift` or"),
            ("parse.json = { lift = ['@id'] }", "`@id` cannot be lifted"),
            ("parse.json = { lift = ['level', ''] }", "a path to lift is empty"),
            ("parse.vpc_flow = 'version src-addr'", "did you mean `srcaddr`?"),
            ("parse.vpc_flow = ''", "format is empty"),
            ("parse = { json = {}, vpc_flow = 'version' }", "has one parser"),
        ];
        for (text, expected) in cases {
            let message = parser(text).unwrap_err();
            assert!(message.contains(expected) && message.contains("line 1"), "{text}: {message}");
        }
    }
}

//! Which engine answers, and what it can do for us.
//!
//! Every engine gets the same documents by the same bulk lines. What differs is the templates, and
//! who deletes old indices.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::decode::ByName;

/// An engine as `GET /` describes it, or as the configuration does where it cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    product: Product,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    OpenSearch,
    /// Amazon's collections, which do not answer `GET /` and have no version.
    OpenSearchServerless,
    /// Elasticsearch with its own licence, which brings `flattened` and lifecycles.
    Elasticsearch,
    /// Elastic's serverless projects: `flattened`, but lifecycles are not ours to set.
    ElasticServerless,
    /// Elasticsearch without them: the open-source build, old Amazon domains, or an OpenSearch
    /// that pretends to be 7.10.
    PlainElasticsearch,
}

/// Major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// Where index templates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateApi {
    /// `_index_template`: one applies, the one of highest priority.
    Composable,
    /// `_template`: all that match apply, in their order.
    Legacy,
    /// The same, with the mapping under a type.
    Typed,
}

/// The type of all documents, where documents have one: later engines take it for none.
pub const TYPE: &str = "_doc";

/// Who deletes old indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// OpenSearch's Index State Management, a plugin that finds indices by pattern.
    Ism,
    /// Elasticsearch's index lifecycles, named by an index setting.
    Ilm,
}

/// Why an answer is not that of an engine we can set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It does not look like one.
    #[error("the answer to `GET /` is not that of OpenSearch or Elasticsearch")]
    Unknown,
    /// Before types may be called `_doc`.
    #[error("{0} is too old: it must be Elasticsearch 6.2 or newer, or any OpenSearch")]
    TooOld(String),
}

impl Engine {
    /// Reads the answer to `GET /`.
    ///
    /// # Errors
    /// It is no engine, or one that is too old.
    pub fn read(answer: &[u8]) -> Result<Self, EngineError> {
        #[derive(Deserialize)]
        struct Answer {
            version: ByName<Described>,
        }
        #[derive(Deserialize)]
        struct Described {
            number: String,
            distribution: Option<String>,
            build_flavor: Option<String>,
        }
        let ByName(Answer { version: ByName(described) }) =
            serde_json::from_slice(answer).map_err(|_| EngineError::Unknown)?;
        let version = Version::read(&described.number).ok_or(EngineError::Unknown)?;
        let product = match (described.distribution.as_deref(), described.build_flavor.as_deref()) {
            (Some("opensearch"), _) => Product::OpenSearch,
            (_, Some("default")) => Product::Elasticsearch,
            (_, Some("serverless")) => Product::ElasticServerless,
            (_, _) => Product::PlainElasticsearch,
        };
        let engine = Self { product, version };
        if product != Product::OpenSearch && version < Version(6, 2, 0) {
            return Err(EngineError::TooOld(engine.to_string()));
        }
        Ok(engine)
    }

    /// A collection of OpenSearch Serverless.
    #[must_use]
    pub fn opensearch_serverless() -> Self {
        Self { product: Product::OpenSearchServerless, version: Version(0, 0, 0) }
    }

    /// How it maps an object that may hold anything, so that no two documents can conflict.
    #[must_use]
    pub fn open_object(&self) -> Value {
        let ignored = || json!({"type": "object", "enabled": false});
        match self.product {
            // Before 2.18 it refuses or loses arrays of some shapes.
            Product::OpenSearch if self.version >= Version(2, 18, 0) => {
                json!({"type": "flat_object"})
            }
            Product::Elasticsearch | Product::ElasticServerless
                if self.version >= Version(7, 3, 0) =>
            {
                // Documents are at most 18 deep there; a leaf is indexed with its key, both
                // together in at most 32,766 bytes.
                json!({"type": "flattened", "depth_limit": 20, "ignore_above": 8191})
            }
            Product::OpenSearch | Product::Elasticsearch | Product::ElasticServerless => ignored(),
            // What a collection runs on is not said, and changes without notice.
            Product::OpenSearchServerless | Product::PlainElasticsearch => ignored(),
        }
    }

    /// Where its index templates go.
    #[must_use]
    pub fn template_api(&self) -> TemplateApi {
        match self.product {
            Product::OpenSearch | Product::OpenSearchServerless | Product::ElasticServerless => {
                TemplateApi::Composable
            }
            Product::Elasticsearch | Product::PlainElasticsearch => match self.version {
                version if version >= Version(7, 8, 0) => TemplateApi::Composable,
                version if version >= Version(7, 0, 0) => TemplateApi::Legacy,
                _ => TemplateApi::Typed,
            },
        }
    }

    /// Whether shards, replicas and refreshing are ours to set.
    #[must_use]
    pub fn takes_settings(&self) -> bool {
        match self.product {
            Product::OpenSearch | Product::Elasticsearch | Product::PlainElasticsearch => true,
            Product::OpenSearchServerless | Product::ElasticServerless => false,
        }
    }

    /// Who deletes old indices there, if anybody does.
    #[must_use]
    pub fn lifecycle(&self) -> Option<Lifecycle> {
        match self.product {
            Product::OpenSearch => Some(Lifecycle::Ism),
            // Before 7.16 a policy takes no `_meta`: we could not tell ours from yours.
            Product::Elasticsearch if self.version >= Version(7, 16, 0) => Some(Lifecycle::Ilm),
            Product::OpenSearchServerless | Product::ElasticServerless => None,
            Product::Elasticsearch | Product::PlainElasticsearch => None,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.product {
            Product::OpenSearch => "OpenSearch",
            Product::OpenSearchServerless => return f.write_str("OpenSearch Serverless"),
            Product::Elasticsearch => "Elasticsearch",
            Product::ElasticServerless => "Elasticsearch Serverless",
            Product::PlainElasticsearch => "Elasticsearch (without x-pack)",
        };
        write!(f, "{name} {}", self.version)
    }
}

impl Version {
    /// Reads `3.8.0` or `8.12.2-SNAPSHOT`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split(['.', '-']).map(|part| part.parse().ok());
        let major = numbers.next()??;
        let mut next = || numbers.next().flatten().unwrap_or(0);
        Some(Self(major, next(), next()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(version: Value) -> Result<Engine, EngineError> {
        Engine::read(json!({"name": "a", "version": version}).to_string().as_bytes())
    }

    #[test]
    fn each_engine_gets_what_it_can_do() {
        let (os, es) = (
            |number| json!({"distribution": "opensearch", "number": number}),
            |number, flavor| json!({"number": number, "build_flavor": flavor}),
        );
        use TemplateApi::{Composable, Legacy, Typed};
        for (version, open, api, lifecycle) in [
            (os("3.8.0"), "flat_object", Composable, Some(Lifecycle::Ism)),
            (os("2.18.0"), "flat_object", Composable, Some(Lifecycle::Ism)),
            (os("2.5.0"), "object", Composable, Some(Lifecycle::Ism)),
            (es("8.12.2", "default"), "flattened", Composable, Some(Lifecycle::Ilm)),
            (es("7.4.0", "default"), "flattened", Legacy, None),
            (es("9.0.0-SNAPSHOT", "serverless"), "flattened", Composable, None),
            (es("7.10.2", "oss"), "object", Composable, None),
            // OpenSearch in compatibility mode says no more than this.
            (json!({"number": "7.10.2"}), "object", Composable, None),
            (es("7.0.0", "default"), "object", Legacy, None),
            (es("6.8.23", "oss"), "object", Typed, None),
            (es("6.2.0", "default"), "object", Typed, None),
            (os("1.0.0"), "object", Composable, Some(Lifecycle::Ism)),
        ] {
            let engine = engine(version.clone()).unwrap();
            assert_eq!(engine.open_object()["type"], open, "{version}");
            assert_eq!((engine.template_api(), engine.lifecycle()), (api, lifecycle), "{version}");
        }
    }

    #[test]
    fn what_is_no_engine_or_too_old_is_said_so() {
        let error = engine(json!({"number": "6.1.4", "build_flavor": "oss"})).unwrap_err();
        assert!(error.to_string().contains("6.1.4"), "{error}");
        assert_eq!(engine(json!({"number": "latest"})), Err(EngineError::Unknown));
        for text in ["<html>", r#"[["3.8.0", "opensearch"]]"#, r#"{"version": ["3.8.0"]}"#] {
            assert_eq!(Engine::read(text.as_bytes()), Err(EngineError::Unknown), "{text}");
        }
    }
}

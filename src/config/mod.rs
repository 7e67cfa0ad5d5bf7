//! The configuration: one TOML file, strict, with errors that name file, line, value and remedy.
//!
//! Each stage owns the options it acts on; this module only puts them together, reads the file,
//! and checks what no stage can check alone.

mod check;
mod digest;
mod environment;
mod files;
mod indices;
mod lists;
mod names;
mod place;
mod problem;
mod reach;
mod route;
mod wording;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};
use toml::Spanned;

use crate::dead_letter::DeadLettersConfig;
use crate::destination::opensearch::config::OpenSearchConfig;
use crate::destination::sqlite::SqliteDestinationConfig;
use crate::event::{DestinationName, StreamName};
use crate::kinesis::StreamConfig;
use crate::route::RouteTable;
use crate::state::SqliteConfig;
use crate::units::{ByteSize, Period};

use self::route::RouteConfig;

pub use self::environment::{LOG_LEVEL, quoted, unread};
pub use self::place::{place, place_of_state};
pub use self::problem::Problem;
pub(crate) use self::problem::closest;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    stream: BTreeMap<String, Spanned<StreamConfig>>,
    state: Option<StateConfig>,
    #[serde(default)]
    route: Vec<Spanned<RouteConfig>>,
    #[serde(default)]
    destination: BTreeMap<String, Spanned<DestinationConfig>>,
    #[serde(default)]
    http: HttpConfig,
    #[serde(default)]
    log: LogConfig,
    #[serde(default)]
    memory: MemoryConfig,
    #[serde(default)]
    shutdown: ShutdownConfig,
    #[serde(default)]
    dead_letters: DeadLettersConfig,
}

/// `[state]`: where the daemon remembers what it did.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateConfig {
    sqlite: SqliteConfig,
}

/// A `[destination.NAME.KIND]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationConfig {
    /// OpenSearch or Elasticsearch.
    #[serde(alias = "elasticsearch", rename = "opensearch")]
    OpenSearch(Box<OpenSearchConfig>),
    /// A SQLite file.
    Sqlite(SqliteDestinationConfig),
}

/// `[http]`: the listener for /metrics, /health and the status page.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
}

impl Default for HttpConfig {
    fn default() -> Self {
        // Loopback: what listens beyond it is written down by the operator.
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9598)) }
    }
}

impl HttpConfig {
    /// Reads where the daemon of a file listens; whatever else is in the file need not be right.
    ///
    /// # Errors
    /// With file, line and remedy.
    pub fn load(
        path: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct OnlyHttp {
            #[serde(default)]
            http: HttpConfig,
        }
        if let Some(listen) = environment::listen(&environment).map_err(Problem::environment)? {
            return Ok(Self { listen });
        }
        let text =
            std::fs::read_to_string(path).map_err(|source| Problem::unreadable(path, &source))?;
        // Variables that are not there are mostly those of secrets, which are not asked for.
        let forgiving = |name: &str| {
            environment(name).filter(|value| !value.is_empty()).or_else(|| Some(name.to_owned()))
        };
        let file = path.display().to_string();
        let at = problem::Locator { file: &file, text: &text };
        let (filled, variables) = environment::fill_in(&text, forgiving)
            .map_err(|missing| at.value(missing.at, &missing.to_string()))?;
        let at = problem::Locator { file: &file, text: &filled };
        let only: Result<OnlyHttp, _> = toml::from_str(&filled);
        only.map(|only| only.http).map_err(|error| at.syntax(&error).hiding(&variables))
    }
}

/// `[log]`: what the daemon writes to stderr.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A level or a filter such as `info,logweir::kinesis=debug`. SIGHUP reads it again.
    #[serde(deserialize_with = "check::level")]
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object.
    Json,
}

// Not derived: what reads the environment does not tell which values there are.
impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*String::deserialize(deserializer)? {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(de::Error::unknown_variant(other, &["text", "json"])),
        }
    }
}

/// `[memory]`: the two budgets.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// For fetched records, of all streams together; from 56 MiB to 1 TiB.
    #[serde(deserialize_with = "check::fetch")]
    pub fetch: ByteSize,
    /// For bodies, of each destination; from 10 MiB to 1 TiB.
    #[serde(deserialize_with = "check::body")]
    pub body: ByteSize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        // A page of 10 MiB needs ~24 MiB while it is parsed, and may take half. The other half is 1
        // MiB for each of 32 shards; beyond, each adds its own. Six bodies of 5 MiB: four under
        // way, and one open in each of two encoders.
        Self { fetch: ByteSize(64 << 20), body: ByteSize(32 << 20) }
    }
}

/// `[shutdown]`: how long the daemon drains.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// After SIGTERM, how long events may take to get their fates.
    #[serde(deserialize_with = "check::deadline")]
    pub deadline: Period,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        // ECS kills after 30 s unless told otherwise.
        Self { deadline: Period(Duration::from_secs(25)) }
    }
}

/// A configuration that was checked as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// The streams to read.
    pub streams: Vec<(StreamName, StreamConfig)>,
    /// Where state is kept.
    pub state: SqliteConfig,
    /// The routes.
    pub routes: RouteTable,
    /// The destinations, by their ids.
    pub destinations: Vec<(DestinationName, DestinationConfig)>,
    /// The listener.
    pub http: HttpConfig,
    /// The log.
    pub log: LogConfig,
    /// The budgets.
    pub memory: MemoryConfig,
    /// The drain deadline.
    pub shutdown: ShutdownConfig,
    /// The dead-letter store's limits.
    pub dead_letters: DeadLettersConfig,
    /// What works but should not stay so, each with its remedy.
    pub warnings: Vec<String>,
    /// Of the routes and destinations as they are written: files with the same one replay dead
    /// letters in the same way.
    pub digest: String,
}

impl Config {
    /// Reads and checks a file. `environment` gives the values of variables.
    ///
    /// # Errors
    /// The first problem, with file, line and remedy.
    pub fn load(
        path: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Problem> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Problem::unreadable(path, &source))?;
        Self::parse(&path.display().to_string(), &text, environment)
    }

    /// Checks the text of a file called `name`.
    ///
    /// # Errors
    /// The first problem, with file, line and remedy.
    pub fn parse(
        name: &str,
        text: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Problem> {
        let at = problem::Locator { file: name, text };
        let (filled, variables) = environment::fill_in(text, &environment)
            .map_err(|missing| at.value(missing.at, &missing.to_string()))?;
        // Variables add no lines, so places in the one text are places in the other.
        let at = problem::Locator { file: name, text: &filled };
        let config = Self::check(&at, environment);
        let config = config.map_err(|problem| problem.hiding(&variables))?;
        Ok(Self { digest: digest::digest(text), ..config })
    }

    fn check(
        at: &problem::Locator<'_>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Problem> {
        let mut file: File = toml::from_str(at.text).map_err(|error| at.syntax(&error))?;
        lists::check(at)?;
        environment::override_settings(&mut file, &environment).map_err(Problem::environment)?;
        check::check(file, at)
    }
}

#[cfg(test)]
mod tests;

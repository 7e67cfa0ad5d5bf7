//! The table `[destination.NAME.opensearch]`, and everything that can be wrong with it alone.

use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};
use url::{Host, Url};

use crate::units::{ByteSize, Period};

use super::auth::config::AuthConfig;
use super::refresh::RefreshInterval;

/// An OpenSearch or Elasticsearch cluster that events are sent to.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Table")]
pub struct OpenSearchConfig {
    /// The nodes, or whatever is in front of them; at least one.
    pub urls: Vec<NodeUrl>,
    /// How we know which engine it is.
    pub engine: EngineConfig,
    /// Whether documents get ids of ours, by which the engine can tell a second copy.
    pub ids: bool,
    /// How we say who we are.
    pub auth: AuthConfig,
    /// Certificates to trust besides the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// A certificate of our own, for clusters that ask for one.
    pub client_certificate: Option<ClientCertificate>,
    /// The size and pace of bulk requests.
    pub bulk: BulkConfig,
    /// How long a request may take, from connecting to the last byte of the answer.
    pub timeout: Period,
    /// Who installs the index templates.
    pub templates: Templates,
    /// What our index templates say about new indices.
    pub index: IndexSettings,
    /// Whether a flood of refused events holds its route.
    pub dead_letter_breaker: Switch,
}

/// How we know which engine it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineConfig {
    /// By asking it.
    #[default]
    Detect,
    /// It is a collection of Amazon OpenSearch Serverless, which cannot be asked.
    #[serde(rename = "opensearch_serverless")]
    OpenSearchServerless,
}

/// A certificate that shows who we are, and its private key, both in PEM.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The size and pace of bulk requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BulkConfig {
    /// A body is sent when it is this large.
    #[serde(deserialize_with = "max_body")]
    pub max_body: ByteSize,
    /// A body is sent when it is this old, however small.
    pub max_wait: Period,
    /// How many bodies may be under way at once; 1000 or fewer.
    #[serde(deserialize_with = "max_in_flight")]
    pub max_in_flight: NonZeroUsize,
    /// How bodies are sent.
    pub compression: Compression,
}

/// How bodies are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are: next to the cluster this is the fastest.
    #[default]
    None,
    /// Compressed: 7 to 16 % of the traffic, for some processor time here and there.
    Gzip,
}

impl Default for BulkConfig {
    fn default() -> Self {
        Self {
            // AWS's smallest instances refuse requests over 10 MiB, uncompressed. Half of that
            // leaves room for the one document (≤ 1 MiB as a log event, more when escaped) that
            // makes a body full, and is past the size where engines gain from larger ones.
            max_body: ByteSize(5 << 20),
            max_wait: Period(Duration::from_secs(1)),
            // At 7–21 MB/s that a small cluster indexes, 20 MiB under way are over a second of
            // work for it: enough to never idle, too little to fill its queues.
            max_in_flight: const { NonZeroUsize::new(4).unwrap() },
            compression: Compression::None,
        }
    }
}

/// Who installs the index templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Templates {
    /// `logweir run` and `logweir setup` do, never over templates that are not ours.
    #[default]
    Install,
    /// You do; logweir neither installs nor checks them.
    Manual,
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// On.
    #[default]
    On,
    /// Off.
    Off,
}

/// What our index templates say about new indices; what is absent is the engine's to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSettings {
    /// Primary shards of an index.
    pub shards: Option<u32>,
    /// Copies of each primary shard.
    pub replicas: Option<u32>,
    /// How soon a new document can be found.
    pub refresh_interval: Option<RefreshInterval>,
    /// Indices older than this are deleted, by the engine; an hour or more.
    pub keep: Option<Period>,
}

/// The URL of a node: http or https, without user, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Url")]
pub struct NodeUrl(Url);

impl NodeUrl {
    /// The URL of something on the node.
    #[must_use]
    pub fn at(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    /// Whether what is sent there can be read on the way.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

impl std::fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<Url> for NodeUrl {
    type Error = ConfigError;

    fn try_from(url: Url) -> Result<Self, ConfigError> {
        let is_http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        // Without its `https://` the user is the scheme.
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || (!is_http && url.as_str().contains('@')) {
            return Err(ConfigError::UserInUrl);
        }
        if !is_http {
            return Err(ConfigError::Scheme);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ConfigError::Query);
        }
        Ok(Self(url))
    }
}

/// Who waits longer for a body to fill has more likely written another unit than was meant.
const LONGEST_WAIT: Period = Period(Duration::from_secs(60));

impl OpenSearchConfig {
    /// What works but should not stay so, each with its remedy.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let exposed = self.urls.iter().filter(|url| url.is_plain() && !url.is_loopback());
        let text = |(secret, url)| format!("the {secret} is sent to {url} unencrypted: use https");
        let exposed = self
            .auth
            .exposes()
            .into_iter()
            .flat_map(|secret| exposed.clone().map(move |url| text((secret, url))));
        let wait = self.bulk.max_wait;
        let long = (wait > LONGEST_WAIT).then(|| {
            format!(
                "`bulk.max_wait = \"{wait}\"` keeps the events of a quiet stream, and its checkpoint, \
                 for as long: write some seconds"
            )
        });
        exposed.chain(long).collect()
    }
}

/// What is wrong with the table.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither or both of `url` and `urls`.
    #[error("write either `url = \"https://…\"` or `urls = [\"https://…\", …]`")]
    Urls,
    /// A user or password in a URL, where logs would show it.
    #[error("the URL holds a user or password: move them to `auth.basic = {{ user, password }}`")]
    UserInUrl,
    /// A URL that is not for HTTP.
    #[error("this is no URL of a node: it must begin with https:// or http://")]
    Scheme,
    /// A URL with more than a path.
    #[error("the URL must end after its path, without `?` or `#`")]
    Query,
    /// One of `client_cert_file` and `client_key_file`.
    #[error("write both `client_cert_file` and `client_key_file`, or neither")]
    ClientCertificate,
    /// A body size that no engine takes, or none at all.
    #[error("{0} is no size for a body: write one from 64KiB to 100MiB")]
    MaxBody(ByteSize),
    /// More requests at once than anybody means.
    #[error(
        "{0} bulk requests at once are more than can be meant: write {MOST_IN_FLIGHT} or fewer"
    )]
    MaxInFlight(NonZeroUsize),
    /// A wait or timeout of nothing.
    #[error("{0} is no time at all: write a longer one, such as 60s")]
    Zero(Period),
    /// A request that would be waited for longer than anybody means.
    #[error("{0} are more than any request takes: write {LONGEST_TIMEOUT} or less, such as 60s")]
    Timeout(Period),
    /// More shards than engines take.
    #[error("{0} shards are more than an index may have: write {MOST_SHARDS} or fewer")]
    Shards(NonZeroU32),
    /// An age at which indices would be deleted before anybody has searched them.
    #[error(
        "{0} are too little: indices would be deleted while they are written; write {LEAST_KEPT} or \
         more, or leave it out to keep them"
    )]
    Keep(Period),
}

/// What keeps a destination with a good table from being made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file.
    #[error("could not read `{key}` {} (does it exist, and may logweir's user read it?)", path.display())]
    Read {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of a secret.
    #[error("`{key}` {} is empty: its first line is the secret", path.display())]
    EmptySecret {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// What an API key is made of.
    #[error("the API key holds characters that no header can carry: copy it again")]
    ApiKey,
    /// Our own certificate.
    #[error("`client_cert_file` {} and `client_key_file` {} are no certificate and its private key in PEM (a key must not be encrypted)", certificate.display(), key.display())]
    ClientCertificate {
        /// `client_cert_file`.
        certificate: PathBuf,
        /// `client_key_file`.
        key: PathBuf,
    },
    /// What is in the certificate file.
    #[error("`ca_file` {} holds no certificates in PEM", path.display())]
    NoCertificates {
        /// `ca_file`.
        path: PathBuf,
    },
    /// The HTTP client.
    #[error("could not set up TLS: if this image has no certificates, set `ca_file`")]
    Client {
        /// Why.
        source: reqwest::Error,
    },
}

impl BuildError {
    /// The key of the table whose value is at fault, where it is one.
    #[must_use]
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Read { key, .. } | Self::EmptySecret { key, .. } => Some(key),
            Self::ClientCertificate { .. } => Some("client_cert_file"),
            Self::NoCertificates { .. } => Some("ca_file"),
            Self::ApiKey | Self::Client { .. } => None,
        }
    }
}

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: Option<NodeUrl>,
    urls: Option<Vec<NodeUrl>>,
    #[serde(default)]
    engine: EngineConfig,
    #[serde(default = "yes")]
    ids: bool,
    #[serde(default)]
    auth: AuthConfig,
    ca_file: Option<PathBuf>,
    client_cert_file: Option<PathBuf>,
    client_key_file: Option<PathBuf>,
    #[serde(default)]
    bulk: BulkConfig,
    #[serde(default, deserialize_with = "timeout")]
    timeout: Option<Period>,
    #[serde(default)]
    templates: Templates,
    #[serde(default, deserialize_with = "shards")]
    shards: Option<NonZeroU32>,
    replicas: Option<u32>,
    refresh_interval: Option<RefreshInterval>,
    #[serde(default, deserialize_with = "keep")]
    keep: Option<Period>,
    #[serde(default)]
    dead_letter_breaker: Switch,
}

fn yes() -> bool {
    true
}

/// A large body takes a busy engine seconds; much longer means that it hangs.
const TIMEOUT: Period = Period(Duration::from_secs(60));

// Checked where they are read, so that an error has the line of the value.
fn max_body<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    let is_good = (64 << 10..=100 << 20).contains(&size.0);
    if is_good { Ok(size) } else { Err(de::Error::custom(ConfigError::MaxBody(size))) }
}

/// 250 times the default, which is over a second of work for a small cluster.
const MOST_IN_FLIGHT: usize = 1_000;

fn max_in_flight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroUsize, D::Error> {
    let count = NonZeroUsize::deserialize(deserializer)?;
    let is_good = count.get() <= MOST_IN_FLIGHT;
    if is_good { Ok(count) } else { Err(de::Error::custom(ConfigError::MaxInFlight(count))) }
}

/// A node that hangs is noticed no sooner: who writes more has another unit in mind.
const LONGEST_TIMEOUT: Period = Period(Duration::from_hours(2));

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Period>, D::Error> {
    let period = Period::deserialize(deserializer)?;
    if period.0.is_zero() {
        return Err(de::Error::custom(ConfigError::Zero(period)));
    }
    let is_good = period <= LONGEST_TIMEOUT;
    if is_good { Ok(Some(period)) } else { Err(de::Error::custom(ConfigError::Timeout(period))) }
}

/// What engines take for `index.number_of_shards`, unless `es.index.max_number_of_shards` allows more.
const MOST_SHARDS: u32 = 1_024;

fn shards<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroU32>, D::Error> {
    let count = NonZeroU32::deserialize(deserializer)?;
    let is_good = count.get() <= MOST_SHARDS;
    if is_good { Ok(Some(count)) } else { Err(de::Error::custom(ConfigError::Shards(count))) }
}

/// No index is full sooner than in a day: who writes minutes means another unit.
const LEAST_KEPT: Period = Period(Duration::from_hours(1));

fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Period>, D::Error> {
    let period = Period::deserialize(deserializer)?;
    let is_good = period >= LEAST_KEPT;
    if is_good { Ok(Some(period)) } else { Err(de::Error::custom(ConfigError::Keep(period))) }
}

impl TryFrom<Table> for OpenSearchConfig {
    type Error = ConfigError;

    fn try_from(table: Table) -> Result<Self, ConfigError> {
        let urls = match (table.url, table.urls) {
            (Some(url), None) => vec![url],
            (None, Some(urls)) if !urls.is_empty() => urls,
            (Some(_), Some(_)) | (None, _) => return Err(ConfigError::Urls),
        };
        let client_certificate = match (table.client_cert_file, table.client_key_file) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(ConfigError::ClientCertificate),
        };
        Ok(Self {
            urls,
            engine: table.engine,
            ids: table.ids,
            auth: table.auth,
            ca_file: table.ca_file,
            client_certificate,
            bulk: table.bulk,
            timeout: table.timeout.unwrap_or(TIMEOUT),
            templates: table.templates,
            index: IndexSettings {
                shards: table.shards.map(NonZeroU32::get),
                replicas: table.replicas,
                refresh_interval: table.refresh_interval,
                keep: table.keep,
            },
            dead_letter_breaker: table.dead_letter_breaker,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &str) -> Result<OpenSearchConfig, String> {
        toml::from_str(table).map_err(|error| error.to_string())
    }

    #[test]
    fn one_line_is_a_whole_configuration() {
        let config = read("url = 'https://search.example.com'").unwrap();
        assert_eq!(config.urls[0].at("/_bulk", None).as_str(), "https://search.example.com/_bulk");
        assert_eq!(config.bulk.max_body, ByteSize(5_242_880));
        assert_eq!(config.timeout.0, Duration::from_secs(60));
        assert_eq!(
            (config.templates, config.dead_letter_breaker),
            (Templates::Install, Switch::On)
        );
        assert!(matches!(config.auth, AuthConfig::None));
        assert_eq!((config.engine, config.ids), (EngineConfig::Detect, true));
    }

    #[test]
    fn every_option_is_read() {
        let config = read(
            "urls = ['http://a:9200', 'http://b:9200/prefix/']\n\
             auth.basic = { user = 'writer', password_file = '/run/secrets/search' }\n\
             ca_file = '/etc/ca.pem'\nclient_cert_file = '/etc/us.pem'\n\
             client_key_file = '/etc/us.key'\n\
             bulk = { max_body = '8MiB', max_in_flight = 2, compression = 'gzip' }\n\
             timeout = '2m'\ntemplates = 'manual'\nshards = 2\nreplicas = 0\n\
             refresh_interval = '30s'\nkeep = '30d'\ndead_letter_breaker = 'off'\n\
             engine = 'opensearch_serverless'\nids = false",
        )
        .unwrap();
        let url = config.urls[1].at("/_bulk", Some("filter_path=errors"));
        assert_eq!(url.as_str(), "http://b:9200/prefix/_bulk?filter_path=errors");
        assert_eq!(config.bulk.max_wait.0, Duration::from_secs(1));
        assert_eq!(config.bulk.compression, Compression::Gzip);
        assert_eq!(config.index.keep.map(|keep| keep.0.as_secs()), Some(30 * 86_400));
        assert_eq!(config.warnings().len(), 2);
        assert_eq!((config.engine, config.ids), (EngineConfig::OpenSearchServerless, false));
        assert!(read("url = 'http://a'\nauth = 'none'").unwrap().warnings().is_empty());
        let signed = "url = 'http://a'\nauth.sigv4 = { region = 'eu-west-1' }";
        assert!(read(signed).unwrap().warnings().is_empty());
        let key = read("url = 'http://a'\nauth.api_key = { key = 'k' }").unwrap().warnings();
        assert!(key[0].contains("API key is sent to http://a/ unencrypted"), "{key:?}");
        let local = "url = 'http://[::1]:9200'\nauth.basic = { user = 'u', password = 'p' }";
        assert!(read(local).unwrap().warnings().is_empty());
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let error = read("url = 'https://admin:hunter2@search'").unwrap_err();
        assert!(error.contains("auth.basic"), "{error}");
        let error = ConfigError::UserInUrl.to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_remedy() {
        for (table, expected) in [
            ("", "either `url"),
            ("urls = []", "either `url"),
            ("url = 'https://a'\nurls = ['https://b']", "either `url"),
            ("url = 'ftp://a'", "https://"),
            ("url = 'https://a?x=1'", "without `?`"),
            ("url = 'https://a'\nclient_cert_file = 'us.pem'", "both `client_cert_file`"),
            ("url = 'https://a'\nclient_key_file = 'us.key'", "or neither"),
            ("url = 'https://a'\nbulk.compression = 'zstd'", "`gzip`"),
            ("url = 'https://a'\nbulk = { max_bodi = 1 }", "unknown field `max_bodi`"),
            ("url = 'https://a'\nbulk.max_in_flight = 0", "nonzero"),
            ("url = 'https://a'\nbulk.max_in_flight = 100000", "1000 or fewer"),
            ("url = 'https://a'\nbulk.max_body = '1GiB'", "100MiB"),
            ("url = 'https://a'\nverify = false", "unknown field `verify`"),
            ("url = 'https://a'\ntimeout = '0s'", "no time at all"),
            ("url = 'https://a'\ntimeout = '3h'", "2h or less"),
            ("url = 'https://a'\nshards = 5000", "1024 or fewer"),
            ("url = 'https://a'\nkeep = '59m'", "1h or more"),
            ("url = 'https://a'\nshards = 0", "nonzero"),
        ] {
            let error = read(table).unwrap_err();
            assert!(error.contains(expected), "{table}: {error}");
        }
    }
}

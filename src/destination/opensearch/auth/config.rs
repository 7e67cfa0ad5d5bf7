//! `auth` in `[destination.NAME.opensearch]`: who we say we are, and where the secret for it is.

use std::path::PathBuf;

use serde::Deserialize;

use crate::aws::{self, AssumeRole, Caller};
use crate::secret::Secret;

/// How we authenticate to the cluster. Written `auth = "none"` or `auth.basic = { … }`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthConfig {
    /// Not at all.
    #[default]
    None,
    /// By user and password.
    Basic(BasicConfig),
    /// By an API key of the cluster.
    ApiKey(ApiKeyConfig),
    /// By a signature with AWS credentials.
    #[serde(rename = "sigv4")]
    SigV4(SigV4Config),
}

impl AuthConfig {
    /// What of it can be read on the way, when nothing encrypts it.
    #[must_use]
    pub fn exposes(&self) -> Option<&'static str> {
        match self {
            Self::Basic(_) => Some("password"),
            Self::ApiKey(_) => Some("API key"),
            // The secret key never leaves us, and without it nothing else can be signed.
            Self::None | Self::SigV4(_) => None,
        }
    }
}

/// A user and where its password is.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "BasicTable")]
pub struct BasicConfig {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretSource,
}

/// Where the key is.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ApiKeyTable")]
pub struct ApiKeyConfig {
    /// The key: `id:key`, or both in Base64, as the cluster gives it.
    pub key: SecretSource,
}

/// Where a secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// It stands in the configuration, or came from the environment.
    Inline(Secret),
    /// It is the first line of a file.
    File(PathBuf),
}

/// For whom requests are signed, and as whom.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigV4Config {
    /// The region of the domain or collection.
    #[serde(deserialize_with = "aws::region")]
    pub region: String,
    /// What it is.
    #[serde(default)]
    pub service: Service,
    /// The profile in the AWS configuration files that credentials come from.
    pub profile: Option<String>,
    /// A role to assume with those credentials.
    pub assume_role: Option<AssumeRole>,
}

impl SigV4Config {
    /// As whom requests are signed.
    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            region: Some(&self.region),
            profile: self.profile.as_deref(),
            role: self.assume_role.as_ref(),
        }
    }
}

/// The AWS service that checks the signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// A domain of Amazon OpenSearch Service, whatever engine runs it.
    #[default]
    Es,
    /// A collection of Amazon OpenSearch Serverless.
    Aoss,
}

impl Service {
    /// What a signature calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es => "es",
            Self::Aoss => "aoss",
        }
    }
}

/// What is wrong with `auth`.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// Neither or both of `password` and `password_file`.
    #[error("write either `password` or `password_file` in `auth.basic`")]
    Password,
    /// Neither or both of `key` and `key_file`.
    #[error("write either `key` or `key_file` in `auth.api_key`")]
    Key,
    /// A user that HTTP cannot carry.
    #[error("the user in `auth.basic` must not hold a colon")]
    Colon,
}

/// `auth.basic` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicTable {
    user: String,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
}

impl TryFrom<BasicTable> for BasicConfig {
    type Error = AuthConfigError;

    fn try_from(table: BasicTable) -> Result<Self, AuthConfigError> {
        // RFC 7617: a colon ends the user.
        if table.user.contains(':') {
            return Err(AuthConfigError::Colon);
        }
        let password = one_of(table.password, table.password_file);
        Ok(Self { user: table.user, password: password.ok_or(AuthConfigError::Password)? })
    }
}

/// `auth.api_key` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiKeyTable {
    key: Option<Secret>,
    key_file: Option<PathBuf>,
}

impl TryFrom<ApiKeyTable> for ApiKeyConfig {
    type Error = AuthConfigError;

    fn try_from(table: ApiKeyTable) -> Result<Self, AuthConfigError> {
        Ok(Self { key: one_of(table.key, table.key_file).ok_or(AuthConfigError::Key)? })
    }
}

fn one_of(inline: Option<Secret>, file: Option<PathBuf>) -> Option<SecretSource> {
    match (inline, file) {
        (Some(secret), None) => Some(SecretSource::Inline(secret)),
        (None, Some(path)) => Some(SecretSource::File(path)),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AuthConfig, String> {
        #[derive(Deserialize)]
        struct Table {
            auth: AuthConfig,
        }
        let table: Result<Table, _> = toml::from_str(text);
        table.map(|table| table.auth).map_err(|error| error.to_string())
    }

    #[test]
    fn a_signature_needs_a_region_and_is_for_a_domain_unless_told_otherwise() {
        let AuthConfig::SigV4(config) = read("auth.sigv4 = { region = 'eu-west-1' }").unwrap()
        else {
            panic!("no signature")
        };
        assert_eq!((config.region.as_str(), config.service), ("eu-west-1", Service::Es));
        let all = "auth.sigv4 = { region = 'a', service = 'aoss', profile = 'p', \
                   assume_role = { arn = 'arn:aws:iam::1:role/r', external_id = 'x' } }";
        let AuthConfig::SigV4(config) = read(all).unwrap() else { panic!("no signature") };
        let role = config.caller().role.unwrap().external_id.clone();
        assert_eq!((config.service, role.as_deref()), (Service::Aoss, Some("x")));
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_remedy() {
        for (wrong, expected) in [
            ("auth.basic = { user = 'u' }", "password_file"),
            ("auth.basic = { user = 'u', password = 'p', password_file = 'f' }", "either"),
            ("auth.basic = { user = 'u:v', password = 'p' }", "colon"),
            ("auth.api_key = {}", "key_file"),
            ("auth.api_key = { key = 'k', key_file = 'f' }", "either"),
            ("auth.api_key = { id = 'k' }", "unknown field `id`"),
            ("auth.sigv4 = {}", "region"),
            ("auth.sigv4 = { region = 'a', service = 's3' }", "`aoss`"),
            ("auth.sigv4 = { region = 'a', role = 'r' }", "unknown field `role`"),
            ("auth.sigv4 = { region = 'a', assume_role = 'r' }", "ARN"),
            ("auth.digest = {}", "unknown variant `digest`"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}

//! As whom AWS is asked: the usual chain of credentials, a profile in it, a role on top of it.

mod credentials;

use std::fmt;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

#[cfg(test)]
pub(crate) use self::credentials::tests::{HOUR, scripted};
pub use self::credentials::{KeptCredentials, Source};

const ROLE_ARN: &str =
    "the ARN of a role, such as \"arn:aws:iam::123456789012:role/read-central-logs\"";

/// The ARN of a role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RoleArn(String);

/// A text that is not the ARN of a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not {ROLE_ARN}")]
pub struct RoleArnError(String);

impl RoleArn {
    /// The ARN as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RoleArn {
    type Error = RoleArnError;

    fn try_from(text: String) -> Result<Self, RoleArnError> {
        let is_one = text.starts_with("arn:") && text.contains(":iam::") && text.contains(":role/");
        if is_one { Ok(Self(text)) } else { Err(RoleArnError(text)) }
    }
}

/// A role to assume: its ARN, or a table with the ARN and an external id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role.
    pub arn: RoleArn,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
}

impl<'de> Deserialize<'de> for AssumeRole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            arn: RoleArn,
            external_id: Option<String>,
        }

        struct TextOrTable;
        impl<'de> Visitor<'de> for TextOrTable {
            type Value = AssumeRole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{ROLE_ARN}, or a table with `arn` and `external_id`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AssumeRole, E> {
                let arn = text.to_owned().try_into().map_err(E::custom)?;
                Ok(AssumeRole { arn, external_id: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AssumeRole, A::Error> {
                let Table { arn, external_id } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(AssumeRole { arn, external_id })
            }
        }
        deserializer.deserialize_any(TextOrTable)
    }
}

/// Reads the name of a region, which becomes part of the name of a host.
///
/// # Errors
/// For what cannot be one.
pub fn region<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.is_empty() || !text.chars().all(is_legal) {
        let text = format!("`{text}` is not an AWS region: write one such as \"eu-west-1\"");
        return Err(de::Error::custom(text));
    }
    Ok(text)
}

/// As whom, and where. What is left out is for the environment to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The region.
    pub region: Option<&'a str>,
    /// The profile in the AWS configuration files that credentials come from.
    pub profile: Option<&'a str>,
    /// A role to assume with those credentials.
    pub role: Option<&'a AssumeRole>,
}

/// Gathers region and credentials; makes no request but where the environment names no region.
/// `credentials` stand in for those of the profile or environment.
pub async fn load(caller: &Caller<'_>, credentials: Option<Credentials>) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = caller.region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(profile) = caller.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    let config = Box::pin(loader.load()).await;
    let Some(role) = caller.role else { return config };
    let provider = assume(role, &config).await;
    config.into_builder().credentials_provider(provider).build()
}

async fn assume(role: &AssumeRole, with: &SdkConfig) -> SharedCredentialsProvider {
    let mut provider =
        AssumeRoleProvider::builder(role.arn.as_str()).session_name("logweir").configure(with);
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    SharedCredentialsProvider::new(Box::pin(provider.build()).await)
}

//! What a call to Kinesis failed with, and whether waiting helps or a person must act.

use std::error::Error;
use std::fmt;

use aws_sdk_kinesis::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::telemetry::visible::Visible;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)+) => {
        /// The class of a failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FailureReason { $($(#[$doc])* $variant,)+ }

        impl FailureReason {
            /// Every variant, in the order of this list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that metrics and logs use for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

reasons! {
    /// More calls or bytes than the shard's share.
    Throttled = "throttled",
    /// The key of the stream's encryption is asked for too often.
    KmsThrottled = "kms_throttled",
    /// The shard iterator is too old: it was not used for five minutes.
    ExpiredIterator = "expired_iterator",
    /// 5xx.
    ServerError = "server_error",
    /// No answer in time.
    Timeout = "timeout",
    /// The connection could not be made or was lost.
    Connection = "connection",
    /// The credentials may not do this.
    AccessDenied = "access_denied",
    /// The key of the stream's encryption cannot be used.
    Kms = "kms",
    /// There are no credentials, or AWS does not accept them.
    Credentials = "credentials",
    /// The stream or shard does not exist.
    NotFound = "not_found",
    /// Anything else: the request itself is refused.
    Refused = "refused",
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FailureReason {
    /// Whether it goes on until a person has changed something.
    #[must_use]
    pub const fn needs_a_person(self) -> bool {
        match self {
            Self::AccessDenied | Self::Kms | Self::Credentials | Self::NotFound | Self::Refused => {
                true
            }
            Self::Throttled
            | Self::KmsThrottled
            | Self::ExpiredIterator
            | Self::ServerError
            | Self::Timeout
            | Self::Connection => false,
        }
    }

    /// What that person should look at.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Throttled => {
                "others use up the limit of this call; a shard that is read by several needs splitting"
            }
            Self::KmsThrottled => "raise the request quota of the KMS key's region",
            Self::ExpiredIterator => "nothing is to be done: reading goes on after the last record",
            Self::ServerError => "nothing is to be done: it is retried until Kinesis has recovered",
            Self::Timeout | Self::Connection => "check the network, the proxy and the endpoint",
            Self::AccessDenied => "allow the action in the IAM policy of the credentials",
            Self::Kms => "allow kms:Decrypt, and check that the stream's key is enabled",
            Self::Credentials => "check the credentials, the profile and the role",
            Self::NotFound => "check the stream's name, region and account",
            Self::Refused => "read the message; the clock may be wrong",
        }
    }

    /// By the error code on the wire (API reference, common errors included).
    fn of_code(code: &str) -> Option<Self> {
        let code = code.strip_suffix("Exception").unwrap_or(code);
        Some(match code {
            "ProvisionedThroughputExceeded"
            | "LimitExceeded"
            | "Throttling"
            | "ThrottledRequest"
            | "RequestLimitExceeded"
            | "TooManyRequests" => Self::Throttled,
            "KMSThrottling" => Self::KmsThrottled,
            "ExpiredIterator" => Self::ExpiredIterator,
            "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" | "OptInRequired" => {
                Self::AccessDenied
            }
            kms if kms.starts_with("KMS") => Self::Kms,
            "UnrecognizedClient"
            | "InvalidClientTokenId"
            | "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "ExpiredToken" => Self::Credentials,
            "ResourceNotFound" => Self::NotFound,
            "InternalFailure" | "InternalServerError" | "ServiceUnavailable" => Self::ServerError,
            _ => return None,
        })
    }
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("kinesis:{action} failed ({reason})")]
pub struct CallError {
    /// The action, as IAM policies name it.
    pub action: &'static str,
    /// The class of the failure.
    pub reason: FailureReason,
    source: BoxError,
}

/// What Kinesis answered.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct Refusal {
    code: String,
    message: String,
}

impl CallError {
    /// Classifies what the SDK returned.
    pub(super) fn new<E>(action: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let reason = reason(&error);
        let source: BoxError = match error.as_service_error() {
            Some(answer) => Box::new(Refusal {
                code: answer.code().unwrap_or("unknown").to_owned(),
                message: answer.message().unwrap_or_default().to_owned(),
            }),
            None => error.into(),
        };
        Self { action, reason, source }
    }

    /// An answer that the API reference does not allow.
    pub(super) fn unreadable(action: &'static str, what: &'static str) -> Self {
        Self { action, reason: FailureReason::ServerError, source: what.into() }
    }

    /// A failure of this class, for whoever plays Kinesis.
    #[must_use]
    pub fn played(action: &'static str, reason: FailureReason) -> Self {
        Self { action, reason, source: "as it was planned".into() }
    }

    /// The whole chain of causes in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        // The SDK lists the credential sources it tried on lines of their own.
        Visible(text.replace('\n', ";")).to_string()
    }

    /// The same with the remedy, for the status page.
    #[must_use]
    pub fn with_remedy(&self) -> String {
        format!("{}; {}", self.chain(), self.reason.remedy())
    }
}

fn reason<E>(error: &SdkError<E, HttpResponse>) -> FailureReason
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(answer) = error.as_service_error() {
        let by_code = answer.code().and_then(FailureReason::of_code);
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let by_status =
            if status >= 500 { FailureReason::ServerError } else { FailureReason::Refused };
        return by_code.unwrap_or(by_status);
    }
    match error {
        SdkError::TimeoutError(_) => FailureReason::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => FailureReason::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_io() => FailureReason::Connection,
        // Credentials are resolved inside the call; their failure has no type of its own here.
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            let text = DisplayErrorContext(error).to_string().to_lowercase();
            let about_credentials = text.contains("credential") || text.contains("identity");
            if about_credentials { FailureReason::Credentials } else { FailureReason::Connection }
        }
        // The answer began and could not be read to its end. (The enum may grow.)
        SdkError::ResponseError(_) | SdkError::ServiceError(_) | _ => FailureReason::Connection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_kinesis_are_one_line() {
        let source = "no: a\nb\u{1b}[31m".into();
        let error = CallError { action: "GetRecords", reason: FailureReason::Refused, source };
        assert_eq!(error.chain(), r"kinesis:GetRecords failed (refused): no: a;b\u{1b}[31m");
    }

    #[test]
    fn the_codes_that_waiting_cures_are_told_from_those_it_does_not() {
        for (code, needs_a_person) in [
            ("ProvisionedThroughputExceededException", false),
            ("LimitExceededException", false),
            ("KMSThrottlingException", false),
            ("InternalFailure", false),
            ("ExpiredIteratorException", false),
            ("AccessDeniedException", true),
            ("KMSAccessDeniedException", true),
            ("ExpiredTokenException", true),
            ("ResourceNotFoundException", true),
        ] {
            let reason = FailureReason::of_code(code).unwrap();
            assert_eq!(reason.needs_a_person(), needs_a_person, "{code}");
        }
        assert_eq!(FailureReason::of_code("InvalidArgumentException"), None);
    }
}

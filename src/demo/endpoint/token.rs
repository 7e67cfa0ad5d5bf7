//! Shard iterators and list tokens: a place that only this endpoint can read, and for how long.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::ShardFilterText;
use crate::event::Moment;
use crate::event::Timestamp;

/// Iterators and list tokens live this long (API reference).
const LIFETIME: Duration = Duration::from_secs(300);

/// Which stream a token is of: one made again under the same name is another.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct StreamMark {
    pub(super) name: String,
    created: i64,
}

impl StreamMark {
    pub(super) fn new(name: &str, created: Timestamp) -> Self {
        Self { name: name.to_owned(), created: created.0 }
    }

    pub(super) const fn is_of(&self, created: Timestamp) -> bool {
        self.created == created.0
    }
}

/// Where in a shard `GetRecords` goes on.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct ShardIterator {
    pub(super) stream: StreamMark,
    pub(super) shard: String,
    pub(super) place: u64,
    pub(super) issued: Issue,
}

/// Where `ListShards` goes on.
#[derive(Deserialize, Serialize)]
pub(super) struct ListToken {
    pub(super) stream: StreamMark,
    pub(super) after: String,
    pub(super) filter: Option<ShardFilterText>,
    pub(super) issued: Issue,
}

/// When a token was handed out.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(super) struct Issue {
    millis: u64,
    generation: u64,
}

impl Issue {
    pub(super) fn new(now: Moment, generation: u64) -> Self {
        Self { millis: u64::try_from(now.0.as_millis()).unwrap_or(u64::MAX), generation }
    }

    /// Whether what was issued then is over now, by its age or because a fault expired it.
    pub(super) fn is_over(self, now: Moment, generation: u64) -> bool {
        let issued = Moment(Duration::from_millis(self.millis));
        self.generation != generation || now.since(issued) > LIFETIME
    }
}

/// Makes a token opaque.
pub(super) fn seal(token: &impl Serialize) -> String {
    // A struct of text and numbers always serialises.
    BASE64_STANDARD.encode(serde_json::to_vec(token).unwrap_or_default())
}

/// Reads a token back; none when it is not ours.
pub(super) fn unseal<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_STANDARD.decode(text).ok()?).ok()
}

//! Where batches go, and what the answers mean.
//!
//! A destination turns each answer into verdicts; what follows from them (settle, dead-letter,
//! retry, split, hold) is decided in `delivery`, the same for every destination.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Framing};
use crate::fate::{Delivery, RefusalReason};

pub mod opensearch;
pub mod sqlite;

/// A server that takes batches of documents.
pub trait Destination: Send + Sync + 'static {
    /// How it wants its bodies.
    fn framing(&self) -> Framing;

    /// Whether it can tell that it has an event already, so that sending one twice is harmless.
    fn deduplicates(&self) -> bool;

    /// Sends a batch once, without retrying, and says what the answer means.
    ///
    /// Never fails: every trouble is an answer. Dropping the future may leave the batch stored.
    fn send(&self, batch: &mut Batch) -> impl Future<Output = Answer> + Send;
}

/// What a destination said to a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Every item was created, and so many there are: the usual answer, with nothing to say of each.
    Created(usize),
    /// A verdict for each item, in the order of the items. If the counts differ, the answer is
    /// not believed and the whole batch is sent again.
    Items(Vec<Verdict>),
    /// One trouble for the whole request; nothing is assumed delivered.
    Whole(Trouble),
}

impl Answer {
    /// The answer to a request of so many items. Of one with another number of items nothing may be
    /// assumed, for any item: ids make sending all again safe.
    #[must_use]
    pub fn of(self, items: usize) -> Self {
        let told = match &self {
            Self::Created(count) => *count,
            Self::Items(verdicts) => verdicts.len(),
            Self::Whole(_) => return self,
        };
        if told == items {
            return self;
        }
        let error = format!("the answer has {told} items, the request {items}");
        let reason = RetryReason::Unreadable;
        Self::Whole(Trouble::Retry { reason, retry_after: None, error })
    }
}

/// What an answer means for one item.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is there.
    Delivered(Delivery),
    /// It will never be taken.
    Refused(Refusal),
    /// It may be taken later.
    Retry {
        /// Why it was not taken now.
        reason: RetryReason,
        /// What the destination said.
        error: String,
    },
    /// It may be taken when a person has acted.
    Hold(Hold),
}

/// Why a destination will never take an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class of the reason.
    pub reason: RefusalReason,
    /// The HTTP status of the item, 0 where there is none.
    pub status: u16,
    /// The engine's own name for the error.
    pub error_type: String,
    /// The engine's own words, cut at 1 KiB.
    pub error: String,
}

/// What an answer means for a whole request.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// It may pass later as it is.
    Retry {
        /// The class of the reason.
        reason: RetryReason,
        /// What the server asked for by `Retry-After`.
        retry_after: Option<Duration>,
        /// What happened, without secrets.
        error: String,
    },
    /// It will never pass as large as it is: 413, a limit known beforehand, or indexing pressure
    /// that the node can never admit.
    TooLarge {
        /// The server's words.
        error: String,
    },
    /// Refused for something in it, by status or by a firewall on the way: halves may pass.
    Refused(Refusal),
    /// It may pass when a person has acted.
    Hold(Hold),
}

/// Something that a person must mend, and how much it stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The narrowest scope that the answer names.
    pub scope: HoldScope,
    /// The class of the reason.
    pub reason: HoldReason,
    /// The engine's own words, cut at 1 KiB.
    pub error: String,
}

/// What a hold stops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldScope {
    /// Everything to the destination.
    Destination,
    /// Items to one index.
    Index(Arc<str>),
    /// Items of one route.
    Route(crate::event::RouteId),
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
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
    /// Why something is sent again.
    RetryReason {
        /// 429: the engine is busy.
        Busy = "busy",
        /// 5xx.
        ServerError = "server_error",
        /// The items that failed together are more than the engine can ever admit at once: sent
        /// in smaller parts they may pass.
        Oversized = "oversized",
        /// A circuit breaker of the engine tripped.
        CircuitBreaker = "circuit_breaker",
        /// No answer in time.
        Timeout = "timeout",
        /// The connection could not be made or was lost.
        Connection = "connection",
        /// The answer could not be read, or does not fit the request.
        Unreadable = "unreadable",
    }
}

reasons! {
    /// Why something is held until a person acts.
    HoldReason {
        /// 401: credentials missing or wrong.
        Unauthorized = "unauthorized",
        /// AWS credentials that are missing, expired, wrong, or signed with a wrong clock.
        Credentials = "credentials",
        /// 403: not allowed.
        Forbidden = "forbidden",
        /// The disk is over its flood stage.
        FloodStage = "flood_stage",
        /// The index or cluster blocks writes.
        WriteBlock = "write_block",
        /// The cluster has no elected manager, or has not recovered its state yet.
        NoManager = "no_manager",
        /// The index is closed.
        IndexClosed = "index_closed",
        /// The index does not exist and may not be made.
        IndexMissing = "index_missing",
        /// The cluster has as many shards as it may have.
        ShardLimit = "shard_limit",
        /// The ingest pipeline does not exist.
        PipelineMissing = "pipeline_missing",
        /// The alias has no write index.
        NoWriteIndex = "no_write_index",
        /// The destination takes no document ids, so it could not tell a replay.
        IdsRefused = "ids_refused",
        /// The licence does not allow it.
        Licence = "licence",
        /// Every request is refused, whatever is in it.
        AllRefused = "all_refused",
        /// Too many events of a route are refused for one reason: see `dead_letter_breaker`.
        Breaker = "breaker",
        /// The index template could not be installed.
        TemplateMissing = "template_missing",
        /// The engine does not answer, so nobody knows whether its index templates are there.
        Unreachable = "unreachable",
        /// What answers is no engine that we know.
        NoEngine = "no_engine",
        /// The disk of a file destination is full.
        DiskFull = "disk_full",
        /// The file of a file destination cannot be written.
        FileUnusable = "file_unusable",
        /// The dead-letter store takes no more.
        DeadLetters = "dead_letters",
    }
}

impl RetryReason {
    /// What the person on call should do about it, when it goes on for long.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Busy => "the cluster is overloaded: add nodes, or take load from it",
            Self::ServerError => "look into the cluster's own log and its health",
            Self::Oversized => "lower bulk.max_body",
            Self::CircuitBreaker => {
                "the cluster is short of memory: add nodes, or lower bulk.max_body"
            }
            Self::Timeout => "look at the cluster's load and at the network to it",
            Self::Connection => "check the URL, the network, and whether the cluster runs",
            Self::Unreadable => "find out what stands between logweir and the cluster",
        }
    }

    /// Whether the batch may have been stored though no answer said so.
    #[must_use]
    pub const fn is_unclear(self) -> bool {
        match self {
            Self::Timeout | Self::Connection | Self::Unreadable | Self::ServerError => true,
            Self::Busy | Self::CircuitBreaker | Self::Oversized => false,
        }
    }
}

impl HoldReason {
    /// What the person on call should do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Unauthorized => {
                "check the destination's credentials: user and password, or API key"
            }
            Self::Credentials => "check the AWS credentials, the region, and this machine's clock",
            Self::Forbidden => {
                "give the user or role the index permissions create_index and create_doc (on AWS: \
                 es:ESHttp*, or aoss:APIAccessAll and a data access policy)"
            }
            Self::FloodStage => "free disk space on the cluster or add nodes",
            Self::WriteBlock => "remove the index or cluster write block",
            Self::NoManager => "bring back the cluster's manager nodes",
            Self::IndexClosed => "open the index, or delete it",
            Self::IndexMissing => "create the index, or allow automatic creation for its name",
            Self::ShardLimit => "delete old indices or raise cluster.max_shards_per_node",
            Self::PipelineMissing => "create the ingest pipeline, or remove it from the index",
            Self::NoWriteIndex => "give the alias a write index",
            Self::IdsRefused => "set `ids = false`: time series collections take no ids of ours",
            Self::Licence => "renew the cluster's licence",
            Self::AllRefused => "read the error: a proxy, a firewall or the URL may be wrong",
            Self::Breaker => "compare the index template with the documents: run `logweir setup`",
            Self::TemplateMissing => "run `logweir setup` with rights to put index templates",
            Self::Unreachable => "check the URL, the network, and whether the cluster runs",
            Self::NoEngine => "check the URL: what answers there is not a search engine",
            Self::DiskFull => "make room on the disk of the file",
            Self::FileUnusable => "make the file a writable SQLite file, or move it away",
            Self::DeadLetters => "replay or drop dead letters, or make room on the state disk",
        }
    }
}

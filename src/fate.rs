//! What can become of an event: delivered, dead-lettered or filtered, each with its reason.
//!
//! Abandoned is no fate: an event that a cut-short shutdown let go of will be read again.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of this list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that metrics, letters and tables use for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                let known = Self::ALL.iter().find(|known| known.as_str() == word);
                known.copied().ok_or_else(|| D::Error::unknown_variant(&word, &[]))
            }
        }
    };
}

labels! {
    /// How a delivered event came to be at its destination.
    Delivery {
        /// The destination stored it now.
        Created = "created",
        /// It was there already, under the same id: a replay, or a second copy of one event.
        AlreadyPresent = "already_present",
    }
}

labels! {
    /// Why a destination will never take an event.
    RefusalReason {
        /// The document does not fit the index's mapping.
        Mapping = "mapping",
        /// The index would get more fields than its limit allows.
        TooManyFields = "too_many_fields",
        /// A single term is longer than Lucene can index (32,766 bytes).
        ImmenseTerm = "immense_term",
        /// Alone in its request, it still exceeds what the destination admits.
        TooLarge = "too_large",
        /// It alone fails with 5xx, again and again, while others to its index pass.
        Poison = "poison",
        /// Its index has refused writes for long while other indices accept them.
        IndexReadOnly = "index_read_only",
        /// Any other refusal of the document itself.
        Refused = "refused",
    }
}

impl RefusalReason {
    /// Whether the engine gave this reason for the document itself, so that many of them at once
    /// point to a wrong template rather than to wrong documents (DESIGN §8, breaker).
    #[must_use]
    pub const fn counts_for_breaker(self) -> bool {
        match self {
            Self::Mapping | Self::TooManyFields | Self::ImmenseTerm | Self::Refused => true,
            Self::TooLarge | Self::Poison | Self::IndexReadOnly => false,
        }
    }
}

labels! {
    /// Why an event goes to no destination at all.
    FilterReason {
        /// Its route says `discard = true`.
        Discard = "discard",
    }
}

labels! {
    /// Why an event was let go of without a fate; it will be read again.
    AbandonReason {
        /// The daemon stopped before the destination had answered.
        Shutdown = "shutdown",
    }
}

labels! {
    /// How the replay of an event ended at a destination.
    ReplayResult {
        /// The destination stored it now.
        Created = "created",
        /// It was there already.
        AlreadyPresent = "already_present",
        /// The destination refused it again; it is a dead letter as before.
        Refused = "refused",
        /// The replay was cut short; it is a dead letter as before.
        Abandoned = "abandoned",
    }
}

labels! {
    /// Why a dead letter stays one after its replay.
    KeptReason {
        /// A destination refused it again.
        Refused = "refused",
        /// The record can still not be decoded.
        Undecodable = "undecodable",
        /// Its destination is not in the configuration any more.
        NoDestination = "no_destination",
        /// Its route discards it now.
        Discarded = "discarded",
        /// It holds no document that could be sent as it is.
        NoDocument = "no_document",
        /// The letter cannot be read.
        Unreadable = "unreadable",
        /// The replay was cut short.
        Abandoned = "abandoned",
    }
}

//! The log groups of the demo: their names, and the route and index that its configuration gives
//! them.

use std::fmt;

/// A log group that the generator writes, and what the demo makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogGroup {
    /// A CloudTrail trail.
    CloudTrail,
    /// Flow logs of the default format, version 2.
    Flow,
    /// Flow logs of [`EDGE_FLOW_FORMAT`].
    EdgeFlow,
    /// JSON logs of a Lambda function, between the platform's own plain lines.
    Checkout,
    /// A web server's plain text, with stack traces.
    Web,
    /// Debug output that nobody keeps: the demo discards it.
    Trace,
}

/// The custom format of [`LogGroup::EdgeFlow`], for `parse.vpc_flow`.
pub const EDGE_FLOW_FORMAT: &str = "version account-id interface-id vpc-id subnet-id instance-id \
    srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status tcp-flags \
    type pkt-srcaddr pkt-dstaddr region az-id pkt-src-aws-service pkt-dst-aws-service \
    flow-direction traffic-path";

impl LogGroup {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::CloudTrail, Self::Flow, Self::EdgeFlow, Self::Checkout, Self::Web, Self::Trace];

    /// The log group's name in CloudWatch Logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CloudTrail => "aws-cloudtrail-logs-111122223333-demo",
            Self::Flow => "/vpc/prod/flowlogs",
            Self::EdgeFlow => "/vpc/edge/flowlogs-v5",
            Self::Checkout => "/aws/lambda/checkout",
            Self::Web => "/ecs/web",
            Self::Trace => "/debug/trace",
        }
    }

    /// The name of the demo's route for it.
    #[must_use]
    pub const fn route(self) -> &'static str {
        match self {
            Self::CloudTrail => "cloudtrail",
            Self::Flow => "flow",
            Self::EdgeFlow => "flow-edge",
            Self::Checkout => "checkout",
            Self::Web => "web",
            Self::Trace => "trace",
        }
    }

    /// What its index is called before the date; none where the demo discards it.
    #[must_use]
    pub const fn index_stem(self) -> Option<&'static str> {
        match self {
            Self::CloudTrail => Some("cloudtrail"),
            Self::Flow => Some("vpc-flowlogs"),
            Self::EdgeFlow => Some("edge-flowlogs"),
            Self::Checkout => Some("checkout"),
            Self::Web => Some("web"),
            Self::Trace => None,
        }
    }

    /// Its index template, one index a day; none where the demo discards it.
    #[must_use]
    pub fn index(self) -> Option<String> {
        Some(format!("{}-%Y.%m.%d", self.index_stem()?))
    }
}

impl fmt::Display for LogGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

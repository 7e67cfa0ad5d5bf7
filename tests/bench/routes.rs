//! The configuration that is measured: what a daemon for these logs would have.

use std::fmt::Write as _;

use crate::data::Content;

/// The places of the routes below, in the order of the file.
pub(crate) fn place_of(content: Content) -> u16 {
    match content {
        Content::VpcFlow => 0,
        Content::CloudTrail => 1,
        Content::App => 2,
        Content::Plain => 3,
    }
}

const ROUTES: &str = r#"
[[route]]
name = "flow"
log_group = "/vpc/*"
parse = "vpc_flow"
to = ["search"]
index = "vpc-flowlogs-%Y.%m.%d"

[[route]]
name = "cloudtrail"
log_group = "aws-cloudtrail-logs-*"
parse = "cloudtrail"
to = ["search"]
index = "cloudtrail-%Y.%m.%d"

[[route]]
name = "app"
log_group = "/app/*"
parse.json.lift = ["level", "requestId", "user.id"]
to = ["search"]
index = "app-%Y.%m.%d"

[[route]]
name = "web"
log_group = "/web/*"
parse = "plain"
to = ["search"]
index = "web-%Y.%m.%d"

[[route]]
name = "rest"
parse = "auto"
to = ["search"]
index = "cwl-%Y.%m.%d"
"#;

/// What of the routes differs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    /// Routes that are asked first, for log groups which there are none of.
    pub(crate) others: usize,
    /// Whether flow logs go to an index for each log group.
    pub(crate) index_of_group: bool,
}

/// The routes as a configuration has them.
pub(crate) fn routes(setting: Setting) -> String {
    let mut text = String::new();
    for other in 0..setting.others {
        write!(
            text,
            "\n[[route]]\nname = \"other-{other}\"\nlog_group = \"/other/{other}/*\"\n\
             parse = \"auto\"\nto = [\"search\"]\nindex = \"other-{other}-%Y.%m.%d\"\n"
        )
        .unwrap();
    }
    let index = if setting.index_of_group { "flow-{log_group}" } else { "vpc-flowlogs" };
    text + &ROUTES.replace("vpc-flowlogs", index)
}

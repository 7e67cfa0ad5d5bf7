//! `logweir health`: for container checks, where there may be no curl.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::output::say_part;
use super::{ConfigFile, Exit, failed, runtime};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Which daemon, and which question.
#[derive(Clone, Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// The daemon's address, in place of `http.listen` of the configuration.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
    /// Ask whether it is ready too: 1 when something is held back.
    #[arg(long)]
    ready: bool,
}

pub(super) fn health(args: &HealthArgs) -> Result<Exit, Exit> {
    let address = match args.address {
        Some(address) => address,
        None => args.file.load()?.http.listen,
    };
    let question = if args.ready { "ready" } else { "live" };
    // A daemon that listens everywhere is asked on this machine.
    let host =
        if address.ip().is_unspecified() { "127.0.0.1".into() } else { address.ip().to_string() };
    let url = format!("http://{}/health/{question}", SocketAddrText(&host, address.port()));
    runtime()?.block_on(async {
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
        let client = client.map_err(|error| failed(Exit::Unavailable, &error))?;
        let answer = client.get(&url).send().await;
        let answer = answer.map_err(|error| failed(Exit::Partly, &error))?;
        let good = answer.status().is_success();
        let text = answer.text().await.unwrap_or_default();
        say_part!("{text}");
        Ok(if good { Exit::Clean } else { Exit::Partly })
    })
}

struct SocketAddrText<'a>(&'a str, u16);

impl std::fmt::Display for SocketAddrText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

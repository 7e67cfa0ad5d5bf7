//! `logweir health`: for container checks, where there may be no curl.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use reqwest::StatusCode;

use super::output::{say_part, tell};
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
        None => args.file.listen()?,
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
        let answer = answer.map_err(|error| unanswered(address, &error))?;
        let (status, good) = (answer.status(), answer.status().is_success());
        if !good && status != StatusCode::SERVICE_UNAVAILABLE {
            tell!("error: what answers at {address} is no logweir: it says {status}");
            return Err(Exit::Partly);
        }
        let text = answer.text().await.unwrap_or_default();
        say_part!("{text}");
        Ok(if good { Exit::Clean } else { Exit::Partly })
    })
}

fn unanswered(address: SocketAddr, error: &reqwest::Error) -> Exit {
    if error.is_timeout() {
        let seconds = TIMEOUT.as_secs();
        tell!("error: the logweir at {address} gives no answer within {seconds} s: does it hang?");
        return Exit::Partly;
    }
    // What lies above it speaks of requests and clients, which nobody has asked for.
    let mut cause: &dyn Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    tell!(
        "error: no logweir answers at {address}: is it running, and is that its `http.listen`? ({cause})"
    );
    Exit::Partly
}

struct SocketAddrText<'a>(&'a str, u16);

impl std::fmt::Display for SocketAddrText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

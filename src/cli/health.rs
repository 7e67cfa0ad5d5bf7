//! `logweir health`: for container checks, where there may be no curl.

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use reqwest::StatusCode;

use crate::admin::Question;
use crate::telemetry::visible::Visible;

use super::output::{say, tell};
use super::{ConfigFile, Exit, failed, runtime};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Characters of a foreign answer by which it may be recognised.
const SHOWN: usize = 60;

/// Which daemon, and which question.
#[derive(Clone, Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Host and port of the daemon, such as `localhost:9598`, in place of the configuration's `http.listen`.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Address>,
    /// Ask whether it is ready too: 1 when something is held back.
    #[arg(long)]
    ready: bool,
}

pub(super) fn health(args: &HealthArgs) -> Result<Exit, Exit> {
    let address = match &args.address {
        Some(address) => address.clone(),
        None => args.file.listen()?.into(),
    };
    let question = if args.ready { Question::Ready } else { Question::Live };
    let url = format!("http://{address}{}", question.path());
    runtime()?.block_on(async {
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
        let client = client.map_err(|error| failed(Exit::Unavailable, &error))?;
        let answer = client.get(&url).send().await;
        let answer = answer.map_err(|error| unanswered(&address, &error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| unanswered(&address, &error))?;
        let Some(is_good) = question.read(status.as_u16(), &text) else {
            return Err(foreign(&address, status, &text));
        };
        text.lines().for_each(|line| say!("{}", Visible(line)));
        Ok(if is_good { Exit::Clean } else { Exit::Partly })
    })
}

/// Another program has the port, or stands in between.
fn foreign(address: &Address, status: StatusCode, text: &str) -> Exit {
    let start = text.trim_start().lines().next().unwrap_or_default();
    let start: String = start.chars().take(SHOWN).collect();
    let said = if start.is_empty() { String::new() } else { format!(", `{}`", Visible(start)) };
    tell!(
        "error: what answers at {address} is no logweir but something else: it says {status}{said}; \
         is that the daemon's `http.listen`?"
    );
    Exit::Partly
}

fn unanswered(address: &Address, error: &reqwest::Error) -> Exit {
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

/// Host and port as they stand in a URL; a name is looked up when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a host and its port, such as localhost:9598 or 127.0.0.1:9598")]
pub(super) struct AddressError;

impl From<SocketAddr> for Address {
    fn from(mut address: SocketAddr) -> Self {
        // A daemon that listens everywhere is asked on this machine.
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Self(address.to_string())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let is_in_names = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_port = !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0);
        if host.is_empty() || !host.chars().all(is_in_names) || !is_port {
            return Err(AddressError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_named_by_host_and_port() {
        for (text, asked) in [
            ("localhost:8080", "localhost:8080"),
            ("log-weir_1.example:80", "log-weir_1.example:80"),
            ("10.0.0.1:9598", "10.0.0.1:9598"),
            ("[::1]:9598", "[::1]:9598"),
            ("0.0.0.0:9598", "127.0.0.1:9598"),
            ("[::]:9598", "127.0.0.1:9598"),
        ] {
            assert_eq!(text.parse(), Ok(Address(asked.to_owned())));
        }
        for text in
            ["", "localhost", ":9598", "a:0", "a:65536", "a:+80", "::1:80", "u@a:80", "a/b:80"]
        {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
    }
}

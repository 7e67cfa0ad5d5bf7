//! Carries out the replays that are asked for while the daemon runs, one after the other.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::dead_letter::requests::{Report, Request, Requests};
use crate::replay::{Line, Replay};
use crate::shutdown::Shutdown;
use crate::telemetry::chain::Chain;

/// How often it looks for a request, and tells how far one is.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until the daemon drains. What it has not finished by then it goes on with next time.
pub(super) async fn serve(requests: Requests, line: Line, shutdown: Shutdown) {
    loop {
        match requests.next().await {
            Ok(Some(request)) => carry_out(&requests, &line, request, &shutdown).await,
            Ok(None) => {}
            Err(error) => warn!(error = %Chain(&error), "could not look for requests to replay"),
        }
        tokio::select! {
            biased;
            () = shutdown.draining() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn carry_out(requests: &Requests, line: &Line, request: Request, shutdown: &Shutdown) {
    let Request { number, order, done } = request;
    let Some(order) = order else {
        let error = "it was asked for by another version of logweir: ask again with this one";
        return note(requests.end(number, &done, Some(error.to_owned())).await);
    };
    info!(number, ?order, "sending dead letters again, on request");
    let withdrawn = CancellationToken::new();
    let (progress, told) = watch::channel(Report::default());
    let telling = async {
        loop {
            let report = told.borrow().after(&done);
            match requests.tell(number, &report).await {
                Ok(true) => {}
                Ok(false) => withdrawn.cancel(),
                Err(error) => note(Err(error)),
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let stop = async {
        tokio::select! {
            biased;
            () = shutdown.draining() => {}
            () = withdrawn.cancelled() => {}
        }
    };
    let replay = Replay::new(line.clone(), order);
    let result = tokio::select! {
        biased;
        result = replay.run(stop, |report| _ = progress.send_replace(report.clone())) => result,
        () = telling => return,
    };
    let last = told.borrow().clone();
    let (report, error) = match result {
        Ok(report) => (report, None),
        Err(error) => (last, Some(Chain(&error).to_string())),
    };
    let is_cut_off = error.is_none() && report.is_cut_off();
    let report = report.after(&done);
    let Report { letters, removed, .. } = report;
    if is_cut_off && shutdown.is_draining() && !withdrawn.is_cancelled() {
        info!(number, letters, removed, "the replay goes on when logweir runs again");
        return note(requests.tell(number, &report).await.map(drop));
    }
    match &error {
        None => info!(number, letters, removed, "the replay has ended"),
        Some(error) => warn!(number, letters, removed, error, "the replay broke off"),
    }
    note(requests.end(number, &report, error).await);
}

/// The letters themselves are safe: only the word about them is missing.
fn note(told: Result<(), crate::state::StateError>) {
    if let Err(error) = told {
        warn!(error = %Chain(&error), "could not write how far a replay is");
    }
}

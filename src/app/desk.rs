//! Carries out the replays that are asked for while the daemon runs, one after the other.

use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Clock;
use crate::dead_letter::requests::{Order, Part, Report, Request, Requests};
use crate::replay::{Ended, Line, Replay};
use crate::shutdown::Shutdown;
use crate::state::StateError;
use crate::telemetry::chain::Chain;
use crate::telemetry::rate_limit::RateLimit;

/// How often it looks for a request.
const LOOK: Duration = Duration::from_secs(1);

/// Where requests are carried out.
pub(super) struct Desk {
    pub(super) requests: Requests,
    pub(super) line: Line,
    /// Of the routes and destinations that the daemon runs with.
    pub(super) digest: String,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) rate_limit: RateLimit,
}

impl Desk {
    /// Runs until the daemon drains. What it has not finished by then it goes on with next time.
    pub(super) async fn serve(mut self) {
        loop {
            match self.requests.next().await {
                Ok(Some(request)) => self.carry_out(request).await,
                Ok(None) => {}
                Err(error) => self.trouble("could not look for requests to replay", &error),
            }
            tokio::select! {
                biased;
                () = self.shutdown.draining() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn carry_out(&mut self, request: Request) {
        let Request { number, order, done } = request;
        let order = match self.accept(order) {
            Ok(order) => order,
            Err(why) => {
                warn!(number, why, "dead letters are not sent again, as was asked for");
                return self.end(number, &done, Some(why)).await;
            }
        };
        announce(number, &order);
        let replay = Replay::new(self.line.clone(), order).on_request(Part { number, done });
        let ended = replay.run(self.shutdown.draining(), |_| ()).await;
        let Ended { report, is_withdrawn, error } = ended;
        let Report { letters, removed, dropped, .. } = report;
        let is_cut_off = report.is_cut_off() && self.shutdown.is_draining() && !is_withdrawn;
        match error.map(|error| Chain(&error).to_string()) {
            Some(error) => {
                warn!(number, letters, removed, dropped, error, "the replay broke off");
                self.end(number, &report, Some(error)).await;
            }
            None if is_cut_off => {
                info!(number, letters, removed, "the replay goes on when logweir runs again");
            }
            None => {
                info!(number, letters, removed, dropped, is_withdrawn, "the replay has ended");
                self.end(number, &report, None).await;
            }
        }
    }

    /// Whether it may be carried out, or why not.
    fn accept(&self, order: Option<Order>) -> Result<Order, String> {
        let order = order
            .ok_or("it was asked for by another version of logweir: ask again with this one")?;
        match &order.written {
            Some(written) if written.digest != self.digest => Err(format!(
                "the routes or destinations in {file} are not those that the logweir with pid {pid} \
                 has loaded: restart it, and it replays by those in the file; or ask with \
                 --as-loaded for a replay by those that it has",
                file = written.file,
                pid = std::process::id()
            )),
            Some(_) | None => Ok(order),
        }
    }

    /// Writes how it ended, until that succeeds: taken for one that has not ended, it would be
    /// carried out again, and letters that were kept would be sent once more.
    async fn end(&mut self, number: i64, report: &Report, error: Option<String>) {
        while let Err(trouble) = self.requests.end(number, report, error.clone()).await {
            self.trouble("could not write how a replay has ended", &trouble);
            tokio::select! {
                biased;
                () = self.shutdown.draining() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn trouble(&mut self, what: &'static str, error: &StateError) {
        if let Some(silenced) = self.rate_limit.admit(self.clock.now(), what) {
            warn!(error = %Chain(error), silenced, "{what}");
        }
    }
}

fn announce(number: i64, order: &Order) {
    let Order { filter, as_is, to, written } = order;
    info!(
        number,
        reason = filter.reason,
        route = filter.route,
        destination = filter.destination,
        id = filter.id,
        before = filter.before.map(display),
        since = filter.since.map(display),
        as_is,
        to,
        as_loaded = written.is_none(),
        "sending dead letters again, on request"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::DeadLettersConfig;
    use crate::dead_letter::requests::Written;
    use crate::dead_letter::sqlite::LetterStore;
    use crate::memory::FetchBudget;
    use crate::state::tests::state;
    use crate::state::{Durability, State};
    use crate::telemetry::ledger_metrics::Names;
    use std::sync::Arc;

    fn desk(state: &State) -> Desk {
        let line = Line {
            store: LetterStore::new(state.clone(), DeadLettersConfig::default()),
            queue: Arc::default(),
            budget: FetchBudget::new(1 << 20),
            ledger: Arc::default(),
            names: Names { routes: [].into(), destinations: [].into() },
        };
        Desk {
            requests: Requests::new(state.clone()),
            line,
            digest: "loaded".to_owned(),
            clock: Clock::start(),
            shutdown: Shutdown::default(),
            rate_limit: RateLimit::default(),
        }
    }

    fn by(digest: &str) -> Order {
        let written = Written { file: "x.toml".to_owned(), digest: digest.to_owned() };
        Order { written: Some(written), ..Order::default() }
    }

    #[tokio::test]
    async fn a_replay_by_other_routes_than_the_loaded_ones_is_refused_with_the_way_out() {
        let (_folder, state) = state();
        let mut desk = desk(&state);
        for (order, is_refused) in
            [(by("loaded"), false), (by("edited"), true), (Order::default(), false)]
        {
            let number = desk.requests.ask(&order).await.unwrap();
            let request = desk.requests.next().await.unwrap().unwrap();
            desk.carry_out(request).await;
            let standing = desk.requests.standing(number).await.unwrap().unwrap();
            assert!(standing.ended);
            assert_eq!(standing.error.is_some(), is_refused);
            let pid = format!("pid {}", std::process::id());
            for word in ["x.toml", &pid, "restart", "--as-loaded"].iter().filter(|_| is_refused) {
                assert!(standing.error.as_ref().unwrap().contains(word), "{standing:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_cannot_be_written_is_tried_again_and_told_now_and_then() {
        let (_folder, state) = state();
        let mut desk = desk(&state);
        let run = |sql: &'static str| {
            state.call_blocking(Durability::Full, move |connection| connection.execute_batch(sql))
        };
        let number = desk.requests.ask(&by("edited")).await.unwrap();
        run("CREATE TRIGGER full BEFORE UPDATE OF ended ON replays BEGIN SELECT RAISE(ABORT, 'full'); END")
            .unwrap();
        let request = desk.requests.next().await.unwrap().unwrap();
        let mended = async {
            tokio::time::sleep(LOOK * 5).await;
            run("DROP TRIGGER full").unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = desk.carry_out(request) => {}
            () = mended => {}
        }
        assert!(desk.requests.standing(number).await.unwrap().unwrap().error.is_some());
        let what = "could not write how a replay has ended";
        assert_eq!(desk.rate_limit.admit(desk.clock.now(), what), None, "it was told a moment ago");
    }
}

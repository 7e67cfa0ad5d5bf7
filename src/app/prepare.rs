//! Sees to it that index templates are there, and tells the pool which routes must wait for one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::delivery::Closed;
use crate::destination::HoldReason;
use crate::destination::opensearch::OpenSearch;
use crate::destination::opensearch::plan::Problem;
use crate::destination::opensearch::target::Target;
use crate::event::RouteId;

/// How often what is missing is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Runs until every target has its template, or its pool has gone.
pub(super) async fn templates(
    search: Arc<OpenSearch>,
    targets: Vec<Target>,
    closed: watch::Sender<Closed>,
) {
    loop {
        let problems = tokio::select! {
            biased;
            () = closed.closed() => return,
            problems = search.ensure_templates(&targets) => problems,
        };
        let is_done = problems.is_empty();
        closed.send_replace(Some(by_route(problems)));
        if is_done {
            return;
        }
        tokio::select! {
            biased;
            () = closed.closed() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

fn by_route(problems: Vec<Problem>) -> BTreeMap<RouteId, (HoldReason, String)> {
    let routes = problems.into_iter().flat_map(|Problem { routes, error, reason }| {
        routes.into_iter().map(move |route| (route, (reason, error.clone())))
    });
    routes.collect()
}

//! What must be at a destination before the first batch: an index made without its template would
//! have the wrong mapping for good.

use std::time::Duration;

use tracing::error;

use crate::delivery::{HeldView, Surroundings};
use crate::destination::HoldReason;
use crate::destination::opensearch::OpenSearch;
use crate::destination::opensearch::plan::{Problem, Target};
use crate::event::DestinationId;
use crate::route::{RouteTable, Way};

/// How often what is missing is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Makes a destination ready for batches.
pub(super) trait Prepare<D>: Send + 'static {
    /// Resolves when batches may be sent; false when the daemon was cut short before.
    fn ready(self, destination: &D, around: &Surroundings) -> impl Future<Output = bool> + Send;
}

/// There is nothing to prepare.
pub(super) struct Nothing;

impl<D: Sync> Prepare<D> for Nothing {
    async fn ready(self, _: &D, _: &Surroundings) -> bool {
        true
    }
}

/// The index templates of these routes.
pub(super) struct Templates(pub(super) Vec<Target>);

impl Prepare<OpenSearch> for Templates {
    async fn ready(self, destination: &OpenSearch, around: &Surroundings) -> bool {
        loop {
            let problems = tokio::select! {
                biased;
                () = around.shutdown.cut() => return false,
                problems = destination.ensure_templates(&self.0) => problems,
            };
            around.status.waiting(problems.iter().map(|problem| view(problem, around)).collect());
            let Some(problem) = problems.first() else { return true };
            let remedy = HoldReason::TemplateMissing.remedy();
            let (destination, error) = (&around.name, &problem.error);
            error!(%destination, %error, remedy, "no event is sent before its index template is there");
            tokio::select! {
                biased;
                () = around.shutdown.cut() => return false,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// What the routes to a destination need there.
#[must_use]
pub fn targets(routes: &RouteTable, destination: DestinationId) -> Vec<Target> {
    let targets = routes.iter().filter_map(|(id, route)| match &route.way {
        Way::Send { parser, to, index } if to.contains(&destination) => Some(Target {
            route: id,
            name: route.name.clone(),
            index: index.clone(),
            schema: parser.schema(),
        }),
        Way::Send { .. } | Way::Discard => None,
    });
    targets.collect()
}

fn view(problem: &Problem, around: &Surroundings) -> HeldView {
    let names = problem.routes.iter().filter_map(|route| around.route(*route));
    let names: Vec<_> = names.map(ToString::to_string).collect();
    HeldView {
        scope: format!("route {}", names.join(", ")),
        reason: HoldReason::TemplateMissing.as_str(),
        error: problem.error.clone(),
        remedy: HoldReason::TemplateMissing.remedy(),
        since: around.clock.now(),
        events: 0,
    }
}

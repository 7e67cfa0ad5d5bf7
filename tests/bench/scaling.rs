//! What an event costs as everything around it grows: flat, or there is a reason.
//!
//! The points of a series take turns within one process, and each is compared with the first of its
//! series in the same round.

use crate::Options;
use crate::daemon;
use crate::data::{Content, DataSet, Shape};
use crate::line::Rig;
use crate::report::{Scaling, median, say};
use crate::routes::Setting;

/// Events that go through a line in one turn, at least.
const TURN: u64 = 60_000;

/// A point of a series: how much there is of what grows, and what goes through the line then.
struct Point {
    at: usize,
    setting: Setting,
    shape: Shape,
}

struct Series {
    grows: &'static str,
    points: Vec<Point>,
}

pub(crate) fn measure(options: &Options) -> Vec<Scaling> {
    let mut rows = Vec::new();
    for mut series in all() {
        if options.quick {
            // The ends of it.
            series.points.drain(1..series.points.len() - 1);
        }
        say(&format!("scaling: {}", series.grows));
        rows.extend(series.measure(if options.quick { 3 } else { 5 }));
    }
    say("scaling: shards");
    rows.extend(daemon::shards(options));
    rows
}

fn all() -> [Series; 5] {
    let plain = Setting::default();
    let small = Shape::named("vpc_small").unwrap();
    let hundred = Shape::new("vpc_100", Content::VpcFlow, 100, 2_000);
    let point = |at, setting, shape| Point { at, setting, shape };
    let groups = |setting: Setting| {
        let points = [1, 10, 100, 2_000].into_iter();
        points.map(move |at| point(at, setting, Shape { log_groups: at, ..hundred })).collect()
    };
    let routes = [1, 10, 50, 200].map(|at| {
        let others = at - 1;
        point(at, Setting { others, ..plain }, Shape { log_groups: 100, ..small })
    });
    let sizes = [0, 1 << 10, 8 << 10, 64 << 10].map(|padding| {
        // Some 14 MB of envelope each.
        let records = 30_000 / (1 + padding / 500) / 20;
        let shape = Shape { padding, ..Shape::new("app", Content::App, 20, records.max(4)) };
        point(padding, plain, shape)
    });
    let batches = [1, 10, 100, 1_000, 10_000].map(|events| {
        point(events, plain, Shape::new("vpc", Content::VpcFlow, events, 50_000 / events))
    });
    [
        Series { grows: "routes", points: routes.into() },
        Series { grows: "log groups", points: groups(plain) },
        Series {
            grows: "log groups, an index each",
            points: groups(Setting { index_of_group: true, ..plain }),
        },
        Series { grows: "bytes of an event (per KB)", points: sizes.into() },
        Series { grows: "events of a record", points: batches.into() },
    ]
}

impl Series {
    fn measure(&self, rounds: usize) -> Vec<Scaling> {
        let made: Vec<(Rig, DataSet)> =
            self.points.iter().map(|point| (Rig::new(point.setting), point.shape.make())).collect();
        let cost = |(rig, set): &(Rig, DataSet)| {
            let times = TURN.div_ceil(set.events).min(50);
            let took = rig.time(set, times as usize).as_nanos() as f64 / times as f64;
            // Larger events are compared by their bytes.
            let by_bytes = set.shape.content == Content::App;
            took / if by_bytes { set.inflated as f64 / 1e3 } else { set.events as f64 }
        };
        made.iter().for_each(|one| _ = cost(one));
        let rounds: Vec<Vec<f64>> = (0..rounds).map(|_| made.iter().map(cost).collect()).collect();
        let row = |(place, point): (usize, &Point)| Scaling {
            grows: self.grows,
            at: point.at,
            nanoseconds: median(rounds.iter().map(|round| round[place])),
            times: median(rounds.iter().map(|round| round[place] / round[0])),
        };
        self.points.iter().enumerate().map(row).collect()
    }
}

//! Chooses the node for each request: in turn, leaving out those that do not answer.

use std::time::Duration;

use crate::event::Moment;

/// Failures in a row that eject a node. One may be a kept-alive connection that the node closed.
const FAILURES: u32 = 2;
/// How long a node is left out at first; it doubles with each probe that fails.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest that a node is left out before it is probed again.
const MOST_WAIT: Duration = Duration::from_secs(60);

/// The place of a node in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(pub usize);

/// What is known of the nodes. No clock, no I/O.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    next: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// In a row.
    failures: u32,
    /// Left out until then.
    ejected: Option<Moment>,
}

impl Nodes {
    /// `count` nodes that are believed to work; at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { nodes: vec![Node::default(); count.max(1)], next: 0 }
    }

    /// The node for the next request. With all ejected, the one whose time is up first: there is
    /// always one, because how often to try at all is not decided here.
    pub fn pick(&mut self, now: Moment) -> NodeId {
        let count = self.nodes.len();
        let turn = |offset: usize| (self.next + offset) % count;
        let usable = |n: &usize| self.nodes.get(*n).is_some_and(|node| node.is_usable(now));
        let soonest = || (0..count).min_by_key(|n| self.nodes.get(*n).and_then(|n| n.ejected));
        let picked = (0..count).map(turn).find(usable).or_else(soonest).unwrap_or(0);
        self.next = (picked + 1) % count;
        if let Some(node) = self.nodes.get_mut(picked) {
            node.probe(now);
        }
        NodeId(picked)
    }

    /// The node answered, whatever it said.
    pub fn answered(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(node.0) {
            *node = Node::default();
        }
    }

    /// The node could not be reached, or its connection was lost.
    pub fn failed(&mut self, node: NodeId, now: Moment) {
        if let Some(node) = self.nodes.get_mut(node.0) {
            node.failures = node.failures.saturating_add(1);
            if node.failures >= FAILURES {
                node.ejected = Some(now.after(node.wait()));
            }
        }
    }

    /// Nodes that are left out now.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.nodes.iter().filter(|node| node.ejected.is_some()).count()
    }
}

impl Node {
    fn is_usable(&self, now: Moment) -> bool {
        self.ejected.is_none_or(|until| until <= now)
    }

    /// A request to an ejected node is its probe: others stay away for as long as the node would
    /// be left out again. Nothing needs to be undone if the request is dropped.
    fn probe(&mut self, now: Moment) {
        if self.ejected.is_some() {
            self.ejected = Some(now.after(self.wait()));
        }
    }

    fn wait(&self) -> Duration {
        let doublings = self.failures.saturating_sub(FAILURES).min(10);
        FIRST_WAIT.saturating_mul(1 << doublings).min(MOST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn picks(nodes: &mut Nodes, now: Moment, count: usize) -> Vec<usize> {
        (0..count).map(|_| nodes.pick(now).0).collect()
    }

    fn eject(nodes: &mut Nodes, node: usize, now: Moment) {
        (0..FAILURES).for_each(|_| nodes.failed(NodeId(node), now));
    }

    #[test]
    fn nodes_take_turns() {
        assert_eq!(picks(&mut Nodes::new(3), at(0), 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_single_failure_is_forgiven() {
        let mut nodes = Nodes::new(2);
        nodes.failed(NodeId(1), at(0));
        nodes.answered(NodeId(1));
        nodes.failed(NodeId(1), at(0));
        assert_eq!((nodes.ejected(), picks(&mut nodes, at(0), 2)), (0, vec![0, 1]));
    }

    #[test]
    fn a_node_that_fails_is_left_out_and_probed_once_its_time_is_up() {
        let mut nodes = Nodes::new(3);
        eject(&mut nodes, 1, at(10));
        assert_eq!(picks(&mut nodes, at(10), 4), [0, 2, 0, 2]);
        // One probe only, until it has ended.
        assert_eq!(picks(&mut nodes, at(11), 5), [0, 1, 2, 0, 2]);
        nodes.answered(NodeId(1));
        assert_eq!(picks(&mut nodes, at(11), 3), [0, 1, 2]);
    }

    #[test]
    fn each_failed_probe_doubles_the_time_out() {
        let mut nodes = Nodes::new(2);
        eject(&mut nodes, 0, at(0));
        nodes.failed(NodeId(0), at(1));
        assert_eq!(picks(&mut nodes, at(2), 2), [1, 1]);
        assert_eq!(picks(&mut nodes, at(3), 1), [0]);
        (0..20).for_each(|_| nodes.failed(NodeId(0), at(100)));
        assert_eq!(picks(&mut nodes, at(159), 2), [1, 1]);
        assert_eq!(picks(&mut nodes, at(160), 1), [0]);
    }

    #[test]
    fn with_all_ejected_the_one_due_first_is_tried() {
        let mut nodes = Nodes::new(2);
        eject(&mut nodes, 0, at(5));
        eject(&mut nodes, 1, at(4));
        assert_eq!(picks(&mut nodes, at(4), 2), [1, 1]);
    }

    proptest! {
        #[test]
        fn while_any_node_works_ejected_ones_get_probes_only(
            events in prop::collection::vec((0usize..3, any::<bool>(), 0u64..3), 1..100),
        ) {
            let mut nodes = Nodes::new(3);
            let mut now = 0;
            for (node, answered, seconds) in events {
                now += seconds;
                let picked = nodes.pick(at(now)).0;
                prop_assert!(picked < 3);
                if answered { nodes.answered(NodeId(node)) } else { nodes.failed(NodeId(node), at(now)) }
            }
            nodes.answered(NodeId(0));
            let ejected = nodes.ejected();
            let probes = picks(&mut nodes, at(now), 30).into_iter().filter(|n| *n != 0).count();
            prop_assert!(ejected == 0 || ejected == 1 || probes <= 2);
        }
    }
}

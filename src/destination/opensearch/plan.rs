//! Decides what the engine needs for our indices, and what to do about what is there. Pure.
//!
//! What is ours and older is replaced, ours and newer is left alone, not ours is never touched.
//!
//! There is a template for each index pattern. Where names have placeholders, an index of one route
//! may match the narrower pattern of another, whose template then counts: it has the fields of both.

use std::fmt;

use crate::destination::HoldReason;
use crate::event::RouteId;
use crate::units::Period;
use serde_json::{Value, json};

use super::config::IndexSettings;
use super::engine::{Engine, Lifecycle, TYPE, TemplateApi, Version};
use super::target::{Target, by_pattern};
use super::template::{Merged, Pattern, hash, policy};

/// What keeps routes from sharing an index with others, at whatever engine.
#[must_use]
pub fn conflicts(targets: &[Target]) -> Vec<Problem> {
    let parts = by_pattern(targets).into_iter();
    parts.flat_map(|(pattern, own)| merged(pattern, &own, targets).1).collect()
}

/// The fields of all routes whose indices may match a pattern, and those routes that disagree.
fn merged(pattern: Pattern, own: &[&Target], all: &[Target]) -> (Merged, Vec<Problem>) {
    let guests = all.iter().filter(|target| target.may_reach(&pattern));
    let mut merged = Merged::new(pattern.clone());
    let mut problems = Vec::new();
    for target in own.iter().copied().chain(guests) {
        if let Err(conflict) = merged.add(&target.name, &target.schema) {
            let routes = vec![target.route];
            let (error, reason) = (conflict.to_string(), HoldReason::TemplateMissing);
            problems.push(Problem { routes, error, reason });
        }
    }
    (merged, problems)
}

/// What is to be at the engine.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In this order: a policy before the template that names it.
    pub steps: Vec<Step>,
    /// Routes that no template can be made for.
    pub problems: Vec<Problem>,
    /// What was asked for and cannot be had, though nothing needs to stop for it.
    pub notes: Vec<String>,
}

/// Why the events of some routes should not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The routes.
    pub routes: Vec<RouteId>,
    /// What is wrong, with the remedy.
    pub error: String,
    /// The class of it.
    pub reason: HoldReason,
}

/// One thing that is to be at the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub(super) kind: Kind,
    /// Its name.
    pub name: String,
    /// The routes that need it.
    pub routes: Vec<RouteId>,
    body: Value,
    stamp: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Template(TemplateApi),
    Policy(Lifecycle),
}

/// Who made a thing: in `_meta`, or where there is none, in the description.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    version: String,
    hash: String,
}

const MANAGER: &str = "logweir";

/// How a step ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was not there.
    Installed,
    /// An older or different one of ours was there.
    Updated,
    /// The same was there.
    Unchanged,
    /// One of a newer logweir is there, and stays.
    Newer,
}

impl Plan {
    /// What `targets` need at `engine`, made by logweir `version`.
    #[must_use]
    pub fn new(
        engine: &Engine,
        targets: &[Target],
        settings: &IndexSettings,
        version: &str,
    ) -> Self {
        let mut plan = Self::default();
        for (pattern, own) in by_pattern(targets) {
            let (all, plan) = (targets, &mut plan);
            Part { engine, settings, version, pattern, own, all, plan }.add();
        }
        plan.note_what_is_not_ours(engine, settings);
        plan
    }
}

impl Plan {
    fn note_what_is_not_ours(&mut self, engine: &Engine, settings: &IndexSettings) {
        if settings.keep.is_some() && engine.lifecycle().is_none() {
            self.notes.push(format!(
                "`keep` does nothing at {engine}: it needs OpenSearch with Index State Management \
                 or Elasticsearch 7.16 or newer; delete old indices yourself"
            ));
        }
        let IndexSettings { shards, replicas, refresh_interval, keep: _ } = settings;
        let is_any = shards.is_some() || replicas.is_some() || refresh_interval.is_some();
        if is_any && !engine.takes_settings() {
            self.notes.push(format!(
                "`shards`, `replicas` and `refresh_interval` do nothing at {engine}, which decides \
                 them itself"
            ));
        }
    }
}

/// The part of a plan for one pattern.
struct Part<'a> {
    engine: &'a Engine,
    settings: &'a IndexSettings,
    version: &'a str,
    pattern: Pattern,
    /// The routes with this pattern.
    own: Vec<&'a Target>,
    all: &'a [Target],
    plan: &'a mut Plan,
}

impl Part<'_> {
    fn add(mut self) {
        let (merged, problems) = merged(self.pattern.clone(), &self.own, self.all);
        self.plan.problems.extend(problems);
        let lifecycle = self.settings.keep.and_then(|keep| self.lifecycle(keep));
        let names_policy = lifecycle == Some(Lifecycle::Ilm);
        let name = self.pattern.template_name();
        let body = merged.template(self.engine, self.settings, names_policy.then_some(&*name));
        self.step(Kind::Template(self.engine.template_api()), name, body);
        if names_policy {
            self.exempt_undated(merged);
        }
    }

    /// The policy for indices with a date, if it can be had.
    fn lifecycle(&mut self, keep: Period) -> Option<Lifecycle> {
        let lifecycle = self.engine.lifecycle()?;
        let mut dated: Vec<String> =
            self.own.iter().flat_map(|target| target.index.dated_patterns()).collect();
        dated.sort_unstable();
        dated.dedup();
        let name = self.pattern.as_str();
        if dated.is_empty() {
            self.plan.notes.push(format!("`keep` does nothing for `{name}`: its name has no date"));
            return None;
        }
        let endangered = |target: &&Target| target.is_endangered(&self.pattern, &dated);
        if let Some(other) = self.all.iter().find(endangered) {
            self.plan.notes.push(format!(
                "`keep` does nothing for `{name}`: indices of route `{}`, which have no date, would \
                 be deleted with them; give one of the two another beginning",
                other.name
            ));
            return None;
        }
        let body = policy(lifecycle, &self.pattern, &dated, keep);
        self.step(Kind::Policy(lifecycle), self.pattern.template_name(), body);
        Some(lifecycle)
    }

    /// The index for undated events gets the same template, without the policy.
    fn exempt_undated(&mut self, merged: Merged) {
        let dated = |target: &&&Target| target.index.has_date();
        let Some(target) = self.own.iter().find(dated) else { return };
        let pattern = Pattern::new(target.index.undated().to_owned());
        let name = pattern.template_name();
        let body = merged.with_pattern(pattern).template(self.engine, self.settings, None);
        self.step(Kind::Template(self.engine.template_api()), name, body);
    }

    fn step(&mut self, kind: Kind, name: String, mut body: Value) {
        let stamp = Stamp { version: self.version.to_owned(), hash: hash(&body) };
        stamp.put(kind, &mut body);
        let routes = self.own.iter().map(|target| target.route).collect();
        self.plan.steps.push(Step { kind, name, routes, body, stamp });
    }
}

impl Stamp {
    fn put(&self, kind: Kind, body: &mut Value) {
        let meta = json!({"managed_by": MANAGER, "version": self.version, "hash": self.hash});
        let place = match kind {
            Kind::Template(TemplateApi::Composable) => Some(body),
            Kind::Template(TemplateApi::Legacy) => body.get_mut("mappings"),
            Kind::Template(TemplateApi::Typed) => {
                body.get_mut("mappings").and_then(|mappings| mappings.get_mut(TYPE))
            }
            Kind::Policy(Lifecycle::Ilm) => body.get_mut("policy"),
            Kind::Policy(Lifecycle::Ism) => {
                if let Some(description) = body.pointer_mut("/policy/description") {
                    let text = description.as_str().unwrap_or_default();
                    *description =
                        json!(format!("{MANAGER} {} {}: {text}", self.version, self.hash));
                }
                None
            }
        };
        if let Some(object) = place.and_then(Value::as_object_mut) {
            _ = object.insert("_meta".to_owned(), meta);
        }
    }

    /// Reads it from what the engine answered; none if the thing is not ours.
    fn read(kind: Kind, name: &str, answer: &Value) -> Option<Self> {
        let meta = match kind {
            Kind::Template(TemplateApi::Composable) => {
                answer.pointer("/index_templates/0/index_template/_meta")
            }
            Kind::Template(TemplateApi::Legacy) => answer.get(name)?.pointer("/mappings/_meta"),
            Kind::Template(TemplateApi::Typed) => {
                answer.get(name)?.get("mappings")?.get(TYPE)?.get("_meta")
            }
            Kind::Policy(Lifecycle::Ilm) => answer.get(name)?.pointer("/policy/_meta"),
            Kind::Policy(Lifecycle::Ism) => {
                return Self::read_text(answer.pointer("/policy/description")?.as_str()?);
            }
        }?;
        let text = |key| meta.get(key).and_then(Value::as_str).map(str::to_owned);
        (text("managed_by")? == MANAGER)
            .then_some(Self { version: text("version")?, hash: text("hash")? })
    }

    fn read_text(description: &str) -> Option<Self> {
        let (stamp, _) = description.strip_prefix(MANAGER)?.split_once(':')?;
        let (version, hash) = stamp.trim().split_once(' ')?;
        Some(Self { version: version.to_owned(), hash: hash.to_owned() })
    }
}

/// What to do about what is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Write it, with this query.
    Put(Done, Option<String>),
    Leave(Done),
    Foreign,
}

impl Step {
    /// The path that it is read from and written to.
    #[must_use]
    pub fn path(&self) -> String {
        let folder = match self.kind {
            Kind::Template(TemplateApi::Composable) => "_index_template",
            Kind::Template(TemplateApi::Legacy | TemplateApi::Typed) => "_template",
            Kind::Policy(Lifecycle::Ism) => "_plugins/_ism/policies",
            Kind::Policy(Lifecycle::Ilm) => "_ilm/policy",
        };
        format!("/{folder}/{}", self.name)
    }

    /// What is written there.
    #[must_use]
    pub fn body(&self) -> &Value {
        &self.body
    }

    pub(super) fn decide(&self, there: Option<&Value>) -> Decision {
        let Some(there) = there else { return Decision::Put(Done::Installed, None) };
        let Some(stamp) = Stamp::read(self.kind, &self.name, there) else {
            return Decision::Foreign;
        };
        if stamp == self.stamp {
            return Decision::Leave(Done::Unchanged);
        }
        if Version::read(&stamp.version) > Version::read(&self.stamp.version) {
            return Decision::Leave(Done::Newer);
        }
        Decision::Put(Done::Updated, self.condition(there))
    }

    /// Index State Management replaces a policy only for who has read the one that is there.
    fn condition(&self, there: &Value) -> Option<String> {
        match self.kind {
            Kind::Policy(Lifecycle::Ism) => {
                let number = |key| there.get(key).and_then(Value::as_u64);
                let (at, term) = (number("_seq_no")?, number("_primary_term")?);
                Some(format!("if_seq_no={at}&if_primary_term={term}"))
            }
            Kind::Policy(Lifecycle::Ilm) | Kind::Template(_) => None,
        }
    }

    pub(super) fn is_template(&self) -> bool {
        match self.kind {
            Kind::Template(_) => true,
            Kind::Policy(_) => false,
        }
    }
}

/// As `--dry-run` shows it: the request line and the body.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PUT {}\n{:#}", self.path(), self.body)
    }
}

#[cfg(test)]
mod tests;

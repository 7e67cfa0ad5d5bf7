//! Installs what our indices need at the engine: first a plan, which is only text, then its steps.
//!
//! What is there is read before anything is written: ours and older is replaced, ours and newer is
//! left alone, what is not ours is never touched.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::event::{RouteId, RouteName};
use crate::parse::Schema;
use crate::route::{IndexTemplate, Placed};
use crate::units::Period;

use super::OpenSearch;
use super::config::{IndexSettings, Templates};
use super::engine::{Engine, EngineError, Lifecycle, TemplateApi, Version};
use super::request::{CallError, Reply};
use super::response::read_failure;
use super::template::{Merged, Pattern, dated_patterns, hash, policy};

/// A route that writes to this destination.
#[derive(Clone, Debug)]
pub struct Target {
    /// The route.
    pub route: RouteId,
    /// Its name.
    pub name: RouteName,
    /// Where its documents go.
    pub index: IndexTemplate,
    /// What they may contain.
    pub schema: Schema,
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
}

/// One thing that is to be at the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    kind: Kind,
    /// Its name.
    pub name: String,
    /// The routes that need it.
    pub routes: Vec<RouteId>,
    body: Value,
    stamp: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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

/// What became of a step.
#[derive(Debug)]
pub struct Outcome {
    /// The name of the template or policy.
    pub name: String,
    /// The routes that need it.
    pub routes: Vec<RouteId>,
    /// Whether documents may be sent without it.
    pub is_needed: bool,
    /// What became of it.
    pub result: Result<Done, SetupError>,
}

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

/// How a step ended otherwise.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No answer.
    #[error("could not reach the engine at {host}")]
    Unreachable {
        /// The node that was asked.
        host: String,
        /// Why.
        source: CallError,
    },
    /// The engine says no.
    #[error("{path} answered status {status}: {error}")]
    Refused {
        /// What was asked.
        path: String,
        /// The HTTP status.
        status: u16,
        /// Its words.
        error: String,
    },
    /// Something of that name is not ours.
    #[error(
        "`{name}` exists and was not made by logweir: rename or delete it, or set \
         `templates = \"manual\"`"
    )]
    Foreign {
        /// The name.
        name: String,
    },
    /// The engine has no lifecycle plugin.
    #[error(
        "this OpenSearch has no Index State Management plugin: install it, or leave out `keep`"
    )]
    NoLifecycle,
    /// Not an engine that we know.
    #[error("could not tell which engine this is")]
    Engine(#[source] EngineError),
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
        let mut by_pattern: BTreeMap<Pattern, Vec<&Target>> = BTreeMap::new();
        for target in targets {
            by_pattern.entry(Pattern::new(target.index.pattern())).or_default().push(target);
        }
        let mut plan = Self::default();
        for (pattern, targets) in by_pattern {
            let mut part = Part { engine, settings, version, pattern, targets, plan: &mut plan };
            part.add();
        }
        if settings.keep.is_some() && engine.lifecycle().is_none() {
            plan.notes.push(format!(
                "`keep` does nothing at {engine}: it needs OpenSearch with Index State Management \
                 or Elasticsearch 7.16 or newer; delete old indices yourself"
            ));
        }
        plan
    }
}

/// The part of a plan for one pattern.
struct Part<'a> {
    engine: &'a Engine,
    settings: &'a IndexSettings,
    version: &'a str,
    pattern: Pattern,
    targets: Vec<&'a Target>,
    plan: &'a mut Plan,
}

impl Part<'_> {
    fn add(&mut self) {
        let mut merged = Merged::new(self.pattern.clone());
        for target in &self.targets {
            if let Err(conflict) = merged.add(&target.name, &target.schema) {
                let routes = vec![target.route];
                self.plan.problems.push(Problem { routes, error: conflict.to_string() });
            }
        }
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
            self.targets.iter().flat_map(|target| dated_patterns(target.index.as_str())).collect();
        dated.sort_unstable();
        dated.dedup();
        if dated.is_empty() {
            let name = self.pattern.as_str();
            self.plan.notes.push(format!("`keep` does nothing for `{name}`: its name has no date"));
            return None;
        }
        let body = policy(lifecycle, &self.pattern, &dated, keep);
        self.step(Kind::Policy(lifecycle), self.pattern.template_name(), body);
        Some(lifecycle)
    }

    /// The index for undated events gets the same template, without the policy.
    fn exempt_undated(&mut self, merged: Merged) {
        let dated = |target: &&&Target| target.index.has_date();
        let Some(target) = self.targets.iter().find(dated) else { return };
        let pattern = Pattern::new(target.index.name(Placed::Undated).to_string());
        let name = pattern.template_name();
        let body = merged.with_pattern(pattern).template(self.engine, self.settings, None);
        self.step(Kind::Template(self.engine.template_api()), name, body);
    }

    fn step(&mut self, kind: Kind, name: String, mut body: Value) {
        let stamp = Stamp { version: self.version.to_owned(), hash: hash(&body) };
        stamp.put(kind, &mut body);
        let routes = self.targets.iter().map(|target| target.route).collect();
        self.plan.steps.push(Step { kind, name, routes, body, stamp });
    }
}

impl Stamp {
    fn put(&self, kind: Kind, body: &mut Value) {
        let meta = json!({"managed_by": MANAGER, "version": self.version, "hash": self.hash});
        let place = match kind {
            Kind::Template(TemplateApi::Composable) => Some(body),
            Kind::Template(TemplateApi::Legacy) => body.get_mut("mappings"),
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
enum Decision {
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
            Kind::Template(TemplateApi::Legacy) => "_template",
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

    fn decide(&self, there: Option<&Value>) -> Decision {
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

    fn is_template(&self) -> bool {
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

impl OpenSearch {
    /// Asks which engine this is.
    ///
    /// # Errors
    /// No answer, a refusal, or no engine that we know.
    pub async fn engine(&self) -> Result<Engine, SetupError> {
        let reply = self.ask(Method::GET, ("/", None), None).await?;
        if reply.status != 200 {
            return Err(refused("/", &reply));
        }
        Engine::read(&reply.body).map_err(SetupError::Engine)
    }

    /// What `targets` need here.
    ///
    /// # Errors
    /// As `engine`.
    pub async fn plan(&self, targets: &[Target]) -> Result<Plan, SetupError> {
        let engine = self.engine().await?;
        Ok(Plan::new(&engine, targets, &self.config().index, env!("CARGO_PKG_VERSION")))
    }

    /// Carries out a plan, step by step, whatever becomes of a single one. Doing it again changes
    /// nothing.
    pub async fn apply(&self, plan: &Plan) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for step in &plan.steps {
            outcomes.push(Outcome {
                name: step.name.clone(),
                routes: step.routes.clone(),
                is_needed: step.is_template(),
                result: self.carry_out(step).await,
            });
        }
        outcomes
    }

    /// Sees to it that every target has its template, unless `templates = "manual"`. What comes
    /// back names the routes whose events must not be sent yet; asking again may clear them.
    pub async fn ensure_templates(&self, targets: &[Target]) -> Vec<Problem> {
        match self.config().templates {
            Templates::Manual => return Vec::new(),
            Templates::Install => {}
        }
        let plan = match self.plan(targets).await {
            Ok(plan) => plan,
            Err(error) => {
                let routes = targets.iter().map(|target| target.route).collect();
                return vec![Problem { routes, error: error.chain() }];
            }
        };
        for note in &plan.notes {
            tracing::warn!(note, "setting up the search engine");
        }
        let outcomes = self.apply(&plan).await;
        let mut problems = plan.problems;
        problems.extend(outcomes.into_iter().filter_map(Outcome::problem));
        problems
    }

    async fn carry_out(&self, step: &Step) -> Result<Done, SetupError> {
        let path = step.path();
        let there = self.read_existing(step, &path).await?;
        match step.decide(there.as_ref()) {
            Decision::Leave(done) => Ok(done),
            Decision::Foreign => Err(SetupError::Foreign { name: step.name.clone() }),
            Decision::Put(done, query) => {
                let body = Bytes::from(step.body.to_string());
                let reply = self.ask(Method::PUT, (&path, query.as_deref()), Some(body)).await?;
                if (200..=299).contains(&reply.status) {
                    Ok(done)
                } else {
                    Err(refused(&path, &reply))
                }
            }
        }
    }

    async fn read_existing(&self, step: &Step, path: &str) -> Result<Option<Value>, SetupError> {
        let reply = self.ask(Method::GET, (path, None), None).await?;
        match (reply.status, step.kind) {
            (404, _) => Ok(None),
            (200, _) => {
                let unreadable = |_| refused(path, &reply);
                serde_json::from_slice(&reply.body).map(Some).map_err(unreadable)
            }
            // Nobody answers for this path.
            (400 | 405, Kind::Policy(Lifecycle::Ism)) => Err(SetupError::NoLifecycle),
            (_, _) => Err(refused(path, &reply)),
        }
    }

    async fn ask(
        &self,
        method: Method,
        at: (&str, Option<&str>),
        body: Option<Bytes>,
    ) -> Result<Reply, SetupError> {
        let content = body.map(|body| ("application/json", body));
        let answer = self.call(method, at, content).await;
        answer.map_err(|(host, source)| SetupError::Unreachable { host, source })
    }
}

impl Outcome {
    /// Whether routes must wait for it. What is not needed is logged only.
    fn problem(self) -> Option<Problem> {
        match self.result {
            Ok(Done::Unchanged) => None,
            Ok(done @ (Done::Installed | Done::Updated | Done::Newer)) => {
                tracing::info!(name = self.name, ?done, "index template or policy");
                None
            }
            Err(error) if self.is_needed => {
                Some(Problem { routes: self.routes, error: error.chain() })
            }
            Err(error) => {
                tracing::warn!(name = self.name, error = error.chain(), "no lifecycle policy");
                None
            }
        }
    }
}

impl SetupError {
    /// The whole chain of causes on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        match self {
            Self::Unreachable { source, .. } => format!("{self}: {}", source.chain()),
            Self::Engine(source) => format!("{self}: {source}"),
            Self::Refused { .. } | Self::Foreign { .. } | Self::NoLifecycle => self.to_string(),
        }
    }
}

fn refused(path: &str, reply: &Reply) -> SetupError {
    let (_, causes) = read_failure(&reply.body);
    let mut error: String =
        causes.iter().map(|cause| cause.reason.as_str()).collect::<Vec<_>>().join("; ");
    error.truncate(error.floor_char_boundary(1024));
    SetupError::Refused { path: path.to_owned(), status: reply.status, error }
}

#[cfg(test)]
mod tests;

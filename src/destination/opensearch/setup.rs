//! Installs what our indices need at the engine, step by step, after reading what is there.

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;

use crate::destination::HoldReason;
use crate::event::RouteId;
use crate::telemetry::chain::Chain;

use super::OpenSearch;
use super::config::{EngineConfig, Templates};
use super::engine::{Engine, EngineError, Lifecycle};
use super::plan::{Decision, Done, Kind, Plan, Problem, Step};
use super::request::{CallError, Reply};
use super::response::read_failure;
use super::target::Target;
use super::verdict::excerpt;

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

impl SetupError {
    fn problem(&self, routes: Vec<RouteId>) -> Problem {
        Problem { routes, error: Chain(self).to_string(), reason: self.reason() }
    }

    /// What to do about it, where its text does not say so. For who sets up by hand.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match (self, self.reason()) {
            (Self::Refused { status: 403, .. }, reason) => Some(reason.remedy()),
            // It would be: do what was just done.
            (_, HoldReason::TemplateMissing) => None,
            (_, reason) => Some(reason.remedy()),
        }
    }

    fn reason(&self) -> HoldReason {
        match self {
            Self::Unreachable { source: CallError::Unsigned(_), .. } => HoldReason::Credentials,
            Self::Unreachable { .. } => HoldReason::Unreachable,
            Self::Refused { status: 401, .. } => HoldReason::Unauthorized,
            Self::Refused { status: 403, path, .. } if path == "/" => HoldReason::Forbidden,
            Self::Refused { status: 429 | 500..=599, .. } => HoldReason::Unreachable,
            Self::Refused { path, .. } if path == "/" => HoldReason::NoEngine,
            Self::Engine(_) => HoldReason::NoEngine,
            Self::Refused { .. } | Self::Foreign { .. } | Self::NoLifecycle => {
                HoldReason::TemplateMissing
            }
        }
    }
}

impl OpenSearch {
    /// Asks which engine this is, unless the configuration says so.
    ///
    /// # Errors
    /// No answer, a refusal, or no engine that we know.
    pub async fn engine(&self) -> Result<Engine, SetupError> {
        match self.config().engine {
            EngineConfig::Detect => {}
            EngineConfig::OpenSearchServerless => return Ok(Engine::opensearch_serverless()),
        }
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
        Ok(self.plan_for(&self.engine().await?, targets))
    }

    /// What `targets` need at an engine that was asked already.
    #[must_use]
    pub fn plan_for(&self, engine: &Engine, targets: &[Target]) -> Plan {
        Plan::new(engine, targets, &self.config().index, env!("CARGO_PKG_VERSION"))
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
                return vec![error.problem(routes)];
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
                let body = Bytes::from(step.body().to_string());
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
            Err(error) if self.is_needed => Some(error.problem(self.routes)),
            Err(error) => {
                tracing::warn!(name = self.name, error = %Chain(&error), "no lifecycle policy");
                None
            }
        }
    }
}

fn refused(path: &str, reply: &Reply) -> SetupError {
    let (_, causes) = read_failure(&reply.body);
    let reasons: Vec<_> = causes.iter().map(|cause| cause.reason.as_str()).collect();
    let mut error = excerpt(reasons.join("; "));
    if error.trim_matches([';', ' ']).is_empty() {
        error = "without a word of why".to_owned();
    }
    SetupError::Refused { path: path.to_owned(), status: reply.status, error }
}

//! Questions about texts, put to one profile or to both.

use portolan_engine::ConfigError;

use super::{Answer, Asked, Explainer, Explanation, explain_tls, explain_untold, terminated};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::options::{Listen, Options, Profile};
use crate::plan::Plan;
use crate::request::Request;
use crate::resource::Resources;
use crate::texts::{Planned, Texts};

/// Who is asked, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inquiry {
    /// Whose answer comes first.
    pub profile: Profile,
    /// The other profile isn't asked.
    pub alone: bool,
    /// Answers are wanted also where there are errors: without what these are about.
    pub keep_going: bool,
    /// The random number of every request; see [`Explainer`].
    pub draw: Option<u64>,
}

/// What came of the questions.
#[derive(Debug)]
pub struct Answered {
    /// To each question those of the profiles. None: there are errors, and the inquiry isn't to go on
    /// in spite of them.
    pub answers: Option<Vec<Vec<Answer>>>,
    /// All findings of the first profile.
    pub findings: Diagnostics,
}

impl Inquiry {
    /// Asks all questions about what the texts come to with `options` of a profile. For each port that is
    /// asked about there is a listener, and an explicit proxy if there is a CONNECT.
    ///
    /// # Errors
    ///
    /// The plugin config is refused, which no texts should come to.
    pub fn answers(
        &self,
        texts: &Texts,
        options: impl Fn(Profile) -> Options,
        asked: &[Asked],
    ) -> Result<Answered, ConfigError> {
        let options = |profile| with_listeners(options(profile), asked);
        let first = self.plan(texts, options(self.profile));
        if first.plan.is_none() || (first.findings.has_errors() && !self.keep_going) {
            return Ok(Answered { answers: None, findings: first.findings });
        }
        let mut answers = self.of_one(texts, &first, asked)?;
        if !self.alone {
            let other = match self.profile {
                Profile::Standalone => Profile::Istio,
                Profile::Istio => Profile::Standalone,
            };
            let others = self.of_one(texts, &self.plan(texts, options(other)), asked)?;
            answers.iter_mut().zip(others).for_each(|(all, other)| all.extend(other));
        }
        Ok(Answered { answers: Some(answers), findings: first.findings })
    }

    fn plan(&self, texts: &Texts, options: Options) -> Planned {
        if self.keep_going { texts.plan_in_spite_of_errors(options) } else { texts.plan(options) }
    }

    fn of_one(
        &self,
        texts: &Texts,
        planned: &Planned,
        asked: &[Asked],
    ) -> Result<Vec<Vec<Answer>>, ConfigError> {
        let Planned { options, plan, findings } = planned;
        let sound = plan.as_ref().filter(|_| self.keep_going || !findings.has_errors());
        let Some(plan) = sound else {
            let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
            let errors: Vec<Diagnostic> = errors.cloned().collect();
            return Ok(asked.iter().map(|_| vec![Answer::Errors(options.profile, errors.clone())]).collect());
        };
        let explainer = Explainer::new(plan.proxy_config(options), Some((plan, options)), self.draw)?;
        let input = Of { plan, options, resources: texts.read.resources(), findings, explainer };
        asked.iter().map(|asked| Ok(vec![input.answer(asked)?])).collect()
    }
}

/// What texts came to in one profile.
struct Of<'a> {
    plan: &'a Plan,
    options: &'a Options,
    resources: Resources<'a>,
    findings: &'a Diagnostics,
    explainer: Explainer<'a>,
}

impl Of<'_> {
    fn answer(&self, asked: &Asked) -> Result<Answer, ConfigError> {
        let Self { plan, options, resources, findings, explainer } = self;
        answer(asked, plan, options, |request| {
            let mut explanation = explainer.explain(request)?;
            if !request.by_tls {
                explanation.add_bypassed(request.port, resources, findings, options);
            }
            Ok(explanation)
        })
    }
}

/// Asks the connections of the plan first, and `explain` of requests that the filter sees.
pub(super) fn answer(
    asked: &Asked,
    plan: &Plan,
    options: &Options,
    explain: impl Fn(&Request) -> Result<Explanation, ConfigError>,
) -> Result<Answer, ConfigError> {
    let http = |request: &Request| Ok(Answer::Http(Box::new(explain(request)?)));
    match asked {
        Asked::Http(request) => {
            let host = String::from_utf8_lossy(&request.authority);
            let untold = explain_untold(plan, options, &host, request.port);
            match untold.filter(|_| !is_by_proxy(request)) {
                Some(chain) => Ok(Answer::Connection(options.profile, chain)),
                None => http(request),
            }
        }
        Asked::Tls { host, port, request } => match terminated(plan, host, *port) {
            Some(number) => http(&Request { port: number, by_tls: true, ..(**request).clone() }),
            None => Ok(Answer::Connection(options.profile, explain_tls(plan, options, host, *port))),
        },
        Asked::Tcp { target, port } => {
            Ok(Answer::Connection(options.profile, super::explain_tcp(plan, options, target, *port)))
        }
    }
}

/// Whether the request is for an explicit proxy.
fn is_by_proxy(request: &Request) -> bool {
    request.by_proxy || request.method == "CONNECT"
}

fn with_listeners(mut options: Options, asked: &[Asked]) -> Options {
    let by_proxy = |asked: &&Asked| matches!(asked, Asked::Http(request) if is_by_proxy(request));
    if asked.iter().any(|asked| by_proxy(&asked)) {
        options.envoy.explicit_proxy = Some(([127, 0, 0, 1], 0).into());
    }
    for port in asked.iter().filter(|asked| !by_proxy(asked)).map(Asked::port) {
        if options.envoy.listeners.iter().all(|listener| listener.port != port) {
            options.envoy.listeners.push(Listen { port, address: ([127, 0, 0, 1], 0).into() });
        }
    }
    options
}

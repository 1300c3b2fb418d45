//! Answers as far as two of them can be compared: what becomes of a request, and not which resource says so.

use portolan_engine::ConfigError;

use super::outcome::Outcome;
use super::text::{self, facts, headline, local_facts};
use super::{Answer, Asked, Chain, Explainer, Explanation, Found, Named, Registered, Steps, inquiry};
use crate::connection_manager::{as_seen_by_engine, receive};
use crate::options::Options;
use crate::plan::Plan;
use crate::request::Request;
use crate::source::Sources;

/// What Envoy's route has, by a name that says all of it; most of that is among the other facts, in words.
pub(crate) const ROUTE_SETTINGS: &str = "route settings";

impl Explainer<'_> {
    /// What becomes of what is asked, without the routes that lost.
    ///
    /// # Errors
    ///
    /// None with a config that was checked.
    pub(crate) fn answer(
        &self,
        asked: &Asked,
        plan: &Plan,
        options: &Options,
    ) -> Result<Answer, ConfigError> {
        inquiry::answer(asked, plan, options, |request| self.explain_in_short(request))
    }

    /// The virtual host that has `name` on `port`, by its place in the config.
    pub(crate) fn virtual_host(&self, name: &str, port: u16) -> Option<usize> {
        let request = Request::to(name, port);
        let request = receive(&request).ok()?;
        let mut steps = Steps::default();
        as_seen_by_engine(&request, 0, |view| {
            self.engine.decide(view, &mut steps);
        });
        steps.virtual_host
    }
}

impl Asked {
    /// The question in one line, with the headers of a request.
    pub(crate) fn in_words(&self) -> String {
        let headers = match self {
            Self::Http(request) => request.headers.as_slice(),
            // What is inside TLS counts at gateways only, where the host is that of the TLS.
            Self::Tls { request, .. } => request.headers.as_slice(),
            Self::Tcp { .. } => &[],
        };
        let headers = headers.iter().map(|(name, value)| format!(", {name}: {}", value.escape_ascii()));
        text::question(self) + &headers.collect::<String>()
    }
}

impl Answer {
    /// Whether both come to the very same for the client and the upstream.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => one.outcome.bare() == other.outcome.bare(),
            (Self::Connection(_, one), Self::Connection(_, other)) => one.is_same_as(other),
            _ => false,
        }
    }

    /// What becomes of `asked`, by names. Without what always differs between profiles, if asked so.
    pub(crate) fn facts(&self, asked: &Asked, between_profiles: bool) -> Vec<(String, String)> {
        let (decision, mut rest) = match self {
            Self::Http(explanation) => {
                (headline(&explanation.outcome), explanation.facts(asked, between_profiles))
            }
            Self::Connection(_, chain) => chain.told(),
            Self::Errors(..) => ("nothing is generated".to_owned(), Vec::new()),
        };
        if let Self::Http(explanation) = self
            && let Outcome::Forwarded(forwarded) = &explanation.outcome
            && let Some(profile) = &forwarded.route_profile
        {
            rest.push((ROUTE_SETTINGS, profile.clone()));
        }
        // Where the service is registered is no behaviour.
        rest.retain(|(name, _)| *name != "registered by" && !(between_profiles && *name == "body"));
        let rest = rest.into_iter().map(|(name, value)| (name.to_owned(), value));
        std::iter::once(("decision".to_owned(), decision)).chain(rest).collect()
    }

    /// The resource and the rule that decide, with their place.
    pub(crate) fn decided_by(&self, sources: &Sources) -> Option<String> {
        let rule = |rule: Option<&Named>, resource: &Named| match rule {
            Some(rule) if rule.name != "default" => {
                Named { name: format!("{} of {}", rule.name, resource.name), span: rule.span }.text(sources)
            }
            _ => resource.text(sources),
        };
        match self {
            Self::Http(explanation) => match &explanation.virtual_host {
                Found::VirtualHost { named, .. } => Some(rule(explanation.route.as_ref(), named)),
                _ => None,
            },
            Self::Connection(_, Chain::Registered(chain)) => Some(rule(chain.rule.as_ref(), &chain.resource)),
            Self::Connection(..) | Self::Errors(..) => None,
        }
    }
}

impl Explanation {
    fn facts(&self, asked: &Asked, between_profiles: bool) -> Vec<text::Fact> {
        match &self.outcome {
            Outcome::Forwarded(forwarded) => {
                let mut forwarded = (**forwarded).clone();
                // How one is chosen to be shown is no behaviour.
                forwarded.drawn = true;
                if between_profiles {
                    forwarded.told.clear();
                }
                let sent = match asked {
                    Asked::Http(request) => request,
                    Asked::Tls { request, .. } => request,
                    Asked::Tcp { .. } => return Vec::new(),
                };
                let path = self.normalized_path.as_ref().unwrap_or(&sent.path);
                facts(&forwarded, &sent.authority, path, &Sources::new())
            }
            Outcome::Answered(local) => local_facts(local),
            Outcome::Closed | Outcome::LeftAlone => Vec::new(),
        }
    }
}

impl Outcome {
    /// Without the names of what decides.
    fn bare(&self) -> Self {
        match self {
            Self::Forwarded(forwarded) => {
                let mut forwarded = forwarded.clone();
                forwarded.service = None;
                Self::Forwarded(forwarded)
            }
            other => other.clone(),
        }
    }
}

impl Chain {
    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registered(one), Self::Registered(other)) => {
                let bare = |it: &Registered| {
                    (it.cluster.clone(), it.destinations.clone(), it.cluster_missing, it.dials.clone())
                };
                bare(one) == bare(other)
            }
            (one, other) => one == other,
        }
    }
}

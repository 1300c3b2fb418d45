//! What two sets of resources do otherwise: not a comparison of their texts.
//!
//! Requests are derived from the hosts and rules of both sets, and the engine says what each set does with
//! them. Those with two answers are shown, in groups by what changed. What no request shows - endpoints,
//! TLS, limits - is compared cluster by cluster.
//!
//! Nothing here reads a file: a [`Side`] is a plan, from wherever it comes.

mod data;
mod markdown;
mod requests;
mod samples;
mod settings;
mod text;

use std::collections::HashMap;

use portolan_engine::ConfigError;
use portolan_engine::config::Config;

use crate::explain::{Answer, Asked, Explainer, ROUTE_SETTINGS};
use crate::options::Options;
use crate::plan::Plan;
use crate::source::Sources;

pub use data::report as report_data;
pub use markdown::report as report_markdown;
pub use settings::{Setting, SettingsChange};
pub use text::report as report_text;

/// One of the two sets.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What it does.
    pub plan: &'a Plan,
    /// What the plan was made with. Both sides need a listener for every port that is to be compared; see
    /// [`ports`](crate::ports).
    pub options: &'a Options,
    /// The texts that places refer to.
    pub sources: &'a Sources,
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Most requests that are asked about.
    pub most_requests: usize,
    /// The sides are two profiles: what a refusal says to the client, and what upstreams are told in
    /// `x-envoy-*` headers, always differs, and isn't looked at.
    pub between_profiles: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { most_requests: 50_000, between_profiles: false }
    }
}

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// How many requests were asked about.
    pub compared: usize,
    /// How many more could have been.
    pub left_out: usize,
    /// In the order of their first requests.
    pub changes: Vec<Change>,
    /// What no request shows, by its name.
    pub settings: Vec<SettingsChange>,
}

/// A change of behaviour, and all requests to which it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// At least one.
    pub requests: Vec<Changed>,
    /// What decides the first of them, with its place, where that is known.
    pub decided: (Option<String>, Option<String>),
}

/// A request that comes to something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What is asked, in one line.
    pub asked: String,
    /// What differs, at least one thing.
    pub facts: Vec<Setting>,
}

impl Diff {
    /// Whether both sides do the same, as far as was looked.
    pub fn is_same(&self) -> bool {
        self.changes.is_empty() && self.settings.is_empty()
    }

    /// How many requests come to something else.
    pub fn changed(&self) -> usize {
        self.changes.iter().map(|change| change.requests.len()).sum()
    }
}

/// Compares what two sides do.
///
/// # Errors
///
/// The engine refuses the plugin config of a side, which no plan without errors has.
pub fn compare(before: Side<'_>, after: Side<'_>, settings: Settings) -> Result<Diff, ConfigError> {
    let before = Decider::new(before)?;
    let after = Decider::new(after)?;
    let asked = requests::derive(&before, &after);
    let most = settings.most_requests.min(asked.len());
    let mut groups: Vec<Change> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for asked in &asked[..most] {
        let (one, other) = (before.answer(asked)?, after.answer(asked)?);
        let same = if settings.between_profiles { one.agrees_with(&other) } else { one.is_same_as(&other) };
        if same {
            continue;
        }
        let mut facts = settings::differences(
            &one.facts(asked, settings.between_profiles),
            &other.facts(asked, settings.between_profiles),
        );
        facts.retain(|fact| !is_plain(fact));
        if facts.iter().any(|fact| fact.what != ROUTE_SETTINGS) {
            facts.retain(|fact| fact.what != ROUTE_SETTINGS);
        }
        let changed = Changed { asked: asked.in_words(), facts };
        let key = key(&changed, &one, &other);
        match known.get(&key).and_then(|at| groups.get_mut(*at)) {
            Some(group) => group.requests.push(changed),
            None => {
                known.insert(key, groups.len());
                let decided = (one.decided_by(before.side.sources), other.decided_by(after.side.sources));
                groups.push(Change { requests: vec![changed], decided });
            }
        }
    }
    Ok(Diff {
        compared: most,
        left_out: asked.len() - most,
        changes: groups,
        settings: settings::compare(&before.side, &after.side),
    })
}

/// Of a request that one side alone sends on, what is as anybody would think.
fn is_plain(fact: &Setting) -> bool {
    match (&fact.before, &fact.after) {
        (Some(value), None) | (None, Some(value)) => value == "none" || value.ends_with(", as sent"),
        _ => false,
    }
}

/// Facts that follow from the request as well as from the rules: requests of one group differ in them.
const OF_THE_REQUEST: [&str; 5] = ["authority", "path", "body", "dials", "TLS"];

/// The same for requests that are of one group.
fn key(changed: &Changed, before: &Answer, after: &Answer) -> String {
    let value = |value: &Option<String>| {
        // A location has the request's path in it.
        value
            .as_deref()
            .map(|text| if text.starts_with("redirected") { "redirected" } else { text }.to_owned())
    };
    let fact = |fact: &Setting| match OF_THE_REQUEST.contains(&fact.what.as_str()) {
        true => (fact.what.clone(), None, None),
        false => (fact.what.clone(), value(&fact.before), value(&fact.after)),
    };
    let none = Sources::new();
    let facts: Vec<_> = changed.facts.iter().map(fact).collect();
    format!("{facts:?} {:?} {:?}", before.decided_by(&none), after.decided_by(&none))
}

/// A side that can be asked.
pub(crate) struct Decider<'a> {
    side: Side<'a>,
    config: Config,
    explainer: Explainer<'a>,
}

impl<'a> Decider<'a> {
    fn new(side: Side<'a>) -> Result<Self, ConfigError> {
        let config = side.plan.proxy_config(side.options);
        let explainer = Explainer::new(config.clone(), Some((side.plan, side.options)), None)?;
        Ok(Self { side, config, explainer })
    }

    fn answer(&self, asked: &Asked) -> Result<Answer, ConfigError> {
        self.explainer.answer(asked, self.side.plan, self.side.options)
    }
}

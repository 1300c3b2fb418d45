//! Cases: resources, requests, and what is expected of them, as data.
//!
//! A case file says what a configuration is to do (`testdata/README.md` describes the format).
//! It is read here once, and run by every engine: natively by [`run`], and by the end-to-end
//! tests in Envoy with the built module.

mod compare;
mod effects;
mod generated;
mod options;
mod outcome;
mod proxied;
mod read;
mod run;
mod setup;

use std::fmt;
use std::time::Duration;

use crate::connection_manager::receive;
use crate::options::Profile;
pub use crate::request::{Lines, Request};

pub use compare::{Mismatch, Seen};
pub use effects::{Effects, Headers, Retries, RetryPolicy, WantedEffects, WantedLines};
pub use generated::{Finding, WantedFinding, WantedOutput};
pub use outcome::{Outcome, Report, TestResult};
pub use read::load;
pub(crate) use read::{Listed, requests};
pub use run::{Prepared, answered, prepare, run, shares_mismatches};
pub use setup::{Group, Setup};

/// A file of tests.
#[derive(Debug, Clone)]
pub struct CaseFile {
    /// The path as it was given.
    pub path: String,
    /// What the tests are about.
    pub name: String,
    /// Each test runs in each of them.
    pub profiles: Vec<Profile>,
    /// What `config-gen` is given: the first is what the file says, the others have more for
    /// single tests.
    pub setups: Vec<Setup>,
    /// In the order of the file.
    pub tests: Vec<Test>,
}

/// A request and what is expected of it; or what is expected of the resources themselves.
#[derive(Debug, Clone)]
pub struct Test {
    /// Unique within its file.
    pub name: String,
    /// The line it begins on.
    pub line: u32,
    /// Rows of the specification that it shows; none where the file says nothing of them.
    pub rules: Vec<Rule>,
    /// The only engine that can run it, and why.
    pub only: Option<(EngineKind, String)>,
    /// Which of [`CaseFile::setups`] it is run with.
    pub setup: usize,
    /// What is sent; none for tests about what is generated.
    pub request: Option<Request>,
    /// The client speaks TLS, with this server name.
    pub tls: Option<String>,
    /// It goes by the explicit proxy.
    pub by_proxy: Option<ByProxy>,
    /// What the upstream answers.
    pub upstream: UpstreamReply,
    /// What is to happen.
    pub expect: Expectations,
    /// Why the test fails for the time being; then passing counts as a failure.
    pub known_failure: Option<String>,
}

/// How a request goes by the explicit proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByProxy {
    /// With the whole URL, which has this host and port.
    Absolute(Vec<u8>),
    /// In a tunnel to this host and port.
    Tunnel(Vec<u8>),
}

/// A row of the specification that a test shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Such as `VH-03`.
    pub id: String,
    /// The test shows where the row's effect ends: what it speaks of doesn't happen.
    pub negative: bool,
}

/// What the upstream answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamReply {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Lines,
    /// How long it takes.
    pub delay: Duration,
}

impl Default for UpstreamReply {
    fn default() -> Self {
        Self { status: 200, headers: Lines::new(), delay: Duration::ZERO }
    }
}

/// What runs a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineKind {
    /// The engine as a library.
    Native,
    /// Envoy with the module.
    Envoy,
    /// The package for JavaScript, by what its `explain` and `generate` say.
    Package,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Envoy => "envoy",
            Self::Package => "package",
        })
    }
}

/// What is expected in each profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectations {
    /// None: the test doesn't run in profile istio.
    pub istio: Option<Expect>,
    /// None: the test doesn't run in profile standalone.
    pub standalone: Option<Expect>,
}

impl Expectations {
    /// What is expected in `profile`.
    pub fn get(&self, profile: Profile) -> Option<&Expect> {
        match profile {
            Profile::Istio => self.istio.as_ref(),
            Profile::Standalone => self.standalone.as_ref(),
        }
    }
}

/// What is expected of a request, or of the resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// It is sent on.
    Forward {
        /// To this cluster.
        cluster: String,
        /// With this authority; none: as sent.
        authority: Option<Vec<u8>>,
        /// With this path; none: as sent.
        path: Option<Vec<u8>>,
        /// To this `host:port`, where that comes from the request.
        dials: Option<String>,
        /// The status in the end; none: the upstream's. Only Envoy knows.
        status: Option<u16>,
        /// Headers that the upstream sees, or doesn't.
        headers: WantedLines,
        /// What else.
        effects: Box<WantedEffects>,
    },
    /// It is answered by the filter.
    Respond {
        /// The status.
        status: u16,
        /// Why, such as `host_not_in_registry`.
        reason: Option<String>,
        /// The whole body.
        body: Option<String>,
        /// What else.
        effects: Box<WantedEffects>,
    },
    /// The connection is closed without an answer.
    Closed,
    /// Of many such requests, these parts of a hundred go to a cluster, or are answered with a
    /// status.
    Shares(Vec<(String, u32)>),
    /// What the generator says and writes.
    Generated(WantedOutput),
}

impl CaseFile {
    /// The tests that run in `engine` and `profile`, and what they expect.
    pub fn selected(&self, engine: EngineKind, profile: Profile) -> impl Iterator<Item = (&Test, &Expect)> {
        let here = self.profiles.contains(&profile);
        self.tests
            .iter()
            .filter(move |test| here && test.runs_in(engine))
            .filter_map(move |test| Some((test, test.expect.get(profile)?)))
    }

    /// The same file with services on shared clusters wherever they can be; without the tests of what
    /// is generated, which is otherwise then.
    #[must_use]
    pub fn on_shared_clusters(mut self) -> Self {
        for setup in &mut self.setups {
            setup.share_clusters();
        }
        self.tests.retain(|test| test.request.is_some());
        self
    }

    /// The same by what they are run with; in the order of the file.
    pub fn groups(&self, engine: EngineKind, profile: Profile) -> Vec<Group<'_>> {
        let group = |(index, setup)| {
            let tests = self.selected(engine, profile).filter(|(test, _)| test.setup == index).collect();
            Group { file: self, setup, profile, tests }
        };
        self.setups.iter().enumerate().map(group).filter(|group| !group.tests.is_empty()).collect()
    }
}

impl Test {
    /// Whether `engine` can run it.
    pub fn runs_in(&self, engine: EngineKind) -> bool {
        match (&self.only, engine) {
            (None, _) => true,
            // What is explained begins where Envoy does, which may make another request of it.
            (Some((EngineKind::Native, _)), EngineKind::Package) => self
                .request
                .as_ref()
                .is_none_or(|sent| receive(sent).is_ok_and(|received| received.path == sent.path)),
            (Some((only, _)), engine) => *only == engine,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.negative { "not " } else { "" }, self.id)
    }
}

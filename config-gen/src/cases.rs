//! Cases: resources, requests, and what is expected of them, as data.
//!
//! A case file says what a configuration is to do (`testdata/README.md` describes the format).
//! It is read here once, and run by every engine: natively by [`run`], and by the end-to-end
//! tests in Envoy with the built module.

mod options;
mod outcome;
mod read;
mod run;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use crate::input::ReadOptions;
use crate::options::{Listen, Options, Profile};

pub use outcome::{Mismatch, Outcome, Report, Seen, TestResult};
pub use read::load;
pub(crate) use read::{Listed, requests};
pub use run::{Prepared, prepare, run};

/// A file of tests that share their resources.
#[derive(Debug, Clone)]
pub struct CaseFile {
    /// The path as it was given.
    pub path: String,
    /// What the tests are about.
    pub name: String,
    /// Each test runs in each of them.
    pub profiles: Vec<Profile>,
    /// Options of `config-gen generate`, as typed.
    pub options: Vec<String>,
    /// Istio YAML, behind as many empty lines as it has lines above it in the file, so that
    /// messages name the file's lines.
    pub resources: Option<String>,
    /// Further files and folders of Istio YAML.
    pub files: Vec<PathBuf>,
    /// In the order of the file.
    pub tests: Vec<Test>,
    parsed: options::CaseOptions,
}

/// A request and what is expected of it.
#[derive(Debug, Clone)]
pub struct Test {
    /// Unique within its file.
    pub name: String,
    /// The line it begins on.
    pub line: u32,
    /// Rows of the specification that it shows; none where the file says nothing of them.
    pub rules: Vec<String>,
    /// Which engines run it.
    pub engines: BTreeSet<EngineKind>,
    /// What is sent.
    pub request: Request,
    /// What is to happen.
    pub expect: Expectations,
    /// Why the test fails for the time being; then passing counts as a failure.
    pub known_failure: Option<String>,
}

/// What runs a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineKind {
    /// The engine as a library.
    Native,
    /// Envoy with the module.
    Envoy,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Envoy => "envoy",
        })
    }
}

/// A request, byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The port of the listener.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The Host header.
    pub authority: Vec<u8>,
    /// The path with its query.
    pub path: Vec<u8>,
    /// Further header lines; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
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

/// What is expected of a request.
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
        /// The status in the end, where the upstream isn't reached; only Envoy knows.
        status: Option<u16>,
        /// Headers that the upstream sees, or doesn't; only Envoy knows.
        headers: Vec<(String, Option<Vec<u8>>)>,
    },
    /// It is answered by the filter.
    Respond {
        /// The status.
        status: u16,
        /// Why, such as `host_not_in_registry`.
        reason: Option<String>,
        /// The whole body.
        body: Option<String>,
    },
    /// The connection is closed without an answer; only Envoy can.
    Closed,
}

impl CaseFile {
    /// The listener ports that its tests use.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.tests.iter().map(|test| test.request.port).collect()
    }

    /// The tests that run in `engine` and `profile`, and what they expect.
    pub fn selected(&self, engine: EngineKind, profile: Profile) -> impl Iterator<Item = (&Test, &Expect)> {
        let here = self.profiles.contains(&profile);
        self.tests
            .iter()
            .filter(move |test| here && test.engines.contains(&engine))
            .filter_map(move |test| Some((test, test.expect.get(profile)?)))
    }

    /// The options in force in `profile`.
    pub fn options(&self, profile: Profile) -> Options {
        let mut options = self.parsed.meaning.options(profile);
        // A test names the port that clients mean; where Envoy listens is for the runner.
        options.envoy.listeners = self
            .ports()
            .into_iter()
            .map(|port| Listen { port, address: ([127, 0, 0, 1], 0).into() })
            .collect();
        options
    }

    /// How its resources are read.
    pub fn read_options(&self) -> ReadOptions {
        self.parsed.meaning.read_options()
    }
}

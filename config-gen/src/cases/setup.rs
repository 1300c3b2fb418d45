//! What `config-gen` is given for a test.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::options::CaseOptions;
use super::{CaseFile, Expect, Test};
use crate::input::ReadOptions;
use crate::options::{Clusters, Listen, Options, Profile};

/// Resources and options.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Options of `config-gen generate`, as typed.
    pub options: Vec<String>,
    /// Istio YAML, behind as many empty lines as it has lines above it in the file, so that
    /// messages name the file's lines.
    pub resources: Vec<String>,
    /// A MeshConfig, placed in the same way.
    pub mesh_config: Option<String>,
    /// Further files and folders of Istio YAML.
    pub files: Vec<PathBuf>,
    /// The listener ports that its tests use.
    pub ports: BTreeSet<u16>,
    /// One of its tests goes by the explicit proxy.
    pub explicit_proxy: bool,
    pub(super) parsed: CaseOptions,
}

/// The tests of a file that are run with one [`Setup`] in one profile.
#[derive(Debug)]
pub struct Group<'a> {
    /// The file.
    pub file: &'a CaseFile,
    /// What they are run with.
    pub setup: &'a Setup,
    /// The profile.
    pub profile: Profile,
    /// The tests, and what they expect.
    pub tests: Vec<(&'a Test, &'a Expect)>,
}

impl Setup {
    /// The options in force in `profile`.
    pub fn options(&self, profile: Profile) -> Options {
        let mut options = self.parsed.meaning.options(profile);
        if self.explicit_proxy {
            options.envoy.explicit_proxy = Some(([127, 0, 0, 1], 0).into());
        }
        if !self.ports.is_empty() || self.explicit_proxy {
            // A test names the port that clients mean; where Envoy listens is for the runner.
            let listen = |port: &u16| Listen { port: *port, address: ([127, 0, 0, 1], 0).into() };
            options.envoy.listeners = self.ports.iter().map(listen).collect();
        }
        options
    }

    pub(super) fn share_clusters(&mut self) {
        self.parsed.meaning.clusters = Clusters::Shared;
        self.options.extend(["--clusters".to_owned(), "shared".to_owned()]);
    }

    /// How its resources are read.
    pub fn read_options(&self) -> ReadOptions {
        self.parsed.meaning.read_options()
    }
}

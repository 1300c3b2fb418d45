//! What everything begins with: texts are read, a MeshConfig changes what they mean, and a plan is made of
//! them.

use crate::diagnostic::Diagnostics;
use crate::input::{self, Read, ReadOptions};
use crate::mesh_config::{self, MeshConfig};
use crate::options::Options;
use crate::plan::Plan;
use crate::source::Sources;

/// Texts, as far as they are read the same for every profile.
#[derive(Debug, Default)]
pub struct Texts {
    /// The resources.
    pub read: Read,
    /// What the mesh says.
    pub mesh: MeshConfig,
}

/// What texts come to with some options.
#[derive(Debug)]
pub struct Planned {
    /// The options in force: what the mesh and a Gateway say is in them.
    pub options: Options,
    /// None where what was read has errors.
    pub plan: Option<Plan>,
    /// The findings of reading and planning, each with its place, in the order in which they came up.
    pub findings: Diagnostics,
}

impl Texts {
    /// Reads resources, and names and texts of MeshConfigs, of which the last one counts.
    pub fn read<'a>(
        resources: Sources,
        mesh_configs: impl IntoIterator<Item = (&'a str, &'a str)>,
        options: &ReadOptions,
    ) -> Self {
        let mut read = input::read(resources, options);
        let mut mesh = MeshConfig::default();
        for (name, text) in mesh_configs {
            mesh = mesh_config::read(name, text, &mut read);
        }
        mesh.apply(&mut read);
        Self { read, mesh }
    }

    /// Plans what was read, unless it has errors. The plan may have more of them: then nothing may be
    /// generated from it.
    pub fn plan(&self, options: Options) -> Planned {
        if self.read.diagnostics.has_errors() {
            let options = self.mesh.options(options, &self.read);
            return Planned { options, plan: None, findings: self.read.diagnostics.clone() };
        }
        self.plan_in_spite_of_errors(options)
    }

    /// The same, without what is wrong where something is.
    pub fn plan_in_spite_of_errors(&self, options: Options) -> Planned {
        let options = self.mesh.options(options, &self.read);
        let mut found = Diagnostics::new();
        let mut plan = Plan::of(&self.read.resources(), &options, &mut found);
        if let Some(mesh) = &mut plan.mesh {
            mesh.findings = mesh.findings.drain(..).map(|finding| self.read.locate(finding)).collect();
        }
        let mut findings = self.read.diagnostics.clone();
        findings.extend(found.into_iter().map(|finding| self.read.locate(finding)));
        Planned { options, plan: Some(plan), findings }
    }
}

impl Planned {
    /// The plan, if something may be generated from it.
    pub fn sound(&self) -> Option<&Plan> {
        self.plan.as_ref().filter(|_| !self.findings.has_errors())
    }
}

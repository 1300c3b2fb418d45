//! All that is typed for `generate`, and what it comes to.

use super::{Envoy, Meaning, WasmPlugin};
use crate::emit::{self, File, MeshOptions, Output};
use crate::options::{Options, Profile};
use crate::plan::{ACCEPTABLE, Plan};
use crate::texts::{Planned, Texts};

/// What to generate, and for whom.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Generation {
    /// What to write [default with -o: plugin-config, ecds, envoy, wasmplugin]
    #[cfg_attr(feature = "cli", arg(long, value_name = "OUTPUT"))]
    pub emit: Vec<Output>,

    /// Whose reading counts where plain Envoy's users and Istio differ
    #[cfg_attr(feature = "cli", arg(long, default_value = "standalone"))]
    pub profile: Profile,

    /// What decides about meaning.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub meaning: Meaning,

    /// How Envoy is set up.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub envoy: Envoy,

    /// The resource for a mesh.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub wasm_plugin: WasmPlugin,
}

impl Generation {
    /// What is to be written, once each and in a fixed order.
    ///
    /// # Errors
    ///
    /// The options don't go together: what is wrong, and the way out.
    pub fn outputs(&self, all_by_default: bool) -> Result<Vec<Output>, String> {
        self.check()?;
        self.envoy.check_addresses()?;
        let is_transparent = !self.envoy.transparent.is_empty();
        let is_dynamic = self.envoy.dynamic_resources;
        let mut outputs = if self.emit.is_empty() && all_by_default {
            Output::DEFAULT
                .into_iter()
                .filter(|output| *output != Output::Nftables || is_transparent)
                .filter(|output| !output.is_dynamic() || is_dynamic)
                .collect()
        } else {
            self.emit.clone()
        };
        if outputs.contains(&Output::Nftables) && !is_transparent {
            return Err(
                "rules for nftables redirect to a listener: say where with `--transparent ADDRESS:PORT`"
                    .to_owned(),
            );
        }
        if !is_dynamic && outputs.iter().any(|output| output.is_dynamic()) {
            return Err(
                "the bootstrap holds clusters, routes and listeners: `--dynamic-resources` has them in files"
                    .to_owned(),
            );
        }
        if self.meaning.gateway.is_some() {
            if self.names_mesh() {
                return Err(
                    "`--gateway` sets up an Envoy of its own; a mesh's gateways keep their routes".to_owned()
                );
            }
            outputs.retain(|output| !output.is_for_mesh());
        }
        outputs.sort_unstable();
        outputs.dedup();
        Ok(outputs)
    }

    /// What the command line's parser sees by itself; other callers have no such parser.
    fn check(&self) -> Result<(), String> {
        let Self { meaning, envoy, .. } = self;
        if let Some(code) = meaning.accept.iter().find(|code| !ACCEPTABLE.contains(&code.as_str())) {
            return Err(format!("`--accept {code}`: no error of that code can be accepted"));
        }
        for (option, given) in [
            ("--collapse-egress-gateway", meaning.collapse_egress_gateway),
            ("--explicit-proxy", envoy.explicit_proxy.is_some()),
            ("--transparent", !envoy.transparent.is_empty()),
        ] {
            if given && meaning.gateway.is_some() {
                return Err(format!("`{option}` is for a client's proxy, `--gateway` for another one"));
            }
        }
        if envoy.transparent.is_empty() && (envoy.proxy_mark.is_some() || envoy.proxy_uid.is_some()) {
            return Err("a mark or user of Envoy's own connections needs `--transparent`".to_owned());
        }
        Ok(())
    }

    /// All options.
    pub fn options(&self) -> Options {
        Options { envoy: self.envoy.options(), ..self.meaning.options(self.profile) }
    }

    /// The options of the resources for a mesh.
    pub fn mesh(&self) -> MeshOptions {
        self.wasm_plugin.options(&self.meaning.namespace)
    }

    /// Plans what `outputs` are to be made of.
    pub fn plan(&self, texts: &Texts, outputs: &[Output]) -> Planned {
        let mut options = self.options();
        options.mesh_outputs = outputs.iter().any(|output| output.is_for_mesh());
        options.envoy.sidecar = outputs.iter().all(|output| output.is_for_mesh());
        let mut planned = texts.plan(options);
        let mesh = planned.plan.as_ref().and_then(|plan| plan.mesh.as_ref());
        if let Some(mesh) = mesh.filter(|_| self.names_mesh()) {
            planned.findings.extend(mesh.findings.iter().cloned());
            planned.findings.extend(emit::check_mesh(&self.mesh(), &planned.options));
        }
        planned
    }

    /// The files of `outputs`.
    ///
    /// # Errors
    ///
    /// An output can't be made of this plan.
    pub fn render(&self, plan: &Plan, options: &Options, outputs: &[Output]) -> anyhow::Result<Vec<File>> {
        let mesh = self.mesh();
        let files = outputs.iter().map(|output| output.render(plan, options, &mesh));
        Ok(files.collect::<anyhow::Result<Vec<_>>>()?.concat())
    }

    /// Whether something for a mesh is asked for by name, so that one wants to know what can't be done there.
    fn names_mesh(&self) -> bool {
        self.emit.iter().any(|output| output.is_for_mesh())
    }
}

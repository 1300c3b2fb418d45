//! No text stops config-gen, and what it generates can be loaded.

use config_gen::analysis;
use config_gen::emit::Output;
use config_gen::explain::Explainer;
use config_gen::options::{OutboundPolicy, Profile};
use config_gen::request::Request;
use config_gen::source::Sources;
use config_gen::texts::Texts;
use config_gen::typed::Generation;
use portolan_engine::Engine;
use portolan_engine::config::Config;

/// `data` is a file of resources.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    generate(text, &Generation::default());
    generate(text, &everything());
}

/// All that can be asked for.
fn everything() -> Generation {
    let mut generation = Generation { profile: Profile::Istio, ..Generation::default() };
    generation.meaning.outbound_policy = Some(OutboundPolicy::Report);
    generation.meaning.collapse_egress_gateway = true;
    generation.envoy.explicit_proxy = Some(([127, 0, 0, 1], 3128).into());
    generation.envoy.dynamic_resources = true;
    generation.envoy.transparent = vec![([127, 0, 0, 1], 15001).into()];
    generation
}

fn generate(text: &str, generation: &Generation) {
    let mut sources = Sources::new();
    sources.add("fuzz.yaml", text);
    let texts = Texts::read(sources, [], &generation.meaning.read_options());
    let options = texts.mesh.options(generation.options(), &texts.read);
    let findings = analysis::run(&texts.read, &options, &[]).findings;
    findings.render(&texts.read.sources);

    let outputs = generation.outputs(true).unwrap_or_else(|error| panic!("{error}"));
    let planned = generation.plan(&texts, &outputs);
    planned.findings.render(&texts.read.sources);
    let Some(plan) = planned.sound() else { return };
    let Ok(files) = generation.render(plan, &planned.options, &outputs) else { return };
    let file = files.iter().find(|file| file.path == Output::PluginConfig.path());
    let Some(json) = file.map(|file| file.content.as_bytes()) else { return };
    if let Err(error) = Engine::from_json(json) {
        panic!("what was generated can't be loaded: {error}");
    }
    let Ok(config) = Config::from_json(json) else { return };
    let hosts: Vec<String> =
        config.virtual_hosts.iter().filter_map(|host| host.domains.first().cloned()).collect();
    let Ok(explainer) = Explainer::new(config, Some((plan, &planned.options)), None) else { return };
    for host in hosts.iter().take(4) {
        let sent = Request {
            port: 80,
            method: "GET".to_owned(),
            authority: host.replacen('*', "a", 1).into_bytes(),
            path: b"/".to_vec(),
            headers: Vec::new(),
            by_tls: false,
            by_proxy: false,
            random: 0,
        };
        explainer.explain(&sent).unwrap_or_else(|error| panic!("{error}"));
    }
}

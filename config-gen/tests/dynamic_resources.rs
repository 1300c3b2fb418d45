//! Files that Envoy discovers hold what the bootstrap would, for all of `testdata/`.

use std::collections::BTreeMap;
use std::path::Path;

use config_gen::cases::load;
use config_gen::diagnostic::Diagnostics;
use config_gen::emit::{MeshOptions, Output};
use config_gen::input::{files, read};
use config_gen::mesh_config::{self, MeshConfig};
use config_gen::options::Options;
use config_gen::plan::{ACCEPTABLE, Plan};
use serde_json::Value;

#[test]
fn they_hold_what_the_bootstrap_would() {
    let sources = files::collect(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")]).unwrap();
    let (cases, wrong) = load(&sources);
    assert!(!wrong.has_errors(), "{}", wrong.render(&sources));
    let mut count = 0;
    for case in &cases {
        // Profiles differ in the plan, and not in where it is written.
        for (setup, profile) in case.setups.iter().zip(case.profiles.iter().cycle()) {
            let mut sources = files::collect(&setup.files).unwrap();
            for resources in &setup.resources {
                sources.add(&case.path, resources.clone());
            }
            let mut read = read(sources, &setup.read_options());
            let mesh = match &setup.mesh_config {
                Some(text) => mesh_config::read(&case.path, text, &mut read),
                None => MeshConfig::default(),
            };
            mesh.apply(&mut read);
            let mut options = mesh.options(setup.options(*profile), &read);
            options.accept.extend(ACCEPTABLE.iter().map(|code| (*code).to_owned()));
            let mut found = Diagnostics::new();
            if read.diagnostics.has_errors() {
                continue;
            }
            let plan = Plan::of(&read.resources(), &options, &mut found);
            if found.has_errors() {
                continue;
            }
            compare(&plan, &mut options, &case.path);
            count += 1;
        }
    }
    println!("{count} configurations");
    assert!(count > 100, "{count}");
}

fn compare(plan: &Plan, options: &mut Options, name: &str) {
    options.envoy.dynamic_resources = false;
    let bootstrap = render(Output::Envoy, plan, options).remove("envoy.yaml").unwrap();
    options.envoy.dynamic_resources = true;
    let dynamic = render(Output::Envoy, plan, options).remove("envoy.yaml").unwrap();
    assert!(dynamic.get("static_resources").is_none(), "{name}");
    assert_eq!(strip(dynamic, "dynamic_resources"), strip(bootstrap.clone(), "static_resources"), "{name}");

    let resources = |output: Output| -> Vec<Value> {
        let files = render(output, plan, options).into_values();
        let all = files.flat_map(|file| {
            assert!(file["version_info"].as_str().is_some_and(|version| version.len() == 16), "{name}");
            file["resources"].as_array().unwrap().clone()
        });
        all.map(|resource| strip(resource, "@type")).collect()
    };
    assert_eq!(Value::Array(resources(Output::Cds)), bootstrap["static_resources"]["clusters"], "{name}");
    let routes = resources(Output::Rds);
    let routes: BTreeMap<String, Value> =
        routes.into_iter().map(|routes| (routes["name"].as_str().unwrap().to_owned(), routes)).collect();
    let mut listeners = Value::Array(resources(Output::Lds));
    put_back(&mut listeners, &routes);
    let mut inline = bootstrap["static_resources"]["listeners"].clone();
    for listeners in [&mut listeners, &mut inline] {
        without_delays(listeners);
    }
    assert_eq!(listeners, inline, "{name}");
}

fn render(output: Output, plan: &Plan, options: &Options) -> BTreeMap<String, Value> {
    let files = output.render(plan, options, &MeshOptions::default()).unwrap();
    let parse = |text: &str| serde_saphyr::from_str(text).unwrap();
    files.into_iter().map(|file| (file.path, parse(&file.content))).collect()
}

fn strip(mut value: Value, key: &str) -> Value {
    value.as_object_mut().unwrap().remove(key);
    value
}

/// Routes where references to them are.
fn put_back(value: &mut Value, routes: &BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(rds) = fields.remove("rds") {
                let name = rds["route_config_name"].as_str().unwrap();
                let path = rds["config_source"]["path_config_source"]["path"].as_str().unwrap();
                assert_eq!(path, format!("envoy.d/rds/{name}/routes.json"));
                fields.insert("route_config".to_owned(), routes[name].clone());
            }
            fields.values_mut().for_each(|field| put_back(field, routes));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| put_back(item, routes)),
        _ => {}
    }
}

/// Delays are always possible where rules change under way.
fn without_delays(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(without_delays),
        Value::Array(items) => {
            items.retain(|item| {
                item["name"] != "envoy.filters.http.fault" && item != "x-envoy-fault-delay-request"
            });
            items.iter_mut().for_each(without_delays);
        }
        _ => {}
    }
}

//! What is written for proxies that keep the routes of a control plane (GAP-24), and what is said of it.

use std::path::Path;

use config_gen::diagnostic::Diagnostics;
use config_gen::emit::{MeshOptions, Output, check_mesh};
use config_gen::input::{ReadOptions, read};
use config_gen::options::{EnvoyOptions, Options};
use config_gen::plan::Plan;
use config_gen::source::Sources;
use serde_json::Value;

const REGISTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: files}
spec:
  hosts: [files.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 8080, name: http-alt, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: files}
spec: {host: files.example.com, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{name: http, port: 9080}]}
";

fn rule(http: &str) -> String {
    format!(
        "{REGISTRY}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: r}}\n\
         spec: {{hosts: [files.example.com], http: [{http}]}}\n"
    )
}

fn plan(yaml: &str) -> (Plan, Vec<String>) {
    let mut sources = Sources::new();
    sources.add("a.yaml", yaml);
    let read = read(sources, &ReadOptions::default());
    assert!(!read.diagnostics.has_errors(), "{}", read.diagnostics.render(&read.sources));
    let envoy = EnvoyOptions { sidecar: true, ..EnvoyOptions::default() };
    let options = Options { mesh_outputs: true, envoy, ..Options::default() };
    let mut found = Diagnostics::new();
    let mut plan = Plan::of(&read.resources(), &options, &mut found);
    assert!(!found.has_errors(), "{}", found.render(&read.sources));
    let findings = &mut plan.mesh.as_mut().unwrap().findings;
    *findings = findings.drain(..).map(|finding| read.locate(finding)).collect();
    let lines = findings
        .iter()
        .map(|finding| format!("{} {}", finding.code, finding.field.as_deref().unwrap_or_default()))
        .filter(|line| line.starts_with("not-in-mesh"))
        .collect();
    (plan, lines)
}

/// `found` are the fields of the one HTTP rule that can't be done.
#[track_caller]
fn assert_left_out(http: &str, found: &[&str]) {
    let expected: Vec<String> =
        found.iter().map(|field| format!("not-in-mesh spec.http[0].{field}")).collect();
    assert_eq!(plan(&rule(http)).1, expected, "{http}");
}

#[test]
fn what_sidecars_decide_is_listed_by_field() {
    let own = "route: [{destination: {host: files.example.com}}]";
    for (rest, field) in [
        ("timeout: 3s", "timeout"),
        ("retries: {attempts: 2}", "retries"),
        ("mirror: {host: reviews}", "mirror.host"),
        ("mirrors: [{destination: {host: reviews}}]", "mirrors[0].destination.host"),
        ("fault: {delay: {fixedDelay: 1s, percentage: {value: 10}}}", "fault.delay"),
    ] {
        assert_left_out(&format!("{{{own}, {rest}}}"), &[field]);
    }
    for rest in [
        "rewrite: {uri: /x}",
        "headers: {request: {set: {a: b}}}",
        "corsPolicy: {allowOrigins: [{exact: 'http://a'}]}",
        "fault: {abort: {httpStatus: 500, percentage: {value: 10}}}",
    ] {
        assert_left_out(&format!("{{{own}, {rest}}}"), &[]);
    }
    assert_left_out("{redirect: {uri: /x}}", &[]);
    assert_left_out("{directResponse: {status: 200}}", &[]);
    assert_left_out(
        "{route: [{destination: {host: files.example.com, subset: v1}}]}",
        &["route[0].destination.subset"],
    );
    assert_left_out(
        "{route: [{destination: {host: files.example.com}, weight: 1}, {destination: {host: reviews}, weight: 1}]}",
        &["route[1]"],
    );
}

#[test]
fn a_destination_has_to_be_where_the_sidecar_leads() {
    // To the host of the request, on the port that was called.
    assert_left_out("{rewrite: {uri: /x}, route: [{destination: {host: files.example.com}}]}", &[]);
    assert_left_out("{route: [{destination: {host: reviews}}]}", &["route[0].destination.host"]);
    for authority in ["reviews", "reviews.default:1", "REVIEWS.default.svc.cluster.local"] {
        assert_left_out(
            &format!(
                "{{rewrite: {{authority: '{authority}'}}, route: [{{destination: {{host: reviews}}}}]}}"
            ),
            &[],
        );
    }
    assert_left_out(
        "{rewrite: {authority: other.example.com}, route: [{destination: {host: files.example.com}}]}",
        &["route[0].destination.host"],
    );
    // The host is called on two ports, and only one of them is this.
    assert_left_out(
        "{route: [{destination: {host: files.example.com, port: {number: 80}}}]}",
        &["route[0].destination.port.number"],
    );
    assert_left_out(
        "{match: [{port: 80}], route: [{destination: {host: files.example.com, port: {number: 80}}}]}",
        &[],
    );
}

fn render(output: Output, plan: &Plan, mesh: &MeshOptions) -> Result<(String, Value), String> {
    let files = output.render(plan, &Options::default(), mesh).map_err(|error| error.to_string())?;
    let file = files.into_iter().next().unwrap();
    assert_eq!(Path::new(&file.path).extension().unwrap(), "yaml");
    let value = serde_saphyr::from_str(&file.content).unwrap();
    Ok((file.content, value))
}

#[test]
fn every_resource_holds_the_same_config() {
    let (plan, _) = plan(&rule(
        "{rewrite: {uri: /x}, timeout: 1s, match: [{uri: {prefix: /a}}], route: [{destination: {host: files.example.com}}]}",
    ));
    let config = serde_json::to_value(plan.mesh_config()).unwrap();
    assert_eq!(config["mode"], "mesh");
    assert!(!config.to_string().contains("outbound|"));
    // Without their clusters the rules of several ports are the same.
    assert_eq!(config["virtualHosts"].as_array().unwrap().len(), 1);
    assert_eq!(config["virtualHosts"][0]["ports"], serde_json::json!([80, 8080]));
    let mesh = MeshOptions {
        url: "oci://registry.example/portolan:1".to_owned(),
        sha256: Some("a".repeat(64)),
        selector: [("app".to_owned(), "web".to_owned())].into(),
        target_gateway: Some("eg".to_owned()),
        namespace: "shop".to_owned(),
    };
    let (text, plugin) = render(Output::WasmPlugin, &plan, &mesh).unwrap();
    assert!(text.contains("\n# - VirtualService default/r"), "{text}");
    let (_, extension) = render(Output::TrafficExtension, &plan, &mesh).unwrap();
    assert_eq!(plugin["kind"], "WasmPlugin");
    assert_eq!(extension["kind"], "TrafficExtension");
    for resource in [&plugin, &extension] {
        assert_eq!(resource["apiVersion"], "extensions.istio.io/v1alpha1");
        assert_eq!(resource["metadata"], serde_json::json!({"name": "portolan", "namespace": "shop"}));
        assert_eq!(resource["spec"]["match"], serde_json::json!([{"mode": "CLIENT"}]), "WP-14");
        assert_eq!(resource["spec"]["selector"]["matchLabels"]["app"], "web", "WP-16");
    }
    for module in [&plugin["spec"], &extension["spec"]["wasm"]] {
        assert_eq!(module["url"], mesh.url);
        assert_eq!(module["sha256"], "a".repeat(64));
        assert_eq!(module["failStrategy"], "FAIL_RELOAD", "WP-11");
        assert_eq!(module["pluginConfig"], config, "WP-07");
    }
    assert_eq!(extension["spec"].as_object().unwrap().len(), 3, "the module's fields stand below `wasm`");

    let (_, policy) = render(Output::EnvoyExtensionPolicy, &plan, &mesh).unwrap();
    assert_eq!(policy["apiVersion"], "gateway.envoyproxy.io/v1alpha1");
    assert_eq!(policy["spec"]["targetRefs"][0]["name"], "eg");
    let wasm = &policy["spec"]["wasm"][0];
    assert_eq!(wasm["config"], config);
    assert_eq!(wasm["failOpen"], false);
    assert_eq!(wasm["code"]["type"], "Image");
    assert_eq!(wasm["code"]["image"]["url"], "registry.example/portolan:1");
    let by_http = MeshOptions { url: "https://a.example/p.wasm".to_owned(), ..mesh.clone() };
    let (_, policy) = render(Output::EnvoyExtensionPolicy, &plan, &by_http).unwrap();
    assert_eq!(policy["spec"]["wasm"][0]["code"]["http"]["url"], "https://a.example/p.wasm");
    let local = MeshOptions { url: "file:///p.wasm".to_owned(), ..mesh.clone() };
    assert!(render(Output::EnvoyExtensionPolicy, &plan, &local).unwrap_err().contains("--wasm-url"));
    let nowhere = MeshOptions { target_gateway: None, ..mesh };
    assert!(render(Output::EnvoyExtensionPolicy, &plan, &nowhere).unwrap_err().contains("--target-gateway"));
}

/// WP-14, WP-16
#[test]
fn the_root_namespace_without_a_selector_is_warned_of() {
    let root = MeshOptions { namespace: "istio-system".to_owned(), ..MeshOptions::default() };
    assert_eq!(check_mesh(&root, &Options::default()).unwrap().code, "mesh-reaches-gateways");
    let chosen = MeshOptions { selector: [("a".to_owned(), "b".to_owned())].into(), ..root };
    assert_eq!(check_mesh(&chosen, &Options::default()), None);
    assert_eq!(check_mesh(&MeshOptions::default(), &Options::default()), None);
}

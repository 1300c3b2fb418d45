//! What single fields of a route come to in the plugin config, where no case can tell.

use config_gen::diagnostic::Diagnostics;
use config_gen::emit::{MeshOptions, Output};
use config_gen::input::{self, ReadOptions};
use config_gen::options::Options;
use config_gen::plan::Plan;
use config_gen::source::Sources;
use serde_json::{Value, json};

/// The first route of a VirtualService whose `http` list has this entry only.
fn route(http: &str) -> Value {
    let mut sources = Sources::new();
    let head = "apiVersion: networking.istio.io/v1\nkind";
    let ports = "[{number: 80, name: http, protocol: HTTP}, {number: 8080, name: other, protocol: HTTP}]";
    sources.add(
        "in.yaml",
        format!(
            "{head}: ServiceEntry\nmetadata: {{name: a}}\nspec: {{hosts: [a.com, b.com], resolution: DNS, ports: {ports}}}\n---\n\
             {head}: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a.com], http: [{{{http}}}]}}\n"
        ),
    );
    let read = input::read(sources, &ReadOptions::default());
    assert!(!read.diagnostics.has_errors(), "{}", read.diagnostics.render(&read.sources));
    let options = Options::default();
    let plan = Plan::of(&read.resources(), &options, &mut Diagnostics::new());
    let files = Output::PluginConfig.render(&plan, &options, &MeshOptions::default()).unwrap();
    let config: Value = serde_json::from_str(&files[0].content).unwrap();
    let hosts = config["virtualHosts"].as_array().unwrap();
    let host =
        hosts.iter().find(|host| host["name"] == "VirtualService default/a" && host["ports"] == json!([80]));
    host.unwrap_or_else(|| panic!("{config:#}"))["routes"][0].clone()
}

const TO_A: &str = "route: [{destination: {host: a.com, port: {number: 80}}}]";

#[test]
fn conditions_have_three_forms() {
    // VS-MATCH-10 to VS-MATCH-12, VS-MATCH-07
    for field in ["scheme", "method", "authority"] {
        for form in ["exact: http", "prefix: ht", "regex: 'https?'"] {
            let route = route(&format!("match: [{{{field}: {{{form}}}}}], {TO_A}"));
            let (name, value) = form.split_once(": ").unwrap();
            let matched = &route["match"][field];
            // What is exact may be written as the text alone.
            let wanted = json!({name: value.trim_matches('\'')});
            assert!(*matched == wanted || *matched == wanted[name], "{field} {form}: {route}");
        }
    }
}

#[test]
fn routes_and_their_matches_have_names() {
    // VS-ORD-05, VS-MATCH-35
    let named = format!("name: first, match: [{{name: get, method: {{exact: GET}}}}], {TO_A}");
    assert_eq!(route(&named)["name"], "first.get");
    assert_eq!(route(&format!("name: first, {TO_A}"))["name"], "first");
    assert_eq!(route(TO_A)["name"], "http[0]");
}

#[test]
fn ports_of_redirects() {
    // VS-RD-07, VS-RD-09
    let port = |rest: &str| {
        route(&format!("redirect: {{uri: /x, scheme: https{rest}}}"))["route"]["redirect"]["port"].clone()
    };
    assert_eq!(port(", port: 8443"), 8443);
    assert_eq!(port(", derivePort: FROM_REQUEST_PORT"), 80);
    assert_eq!(port(", derivePort: FROM_PROTOCOL_DEFAULT"), Value::Null);
}

#[test]
fn outdated_fields_mean_the_same() {
    let mirror =
        |rest: &str| route(&format!("mirror: {{host: b.com, port: {{number: 8080}}}}{rest}, {TO_A}"));
    let cors = |origins: &str| route(&format!("corsPolicy: {{{origins}}}, {TO_A}"));
    let delay = |percent: &str| route(&format!("fault: {{delay: {{fixedDelay: 1s, {percent}}}}}, {TO_A}"));
    // VAL-VS-09
    let percentage = mirror(", mirrorPercentage: {value: 30}");
    assert_eq!(mirror(", mirrorPercent: 30"), percentage);
    assert_eq!(mirror(", mirror_percent: 30"), percentage);
    assert_ne!(mirror(""), percentage);
    // VS-CORS-01
    assert_eq!(cors("allowOrigin: ['https://a']"), cors("allowOrigins: [{exact: 'https://a'}]"));
    // VS-FAULT-02
    assert_eq!(delay("percent: 5"), delay("percentage: {value: 5}"));
    assert_ne!(delay("percent: 5"), delay("percent: 6"));
}

#[test]
fn mirrors_have_ports() {
    // VAL-VS-14
    for mirror in [
        "mirror: {host: b.com, port: {number: 8080}}",
        "mirrors: [{destination: {host: b.com, port: {number: 8080}}}]",
    ] {
        let route = route(&format!("{mirror}, {TO_A}")).to_string();
        assert!(route.contains("outbound|8080||b.com"), "{route}");
    }
}

#[test]
fn origins_and_preflights() {
    // VS-CORS-01, VS-CORS-05
    let cors = |rest: &str| route(&format!("corsPolicy: {{{rest}}}, {TO_A}"))["route"]["cors"].clone();
    let regex = cors("allowOrigins: [{regex: 'https://.*'}]");
    assert_eq!(regex["allowOrigins"], json!([{"regex": "https://.*"}]));
    let unmatched = |value: &str| {
        cors(&format!("allowOrigins: [{{exact: 'https://a'}}], unmatchedPreflights: {value}"))
            ["ignoreUnmatchedPreflights"]
            .clone()
    };
    assert_eq!(unmatched("IGNORE"), true);
    assert_eq!(unmatched("FORWARD"), Value::Null);
    assert_eq!(unmatched("UNSPECIFIED"), Value::Null);
}

//! What a cluster refuses in a WasmPlugin (VAL-CRD-24).

use std::collections::HashMap;

use super::super::read::{int, string};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::Node;

/// Where proxies find a module (WP-01).
const SCHEMES: [&str; 4] = ["oci", "http", "https", "file"];

pub(crate) fn validate(spec: &Node, out: &mut Diagnostics) {
    if let Some(url) = string(spec.get("url"))
        && let Err(why) = module_url(&url)
    {
        out.push(error("invalid-url", why).at(url.span));
    }
    if let Some(digest) = string(spec.get("sha256")).filter(|digest| !digest.is_empty() && !is_sha256(digest))
    {
        out.push(error("invalid-digest", NO_DIGEST).at(digest.span));
    }
    for name in ["pluginName", "imagePullSecret"] {
        if let Some(empty) = string(spec.get(name)).filter(|text| text.is_empty()) {
            out.push(error("empty-value", format!("`{name}` is empty")).at(empty.span));
        }
    }
    environment(spec, out);
    ports(spec, out);
}

fn error(code: &'static str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code, message).rule("VAL-CRD-24")
}

/// Says why `url` names no module.
pub(crate) fn module_url(url: &str) -> Result<(), &'static str> {
    match url.split_once("://") {
        _ if url.is_empty() => Err("the URL is empty"),
        Some((scheme, rest)) if SCHEMES.contains(&scheme) && !rest.is_empty() => Ok(()),
        // The name of an image.
        None => Ok(()),
        Some(_) => Err("the scheme must be oci, http, https or file"),
    }
}

const NO_DIGEST: &str = "a digest has 64 lower-case hexadecimal digits";

/// Says why `text` is no digest.
pub(crate) fn sha256(text: &str) -> Result<(), &'static str> {
    if is_sha256(text) { Ok(()) } else { Err(NO_DIGEST) }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// WP-13
fn environment(spec: &Node, out: &mut Diagnostics) {
    let variables = spec.get("vmConfig").and_then(|vm| vm.get("env")).map(Node::items).unwrap_or_default();
    let mut names = HashMap::new();
    for variable in variables {
        let Some(name) = string(variable.get("name")) else { continue };
        if name.is_empty() {
            out.push(error("empty-value", "a variable has no name").at(name.span));
        }
        if let Some(first) = names.insert(name.value.clone(), name.span) {
            out.push(
                error("duplicate-variable", format!("the variable `{}` is given twice", name.value))
                    .at(name.span)
                    .also("first given at", first),
            );
        }
        let of_host = variable.get("valueFrom").and_then(Node::as_str) == Some("HOST");
        if let Some(value) = string(variable.get("value")).filter(|value| of_host && !value.is_empty()) {
            out.push(error("exclusive-fields", "a variable of the host can't have a `value`").at(value.span));
        }
    }
}

/// WP-14
fn ports(spec: &Node, out: &mut Diagnostics) {
    for entry in spec.get("match").map(Node::items).unwrap_or_default() {
        let mut numbers = HashMap::new();
        for port in entry.get("ports").map(Node::items).unwrap_or_default() {
            let Some(number) = int::<u16>(port.get("number")) else { continue };
            if let Some(first) = numbers.insert(number.value, number.span) {
                out.push(
                    error("duplicate-port", format!("the port {} is given twice", number.value))
                        .at(number.span)
                        .also("first given at", first),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::input::{ReadOptions, read};
    use crate::source::Sources;

    fn findings(spec: &str) -> Vec<String> {
        let mut sources = Sources::new();
        let head = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: x}\nspec: ";
        sources.add("a.yaml", format!("{head}{spec}\n"));
        let options = ReadOptions { accept_ignored: vec!["WasmPlugin".to_owned()], ..ReadOptions::default() };
        let read = read(sources, &options);
        let found = read.diagnostics.iter().filter(|found| found.code != "ignored-kind");
        found
            .map(|d| format!("{} {} {}", d.code, d.field.as_deref().unwrap_or("-"), d.rule.unwrap_or("-")))
            .collect()
    }

    /// VAL-CRD-24
    #[test]
    fn what_a_cluster_refuses() {
        let digest = "0".repeat(64);
        let valid = [
            "{url: x}",
            "{url: 'oci://x/y:1'}",
            "{url: 'file:///x.wasm', sha256: ''}",
            &format!("{{url: 'https://x/y', sha256: '{digest}'}}"),
            "{url: x, selector: {matchLabels: {a: b}}, phase: AUTHN, priority: 1, failStrategy: FAIL_OPEN}",
            "{url: x, targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}]}",
            "{url: x, match: [{mode: CLIENT, ports: [{number: 80}, {number: 443}]}, {ports: [{number: 80}]}]}",
            "{url: x, vmConfig: {env: [{name: A, value: '1'}, {name: B, valueFrom: HOST}]}}",
            "{url: x, pluginConfig: {any: [thing]}, pluginName: p, imagePullSecret: s, imagePullPolicy: Always}",
        ];
        for spec in valid {
            assert_eq!(findings(spec), Vec::<String>::new(), "{spec}");
        }
        let long = "x".repeat(2049);
        let variables: String = (0..257).map(|index| format!("{{name: V{index}}},")).collect();
        let targets = "{kind: Gateway, name: g},".repeat(17);
        for (spec, expected) in [
            ("{}", "missing-field spec VAL-CRD-24"),
            ("{url: ''}", "invalid-url spec.url VAL-CRD-24"),
            ("{url: 'ftp://x/y.wasm'}", "invalid-url spec.url VAL-CRD-24"),
            ("{url: x, sha256: ABC}", "invalid-digest spec.sha256 VAL-CRD-24"),
            ("{url: x, pluginName: ''}", "empty-value spec.pluginName VAL-CRD-24"),
            ("{url: x, imagePullSecret: ''}", "empty-value spec.imagePullSecret VAL-CRD-24"),
            (
                "{url: x, selector: {}, targetRef: {kind: Gateway, name: g}}",
                "exclusive-fields spec VAL-CRD-24",
            ),
            (
                "{url: x, targetRef: {kind: Gateway, name: g, namespace: n}}",
                "unknown-field spec.targetRef.namespace VAL-CRD-24",
            ),
            (&format!("{{url: x, targetRefs: [{targets}]}}"), "wrong-count spec.targetRefs VAL-CRD-24"),
            (
                "{url: x, match: [{ports: [{number: 80}, {number: 80}]}]}",
                "duplicate-port spec.match[0].ports[1].number VAL-CRD-24",
            ),
            (
                "{url: x, match: [{ports: [{number: 65536}]}]}",
                "out-of-range spec.match[0].ports[0].number VAL-CRD-24",
            ),
            (
                "{url: x, vmConfig: {env: [{name: A}, {name: A}]}}",
                "duplicate-variable spec.vmConfig.env[1].name VAL-CRD-24",
            ),
            (
                "{url: x, vmConfig: {env: [{name: A, valueFrom: HOST, value: b}]}}",
                "exclusive-fields spec.vmConfig.env[0].value VAL-CRD-24",
            ),
            (
                &format!("{{url: x, vmConfig: {{env: [{{name: A, value: {long}}}]}}}}"),
                "too-long spec.vmConfig.env[0].value VAL-CRD-24",
            ),
            (
                &format!("{{url: x, vmConfig: {{env: [{variables}]}}}}"),
                "wrong-count spec.vmConfig.env VAL-CRD-24",
            ),
            ("{url: x, failStrategy: OPEN}", "invalid-value spec.failStrategy VAL-CRD-24"),
        ] {
            assert_eq!(findings(spec), [expected], "{spec}");
        }
    }
}

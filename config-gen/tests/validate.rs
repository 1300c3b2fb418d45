//! Findings of the analysis that depend on more than one resource, and where they end.
//!
//! `tests/messages` has an example for each code; here are the conditions around them.

use config_gen::analysis::analyze;
use config_gen::diagnostic::Severity;
use config_gen::input::{ReadOptions, read};
use config_gen::options::{Options, Profile};
use config_gen::source::Sources;

const ISTIO: &[Profile] = &[Profile::Istio];
const BOTH: &[Profile] = &[Profile::Standalone, Profile::Istio];

/// A ServiceEntry with an HTTP port, and more fields.
fn entry(host: &str, more: &str) -> String {
    let ports = "{number: 80, name: http, protocol: HTTP}";
    with_ports(host, ports, more)
}

fn with_ports(host: &str, ports: &str, more: &str) -> String {
    let name = host.replace(['*', '.'], "x").to_lowercase();
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e{name}}}\nspec:\n  \
         hosts: ['{host}']\n  location: MESH_EXTERNAL\n  ports: [{ports}]\n  {more}\n"
    )
}

/// A VirtualService for `hosts` with one route, and more of it.
fn service(name: &str, hosts: &str, route: &str, more: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  \
         hosts: [{hosts}]\n  {more}\n  http:\n  - {route}\n"
    )
}

fn to(host: &str) -> String {
    format!("route: [{{destination: {{host: {host}, port: {{number: 80}}}}}}]")
}

fn rule(host: &str, tls: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r}}\nspec:\n  host: \
         {host}\n  trafficPolicy: {{tls: {tls}}}\n"
    )
}

/// Whether `code` is found in `yaml` by these profiles, and by no others.
#[track_caller]
fn finds(code: &str, profiles: &[Profile], yaml: &str) {
    for profile in BOTH {
        let mut sources = Sources::new();
        sources.add("in.yaml", yaml);
        let read = read(sources, &ReadOptions::default());
        let options = Options { profile: *profile, ..Options::default() };
        let findings = analyze(&read, &options);
        let found = findings.iter().any(|finding| finding.code == code);
        assert_eq!(
            found,
            profiles.contains(profile),
            "{code} in profile {profile}\n{yaml}\n{}",
            findings.render(&read.sources)
        );
    }
}

const DNS: &str = "resolution: DNS";

/// VH-15 to VH-18
#[test]
fn hosts_that_nobody_registers() {
    let code = "host-not-in-registry";
    let api = entry("api.example.com", DNS);
    finds(code, BOTH, &format!("{api}{}", service("v", "made-up", &to("api.example.com"), "")));
    finds(code, &[], &format!("{api}{}", service("v", "api.example.com", &to("api.example.com"), "")));
    finds(code, &[], &format!("{api}{}", service("v", "'*.example.com'", &to("api.example.com"), "")));
    finds(code, BOTH, &format!("{api}{}", service("v", "'*.example.org'", &to("api.example.com"), "")));
    // Not the mesh's business.
    finds(
        code,
        &[],
        &format!("{api}{}", service("v", "made-up", &to("api.example.com"), "gateways: [edge]")),
    );
    finds(code, &[], &format!("{api}{}", service("v", "192.0.2.1", &to("api.example.com"), "")));
    // The host of a wildcard has its rules on port 80 alone, which matters where there is another port.
    let wildcard = |ports: &str| with_ports("*.example.com", ports, "resolution: NONE");
    let exact = service("v", "a.example.com", &to("api.example.com"), "");
    finds(code, &[], &format!("{}{exact}", wildcard("{number: 80, name: http, protocol: HTTP}")));
    finds(code, ISTIO, &format!("{}{exact}", wildcard("{number: 8080, name: http, protocol: HTTP}")));
}

/// VH-16
#[test]
fn a_wildcard_within_a_wildcard() {
    let code = "host-not-in-registry";
    let registered = |host: &str| entry(host, "resolution: NONE");
    let rules = |host: &str| service("v", &format!("'{host}'"), "redirect: {uri: /x}", "");
    finds(code, BOTH, &format!("{}{}", registered("*.example.com"), rules("*.a.example.com")));
    finds(code, &[], &format!("{}{}", registered("*.example.com"), rules("*.example.com")));
    finds(code, &[], &format!("{}{}", registered("*.a.example.com"), rules("*.example.com")));
}

#[test]
fn a_slip_of_the_pen_is_graver_than_a_made_up_name() {
    let severity = |host: &str| {
        let mut sources = Sources::new();
        let api = entry("weather.example.com", DNS);
        sources.add("in.yaml", format!("{api}{}", service("v", host, &to("weather.example.com"), "")));
        let read = read(sources, &ReadOptions::default());
        let findings = analyze(&read, &Options::default());
        findings.iter().find(|finding| finding.code == "host-not-in-registry").map(|finding| finding.severity)
    };
    assert_eq!(severity("wheather.example.com"), Some(Severity::Warning));
    assert_eq!(severity("weather.exmaple.com"), Some(Severity::Warning));
    // One of a series, and something else altogether.
    assert_eq!(severity("v2.example.com"), Some(Severity::Note));
    assert_eq!(severity("shop"), Some(Severity::Note));
}

/// SE-P-04, design section 3
#[test]
fn http_rules_on_tls_ports() {
    let code = "http-rules-on-tls-port";
    let https = "{number: 443, name: https, protocol: HTTPS}";
    let both = format!("{https}, {{number: 80, name: http, protocol: HTTP}}");
    let route = "route: [{destination: {host: a.example.com, port: {number: 443}}}]";
    let of = |ports: &str, route: &str, more: &str| {
        format!(
            "{}{}{more}",
            with_ports("a.example.com", ports, DNS),
            service("v", "a.example.com", route, "")
        )
    };
    let simple = rule("a.example.com", "{mode: SIMPLE}");
    finds(code, BOTH, &of(https, route, ""));
    // The host of a wildcard is no other case.
    let below = service("v", "b.example.com", route, "");
    finds(code, BOTH, &format!("{}{below}", with_ports("*.example.com", https, "resolution: NONE")));
    // In profile standalone plaintext comes to the rules, and TLS is originated.
    finds(code, ISTIO, &of(https, route, &simple));
    finds(code, &[], &of(&both, route, ""));
    finds(code, BOTH, &of(&both, &format!("match: [{{port: 443}}]\n    {route}"), ""));
    finds(code, &[], &of(&both, &format!("match: [{{port: 80}}]\n    {route}"), ""));
}

/// VS-RW-12, DR-TLS-07
#[test]
fn foreign_hosts() {
    let code = "foreign-host";
    let of =
        |entry: &str, route: &str, more: &str| format!("{entry}{}{more}", service("v", "web", route, ""));
    let api = entry("api.example.com", DNS);
    let route = to("api.example.com");
    finds(code, BOTH, &of(&api, &route, ""));
    finds(code, &[], &of(&api, &format!("rewrite: {{authority: api.example.com}}\n    {route}"), ""));
    finds(code, &[], &of(&api, &format!("headers: {{request: {{set: {{host: x}}}}}}\n    {route}"), ""));
    // One's own servers behind a made-up name.
    let own = entry("api.example.com", "resolution: STATIC\n  endpoints: [{address: 192.0.2.1}]");
    finds(code, &[], &of(&own, &route, ""));
    finds(code, &[], &of(&api.replace("MESH_EXTERNAL", "MESH_INTERNAL"), &route, ""));
    let what_follows = |more: &str| {
        let mut sources = Sources::new();
        sources.add("in.yaml", of(&api, &route, more));
        let read = read(sources, &ReadOptions::default());
        let findings = analyze(&read, &Options::default());
        findings.iter().find(|finding| finding.code == code).unwrap().message.clone()
    };
    assert!(what_follows("").contains("404"));
    assert!(what_follows(&rule("api.example.com", "{mode: SIMPLE}")).contains("503"));
    assert!(what_follows(&rule("api.example.com", "{mode: SIMPLE, sni: api.example.com}")).contains("404"));
}

/// VS-RW-01 to VS-RW-07
#[test]
fn slashes_of_rewrites() {
    for (prefix, uri, code) in [
        ("/a", "/", "rewrite-doubles-slash"),
        ("/a", "/b/", "rewrite-doubles-slash"),
        ("/a/", "/b", "rewrite-drops-slash"),
        ("/a", "b", "rewrite-drops-slash"),
        ("/", "/b", "rewrite-drops-slash"),
        ("/a", "/b", ""),
        ("/a/", "/b/", ""),
        ("/a/", "/", ""),
        ("/a", "/b//c", ""),
    ] {
        let api = entry("a.example.com", DNS);
        let route = format!(
            "match: [{{uri: {{prefix: '{prefix}'}}}}]\n    rewrite: {{uri: '{uri}'}}\n    {}",
            to("a.example.com")
        );
        let yaml = format!("{api}{}", service("v", "a.example.com", &route, ""));
        for other in ["rewrite-doubles-slash", "rewrite-drops-slash"] {
            finds(other, if other == code { BOTH } else { &[] }, &yaml);
        }
    }
}

#[test]
fn regexes_with_one_anchor() {
    for (regex, found) in [
        ("^/a", true),
        ("/a$", true),
        ("^/a$", false),
        ("^/a.*", false),
        (".*/a$", false),
        ("/a", false),
        ("^/a|/b$", false),
        (r"/a\\$", false),
    ] {
        let api = entry("a.example.com", DNS);
        let route = format!("match: [{{uri: {{regex: \"{regex}\"}}}}]\n    {}", to("a.example.com"));
        let yaml = format!("{api}{}", service("v", "a.example.com", &route, ""));
        finds("regex-takes-whole-text", if found { BOTH } else { &[] }, &yaml);
    }
}

#[test]
fn wildcards_that_open_names_of_strangers() {
    for (host, found) in [
        ("*.com", true),
        ("*.co.uk", true),
        ("*.github.io", true),
        ("*.s3.amazonaws.com", false),
        ("*.example.com", false),
        ("*.local", false),
        ("*.svc.cluster.local", false),
    ] {
        finds("public-wildcard", if found { BOTH } else { &[] }, &entry(host, "resolution: NONE"));
    }
}

/// VS-HOST-07, VIS-03
#[test]
fn two_virtual_services_for_one_host_in_namespaces_of_others() {
    let api = entry("a.example.com", DNS);
    let of = |name: &str, namespace: &str, exports: &str| {
        service(name, "a.example.com", &to("a.example.com"), exports)
            .replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, namespace: {namespace}}}"))
    };
    let pair = |one: &str, other: &str| format!("{api}{}{}", of("a", "n", one), of("b", "m", other));
    let code = "host-already-routed";
    finds(code, BOTH, &pair("", ""));
    finds(code, BOTH, &pair("exportTo: [shop]", "exportTo: [shop, other]"));
    finds(code, BOTH, &pair("exportTo: ['.']", ""));
    finds(code, &[], &pair("exportTo: ['.']", "exportTo: ['.']"));
    finds(code, &[], &pair("exportTo: [shop]", "exportTo: [other]"));
    finds(code, BOTH, &pair("exportTo: [m]", "exportTo: ['.']"));
}

/// What is missing because of an error elsewhere is not reported as missing.
#[test]
fn errors_have_no_followers() {
    let api = entry("a.example.com", DNS);
    let route = service("v", "a.example.com", &to("a.example.com"), "");
    finds("unknown-destination", &[], &format!("{api}{route}"));
    finds("unknown-destination", BOTH, &format!("{}{route}", entry("b.example.com", DNS)));
    finds("unknown-destination", &[], &format!("{}{route}", entry("b.example.com", "resolutoin: DNS")));
    finds("unknown-field", BOTH, &format!("{}{route}", entry("b.example.com", "resolutoin: DNS")));
}

/// VAL-SE-11
#[test]
fn tcp_without_addresses() {
    let code = "tcp-without-address";
    let of = |port: &str, more: &str| with_ports("a.example.com", port, &format!("{DNS}\n  {more}"));
    finds(code, BOTH, &of("{number: 22, name: ssh, protocol: tcp}", ""));
    finds(code, BOTH, &of("{number: 22, name: ssh}", ""));
    finds(code, &[], &of("{number: 22, name: ssh, protocol: tcp}", "addresses: [192.0.2.1]"));
    finds(code, &[], &of("{number: 3306, name: db, protocol: MySQL}", ""));
    finds(code, &[], &of("{number: 22, name: ssh, protocol: what}", ""));
}

/// VIS-01
#[test]
fn destinations_that_export_to_hides() {
    let hidden = entry("a.example.com", &format!("{DNS}\n  exportTo: [shop]"));
    let route = service("v", "a.example.com", &to("a.example.com"), "");
    finds("hidden-destination", BOTH, &format!("{hidden}{route}"));
    finds("unknown-destination", &[], &format!("{hidden}{route}"));
    // The rule is not for the client either.
    let private = service("v", "a.example.com", &to("a.example.com"), "exportTo: [shop]");
    finds("hidden-destination", &[], &format!("{hidden}{private}"));
}

/// SE-C-08
#[test]
fn protocols_that_differ_between_namespaces() {
    let of = |namespace: &str, protocol: &str, exports: &str| {
        let ports = format!("{{number: 80, name: http, protocol: {protocol}}}");
        with_ports("a.example.com", &ports, &format!("{DNS}\n  addresses: [192.0.2.1]\n  {exports}"))
            .replace("{name: eaxexamplexcom}", &format!("{{name: e, namespace: {namespace}}}"))
    };
    let code = "conflicting-protocol";
    finds(code, BOTH, &format!("{}{}", of("a", "HTTP", ""), of("b", "TCP", "")));
    finds(code, BOTH, &format!("{}{}", of("a", "HTTP", ""), of("b", "TCP", "exportTo: [c]")));
    finds(code, &[], &format!("{}{}", of("a", "HTTP", ""), of("b", "http", "")));
    finds(code, &[], &format!("{}{}", of("a", "HTTP", "exportTo: ['.']"), of("b", "TCP", "exportTo: ['.']")));
    finds(code, &[], &format!("{}{}", of("a", "HTTP", ""), of("b", "TCP", "exportTo: ['~']")));
}

#[test]
fn an_annotation_leaves_findings_out() {
    let with = |codes: &str| {
        let annotations = format!("annotations: {{galley.istio.io/analyze-suppress: '{codes}'}}");
        let made_up = service("v", "made-up", &to("api.example.com"), "");
        let made_up = made_up.replace("{name: v}", &format!("{{name: v, {annotations}}}"));
        format!("{}{made_up}", entry("api.example.com", DNS))
    };
    for (codes, found) in
        [("foreign-host", false), ("IST0101, foreign-*", false), ("*", false), ("IST0101", true), ("", true)]
    {
        finds("foreign-host", if found { BOTH } else { &[] }, &with(codes));
    }
    finds("host-not-in-registry", BOTH, &with("foreign-host"));
}

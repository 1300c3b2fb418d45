//! What resources come to: conflicts, DestinationRules, clusters.

use config_gen::diagnostic::Diagnostics;
use config_gen::input::{self, ReadOptions};
use config_gen::options::Options;
use config_gen::plan::{Ca, Cluster, Discovery, Endpoint, HttpVersion, Plan};
use config_gen::source::Sources;

/// The plan and the codes of what was found on the way.
fn plan_with(yaml: &str, options: &Options) -> (Plan, Vec<&'static str>) {
    let mut sources = Sources::new();
    sources.add("in.yaml", yaml);
    let read =
        input::read(sources, &ReadOptions { default_namespace: "default".into(), ..ReadOptions::default() });
    assert!(!read.diagnostics.has_errors(), "{}", read.diagnostics.render(&read.sources));
    let mut found = Diagnostics::new();
    let plan = Plan::build(
        &read.service_entries,
        &read.virtual_services,
        &read.destination_rules,
        options,
        &mut found,
    );
    (plan, found.iter().map(|diagnostic| diagnostic.code).collect())
}

fn plan(yaml: &str) -> (Plan, Vec<&'static str>) {
    plan_with(yaml, &Options::default())
}

fn entry(name: &str, rest: &str) -> String {
    let location = if rest.contains("location") { "" } else { ", location: MESH_EXTERNAL" };
    let resolution = if rest.contains("resolution") { "" } else { ", resolution: DNS" };
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name}\nspec: {{{rest}{location}{resolution}}}\n"
    )
}

const HTTP: &str = "ports: [{number: 80, name: http, protocol: HTTP}]";
const HTTPS: &str = "ports: [{number: 443, name: https, protocol: HTTPS}]";

fn rule(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name}\nspec: {spec}\n"
    )
}

fn cluster<'p>(plan: &'p Plan, name: &str) -> &'p Cluster {
    plan.clusters.iter().find(|cluster| cluster.name == name).unwrap_or_else(|| {
        let names: Vec<_> = plan.clusters.iter().map(|cluster| &cluster.name).collect();
        panic!("no cluster `{name}` in {names:?}")
    })
}

#[test]
fn every_port_has_a_cluster() {
    // CL-01, CL-02, SE-R-03, SE-12
    let (plan, found) = plan(&entry(
        "{name: a}",
        "hosts: [a.example.com], ports: [{number: 80, name: http, protocol: HTTP}, {number: 8080, name: grpc, protocol: GRPC, targetPort: 9090}]",
    ));
    assert_eq!(found, ["port-without-listener"]);
    let http = cluster(&plan, "outbound|80||a.example.com");
    assert_eq!(http.discovery, Discovery::StrictDns);
    assert_eq!(http.endpoints, [Endpoint::socket("a.example.com".into(), 80)]);
    assert_eq!(http.http, HttpVersion::One);
    assert!(http.tls.is_none());
    let grpc = cluster(&plan, "outbound|8080||a.example.com");
    assert_eq!(grpc.endpoints, [Endpoint::socket("a.example.com".into(), 9090)]);
    assert_eq!(grpc.http, HttpVersion::Two, "SE-P-02");
}

#[test]
fn endpoints_have_their_own_ports() {
    // SE-25, TV-94
    let endpoints = "endpoints: [{address: 10.0.0.1, ports: {http: 9000}}, {address: 10.0.0.2}]";
    let (with_target, _) = plan(&entry(
        "{name: a}",
        &format!(
            "hosts: [a.example.com], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8000}}], {endpoints}"
        ),
    ));
    let static_cluster = cluster(&with_target, "outbound|80||a.example.com");
    assert_eq!(static_cluster.discovery, Discovery::Static, "SE-R-02");
    assert_eq!(
        static_cluster.endpoints,
        [Endpoint::socket("10.0.0.1".into(), 9000), Endpoint::socket("10.0.0.2".into(), 8000)]
    );
    let (pipe, _) = plan(&entry(
        "{name: a}",
        &format!(
            "hosts: [a.example.com], resolution: STATIC, {HTTP}, endpoints: [{{address: 'unix:///run/a.sock'}}]"
        ),
    ));
    assert_eq!(
        cluster(&pipe, "outbound|80||a.example.com").endpoints,
        [Endpoint::pipe("/run/a.sock".into())]
    );
    let (round_robin, _) =
        plan(&entry("{name: a}", &format!("hosts: [a.example.com], resolution: DNS_ROUND_ROBIN, {HTTP}")));
    assert_eq!(
        cluster(&round_robin, "outbound|80||a.example.com").discovery,
        Discovery::LogicalDns,
        "SE-R-05"
    );
}

#[test]
fn entries_for_one_host_are_joined_or_refused() {
    let one = entry("{name: one}", &format!("hosts: [a.example.com], {HTTP}"));
    let other = |rest: &str| entry("{name: two}", &format!("hosts: [a.example.com], {rest}"));
    // SE-C-03, TV-92
    let (joined, found) = plan(&(one.clone() + &other(HTTPS)));
    assert_eq!(found, [""; 0]);
    assert_eq!(joined.clusters.len(), 2);
    // TV-93
    let (_, found) = plan(&(one.clone() + &other(&format!("resolution: DNS_ROUND_ROBIN, {HTTPS}"))));
    assert_eq!(found, ["conflicting-service-entries"]);
    // SE-C-08, TV-111, TV-112
    let (_, found) = plan(&(one.clone() + &other("ports: [{number: 80, name: http, protocol: TLS}]")));
    assert_eq!(found, ["conflicting-service-entries"]);
    // SE-C-04: the client's namespace, wherever it stands.
    let elsewhere = entry(
        "{name: zero, namespace: aaa}",
        &format!("hosts: [a.example.com], resolution: DNS_ROUND_ROBIN, {HTTP}"),
    );
    let (chosen, found) = plan(&(elsewhere.clone() + &one));
    assert_eq!(found, ["host-in-other-namespace"]);
    assert_eq!(cluster(&chosen, "outbound|80||a.example.com").discovery, Discovery::StrictDns);
    let client = Options { client_namespace: "aaa".into(), ..Options::default() };
    let (chosen, _) = plan_with(&(elsewhere + &one), &client);
    assert_eq!(cluster(&chosen, "outbound|80||a.example.com").discovery, Discovery::LogicalDns);
}

#[test]
fn export_to_hides() {
    // VIS-01
    for (export, client, visible) in [
        ("[.]", "default", true),
        ("[.]", "shop", false),
        ("['*']", "shop", true),
        ("[shop]", "shop", true),
        ("[shop]", "default", false),
        ("['~']", "default", false),
    ] {
        let yaml = entry("{name: a}", &format!("hosts: [a.example.com], exportTo: {export}, {HTTP}"));
        let options = Options { client_namespace: client.into(), ..Options::default() };
        let (plan, found) = plan_with(&yaml, &options);
        assert_eq!(!plan.clusters.is_empty(), visible, "{export} seen from {client}");
        assert_eq!(found.contains(&"not-exported"), !visible);
    }
}

/// `SIMPLE` for a.example.com, by the rules given.
fn tls(rules: &str) -> Option<config_gen::plan::UpstreamTls> {
    let (plan, _) =
        plan(&(entry("{name: a, namespace: ns}", &format!("hosts: [a.example.com], {HTTPS}")) + rules));
    cluster(&plan, "outbound|443||a.example.com").tls.clone()
}

const SIMPLE: &str = "trafficPolicy: {tls: {mode: SIMPLE}}";

#[test]
fn the_first_stage_with_a_rule_ends_the_search() {
    let simple = |meta: &str, host: &str| rule(meta, &format!("{{host: '{host}', {SIMPLE}}}"));
    let plain = |meta: &str, host: &str| {
        rule(meta, &format!("{{host: '{host}', trafficPolicy: {{tls: {{mode: DISABLE}}}}}}"))
    };
    assert!(tls("").is_none(), "DR-TLS-01");
    assert!(tls(&simple("{name: r}", "a.example.com")).is_some(), "DR-01, client's namespace");
    assert!(tls(&simple("{name: r, namespace: ns}", "a.example.com")).is_some(), "DR-01, service's");
    assert!(tls(&simple("{name: r, namespace: istio-system}", "a.example.com")).is_some(), "DR-01, root");
    assert!(tls(&simple("{name: r, namespace: other}", "a.example.com")).is_none(), "DR-01");
    // DR-02, TV-90: a wildcard of the client's namespace before an exact host elsewhere.
    let both = simple("{name: w}", "*.example.com") + &plain("{name: e, namespace: ns}", "a.example.com");
    assert!(tls(&both).is_some(), "DR-02");
    // DR-03: inside a stage the most specific.
    let both = simple("{name: w}", "*.example.com") + &plain("{name: e}", "a.example.com");
    assert!(tls(&both).is_none(), "DR-03");
    let both = plain("{name: w}", "*.com") + &simple("{name: e}", "*.example.com");
    assert!(tls(&both).is_some(), "DR-03");
    // DR-05
    assert!(tls(&simple("{name: r}", "A.example.com")).is_none(), "DR-05");
}

#[test]
fn private_rules_elsewhere_are_not_seen() {
    let exported = |export: &str| {
        tls(&rule(
            "{name: r, namespace: ns}",
            &format!("{{host: a.example.com, exportTo: {export}, {SIMPLE}}}"),
        ))
    };
    assert!(exported("['*']").is_some());
    assert!(exported("[.]").is_none(), "DR-01");
    assert!(exported("[default]").is_some());
    // DR-03, TV-123: the host is chosen before exportTo is looked at.
    let hidden =
        rule("{name: e, namespace: ns}", &format!("{{host: a.example.com, exportTo: [other], {SIMPLE}}}"))
            + &rule("{name: w, namespace: ns}", &format!("{{host: '*.example.com', {SIMPLE}}}"));
    assert!(tls(&hidden).is_none(), "TV-123");
}

#[test]
fn the_policy_is_taken_whole_from_the_first_rule_that_has_one() {
    // DR-07
    let older = rule("{name: a}", "{host: a.example.com}");
    let younger = rule("{name: b}", &format!("{{host: a.example.com, {SIMPLE}}}"));
    assert!(tls(&(older + &younger)).is_some());
    // DR-TP-01: an entry for the port replaces the rule's setting, even by none.
    let by_port = |settings: &str| {
        tls(&rule(
            "{name: r}",
            &format!(
                "{{host: a.example.com, trafficPolicy: {{tls: {{mode: SIMPLE, sni: top.example.com}}, portLevelSettings: [{settings}]}}}}"
            ),
        ))
    };
    assert_eq!(
        by_port("{port: {number: 80}, tls: {mode: DISABLE}}").and_then(|tls| tls.sni).as_deref(),
        Some("top.example.com")
    );
    assert_eq!(by_port("{port: {number: 443}, tls: {mode: SIMPLE}}").map(|tls| tls.sni), Some(None));
    assert!(by_port("{port: {number: 443}, tls: {mode: DISABLE}}").is_none());
}

#[test]
fn sni_and_san_follow_the_rule() {
    let with = |settings: &str| {
        tls(&rule(
            "{name: r}",
            &format!("{{host: a.example.com, trafficPolicy: {{tls: {{mode: SIMPLE{settings}}}}}}}"),
        ))
        .unwrap()
    };
    // TV-85: DR-TLS-08, DR-TLS-09, DR-TLS-13
    let simple = with("");
    let system = Ca::Bundle { file: None, crl: None };
    assert_eq!((simple.sni, simple.auto_san, simple.ca), (None, true, system));
    // TV-86: DR-TLS-14
    let fixed = with(", sni: s.example.com");
    assert_eq!(
        (fixed.sni.as_deref(), fixed.auto_san, fixed.subject_alt_names.len()),
        (Some("s.example.com"), false, 0)
    );
    // DR-TLS-11
    let named = with(", subjectAltNames: [b.example.com]");
    assert_eq!((named.auto_san, named.subject_alt_names), (false, vec!["b.example.com".to_owned()]));
    // DR-TLS-10
    let authorities = with(", caCertificates: /ca.pem, caCrl: /crl.pem").ca;
    assert_eq!(authorities, Ca::Bundle { file: Some("/ca.pem".into()), crl: Some("/crl.pem".into()) });
    // DR-TLS-15
    let unverified = with(", insecureSkipVerify: true");
    assert_eq!((unverified.auto_san, unverified.ca), (false, Ca::Unverified));
    // DR-TLS-12
    let (plan, _) = plan(
        &(entry("{name: a}", &format!("hosts: [a.example.com], subjectAltNames: [c.example.com], {HTTPS}"))
            + &rule("{name: r}", &format!("{{host: a.example.com, {SIMPLE}}}"))),
    );
    let both = cluster(&plan, "outbound|443||a.example.com").tls.clone().unwrap();
    assert_eq!((both.auto_san, both.subject_alt_names), (true, vec!["c.example.com".to_owned()]));
}

#[test]
fn doubtful_tls_is_pointed_out() {
    let found = |settings: &str, options: &Options| {
        plan_with(
            &(entry("{name: a}", &format!("hosts: [a.example.com], {HTTPS}"))
                + &rule(
                    "{name: r}",
                    &format!("{{host: a.example.com, trafficPolicy: {{tls: {{mode: SIMPLE{settings}}}}}}}"),
                )),
            options,
        )
        .1
    };
    let standalone = Options::default();
    assert_eq!(found("", &standalone), [""; 0]);
    assert_eq!(found(", insecureSkipVerify: true", &standalone), ["tls-not-verified"]);
    assert_eq!(found(", sni: s.example.com", &standalone), ["certificate-name-not-checked"]);
    let istio = Options { profile: config_gen::options::Profile::Istio, ..Options::default() };
    assert!(found("", &istio).contains(&"tls-in-tls"), "VS-TLS-08");
}

#[test]
fn a_rule_without_a_service_is_reported() {
    // DR-04
    let (_, found) = plan(&rule("{name: r}", &format!("{{host: a.example.com, {SIMPLE}}}")));
    assert_eq!(found, ["unknown-destination-rule-host"]);
}

/// The only action of a route with these fields, in a registry that has `a.example.com`.
fn action_of(fields: &str) -> portolan_engine::config::RouteAction {
    let service = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {{hosts: [v], http: [{{{fields}, route: [{{destination: {{host: a.example.com}}}}]}}]}}\n"
    );
    let (plan, _) =
        plan(&format!("{}{service}", entry("{name: a}", &format!("hosts: [a.example.com], {HTTP}"))));
    let host = plan.virtual_hosts.iter().find(|host| host.domains.iter().any(|domain| domain == "v"));
    host.expect("the host is served").routes[0].route.clone()
}

#[test]
fn percentages_are_cut_to_millionths() {
    // VS-FAULT-04: as Istio computes them, in floating point.
    for (percent, per_million) in
        [("0.0001", 1), ("0.0003", 2), ("12.5", 125_000), ("99.99999", 999_999), ("100", 1_000_000)]
    {
        let fault =
            action_of(&format!("fault: {{abort: {{httpStatus: 500, percentage: {{value: {percent}}}}}}}"));
        assert_eq!(fault.fault.unwrap().abort.unwrap().per_million, per_million, "{percent}");
    }
}

#[test]
fn headers_are_set_in_the_order_of_their_names_as_written() {
    // VS-HDR-03
    let action = action_of("headers: {request: {set: {b: '1', x: '1', X: '2', A: '3'}}}");
    let set: Vec<String> =
        action.request_headers.set.into_iter().map(|(name, value)| name + &value).collect();
    assert_eq!(set, ["a3", "x2", "b1", "x1"]);
}

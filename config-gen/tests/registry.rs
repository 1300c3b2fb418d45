//! Which services there are, what they are called and where they are: KS, SE, VIS and OTP rows.
//! Decisions are the engine's, on the plugin config that the plan comes to.

use config_gen::diagnostic::{Diagnostic, Diagnostics, Severity};
use config_gen::input::{self, ReadOptions};
use config_gen::mesh_config;
use config_gen::options::{Options, OutboundPolicy, Profile};
use config_gen::plan::{Cluster, Discovery, Endpoint, HttpVersion, Plan, RouteProfile};
use config_gen::source::Sources;
use portolan_engine::{Decision, Engine, NoTrace, Request};

/// A plan with what was said on the way.
struct Planned {
    plan: Plan,
    found: Vec<Diagnostic>,
    engine: Engine,
}

impl Planned {
    fn codes(&self) -> Vec<&str> {
        self.found.iter().map(|diagnostic| diagnostic.code).collect()
    }

    fn of_code(&self, code: &str) -> &Diagnostic {
        self.found.iter().find(|diagnostic| diagnostic.code == code).unwrap_or_else(|| {
            panic!("no `{code}` in {:?}", self.codes());
        })
    }

    fn errors(&self) -> Vec<&str> {
        let errors = self.found.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        errors.map(|diagnostic| diagnostic.code).collect()
    }

    /// The cluster that a request for `host` on `port` goes to, or the status that it gets.
    fn on(&self, port: u16, host: &str) -> String {
        let request = Request {
            listener_port: port,
            method: b"GET",
            scheme: b"http",
            authority: host.as_bytes(),
            path: b"/",
            headers: &[],
            ..Request::default()
        };
        match self.engine.decide(&request, &mut NoTrace) {
            Decision::Forward(forward) => {
                assert_eq!(forward.authority, None, "the Host header stays");
                forward.cluster.unwrap_or("no cluster").to_owned()
            }
            Decision::Respond(reply) => reply.status.to_string(),
            Decision::Pass => "pass".to_owned(),
        }
    }

    /// On the listener for port 80.
    fn get(&self, host: &str) -> String {
        self.on(80, host)
    }

    fn cluster(&self, name: &str) -> &Cluster {
        self.plan.clusters.iter().find(|cluster| cluster.name == name).unwrap_or_else(|| {
            let names: Vec<_> = self.plan.clusters.iter().map(|cluster| &cluster.name).collect();
            panic!("no cluster `{name}` in {names:?}")
        })
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.plan.clusters.iter().any(|cluster| cluster.name == name)
    }

    fn server_names(&self, port: u16) -> Vec<&str> {
        let routes = self.plan.connections.iter().filter(|route| route.port == port);
        routes.filter_map(|route| route.server_name.as_deref()).collect()
    }
}

fn plan_with(yaml: &str, options: &Options) -> Planned {
    plan_in_mesh(yaml, "{}", options)
}

/// The same with a MeshConfig.
fn plan_in_mesh(yaml: &str, mesh: &str, options: &Options) -> Planned {
    let mut sources = Sources::new();
    sources.add("in.yaml", yaml);
    let mut read = input::read(sources, &ReadOptions::default());
    let mesh = mesh_config::read("mesh.yaml", mesh, &mut read);
    assert!(!read.diagnostics.has_errors(), "{}", read.diagnostics.render(&read.sources));
    mesh.apply(&mut read);
    let options = &mesh.options(options.clone(), &read);
    let mut found = Diagnostics::new();
    let plan = Plan::of(&read.resources(), options, &mut found);
    for diagnostic in &found {
        assert!(diagnostic.span.is_some() && diagnostic.resource.is_some(), "{diagnostic:?}");
    }
    let engine = Engine::new(plan.proxy_config(options)).unwrap();
    Planned { plan, found: found.into_iter().collect(), engine }
}

fn plan(yaml: &str) -> Planned {
    plan_with(yaml, &Options::default())
}

/// Profile istio, with listeners for these ports, REGISTRY_ONLY as in the test vectors.
fn istio(ports: &[u16]) -> Options {
    let mut options = Options { profile: Profile::Istio, ..standalone(ports) };
    options.outbound_policy = Some(OutboundPolicy::RegistryOnly);
    options
}

fn standalone(ports: &[u16]) -> Options {
    let mut options = Options::default();
    options.envoy.listeners =
        ports.iter().map(|port| format!("{port}=127.0.0.1:0").parse().unwrap()).collect();
    options
}

fn client(namespace: &str) -> Options {
    Options { client_namespace: namespace.into(), ..istio(&[80]) }
}

fn object(api: &str, kind: &str, meta: &str, spec: &str) -> String {
    format!("---\napiVersion: {api}\nkind: {kind}\nmetadata: {meta}\nspec: {spec}\n")
}

fn service(meta: &str, spec: &str) -> String {
    object("v1", "Service", meta, spec)
}

fn entry(meta: &str, spec: &str) -> String {
    let location = if spec.contains("location") { "" } else { ", location: MESH_EXTERNAL" };
    let resolution = if spec.contains("resolution") { "" } else { ", resolution: DNS" };
    object("networking.istio.io/v1", "ServiceEntry", meta, &format!("{{{spec}{location}{resolution}}}"))
}

fn virtual_service(meta: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "VirtualService", meta, spec)
}

const HTTP: &str = "ports: [{number: 80, name: http, protocol: HTTP}]";

/// SE `A` of the test vectors.
fn a() -> String {
    entry("{name: a}", &format!("hosts: [a.example.com], {HTTP}"))
}

const WEB: &str = "outbound|80||web.default.svc.cluster.local";

fn web() -> String {
    service("{name: web}", "{ports: [{port: 80, name: http}], clusterIP: 10.96.0.7}")
}

#[test]
fn a_kubernetes_service_has_short_names() {
    // TV-103, KS-01, VH-08
    for options in [istio(&[80, 81]), standalone(&[80, 81])] {
        let planned = plan_with(&web(), &options);
        for host in [
            "web",
            "web.default",
            "web.default.svc",
            "web.default.svc.cluster.local",
            "web.default.svc.cluster.local.",
            "WEB:8080",
        ] {
            assert_eq!(planned.get(host), WEB, "{host}");
        }
        assert_eq!(planned.on(81, "web"), "502", "LI-08");
        // KS-06
        let cluster = planned.cluster(WEB);
        assert_eq!(cluster.discovery, Discovery::StrictDns);
        assert_eq!(cluster.endpoints, [Endpoint::socket("web.default.svc.cluster.local".into(), 80)]);
        assert!(!cluster.external);
        let note = planned.of_code("kubernetes-service-approximated");
        assert_eq!((note.severity, note.rule), (Severity::Note, Some("KS-06")));
    }
}

#[test]
fn names_depend_on_the_namespace_of_the_client() {
    // TV-104
    let planned = plan_with(
        &service("{name: web, namespace: shop}", "{ports: [{port: 80, name: http}]}"),
        &istio(&[80]),
    );
    assert_eq!(planned.get("web.shop"), "outbound|80||web.shop.svc.cluster.local");
    assert_eq!(planned.get("web"), "502");
}

#[test]
fn ports_of_a_kubernetes_service() {
    // KS-02 in a plan; TV-105 has its unit test.
    let spec = "{ports: [{port: 80, name: http, targetPort: web}, {port: 443, name: https}, {port: 87, name: http-u, protocol: UDP}, {port: 80, name: dns, protocol: UDP}, {port: 85, name: grpc-x}]}";
    let planned = plan_with(&service("{name: web}", spec), &istio(&[80, 85, 443]));
    assert_eq!(planned.errors(), [""; 0]);
    // A number that serves both is the one of TCP.
    assert_eq!(planned.get("web"), WEB);
    assert_eq!(
        planned.cluster(WEB).endpoints,
        [Endpoint::socket("web.default.svc.cluster.local".into(), 80)]
    );
    assert_eq!(planned.cluster("outbound|85||web.default.svc.cluster.local").http, HttpVersion::Two);
    assert!(!planned.has_cluster("outbound|87||web.default.svc.cluster.local"), "SE-P-06");
    assert!(planned.server_names(443).contains(&"web.default.svc.cluster.local"));
    assert!(planned.server_names(443).contains(&"web"));
}

#[test]
fn types_of_a_kubernetes_service() {
    // KS-04, KS-09: the types differ from outside the cluster only.
    for kind in ["ClusterIP", "NodePort", "LoadBalancer"] {
        let spec = format!("{{type: {kind}, ports: [{{port: 80, name: http}}]}}");
        assert_eq!(plan_with(&service("{name: web}", &spec), &istio(&[80])).get("web"), WEB, "{kind}");
    }
    // KS-02: the protocol that the port says is its own, whatever it is called.
    let spec = "{ports: [{port: 80, name: http, appProtocol: https}]}";
    let planned = plan_with(&service("{name: web}", spec), &istio(&[80]));
    assert_eq!(planned.get("web"), "502");
    assert!(planned.server_names(80).contains(&"web.default.svc.cluster.local"));
}

#[test]
fn a_location_says_whether_the_host_is_of_the_mesh() {
    // SE-13
    for (location, external) in [("MESH_EXTERNAL", true), ("MESH_INTERNAL", false)] {
        let yaml = entry("{name: a}", &format!("hosts: [a.example.com], location: {location}, {HTTP}"));
        assert_eq!(plan(&yaml).cluster("outbound|80||a.example.com").external, external, "{location}");
    }
}

#[test]
fn pods_of_a_headless_service_have_names() {
    // TV-106, KS-03, KS-06
    let headless = |target: &str| {
        let spec = format!("{{clusterIP: None, ports: [{{port: 80, name: http{target}}}]}}");
        plan_with(&service("{name: db}", &spec), &istio(&[80]))
    };
    let planned = headless(", targetPort: 8080");
    let cluster = "outbound|80||db.default.svc.cluster.local";
    for host in ["db-0.db", "db-0.db.default.svc.cluster.local", "db-0.db.default.svc.cluster.local.", "db"] {
        assert_eq!(planned.get(host), cluster, "{host}");
    }
    assert_eq!(
        planned.cluster(cluster).endpoints,
        [Endpoint::socket("db.default.svc.cluster.local".into(), 8080)]
    );
    assert_eq!(planned.of_code("kubernetes-service-approximated").rule, Some("KS-03"));
    let named = headless(", targetPort: web");
    assert_eq!(named.of_code("named-target-port").rule, Some("KS-06"));
    assert_eq!(
        named.cluster(cluster).endpoints,
        [Endpoint::socket("db.default.svc.cluster.local".into(), 80)]
    );
    // A service with a cluster address has no such names.
    assert_eq!(plan_with(&web(), &istio(&[80])).get("web-0.web"), "502");
}

fn alias(name: &str, target: &str) -> String {
    let spec = format!("{{type: ExternalName, externalName: {target}, ports: [{{port: 80, name: http}}]}}");
    service(&format!("{{name: {name}}}"), &spec)
}

#[test]
fn an_external_name_is_another_name() {
    // TV-107, KS-04
    let cluster = "outbound|80||a.example.com";
    let planned = plan_with(&(a() + &alias("ext", "A.example.com.")), &istio(&[80]));
    for host in ["ext.default", "ext", "ext.default.svc.cluster.local", "ext.default.svc.cluster.local."] {
        assert_eq!(planned.get(host), cluster, "{host}");
    }
    assert_eq!(planned.get("a.example.com"), cluster);
    assert_eq!(planned.codes(), [""; 0]);
    assert_eq!(planned.plan.clusters.len(), 1);
    // Chains are followed.
    let chain = a() + &alias("ext", "a.example.com") + &alias("two", "ext.default.svc.cluster.local");
    assert_eq!(plan_with(&chain, &istio(&[80])).get("two"), cluster);
    // TV-109, and a loop.
    let gone = plan_with(&(a() + &alias("gone", "nowhere.example.com")), &istio(&[80]));
    assert_eq!(gone.get("gone"), "502");
    assert_eq!(gone.of_code("unknown-external-name").rule, Some("KS-04"));
    let ring = alias("one", "two.default.svc.cluster.local") + &alias("two", "one.default.svc.cluster.local");
    let ring = plan_with(&(a() + &ring), &istio(&[80]));
    assert_eq!((ring.get("one").as_str(), ring.codes().len()), ("502", 2));
    // By SNI too.
    let tls = entry("{name: t}", "hosts: [t.example.com], ports: [{number: 443, name: tls, protocol: TLS}]");
    let planned = plan_with(&(tls + &alias("ext", "t.example.com")), &istio(&[80, 443]));
    assert!(planned.server_names(443).contains(&"ext.default.svc.cluster.local"));
}

#[test]
fn a_destination_may_be_an_external_name() {
    // TV-108, KS-04
    let to = |host: &str| {
        virtual_service(
            "{name: v}",
            &format!("{{hosts: [web], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}"),
        )
    };
    let planned = plan_with(&(a() + &web() + &alias("ext", "a.example.com") + &to("ext")), &istio(&[80]));
    assert_eq!(planned.get("web"), "outbound|80||a.example.com");
    assert_eq!(planned.errors(), [""; 0]);
    // One of several, too.
    let half = |host: &str| format!("{{destination: {{host: {host}}}, weight: 1}}");
    let several = virtual_service(
        "{name: v}",
        &format!("{{hosts: [web], http: [{{route: [{}, {}]}}]}}", half("ext"), half("a.example.com")),
    );
    let planned = plan_with(&(a() + &web() + &alias("ext", "a.example.com") + &several), &istio(&[80]));
    assert_eq!(planned.get("web"), "outbound|80||a.example.com");
    // One hop only, which nobody means.
    let chain = alias("ext", "a.example.com") + &alias("two", "ext.default.svc.cluster.local");
    let planned = plan_with(&(a() + &web() + &chain + &to("two")), &istio(&[80]));
    assert_eq!(planned.errors(), ["unknown-destination"]);
    // Without the listener's port the alias stays in the cluster's name.
    let portless = service("{name: ext}", "{type: ExternalName, externalName: a.example.com}");
    let planned = plan_with(&(a() + &web() + &portless + &to("ext")), &istio(&[80]));
    assert_eq!(planned.errors(), ["unknown-destination"]);
    // A VirtualService for the alias gives it a virtual host of its own.
    let own = virtual_service("{name: v}", "{hosts: [ext], http: [{route: [{destination: {host: web}}]}]}");
    let planned = plan_with(&(a() + &web() + &alias("ext", "a.example.com") + &own), &istio(&[80]));
    assert_eq!(
        (planned.get("ext").as_str(), planned.get("a.example.com").as_str()),
        (WEB, "outbound|80||a.example.com")
    );
}

/// Copies of requests for a.example.com go to `destination`: the route profiles that come of it.
fn mirrored(destination: &str, more: &str) -> (Planned, Vec<String>) {
    let mirrored = virtual_service(
        "{name: v}",
        &format!(
            "{{hosts: [a.example.com], http: [{{route: [{{destination: {{host: a.example.com}}}}], mirror: {destination}}}]}}"
        ),
    );
    let planned = plan_with(&(a() + more + &mirrored), &istio(&[80]));
    let profiles = planned.plan.profiles.iter().map(RouteProfile::name).collect();
    (planned, profiles)
}

#[test]
fn a_mirror_may_be_an_external_name() {
    // KS-04, VS-MIR-04
    let to_b =
        entry("{name: b}", &format!("hosts: [b.example.com], {HTTP}")) + &alias("ext", "b.example.com");
    let (planned, profiles) = mirrored("{host: ext}", &to_b);
    assert_eq!(planned.errors(), [""; 0]);
    assert_eq!(profiles, ["default+mirror=outbound|80||b.example.com"]);
    // Not through an alias that doesn't list the listener's port.
    let portless = to_b.replace(", ports: [{port: 80, name: http}]", "");
    let (planned, profiles) = mirrored("{host: ext}", &portless);
    assert_eq!((planned.errors(), profiles), (vec!["unknown-destination"], vec![]));
    assert_eq!(planned.of_code("unknown-destination").rule, Some("KS-04"));
}

#[test]
fn no_copies_go_to_a_cluster_that_isnt_there() {
    // VS-MIR-04, CL-09
    let b = |rest: &str| entry("{name: b}", &format!("hosts: [b.example.com], {rest}"));
    let port = |protocol: &str| format!("ports: [{{number: 90, name: p, protocol: {protocol}}}]");
    let nobody = "resolution: DNS, workloadSelector: {labels: {app: b}}";
    for (more, message) in [
        (String::new(), "no service has the host `b.example.com`; no copies are sent"),
        (b(HTTP), "`b.example.com` has no port 90; no copies are sent"),
        (b(&port("UDP")), "port 90 of `b.example.com` is UDP, which has no cluster; no copies are sent"),
        (b(&format!("{nobody}, {}", port("HTTP"))), "`b.example.com` has no endpoints; no copies are sent"),
    ] {
        let (planned, profiles) = mirrored("{host: b.example.com, port: {number: 90}}", &more);
        let error = planned.of_code("unknown-destination");
        assert_eq!((error.severity, error.message.as_str()), (Severity::Error, message));
        assert_eq!(error.field.as_deref(), Some("spec.http[0].mirror"));
        // Accepted, the rest of the route is left.
        assert_eq!((planned.get("a.example.com").as_str(), profiles), (A, vec![]), "{message}");
    }
    let (planned, profiles) = mirrored("{host: b.example.com, port: {number: 90}}", &b(&port("HTTP")));
    assert_eq!(planned.errors(), [""; 0]);
    assert_eq!(profiles, ["default+mirror=outbound|90||b.example.com"]);
}

#[test]
fn a_destination_needs_a_cluster() {
    // CL-09: the same for routes.
    let b = entry(
        "{name: b}",
        "hosts: [b.example.com], workloadSelector: {labels: {app: b}}, ports: [{number: 80, name: http, protocol: HTTP}]",
    );
    let to_b = virtual_service(
        "{name: v}",
        "{hosts: [a.example.com], http: [{route: [{destination: {host: b.example.com}}]}]}",
    );
    let planned = plan_with(&(a() + &b + &to_b), &istio(&[80]));
    let error = planned.of_code("unknown-destination");
    assert_eq!(error.message, "`b.example.com` has no endpoints; requests get 503");
    assert_eq!(planned.get("a.example.com"), "outbound|80||b.example.com");
    assert!(!planned.has_cluster("outbound|80||b.example.com"));
}

#[test]
fn an_annotation_says_who_sees_a_kubernetes_service() {
    // KS-05, VIS-01
    for (annotation, client_namespace, visible) in [
        (None, "shop", true),
        (Some("."), "shop", false),
        (Some("."), "default", true),
        (Some("a, shop"), "shop", true),
        (Some("*"), "shop", true),
        (Some("~"), "default", false),
    ] {
        let meta = match annotation {
            Some(text) => format!("{{name: web, annotations: {{networking.istio.io/exportTo: '{text}'}}}}"),
            None => "{name: web}".to_owned(),
        };
        let planned = plan_with(&service(&meta, "{ports: [{port: 80}]}"), &client(client_namespace));
        assert_eq!(planned.get("web.default") == WEB, visible, "{annotation:?} for {client_namespace}");
        assert_eq!(planned.codes().contains(&"not-exported"), !visible);
    }
}

#[test]
fn a_kubernetes_service_wins_over_entries() {
    let own = "web.default.svc.cluster.local";
    let claim = |meta: &str, ports: &str| {
        entry(
            meta,
            &format!(
                "hosts: [{own}], resolution: STATIC, ports: [{ports}], endpoints: [{{address: 192.0.2.1}}]"
            ),
        )
    };
    let port80 = "{number: 80, name: http, protocol: HTTP}";
    let port81 = "{number: 81, name: other, protocol: HTTP}";
    // TV-110, KS-08
    let both = claim("{name: a}", &format!("{port80}, {port81}")) + &web();
    let planned = plan_with(&both, &istio(&[80, 81]));
    assert_eq!(planned.errors(), ["conflicting-service-entries"]);
    assert_eq!(planned.of_code("conflicting-service-entries").rule, Some("KS-08"));
    let planned = accepted(&both, &[80, 81]);
    assert_eq!(planned.on(81, "web"), "outbound|81||web.default.svc.cluster.local");
    assert!(!planned.has_cluster("outbound|81||web.default.svc.cluster.local"), "503");
    // SE-C-05: in one namespace, and with the same ports nothing is lost.
    let planned = plan_with(&(claim("{name: a}", port80) + &web()), &istio(&[80]));
    assert_eq!(planned.of_code("kubernetes-service-wins").rule, Some("KS-08"));
    assert_eq!(planned.cluster(WEB).discovery, Discovery::StrictDns);
    // SE-C-04: before an entry of another namespace, unless that is the client's.
    let elsewhere = claim("{name: a, namespace: aaa}", port80) + &web();
    for (namespace, discovery) in
        [("shop", Discovery::StrictDns), ("default", Discovery::StrictDns), ("aaa", Discovery::Static)]
    {
        let planned = plan_with(&elsewhere, &client(namespace));
        assert_eq!(planned.cluster(WEB).discovery, discovery, "{namespace}");
        assert!(planned.codes().contains(&"host-in-other-namespace"));
    }
}

#[test]
fn a_short_name_never_hides_a_service_of_that_name() {
    // VH-09: `web.default` is a service of its own here.
    let real = entry("{name: real}", &format!("hosts: [web.default], {HTTP}"));
    for options in [istio(&[80]), standalone(&[80])] {
        let planned = plan_with(&(real.clone() + &web()), &options);
        assert_eq!(planned.get("web.default"), "outbound|80||web.default");
        assert_eq!(planned.get("web.default."), "outbound|80||web.default");
        assert_eq!(planned.get("web"), WEB);
    }
}

#[test]
fn an_entry_for_a_cluster_host_has_short_names_too() {
    // VH-08 goes by the host alone.
    let planned = plan_with(
        &entry("{name: a}", &format!("hosts: [web.default.svc.cluster.local], {HTTP}")),
        &istio(&[80]),
    );
    assert_eq!(planned.get("web"), WEB);
}

#[test]
fn addresses_are_hosts() {
    let with = |addresses: &str| {
        entry("{name: a}", &format!("hosts: [a.example.com], addresses: {addresses}, {HTTP}"))
    };
    let cluster = "outbound|80||a.example.com";
    // TV-10 to TV-12, VH-01, VH-02, VH-07
    let four = plan_with(&with("[10.1.2.3]"), &istio(&[80]));
    assert_eq!(four.get("10.1.2.3"), cluster);
    assert_eq!(four.get("10.1.2.3:80"), cluster);
    let six = plan_with(&with("['2001:DB8::1']"), &istio(&[80]));
    for host in ["[2001:db8::1]", "[2001:db8::1]:80", "a.example.com"] {
        assert_eq!(six.get(host), cluster, "{host}");
    }
    assert_eq!(six.get("2001:db8::1"), "502");
    // SE-08: of several the last counts in Istio; standalone takes all.
    let several = with("[10.1.2.3, 10.1.2.4]");
    let istio = plan_with(&several, &istio(&[80]));
    assert_eq!((istio.get("10.1.2.3").as_str(), istio.get("10.1.2.4").as_str()), ("502", cluster));
    let standalone = plan_with(&several, &standalone(&[80]));
    assert_eq!(
        (standalone.get("10.1.2.3").as_str(), standalone.get("10.1.2.4").as_str()),
        (cluster, cluster)
    );
    assert_eq!(standalone.codes(), [""; 0]);
}

#[test]
fn ranges_are_no_hosts() {
    // SE-06: a range of one address is an address; HTTP doesn't care for others.
    let with = |addresses: &str| {
        entry(
            "{name: a}",
            &format!(
                "hosts: [a.example.com], addresses: {addresses}, resolution: STATIC, endpoints: [{{address: 192.0.2.1}}], {HTTP}"
            ),
        )
    };
    let planned = plan_with(&with("[10.1.2.3/32]"), &istio(&[80]));
    assert_eq!(planned.get("10.1.2.3"), "outbound|80||a.example.com");
    let planned = plan_with(&with("[10.0.0.0/8]"), &istio(&[80]));
    assert_eq!(planned.get("a.example.com"), "outbound|80||a.example.com");
    assert_eq!(planned.get("10.0.0.0"), "502");
    assert_eq!(planned.codes(), [""; 0]);
}

#[test]
fn addresses_of_tls_ports_are_approximated() {
    // SE-03
    let tls = |addresses: &str| {
        let spec = format!(
            "hosts: [a.example.com], addresses: {addresses}, resolution: STATIC, endpoints: [{{address: 192.0.2.1}}], ports: [{{number: 443, name: tls, protocol: TLS}}]"
        );
        plan_with(&entry("{name: a}", &spec), &istio(&[443]))
    };
    for addresses in ["[10.1.2.3]", "[10.0.0.0/8]"] {
        let planned = tls(addresses);
        let note = planned.of_code("addresses-approximated");
        assert_eq!((note.severity, note.rule), (Severity::Note, Some("SE-03")));
        assert_eq!(planned.server_names(443), ["a.example.com"]);
    }
}

#[test]
fn an_address_of_two_services_is_reported() {
    // VH-10
    let with = |name: &str| {
        entry(
            &format!("{{name: {name}}}"),
            &format!("hosts: [{name}.example.com], addresses: [10.1.2.3], {HTTP}"),
        )
    };
    let planned = plan_with(&(with("a") + &with("b")), &istio(&[80]));
    assert_eq!(planned.codes(), ["address-in-use"]);
    assert_eq!(planned.get("10.1.2.3"), "outbound|80||a.example.com");
    assert_eq!(planned.get("b.example.com"), "outbound|80||b.example.com");
}

#[test]
fn a_cluster_address_is_a_host() {
    // KS-07
    assert_eq!(plan_with(&web(), &istio(&[80])).get("10.96.0.7"), WEB);
    let dual = service(
        "{name: web}",
        "{ports: [{port: 80}], clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00::7']}",
    );
    assert_eq!(plan_with(&dual, &istio(&[80])).get("[fd00::7]"), WEB);
}

#[test]
fn static_entries_without_endpoints() {
    // TV-118, SE-R-08
    let cluster = "outbound|80||a.example.com";
    let empty = entry("{name: a}", &format!("hosts: [a.example.com], resolution: STATIC, {HTTP}"));
    for options in [istio(&[80]), standalone(&[80])] {
        let planned = plan_with(&empty, &options);
        assert_eq!((planned.codes(), planned.get("a.example.com").as_str()), (vec!["no-endpoints"], cluster));
        assert!(planned.cluster(cluster).endpoints.is_empty());
    }
    // With addresses, these serve in profile standalone.
    let addressed = entry(
        "{name: a}",
        "hosts: [a.example.com], resolution: STATIC, addresses: [192.0.2.1, 192.0.2.2, 10.0.0.0/8], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]",
    );
    let planned = plan_with(&addressed, &standalone(&[80]));
    assert_eq!(planned.codes(), ["addresses-as-endpoints"]);
    let expected = ["192.0.2.1", "192.0.2.2"].map(|address| Endpoint::socket(address.into(), 8080));
    assert_eq!(planned.cluster(cluster).endpoints, expected);
    let planned = plan_with(&addressed, &istio(&[80]));
    assert!(planned.cluster(cluster).endpoints.is_empty());
    assert_eq!(planned.codes(), ["no-endpoints"]);
}

fn workload(meta: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "WorkloadEntry", meta, spec)
}

fn selecting(resolution: &str, labels: &str) -> String {
    entry(
        "{name: a}",
        &format!(
            "hosts: [a.example.com], resolution: {resolution}, workloadSelector: {{labels: {labels}}}, {HTTP}"
        ),
    )
}

const A: &str = "outbound|80||a.example.com";

#[test]
fn workload_entries_are_selected_by_labels() {
    // SE-18, GAP-14
    let input = selecting("STATIC", "{app: a}")
        + &workload("{name: two}", "{address: 192.0.2.2, labels: {app: a}, ports: {http: 8080}}")
        + &workload("{name: one}", "{address: 192.0.2.1, labels: {app: a, v: '1'}}")
        + &workload("{name: other}", "{address: 192.0.2.3, labels: {app: b}}")
        + &workload("{name: one, namespace: elsewhere}", "{address: 192.0.2.4, labels: {app: a}}");
    let planned = plan_with(&input, &istio(&[80]));
    // In the order of their names, with their own ports (SE-25).
    assert_eq!(endpoints(&planned, A), ["192.0.2.1:80", "192.0.2.2:8080"]);
    assert_eq!(planned.codes(), ["workload-unused"]);
    let note = &planned.of_code("workload-unused").message;
    assert!(
        note.contains("WorkloadEntry elsewhere/one") || note.contains("WorkloadEntry default/other"),
        "{note}"
    );
    // None of them: an empty cluster, or none (SE-R-08).
    let planned = plan_with(&selecting("STATIC", "{app: a}"), &istio(&[80]));
    assert_eq!(planned.codes(), ["no-endpoints"]);
    assert!(planned.cluster(A).endpoints.is_empty());
    let planned = plan_with(&selecting("DNS", "{app: a}"), &istio(&[80]));
    assert_eq!(planned.codes(), ["no-endpoints"]);
    assert!(!planned.has_cluster(A));
}

#[test]
fn labels_of_the_metadata_win() {
    // SE-34
    let both = |app: &str| {
        let meta = format!("{{name: one, labels: {{app: {app}}}}}");
        let planned = plan_with(
            &(selecting("STATIC", "{app: a}")
                + &workload(&meta, "{address: 192.0.2.1, labels: {app: a, x: z}}")),
            &istio(&[80]),
        );
        planned.cluster(A).endpoints.len()
    };
    assert_eq!((both("a"), both("b")), (1, 0));
}

#[test]
fn which_workloads_are_left_out() {
    // SE-18: names for DNS only. SE-35: health.
    let name = workload("{name: one, labels: {app: a}}", "{address: one.example.com}");
    let planned = plan_with(&(selecting("STATIC", "{app: a}") + &name), &istio(&[80]));
    assert_eq!(planned.of_code("workload-left-out").rule, Some("SE-18"));
    let planned = plan_with(&(selecting("DNS", "{app: a}") + &name), &istio(&[80]));
    assert_eq!(endpoints(&planned, A), ["one.example.com:80"]);
    let checked =
        "{name: one, labels: {app: a}, annotations: {proxy.istio.io/health-checks-enabled: 'true'}}";
    let with_status = |status: &str| {
        let workload = workload(checked, "{address: 192.0.2.1}") + status;
        plan_with(&(selecting("STATIC", "{app: a}") + &workload), &istio(&[80]))
    };
    assert_eq!(with_status("").of_code("workload-left-out").rule, Some("SE-35"));
    let healthy = with_status("status: {conditions: [{type: Healthy, status: 'True'}]}\n");
    assert_eq!((healthy.codes().len(), healthy.cluster(A).endpoints.len()), (0, 1));
}

#[test]
fn weight_and_locality_of_endpoints() {
    // SE-30, SE-31
    let planned = plan_with(
        &entry(
            "{name: a}",
            &format!(
                "hosts: [a.example.com], resolution: STATIC, {HTTP}, endpoints: [{{address: 192.0.2.1, weight: 3, locality: eu/a/1}}, {{address: 192.0.2.2, labels: {{istio-locality: us.b}}}}, {{address: 192.0.2.3, weight: 0, locality: eu/a/1}}]"
            ),
        ),
        &istio(&[80]),
    );
    let seen: Vec<_> = planned
        .cluster(A)
        .endpoints
        .iter()
        .map(|endpoint| {
            let place = &endpoint.locality;
            (endpoint.weight, place.region.as_str(), place.zone.as_str(), place.sub_zone.as_str())
        })
        .collect();
    assert_eq!(seen, [(3, "eu", "a", "1"), (1, "us", "b", ""), (1, "eu", "a", "1")]);
}

#[test]
fn resolution_none_dials_the_host() {
    // SE-R-01, GAP-02
    let ports = "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]";
    let none = entry("{name: a}", &format!("hosts: [a.example.com], resolution: NONE, {ports}"));
    for input in [none.clone(), none.replace(", resolution: NONE", "")] {
        // Left out it is the same (SE-16).
        let input = if input == none { input } else { input.replace(", resolution: DNS", "") };
        let planned = plan_with(&input, &istio(&[80]));
        assert_eq!(planned.get("a.example.com"), A);
        let cluster = planned.cluster(A);
        assert_eq!(cluster.discovery, Discovery::LogicalDns);
        assert_eq!(cluster.endpoints, [Endpoint::socket("a.example.com".into(), 8080)]);
        let note = planned.of_code("resolution-none-approximated");
        assert_eq!((note.severity, note.rule, planned.codes().len()), (Severity::Note, Some("SE-R-01"), 1));
    }
}

/// With a transparent listener alone.
fn transparent() -> Options {
    let mut options = istio(&[]);
    options.envoy.transparent = vec!["127.0.0.1:15001".parse().unwrap()];
    options
}

#[test]
fn resolution_none_is_what_was_dialled_where_that_is_known() {
    // SE-R-01
    let input = entry(
        "{name: a}",
        "hosts: [a.example.com], resolution: NONE, addresses: [192.0.2.1, 198.51.100.0/24], ports: [{number: 80, \
         name: http, protocol: HTTP, targetPort: 8080}, {number: 443, name: tls, protocol: TLS}]",
    );
    let planned = plan_with(&input, &transparent());
    assert_eq!(planned.codes(), [""; 0], "nothing is approximated");
    let cluster = planned.cluster(A);
    assert_eq!(cluster.discovery, Discovery::LogicalDns, "for whoever dials another address");
    let original = cluster.original_destination().unwrap();
    assert_eq!(original.name, format!("original_dst|{A}"));
    assert_eq!(original.discovery, Discovery::OriginalDestination(Some(8080)));
    let config = planned.plan.proxy_config(&transparent());
    let twin = &config.original_destinations[A];
    assert_eq!(
        (&twin.cluster, twin.addresses.as_slice()),
        (&original.name, &["192.0.2.1/32".into(), "198.51.100.0/24".into()][..])
    );
    let tls: Vec<_> = planned.plan.redirected.iter().filter(|route| route.port == 443).collect();
    assert!(
        tls.iter().all(|route| route.destinations[0].cluster == "original_dst|outbound|443||a.example.com"
            && !route.addresses.is_empty()),
        "{tls:#?}"
    );

    // Other listeners beside it don't know.
    let mut both = transparent();
    both.envoy.listeners = istio(&[80]).envoy.listeners;
    assert_eq!(plan_with(&input, &both).codes(), ["addresses-approximated", "resolution-none-approximated"]);
    // No address, no twin: a Host header must not lead anywhere.
    let anywhere = entry("{name: a}", &format!("hosts: [a.example.com], resolution: NONE, {HTTP}"));
    let planned = plan_with(&anywhere, &transparent());
    assert_eq!((planned.cluster(A).original_destination(), planned.codes().len()), (None, 1));
}

#[test]
fn the_port_of_the_transparent_listener_is_closed() {
    let input =
        entry("{name: a}", "hosts: [a.example.com], ports: [{number: 15001, name: http, protocol: HTTP}]");
    let planned = plan_with(&input, &transparent());
    assert_eq!(planned.codes(), ["port-of-envoy"]);
}

#[test]
fn http_is_looked_for_only_where_it_may_be() {
    let tcp = "{number: 5432, name: tcp, protocol: TCP}";
    let both = "{number: 5432, name: any}";
    for (profile, ports, expected) in [
        (Profile::Istio, tcp, &[80][..]),
        (Profile::Istio, both, &[80, 5432][..]),
        (Profile::Standalone, tcp, &[80, 443][..]),
        (Profile::Standalone, both, &[80, 443, 5432][..]),
    ] {
        let input = a() + &entry("{name: b}", &format!("hosts: [b.example.com], ports: [{ports}]"));
        let planned = plan_with(&input, &Options { profile, ..transparent() });
        assert!(
            planned.plan.http_ports.iter().eq(expected),
            "{profile} {ports}: {:?}",
            planned.plan.http_ports
        );
    }
}

#[test]
fn names_below_a_wildcard_are_dialled_by_sni() {
    // SE-R-07: on TLS ports.
    for resolution in ["NONE", "DYNAMIC_DNS"] {
        let with = |port: &str| {
            entry(
                "{name: a}",
                &format!("hosts: ['*.example.com'], resolution: {resolution}, ports: [{port}]"),
            )
        };
        let tls = with("{number: 443, name: tls, protocol: TLS, targetPort: 8443}");
        let planned = plan_with(&tls, &istio(&[443]));
        assert_eq!(planned.errors(), [""; 0]);
        assert_eq!(planned.server_names(443), ["*.example.com"]);
        let cluster = planned.cluster("outbound|443||*.example.com");
        assert_eq!((cluster.discovery, cluster.endpoints.len()), (Discovery::Dynamic(8443), 0));
    }
}

/// Where a request is dialled, or the reason of a refusal.
fn dialled(planned: &Planned, port: u16, authority: &str) -> String {
    let request = Request {
        listener_port: port,
        method: b"GET",
        scheme: b"http",
        authority: authority.as_bytes(),
        path: b"/",
        ..Request::default()
    };
    match planned.engine.decide(&request, &mut NoTrace) {
        Decision::Forward(forward) => {
            assert!(!forward.passed_through);
            let (host, port) = forward.dial.expect("a host to dial");
            format!("{} {}:{port}", forward.cluster.unwrap_or_default(), host.escape_ascii())
        }
        Decision::Respond(reply) => reply.cause.as_str().to_owned(),
        Decision::Pass => "pass".to_owned(),
    }
}

/// All names below example.com, resolved per request; `ports` is a list.
fn below_example(resolution: &str, ports: &str) -> String {
    entry("{name: w}", &format!("hosts: ['*.example.com'], resolution: {resolution}, ports: {ports}"))
}

const SIMPLE_BELOW_EXAMPLE: &str = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: r}
spec: {host: '*.example.com', trafficPolicy: {tls: {mode: SIMPLE}}}
";

#[test]
fn names_below_a_wildcard_are_dialled_by_the_host_of_the_request() {
    // SE-R-07, SE-R-01, GAP-02
    for resolution in ["NONE", "DYNAMIC_DNS"] {
        let input = below_example(
            resolution,
            "[{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 81, name: grpc, protocol: GRPC}]",
        );
        for options in [istio(&[80, 81]), standalone(&[80, 81])] {
            let planned = plan_with(&input, &options);
            assert_eq!(planned.errors(), [""; 0], "{resolution}");
            let cluster = planned.cluster("outbound|80||*.example.com");
            assert_eq!((cluster.discovery, cluster.endpoints.len()), (Discovery::Dynamic(8080), 0));
            assert_eq!(planned.cluster("outbound|81||*.example.com").http, HttpVersion::Two);
            // The port of the Host header has no say.
            for authority in ["a.example.com", "A.example.com:22", "a.example.com."] {
                assert_eq!(
                    dialled(&planned, 80, authority),
                    "outbound|80||*.example.com a.example.com:8080",
                    "{authority}"
                );
            }
            assert_eq!(
                dialled(&planned, 81, "a.b.example.com"),
                "outbound|81||*.example.com a.b.example.com:81"
            );
            for authority in ["example.com", "a.example.org", "a.example.org:80"] {
                assert_eq!(dialled(&planned, 80, authority), "host_not_in_registry", "{authority}");
            }
            assert_eq!(dialled(&planned, 80, "..example.com"), "host_not_below_wildcard");
        }
    }
}

#[test]
fn a_virtual_service_may_lead_below_a_wildcard() {
    // SE-R-07: what is dialled is the host as rewritten, and it must be below the wildcard.
    let routes = |routes: &str| {
        below_example("DYNAMIC_DNS", "[{number: 80, name: http, protocol: HTTP}]")
            + &a().replace("a.example.com", "web.test")
            + &virtual_service("{name: v}", &format!("{{hosts: [web.test], http: [{routes}]}}"))
    };
    let to = "destination: {host: '*.example.com'}";
    let rewritten = routes(&format!("{{rewrite: {{authority: 'x.example.com:99'}}, route: [{{{to}}}]}}"));
    let planned = plan_with(&rewritten, &istio(&[80]));
    assert_eq!(planned.codes(), [""; 0]);
    assert_eq!(dialled(&planned, 80, "web.test"), "outbound|80||*.example.com x.example.com:80");
    let weighted = routes(&format!(
        "{{rewrite: {{authority: x.example.com}}, route: [{{{to}, weight: 1}}, {{destination: {{host: web.test}}, weight: 0}}, {{{to}, weight: 1}}]}}"
    ));
    let planned = plan_with(&weighted, &istio(&[80]));
    assert_eq!(dialled(&planned, 80, "web.test"), "outbound|80||*.example.com x.example.com:80");
    for (action, why) in [
        ("", "`web.test` is not below `*.example.com`"),
        ("rewrite: {authority: x.example.org}, ", "`x.example.org` is not below `*.example.com`"),
        ("headers: {request: {set: {host: example.com}}}, ", "`example.com` is not below `*.example.com`"),
    ] {
        let planned = plan_with(&routes(&format!("{{{action}route: [{{{to}}}]}}")), &istio(&[80]));
        assert_eq!(dialled(&planned, 80, "web.test"), "host_not_below_wildcard");
        let warning = planned.of_code("host-not-below-wildcard");
        assert!(warning.message.starts_with(why), "{}", warning.message);
        assert_eq!(warning.severity, Severity::Warning);
    }
    // A copy would be dialled by the main request's host.
    let mirror = routes("{route: [{destination: {host: web.test}}], mirror: {host: '*.example.com'}}");
    let planned = plan_with(&mirror, &istio(&[80]));
    assert_eq!(planned.errors(), ["host-of-request-not-dialled"]);
    assert!(planned.plan.profiles.is_empty());
}

#[test]
fn tls_is_originated_to_names_below_a_wildcard() {
    // SE-R-07, DR-TLS-08, DR-TLS-13
    let input = below_example("NONE", "[{number: 443, name: tls, protocol: TLS, targetPort: 8443}]");
    let plain = plan_with(&input, &standalone(&[80, 443]));
    assert_eq!(dialled(&plain, 80, "a.example.com"), "only_tls_ports");
    let planned = plan_with(&(input + SIMPLE_BELOW_EXAMPLE), &standalone(&[80, 443]));
    assert_eq!(planned.errors(), [""; 0]);
    let cluster = "outbound|443||*.example.com";
    assert_eq!(dialled(&planned, 80, "a.example.com:80"), format!("{cluster} a.example.com:8443"));
    let tls = planned.cluster(cluster).tls.clone().unwrap();
    assert_eq!((tls.sni, tls.auto_san), (None, true));
    // A dot in the end is kept from SNI and certificate check.
    let request =
        Request { listener_port: 80, authority: b"a.example.com.", path: b"/", ..Request::default() };
    match planned.engine.decide(&request, &mut NoTrace) {
        Decision::Forward(forward) => assert_eq!(forward.server_name.as_deref(), Some(&b"a.example.com"[..])),
        other => panic!("{other:?}"),
    }
    // Clients that speak TLS pass through, by SNI.
    assert_eq!(planned.cluster("passthrough|443||*.example.com").discovery, Discovery::Dynamic(8443));
}

/// The plan with its conflicts accepted, in profile istio.
fn accepted(yaml: &str, ports: &[u16]) -> Planned {
    let accept = vec!["conflicting-service-entries".to_owned()];
    plan_with(yaml, &Options { accept, ..istio(ports) })
}

fn aged(name: &str, year: u16, spec: &str) -> String {
    entry(
        &format!("{{name: {name}, creationTimestamp: '{year}-01-01T00:00:00Z'}}"),
        &format!("hosts: [a.example.com], {spec}"),
    )
}

fn port(number: u16, name: &str, protocol: &str) -> String {
    format!("{{number: {number}, name: {name}, protocol: {protocol}}}")
}

fn endpoints(planned: &Planned, name: &str) -> Vec<String> {
    let of = |endpoint: &Endpoint| match &endpoint.address {
        config_gen::plan::Address::Socket(address, port) => format!("{address}:{port}"),
        config_gen::plan::Address::Pipe(path) => path.clone(),
    };
    planned.cluster(name).endpoints.iter().map(of).collect()
}

#[test]
fn the_oldest_entry_of_a_host_counts() {
    // SE-C-01, SE-C-02, SE-21: by time, whatever the names and the order of the input.
    let young = aged(
        "a",
        2022,
        &format!(
            "resolution: STATIC, endpoints: [{{address: 192.0.2.2}}], ports: [{}]",
            port(80, "http", "HTTP")
        ),
    );
    let old = aged(
        "b",
        2021,
        &format!(
            "resolution: STATIC, location: MESH_INTERNAL, endpoints: [{{address: 192.0.2.1}}], ports: [{}]",
            port(80, "http", "HTTP")
        ),
    );
    let planned = plan_with(&(young + &old), &istio(&[80]));
    // Its settings, and the endpoints of both.
    assert!(!planned.cluster(A).external);
    assert_eq!(endpoints(&planned, A), ["192.0.2.1:80", "192.0.2.2:80"]);
    let warning = planned.of_code("duplicate-service-entry");
    assert_eq!((warning.severity, warning.rule), (Severity::Warning, Some("SE-C-02")));
    assert_eq!(warning.resource.as_deref(), Some("ServiceEntry default/a"), "the loser");
    assert_eq!(warning.related[0].0, "`ServiceEntry default/b` has it", "the winner");
}

#[test]
fn without_a_time_the_name_decides() {
    // TV-113, GAP-16
    let with = |name: &str, location: &str| {
        entry(&format!("{{name: {name}}}"), &format!("hosts: [a.example.com], location: {location}, {HTTP}"))
    };
    let planned = plan_with(&(with("b", "MESH_EXTERNAL") + &with("a", "MESH_INTERNAL")), &istio(&[80]));
    assert!(!planned.cluster(A).external, "`a` counts as the older");
    assert_eq!(
        planned.of_code("duplicate-service-entry").resource.as_deref(),
        Some("ServiceEntry default/b")
    );
    assert_eq!(endpoints(&planned, A), ["a.example.com:80"]);
}

#[test]
fn ports_of_several_entries_are_joined() {
    // SE-C-03, TV-92
    let one = aged("one", 2021, &format!("ports: [{}]", port(80, "http", "HTTP")));
    let two = aged("two", 2022, &format!("ports: [{}]", port(443, "https", "HTTPS")));
    let planned = plan_with(&(one.clone() + &two), &istio(&[80, 443]));
    assert_eq!(planned.codes(), [""; 0]);
    assert!(
        planned.has_cluster("outbound|80||a.example.com")
            && planned.has_cluster("outbound|443||a.example.com")
    );
    // TV-93: another resolution, other labels or another `exportTo`.
    let eight = port(81, "other", "HTTP");
    for younger in [
        aged(
            "two",
            2022,
            &format!("resolution: STATIC, endpoints: [{{address: 192.0.2.1}}], ports: [{eight}]"),
        ),
        aged("two", 2022, &format!("ports: [{eight}]")).replace("{name: two,", "{name: two, labels: {x: z},"),
    ] {
        let both = one.clone() + &younger;
        let planned = plan_with(&both, &istio(&[80, 81]));
        assert_eq!(planned.errors(), ["conflicting-service-entries"], "{younger}");
        assert_eq!(planned.of_code("conflicting-service-entries").rule, Some("SE-C-03"));
        // Accepted, it is as in Istio: the younger's port has a virtual host and no cluster.
        let planned = accepted(&both, &[80, 81]);
        assert_eq!(planned.errors(), [""; 0]);
        assert_eq!(
            (planned.get("a.example.com").as_str(), planned.on(81, "a.example.com").as_str()),
            (A, "outbound|81||a.example.com")
        );
        let names: Vec<_> = planned.plan.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        assert_eq!(names, [A], "{younger}");
    }
    // What is exported by name is imported first, whatever its age (SE-C-04).
    let private = aged("two", 2022, &format!("exportTo: [.], ports: [{eight}]"));
    let planned = accepted(&(one + &private), &[80, 81]);
    assert_eq!(
        planned.of_code("conflicting-service-entries").resource.as_deref(),
        Some("ServiceEntry default/one")
    );
    assert!(!planned.has_cluster(A) && planned.has_cluster("outbound|81||a.example.com"));
}

#[test]
fn a_port_of_two_protocols() {
    // TV-111, TV-112, SE-C-08
    let with =
        |name: &str, year, protocol: &str| aged(name, year, &format!("ports: [{}]", port(80, "x", protocol)));
    for (old, young, plaintext) in [("HTTP", "HTTPS", "502"), ("HTTPS", "HTTP", A)] {
        let both = with("a", 2021, old) + &with("b", 2022, young);
        let planned = plan_with(&both, &istio(&[80]));
        assert_eq!(planned.errors(), ["conflicting-service-entries"]);
        assert_eq!(planned.of_code("conflicting-service-entries").rule, Some("SE-C-08"));
        let planned = accepted(&both, &[80]);
        assert_eq!(planned.get("a.example.com"), plaintext, "{old} and {young}");
        assert_eq!(planned.server_names(80), ["a.example.com"]);
    }
    // One protocol and another target: the older one's, and said so.
    let target = |name: &str, year, target: u16| {
        let ports = format!("{{number: 80, name: {name}, protocol: HTTP, targetPort: {target}}}");
        aged(name, year, &format!("ports: [{ports}]"))
    };
    let planned = plan_with(&(target("b", 2021, 8001) + &target("a", 2022, 8002)), &istio(&[80]));
    assert_eq!(planned.codes(), ["conflicting-port"]);
    assert_eq!(endpoints(&planned, A)[0], "a.example.com:8001");
}

#[test]
fn the_namespace_of_a_host() {
    // SE-C-04: the client's, else what is exported to it by name, else the oldest.
    let with = |namespace: &str, year: u16, export: &str, address: &str| {
        entry(
            &format!("{{name: a, namespace: {namespace}, creationTimestamp: '{year}-01-01T00:00:00Z'}}"),
            &format!(
                "hosts: [a.example.com], exportTo: [{export}], resolution: STATIC, endpoints: [{{address: {address}}}], {HTTP}"
            ),
        )
    };
    let all = with("aaa", 2020, "'*'", "192.0.2.1")
        + &with("bbb", 2021, "shop", "192.0.2.2")
        + &with("ccc", 2022, "'*'", "192.0.2.3");
    for (client_namespace, address) in
        [("ccc", "192.0.2.3:80"), ("shop", "192.0.2.2:80"), ("elsewhere", "192.0.2.1:80")]
    {
        let planned = plan_with(&all, &client(client_namespace));
        assert_eq!(endpoints(&planned, A), [address], "{client_namespace}");
        assert_eq!(planned.errors(), [""; 0]);
    }
}

#[test]
fn dns_round_robin_takes_one_endpoint() {
    // SE-C-06, SE-R-05
    let with = |name: &str, year, address: &str| {
        aged(
            name,
            year,
            &format!(
                "resolution: DNS_ROUND_ROBIN, endpoints: [{{address: {address}}}], ports: [{}]",
                port(80, "http", "HTTP")
            ),
        )
    };
    let planned = plan_with(
        &(with("a", 2022, "young.example.com") + &with("b", 2021, "old.example.com")),
        &istio(&[80]),
    );
    assert_eq!(endpoints(&planned, A), ["old.example.com:80"]);
}

#[test]
fn a_wildcard_beside_an_exact_host_is_no_conflict() {
    // SE-C-09
    let wildcard = entry(
        "{name: w}",
        &format!("hosts: ['*.example.com'], resolution: STATIC, endpoints: [{{address: 192.0.2.1}}], {HTTP}"),
    );
    let planned = plan_with(&(wildcard + &a()), &istio(&[80]));
    assert_eq!(planned.codes(), [""; 0]);
    assert_eq!(
        (planned.get("a.example.com").as_str(), planned.get("b.example.com").as_str()),
        (A, "outbound|80||*.example.com")
    );
}

fn sidecar(meta: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "Sidecar", meta, spec)
}

/// Profile istio with the policy that the resources and the mesh say.
fn by_resources(namespace: &str) -> Options {
    Options { outbound_policy: None, ..client(namespace) }
}

#[test]
fn a_sidecar_lists_what_is_imported() {
    // VIS-06
    let two = entry("{name: b, namespace: shop}", &format!("hosts: [b.example.com], {HTTP}"));
    let input = a() + &two + &web();
    for (hosts, visible) in [
        ("['*/*']", [true, true, true]),
        ("['./*']", [true, false, true]),
        ("['shop/*']", [false, true, false]),
        ("['*/*.example.com']", [true, true, false]),
        ("['*/b.example.com', './web.default.svc.cluster.local']", [false, true, true]),
        ("['*/*', '~shop/*']", [true, false, true]),
        ("['*/*', '~*/a.example.com']", [false, true, true]),
        ("['~/*']", [false, false, false]),
    ] {
        let sidecar = sidecar("{name: default}", &format!("{{egress: [{{hosts: {hosts}}}]}}"));
        let planned = plan_with(&(input.clone() + &sidecar), &istio(&[80]));
        let seen = ["a.example.com", "b.example.com", "web"].map(|host| planned.get(host) != "502");
        assert_eq!(seen, visible, "{hosts}");
        let hidden = visible.iter().filter(|visible| !**visible).count();
        assert_eq!(planned.codes().contains(&"not-imported"), hidden > 0, "{hosts}");
        assert_eq!(planned.plan.clusters.len(), 3 - hidden, "{hosts}");
    }
    // Without `egress` everything is.
    let planned = plan_with(&(input + &sidecar("{name: default}", "{ingress: []}")), &istio(&[80]));
    assert_eq!(planned.plan.clusters.len(), 3);
}

#[test]
fn one_sidecar_applies() {
    // TV-124, VIS-11: the younger one's selector matches.
    let old =
        sidecar("{name: old, creationTimestamp: '2021-01-01T00:00:00Z'}", "{egress: [{hosts: ['~/*']}]}");
    let young = sidecar(
        "{name: young, creationTimestamp: '2022-01-01T00:00:00Z'}",
        "{workloadSelector: {labels: {app: a}}, egress: [{hosts: ['*/*']}]}",
    );
    let root = sidecar("{name: root, namespace: istio-system}", "{egress: [{hosts: ['~/*']}]}");
    let selecting_root =
        sidecar("{name: r, namespace: istio-system}", "{workloadSelector: {}, egress: [{hosts: ['~/*']}]}");
    let labels = |app: &str| {
        let mut options = istio(&[80]);
        options.client_labels.insert("app".into(), app.into());
        options
    };
    let both = a() + &old + &young;
    assert_eq!(plan_with(&both, &labels("a")).get("a.example.com"), A);
    assert_eq!(plan_with(&both, &labels("b")).get("a.example.com"), "502");
    assert_eq!(plan_with(&both, &labels("a")).of_code("sidecar-unused").rule, Some("VIS-11"));
    // The root namespace's comes last, and only without a selector.
    assert_eq!(plan_with(&(a() + &root), &istio(&[80])).get("a.example.com"), "502");
    assert_eq!(plan_with(&(a() + &selecting_root), &istio(&[80])).get("a.example.com"), A);
    assert_eq!(plan_with(&(a() + &young + &root), &labels("a")).get("a.example.com"), A);
    // An empty selector is one that everybody carries.
    let everybody = young.replace("{labels: {app: a}}", "{}");
    assert_eq!(plan_with(&(a() + &old + &everybody), &istio(&[80])).get("a.example.com"), A);
    // Nobody chose the client, and no Sidecar applies: more is reachable than somebody meant.
    let elsewhere = a() + &old.replace("{name: old,", "{name: old, namespace: shop,");
    let nobody_chose = Options { client_namespace_given: false, ..istio(&[80]) };
    let severity = |options: &Options| plan_with(&elsewhere, options).of_code("sidecar-unused").severity;
    assert_eq!((severity(&nobody_chose), severity(&istio(&[80]))), (Severity::Warning, Severity::Note));
    // Another root.
    let moved = root.replace("istio-system", "mesh");
    assert_eq!(plan_with(&(a() + &moved), &istio(&[80])).get("a.example.com"), A);
    let planned = plan_in_mesh(&(a() + &moved), "rootNamespace: mesh", &istio(&[80]));
    assert_eq!(planned.get("a.example.com"), "502");
}

#[test]
fn an_egress_listener_with_a_port_imports_that_port() {
    // TV-125, VIS-12
    let entry = entry(
        "{name: a}",
        "hosts: [a.example.com], ports: [{number: 80, name: http, protocol: HTTP}, {number: 8080, name: other, protocol: HTTP}]",
    );
    let port = sidecar(
        "{name: default}",
        "{egress: [{port: {number: 8080, protocol: HTTP, name: x}, hosts: ['*/*']}]}",
    );
    let planned = plan_with(&(entry.clone() + &port), &istio(&[80, 8080]));
    assert_eq!(planned.on(8080, "a.example.com"), "outbound|8080||a.example.com");
    assert_eq!(planned.on(80, "a.example.com"), "502");
    assert!(!planned.has_cluster(A));
    // The others are for the listener without a port.
    let both = sidecar(
        "{name: default}",
        "{egress: [{port: {number: 8080, protocol: HTTP, name: x}, hosts: ['~/*']}, {hosts: ['*/*']}]}",
    );
    let planned = plan_with(&(entry + &both), &istio(&[80, 8080]));
    assert_eq!(
        (planned.get("a.example.com").as_str(), planned.on(8080, "a.example.com").as_str()),
        (A, "502")
    );
}

#[test]
fn destinations_of_imported_virtual_services_are_imported() {
    // VIS-07
    let elsewhere = entry("{name: b, namespace: shop}", &format!("hosts: [b.example.com], {HTTP}"));
    let route = virtual_service(
        "{name: v}",
        "{hosts: [a.example.com], http: [{route: [{destination: {host: b.example.com}}]}]}",
    );
    let own = sidecar("{name: default}", "{egress: [{hosts: ['./*']}]}");
    let planned = plan_with(&(a() + &elsewhere + &route + &own), &istio(&[80]));
    assert_eq!(planned.errors(), [""; 0]);
    assert_eq!(planned.get("a.example.com"), "outbound|80||b.example.com");
    assert!(planned.has_cluster("outbound|80||b.example.com"));
    // Mirrors and routes of delegates lead there, too.
    for rest in [
        "http: [{route: [{destination: {host: a.example.com}}], mirror: {host: b.example.com}}]",
        "http: [{route: [{destination: {host: a.example.com}}], mirrors: [{destination: {host: b.example.com}}]}]",
        "http: [{delegate: {name: d, namespace: shop}}]",
    ] {
        let route = virtual_service("{name: v}", &format!("{{hosts: [a.example.com], {rest}}}"))
            + &virtual_service(
                "{name: d, namespace: shop}",
                "{http: [{route: [{destination: {host: b.example.com}}]}]}",
            );
        let planned = plan_with(&(a() + &elsewhere + &route + &own), &istio(&[80]));
        assert_eq!(planned.errors(), [""; 0], "{rest}");
        assert!(planned.has_cluster("outbound|80||b.example.com"), "{rest}");
    }
    // A VirtualService of another namespace isn't imported itself.
    let theirs = route.replace("{name: v}", "{name: v, namespace: shop}");
    let planned = plan_with(&(a() + &elsewhere + &theirs + &own), &istio(&[80]));
    assert_eq!(planned.get("a.example.com"), A);
    assert!(!planned.has_cluster("outbound|80||b.example.com"));
}

#[test]
fn who_says_what_becomes_of_unknown_hosts() {
    // TV-16, OTP-02
    let policy = |mesh: &str, sidecar_spec: &str| {
        let input = a() + &sidecar("{name: default}", sidecar_spec);
        plan_in_mesh(&input, mesh, &by_resources("default")).get("unknown.example.com")
    };
    let (refused, passed) = ("502", "PassthroughCluster");
    for (mesh, sidecar, expected) in [
        ("{}", "{egress: []}", passed),
        ("{}", "{outboundTrafficPolicy: {}}", refused),
        ("{outboundTrafficPolicy: {}}", "{egress: []}", refused),
        ("{outboundTrafficPolicy: null}", "{egress: []}", passed),
        ("{outboundTrafficPolicy: {mode: ALLOW_ANY}}", "{egress: []}", passed),
        ("{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}", "{egress: []}", refused),
        (
            "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
            "{outboundTrafficPolicy: {mode: ALLOW_ANY}}",
            passed,
        ),
        ("{outboundTrafficPolicy: {mode: ALLOW_ANY}}", "{outboundTrafficPolicy: {}}", refused),
    ] {
        assert_eq!(policy(mesh, sidecar), expected, "mesh {mesh}, Sidecar {sidecar}");
    }
    // The Sidecar of another client says nothing; an option beats both; standalone refuses.
    let other = sidecar("{name: x, namespace: shop}", "{outboundTrafficPolicy: {}}");
    let planned = plan_with(&(a() + &other), &by_resources("default"));
    assert_eq!(planned.get("unknown.example.com"), passed);
    let own = a() + &sidecar("{name: x}", "{outboundTrafficPolicy: {mode: ALLOW_ANY}}");
    assert_eq!(plan_with(&own, &client("default")).get("unknown.example.com"), refused);
    assert_eq!(plan_with(&a(), &standalone(&[80])).get("unknown.example.com"), refused);
    assert_eq!(plan_with(&own, &standalone(&[80])).get("unknown.example.com"), passed);
}

#[test]
fn a_mesh_says_who_sees_what_says_nothing() {
    // VIS-01, VIS-03, DR-06
    let route = virtual_service(
        "{name: v}",
        "{hosts: [a.example.com], http: [{match: [{uri: {prefix: /x}}], route: [{destination: {host: a.example.com}}]}]}",
    );
    let rule = object(
        "networking.istio.io/v1",
        "DestinationRule",
        "{name: r}",
        "{host: a.example.com, trafficPolicy: {tls: {mode: SIMPLE}}}",
    );
    let all = a() + &route + &rule;
    let seen = |mesh: &str, client_namespace: &str| {
        let planned = plan_in_mesh(&all, mesh, &client(client_namespace));
        let tls = planned.plan.clusters.first().is_some_and(|cluster| cluster.tls.is_some());
        (planned.get("a.example.com"), tls)
    };
    // `/` meets none of the VirtualService's routes.
    assert_eq!(seen("{}", "shop"), ("404".to_owned(), true));
    assert_eq!(seen("defaultServiceExportTo: ['.']", "shop").0, "404", "the VirtualService is left");
    assert_eq!(
        seen("{defaultServiceExportTo: ['.'], defaultVirtualServiceExportTo: ['.']}", "shop").0,
        "502"
    );
    assert_eq!(seen("defaultVirtualServiceExportTo: ['.']", "shop"), (A.to_owned(), true));
    assert_eq!(seen("defaultDestinationRuleExportTo: ['.']", "shop"), ("404".to_owned(), false));
    assert_eq!(seen("defaultDestinationRuleExportTo: ['.']", "default"), ("404".to_owned(), true));
    // What is written stays.
    let open = a().replace("hosts:", "exportTo: ['*'], hosts:");
    let planned = plan_in_mesh(&open, "defaultServiceExportTo: ['.']", &client("shop"));
    assert_eq!(planned.get("a.example.com"), A);
}

/// What is said of a mesh config: codes and rules.
fn mesh_findings(text: &str) -> (Vec<String>, Options) {
    let mut read = input::read(Sources::new(), &ReadOptions::default());
    let mesh = mesh_config::read("mesh.yaml", text, &mut read);
    for diagnostic in &read.diagnostics {
        assert!(diagnostic.span.is_some() && diagnostic.resource.is_some(), "{diagnostic:?}");
        assert!(!diagnostic.render(&read.sources).is_empty());
    }
    let found = read.diagnostics.iter().map(|it| format!("{} {}", it.code, it.rule.unwrap_or("-"))).collect();
    (found, mesh.options(Options::default(), &read))
}

#[test]
fn a_mesh_config_is_read_whole() {
    let istio = "accessLogFile: /dev/stdout\ndefaultConfig: {discoveryAddress: 'istiod:15012'}\nenablePrometheusMerge: true\nrootNamespace: mesh\ntrustDomain: cluster.local\nconnectTimeout: 2.5s\ndnsRefreshRate: 5m\n";
    let (found, options) = mesh_findings(istio);
    assert_eq!(found, [""; 0]);
    assert_eq!(options.root_namespace, "mesh");
    // DEF-08, SE-R-06
    assert_eq!(
        (options.envoy.connect_timeout.as_str(), options.envoy.dns_refresh_rate.as_deref()),
        ("2.500s", Some("300s"))
    );
    // As `kubectl get configmap istio -o yaml` has it.
    let indented: String = istio.lines().map(|line| format!("    {line}\n")).collect();
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio}}\ndata:\n  meshNetworks: 'networks: {{}}'\n  mesh: |-\n{indented}"
    );
    let (found, from_map) = mesh_findings(&map);
    assert_eq!((found.len(), from_map.root_namespace.as_str()), (0, "mesh"));
    for (text, expected) in [
        ("defaultHttpRetryPolicy: {attempts: 3, retryOn: '503,reset'}", vec![]),
        ("defaultHttpRetryPolicy: {attempts: 3, retryOn: never}", vec!["invalid-retries VS-RETRY-06"]),
        ("defaultHttpRetryPolicy: {retryOn: reset}", vec!["invalid-retries VS-RETRY-02"]),
        ("defaultHttpRetryPolicy: {tries: 3}", vec!["unknown-field VAL-CRD-01"]),
        ("defaultTrafficPolicy: {}", vec![]),
        ("defaultTrafficPolicy: {tls: {}}", vec!["unknown-field VAL-CRD-01"]),
        ("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}", vec!["not-supported OTP-01"]),
        ("outboundTrafficPolicy: {mode: any}", vec!["invalid-value VAL-CRD-04"]),
        ("serviceEntryVisibility: {}", vec!["not-supported VIS-01"]),
        ("h2UpgradePolicy: UPGRADE", vec![]),
        ("h2UpgradePolicy: DO_NOT_UPGRADE", vec![]),
        ("outboundTraficPolicy: {}", vec!["unknown-field VAL-CRD-01"]),
        ("connectTimeout: 10", vec!["wrong-type -"]),
        ("defaultDestinationRuleExportTo: [shop]", vec!["invalid-export-to DR-06"]),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {}", vec!["invalid-mesh-config -"]),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {mesh: 'meshMtls: {}'}", vec!["unknown-field VAL-CRD-01"]),
        ("{}\n---\n{}", vec!["invalid-mesh-config -"]),
        ("[]", vec!["wrong-type -"]),
    ] {
        assert_eq!(mesh_findings(text).0, expected, "{text}");
    }
}

#[test]
fn what_is_hidden_is_said_once_where_nobody_chose_the_client() {
    let private = |name: &str, namespace: &str| {
        entry(
            &format!("{{name: {name}, namespace: {namespace}}}"),
            &format!("hosts: [{name}.example.com], exportTo: [.], {HTTP}"),
        )
    };
    let input = a() + &private("b", "shop") + &private("c", "shop");
    let nobody_chose = Options { client_namespace_given: false, ..istio(&[80]) };
    let planned = plan_with(&input, &nobody_chose);
    assert_eq!(planned.codes(), ["not-exported"]);
    let note = planned.of_code("not-exported");
    assert_eq!(
        note.message,
        "no client namespace was given, so `default` is taken, from which `exportTo` hides ServiceEntry shop/b, ServiceEntry shop/c"
    );
    assert_eq!(note.rule, Some("VIS-01"));
    assert_eq!(plan_with(&input, &istio(&[80])).codes(), ["not-exported"; 2]);
}

#[test]
fn one_note_stands_for_many() {
    let many: String = (0..20)
        .map(|n| {
            entry(
                &format!("{{name: a{n:02}}}"),
                &format!("hosts: [a{n:02}.example.com], resolution: NONE, {HTTP}"),
            )
        })
        .collect();
    let planned = plan_with(&many, &istio(&[80]));
    assert_eq!(planned.codes(), ["resolution-none-approximated"]);
    let note = planned.of_code("resolution-none-approximated");
    assert_eq!(note.resource.as_deref(), Some("ServiceEntry default/a00"));
    assert!(note.message.ends_with("ServiceEntry default/a05 and 14 more"), "{}", note.message);
}

#[test]
fn a_port_without_protocol_at_an_address_is_approximated() {
    // LI-03
    let port = "ports: [{number: 80, name: x}]";
    let planned = plan_with(
        &entry("{name: a}", &format!("hosts: [a.example.com], addresses: [10.1.2.3], {port}")),
        &istio(&[80]),
    );
    assert_eq!(planned.codes(), ["any-host-approximated"]);
    assert_eq!(planned.of_code("any-host-approximated").rule, Some("LI-03"));
    assert_eq!((planned.get("10.1.2.3").as_str(), planned.get("other.example.com").as_str()), (A, "502"));
    let planned = plan_with(&entry("{name: a}", &format!("hosts: [a.example.com], {port}")), &istio(&[80]));
    assert_eq!(planned.codes(), [""; 0]);
}

#[test]
fn addresses_of_a_name_are_raced_for() {
    // SE-22
    let with = |strategy: &str, endpoints: &str| {
        let meta = format!("{{name: a, annotations: {{istio.io/connect-strategy: {strategy}}}}}");
        plan_with(&entry(&meta, &format!("hosts: [a.example.com]{endpoints}, {HTTP}")), &istio(&[80]))
    };
    assert_eq!(with("race_first_tcp_connect", "").cluster(A).discovery, Discovery::RacingDns);
    assert_eq!(with("DEFAULT", "").cluster(A).discovery, Discovery::StrictDns);
    let several =
        with("RACE_FIRST_TCP_CONNECT", ", endpoints: [{address: b.example.com}, {address: c.example.com}]");
    assert_eq!(several.cluster(A).discovery, Discovery::StrictDns);
    assert_eq!(several.codes(), ["connect-strategy-ignored"]);
}

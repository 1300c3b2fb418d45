//! Every row of the table of fields is shown by a test, and `docs/fields.md` names it.
//!
//! A test is found by what it does, not by what it says:
//!
//! - A translated or approximated field: a case of `testdata/` of which a test fails once the field
//!   is gone (or has another value, for the row of an enum's value). Where cases can't tell, the
//!   resources in `tests/fields`: what is generated from them differs. Then the document names the
//!   test in Rust of what the field does, if there is one (`IN_RUST`).
//! - An ignored field: it stands in `tests/fields`, and nothing differs.
//! - A refused field: its error stands in the texts of `tests/input`.
//!
//! A row without any fails. To write the document again, run
//!
//! ```text
//! UPDATE=1 cargo test -p portolan-config-gen --test fields
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use config_gen::cases::{self, CaseFile};
use config_gen::diagnostic::{Diagnostics, Severity};
use config_gen::emit::{MeshOptions, Output};
use config_gen::gateway::GatewayName;
use config_gen::input::{Read, ReadOptions, files, read};
use config_gen::mesh_config::{self, MeshConfig};
use config_gen::options::{Options, Profile};
use config_gen::plan::Plan;
use config_gen::schema::rows::{MESH_CONFIG_KIND, Row, rows};
use config_gen::schema::{FieldUse, Support, markdown};
use config_gen::source::Sources;

/// Tests in Rust of what a field does, for rows without a case: the kind, the beginning of the path,
/// and the file with the function. One counts for the fields that its file names.
const IN_RUST: &[(&str, &str, &str)] = &[
    ("any", "metadata.labels", "config-gen/tests/registry.rs::labels_of_the_metadata_win"),
    (
        "any",
        "metadata.annotations[\"istio.io/connect-strategy\"]",
        "config-gen/tests/registry.rs::addresses_of_a_name_are_raced_for",
    ),
    (
        "any",
        "metadata.annotations[\"networking.istio.io/exportTo\"]",
        "config-gen/tests/registry.rs::an_annotation_says_who_sees_a_kubernetes_service",
    ),
    (
        "any",
        "metadata.annotations[\"proxy.istio.io/health-checks-enabled\"]",
        "config-gen/tests/registry.rs::which_workloads_are_left_out",
    ),
    (
        "ServiceEntry",
        "spec.location",
        "config-gen/tests/registry.rs::a_location_says_whether_the_host_is_of_the_mesh",
    ),
    ("ServiceEntry", "spec.addresses", "config-gen/tests/registry.rs::addresses_are_hosts"),
    ("ServiceEntry", "spec.ports[].targetPort", "config-gen/tests/plan.rs::endpoints_have_their_own_ports"),
    ("ServiceEntry", "spec.resolution: NONE", "config-gen/tests/registry.rs::resolution_none_dials_the_host"),
    (
        "ServiceEntry",
        "spec.resolution: DNS_ROUND_ROBIN",
        "config-gen/tests/registry.rs::dns_round_robin_takes_one_endpoint",
    ),
    (
        "ServiceEntry",
        "spec.resolution: DYNAMIC_DNS",
        "config-gen/tests/registry.rs::names_below_a_wildcard_are_dialled_by_sni",
    ),
    ("ServiceEntry", "spec.endpoints[].ports", "config-gen/tests/plan.rs::endpoints_have_their_own_ports"),
    ("ServiceEntry", "spec.endpoints[].weight", "e2e/tests/registry.rs::endpoints_share_by_weight"),
    ("ServiceEntry", "spec.endpoints[]", "config-gen/tests/registry.rs::weight_and_locality_of_endpoints"),
    (
        "ServiceEntry",
        "spec.workloadSelector",
        "config-gen/tests/registry.rs::workload_entries_are_selected_by_labels",
    ),
    ("ServiceEntry", "spec.subjectAltNames", "config-gen/tests/plan.rs::sni_and_san_follow_the_rule"),
    ("VirtualService", "spec.http[].name", "config-gen/tests/routes.rs::routes_and_their_matches_have_names"),
    (
        "VirtualService",
        "spec.http[].match[].name",
        "config-gen/tests/routes.rs::routes_and_their_matches_have_names",
    ),
    (
        "VirtualService",
        "spec.http[].delegate",
        "config-gen/tests/delegates.rs::routes_take_the_place_of_the_one_that_delegates",
    ),
    ("VirtualService", "spec.http[].match[]", "config-gen/tests/routes.rs::conditions_have_three_forms"),
    ("VirtualService", "spec.http[].redirect.port", "config-gen/tests/routes.rs::ports_of_redirects"),
    ("VirtualService", "spec.http[].redirect.derivePort", "config-gen/tests/routes.rs::ports_of_redirects"),
    (
        "VirtualService",
        "spec.http[].fault.delay.percent",
        "config-gen/tests/routes.rs::outdated_fields_mean_the_same",
    ),
    ("VirtualService", "spec.http[].fault.delay.percentage", "e2e/tests/actions.rs::faults_are_injected"),
    (
        "VirtualService",
        "spec.http[].mirrorPercent",
        "config-gen/tests/routes.rs::outdated_fields_mean_the_same",
    ),
    ("VirtualService", "spec.http[].mirrorPercentage", "e2e/tests/actions.rs::copies_go_to_mirrors"),
    (
        "VirtualService",
        "spec.http[].mirror_percent",
        "config-gen/tests/routes.rs::outdated_fields_mean_the_same",
    ),
    ("VirtualService", "spec.http[].mirror.port", "config-gen/tests/routes.rs::mirrors_have_ports"),
    (
        "VirtualService",
        "spec.http[].mirrors[].destination.port",
        "config-gen/tests/routes.rs::mirrors_have_ports",
    ),
    (
        "VirtualService",
        "spec.http[].corsPolicy.allowOrigin",
        "config-gen/tests/routes.rs::outdated_fields_mean_the_same",
    ),
    (
        "VirtualService",
        "spec.http[].corsPolicy.allowOrigins",
        "config-gen/tests/routes.rs::origins_and_preflights",
    ),
    (
        "VirtualService",
        "spec.http[].corsPolicy.unmatchedPreflights",
        "config-gen/tests/routes.rs::origins_and_preflights",
    ),
    ("VirtualService", "spec.http[].route[].weight", "e2e/tests/actions.rs::requests_are_divided_by_weight"),
    ("VirtualService", "spec.http[].route[].headers", "e2e/tests/actions.rs::headers_are_changed_both_ways"),
    ("VirtualService", "spec.http[].headers", "e2e/tests/actions.rs::headers_are_changed_both_ways"),
    (
        "VirtualService",
        "spec.http[].rewrite.uriRegexRewrite",
        "e2e/tests/actions.rs::parts_of_a_path_are_replaced_by_pattern",
    ),
    (
        "VirtualService",
        "spec.http[].redirect",
        "e2e/tests/actions.rs::redirects_and_direct_responses_are_answered_here",
    ),
    (
        "VirtualService",
        "spec.http[].directResponse",
        "e2e/tests/actions.rs::redirects_and_direct_responses_are_answered_here",
    ),
    ("VirtualService", "spec.http[].timeout", "e2e/tests/actions.rs::a_request_has_its_time"),
    ("VirtualService", "spec.http[].retries", "e2e/tests/actions.rs::failures_are_tried_again"),
    ("VirtualService", "spec.http[].fault", "e2e/tests/actions.rs::faults_are_injected"),
    ("VirtualService", "spec.http[].mirror", "e2e/tests/actions.rs::copies_go_to_mirrors"),
    ("VirtualService", "spec.http[].corsPolicy", "e2e/tests/actions.rs::browsers_are_answered"),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.simple: ROUND_ROBIN",
        "e2e/tests/traffic_policy.rs::round_robin_takes_one_after_the_other",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.simple: RANDOM",
        "e2e/tests/traffic_policy.rs::random_spreads_without_an_order",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.simple: LEAST_REQUEST",
        "e2e/tests/traffic_policy.rs::least_request_avoids_the_busy_one",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash",
        "e2e/tests/traffic_policy.rs::a_header_or_query_parameter_chooses_the_endpoint",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie",
        "e2e/tests/traffic_policy.rs::a_cookie_or_the_client_chooses_the_endpoint",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.useSourceIp",
        "e2e/tests/traffic_policy.rs::a_cookie_or_the_client_chooses_the_endpoint",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.warmup",
        "e2e/tests/traffic_policy.rs::new_endpoints_warm_up",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.localityLbSetting",
        "e2e/tests/traffic_policy.rs::localities_have_shares_and_take_over",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool",
        "e2e/tests/traffic_policy.rs::requests_above_the_limits_are_refused",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.tcp.connectTimeout",
        "e2e/tests/traffic_policy.rs::connecting_has_its_time",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive",
        "e2e/tests/traffic_policy.rs::connections_have_their_time",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.tcp.maxConnectionDuration",
        "e2e/tests/traffic_policy.rs::connections_have_their_time",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.tcp.idleTimeout",
        "e2e/tests/traffic_policy.rs::connections_have_their_time",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.idleTimeout",
        "e2e/tests/traffic_policy.rs::connections_have_their_time",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.maxRequestsPerConnection",
        "e2e/tests/traffic_policy.rs::connections_have_their_time",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.h2UpgradePolicy",
        "e2e/tests/traffic_policy.rs::http_2_is_spoken_where_it_is_asked_for",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.useClientProtocol",
        "e2e/tests/traffic_policy.rs::http_2_is_spoken_where_it_is_asked_for",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.maxConcurrentStreams",
        "e2e/tests/traffic_policy.rs::http_2_is_spoken_where_it_is_asked_for",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.http2KeepAlive",
        "e2e/tests/traffic_policy.rs::http_2_is_spoken_where_it_is_asked_for",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection",
        "e2e/tests/traffic_policy.rs::endpoints_that_fail_are_out_for_a_while",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.consecutiveGatewayErrors",
        "e2e/tests/traffic_policy.rs::what_counts_as_a_failure",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes",
        "e2e/tests/traffic_policy.rs::what_counts_as_a_failure",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.proxyProtocol",
        "e2e/tests/traffic_policy.rs::endpoints_learn_the_client_by_the_proxy_protocol",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.retryBudget",
        "e2e/tests/traffic_policy.rs::retries_have_a_budget",
    ),
    ("DestinationRule", "spec.subsets", "e2e/tests/traffic_policy.rs::a_subset_is_reached_by_its_labels"),
    ("DestinationRule", "spec.exportTo", "config-gen/tests/plan.rs::private_rules_elsewhere_are_not_seen"),
    (
        "DestinationRule",
        "spec.trafficPolicy.portLevelSettings",
        "config-gen/tests/plan.rs::sni_and_san_follow_the_rule",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.tunnel",
        "e2e/tests/connections.rs::connections_go_through_a_proxy_by_connect_or_post",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.tls.clientCertificate",
        "e2e/tests/tls.rs::a_client_certificate_is_presented",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.tls.privateKey",
        "e2e/tests/tls.rs::a_client_certificate_is_presented",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.tls.credentialName",
        "e2e/tests/tls.rs::renewed_client_certificates_are_noticed",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.tls.caCrl",
        "e2e/tests/tls.rs::new_authorities_and_revocations_are_noticed",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.tls.mode: ISTIO_MUTUAL",
        "e2e/tests/tls.rs::the_certificate_of_a_mesh_is_presented",
    ),
    ("DestinationRule", "spec.trafficPolicy.tls", "config-gen/tests/plan.rs::sni_and_san_follow_the_rule"),
    ("WorkloadEntry", "spec.labels", "config-gen/tests/registry.rs::workload_entries_are_selected_by_labels"),
    (
        "WorkloadEntry",
        "spec.address",
        "config-gen/tests/registry.rs::workload_entries_are_selected_by_labels",
    ),
    ("WorkloadEntry", "spec", "config-gen/tests/registry.rs::weight_and_locality_of_endpoints"),
    ("Sidecar", "spec.workloadSelector", "config-gen/tests/registry.rs::one_sidecar_applies"),
    (
        "Sidecar",
        "spec.egress[].port",
        "config-gen/tests/registry.rs::an_egress_listener_with_a_port_imports_that_port",
    ),
    ("Sidecar", "spec.egress", "config-gen/tests/registry.rs::a_sidecar_lists_what_is_imported"),
    (
        "Sidecar",
        "spec.outboundTrafficPolicy",
        "config-gen/tests/registry.rs::who_says_what_becomes_of_unknown_hosts",
    ),
    ("Service", "spec.type", "config-gen/tests/registry.rs::types_of_a_kubernetes_service"),
    ("Service", "spec.ports[].appProtocol", "config-gen/tests/registry.rs::types_of_a_kubernetes_service"),
    ("Service", "spec.externalName", "config-gen/tests/registry.rs::an_external_name_is_another_name"),
    ("Service", "spec.type: ExternalName", "config-gen/tests/registry.rs::an_external_name_is_another_name"),
    (
        "Service",
        "spec.ports[].targetPort",
        "config-gen/tests/registry.rs::pods_of_a_headless_service_have_names",
    ),
    ("Service", "spec.ports", "config-gen/tests/registry.rs::ports_of_a_kubernetes_service"),
    ("Service", "spec.clusterIP", "config-gen/tests/registry.rs::a_cluster_address_is_a_host"),
    (
        "MeshConfig",
        "outboundTrafficPolicy",
        "config-gen/tests/registry.rs::who_says_what_becomes_of_unknown_hosts",
    ),
    ("MeshConfig", "default", "config-gen/tests/registry.rs::a_mesh_says_who_sees_what_says_nothing"),
    ("MeshConfig", "rootNamespace", "config-gen/tests/registry.rs::a_mesh_config_is_read_whole"),
    ("MeshConfig", "connectTimeout", "config-gen/tests/registry.rs::a_mesh_config_is_read_whole"),
    ("MeshConfig", "dnsRefreshRate", "config-gen/tests/registry.rs::a_mesh_config_is_read_whole"),
];

/// What `docs/traffic-policy.md` names first: behaviours, and the tests that show them in a real
/// Envoy.
const BEHAVIOURS: &[(&str, &str)] = &[
    ("weights over endpoints", "e2e/tests/registry.rs::endpoints_share_by_weight"),
    ("round robin", "e2e/tests/traffic_policy.rs::round_robin_takes_one_after_the_other"),
    ("random", "e2e/tests/traffic_policy.rs::random_spreads_without_an_order"),
    ("least request", "e2e/tests/traffic_policy.rs::least_request_avoids_the_busy_one"),
    (
        "ring hash and Maglev; by header and query parameter",
        "e2e/tests/traffic_policy.rs::a_header_or_query_parameter_chooses_the_endpoint",
    ),
    (
        "hash of a cookie, which Envoy gives, and of the source address",
        "e2e/tests/traffic_policy.rs::a_cookie_or_the_client_chooses_the_endpoint",
    ),
    ("warm-up", "e2e/tests/traffic_policy.rs::new_endpoints_warm_up"),
    ("localities: shares and failover", "e2e/tests/traffic_policy.rs::localities_have_shares_and_take_over"),
    ("subset choice", "e2e/tests/traffic_policy.rs::a_subset_is_reached_by_its_labels"),
    ("outlier ejection and return", "e2e/tests/traffic_policy.rs::endpoints_that_fail_are_out_for_a_while"),
    ("what an outlier is", "e2e/tests/traffic_policy.rs::what_counts_as_a_failure"),
    (
        "circuit breaker overflow, most pending requests",
        "e2e/tests/traffic_policy.rs::requests_above_the_limits_are_refused",
    ),
    ("connect timeout", "e2e/tests/traffic_policy.rs::connecting_has_its_time"),
    (
        "most requests on a connection, idle timeout, longest duration",
        "e2e/tests/traffic_policy.rs::connections_have_their_time",
    ),
    ("PROXY protocol", "e2e/tests/traffic_policy.rs::endpoints_learn_the_client_by_the_proxy_protocol"),
    ("retry budget", "e2e/tests/traffic_policy.rs::retries_have_a_budget"),
    ("upgrade to HTTP/2", "e2e/tests/traffic_policy.rs::http_2_is_spoken_where_it_is_asked_for"),
    (
        "HTTP/1.1 or HTTP/2 as the client speaks",
        "e2e/tests/registry.rs::a_port_without_a_protocol_speaks_as_the_client",
    ),
    ("mutual TLS accepted and refused", "e2e/tests/tls.rs::a_client_certificate_is_presented"),
    ("wrong name and expired certificate refused", "e2e/tests/tls.rs::certificates_are_verified"),
    (
        "rotation of client certificates without restart",
        "e2e/tests/tls.rs::renewed_client_certificates_are_noticed",
    ),
    (
        "rotation of authorities, revocation lists",
        "e2e/tests/tls.rs::new_authorities_and_revocations_are_noticed",
    ),
    ("SNI of each rule", "e2e/tests/tls.rs::each_rule_has_its_server_name"),
    ("TLS 1.2 and 1.3", "e2e/tests/tls.rs::upstreams_speak_1_2_or_1_3"),
    ("DNS change followed, DNS failure", "e2e/tests/shared_clusters.rs::dns_is_followed"),
    ("wildcard host by SNI", "e2e/tests/registry.rs::names_below_a_wildcard_are_dialled_by_sni"),
    (
        "wildcard host by the host of a request",
        "e2e/tests/registry.rs::names_below_a_wildcard_are_dialled_by_host",
    ),
    ("unix domain socket", "e2e/tests/registry.rs::a_unix_socket_is_an_endpoint"),
    ("gRPC, streams both ways", "e2e/tests/protocols.rs::grpc_passes_both_ways"),
    ("websocket echo", "e2e/tests/protocols.rs::websockets_echo"),
    ("CONNECT tunnel of a client", "e2e/tests/explicit_proxy.rs::a_tunnel_is_for_one_service"),
    (
        "tunnel of a DestinationRule",
        "e2e/tests/connections.rs::connections_go_through_a_proxy_by_connect_or_post",
    ),
    ("SNI passthrough", "e2e/tests/examples.rs::tls_passes_through_and_the_client_verifies"),
    ("TCP to a real Redis", "e2e/tests/connections.rs::a_real_server_is_reached_by_its_port"),
    ("TCP: idle timeout and longest duration", "e2e/tests/connections.rs::connections_have_their_time"),
    (
        "TCP: hash of the source address",
        "e2e/tests/connections.rs::the_address_of_a_client_chooses_the_endpoint",
    ),
    ("HTTP and TCP on one port", "e2e/tests/connections.rs::one_port_has_http_and_tcp"),
];

/// Without effect on what is written: its pods are approximated by the service's name.
const WITHOUT_EFFECT: (&str, &str, &str) =
    ("Service", "spec.selector", "config-gen/tests/registry.rs::a_kubernetes_service_has_short_names");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A text, and what becomes of its fields.
struct Text {
    /// From the root of the repository.
    path: String,
    text: String,
    uses: Vec<FieldUse>,
}

/// A text that can be changed, and looked at for what that does.
trait Subject {
    fn text(&self) -> &Text;

    /// What comes of the text as it is.
    fn before(&self) -> &str;

    /// What comes of another text; `None` if it is no YAML.
    fn outcome(&self, text: &str) -> Option<String>;
}

/// Whether the outcome depends on the field, or on the value of the row.
fn depends_on(subject: &dyn Subject, row: &Row) -> bool {
    let Text { text, uses, .. } = subject.text();
    // An enum's default is the same as no value.
    let mut values = row.alternatives.clone();
    values.extend(row.choice.is_none().then_some("null"));
    let before = subject.before();
    values.iter().any(|value| {
        let changed = replaced(text, uses, row, value);
        changed.is_some_and(|changed| subject.outcome(&changed).is_some_and(|after| after != before))
    })
}

/// The text with another value for the row's field everywhere; `None` if it isn't there.
fn replaced(text: &str, uses: &[FieldUse], row: &Row, value: &str) -> Option<String> {
    let mut places: Vec<(usize, usize)> = uses
        .iter()
        .filter(|one| !matches!(one.support, Support::Refused(_)) && row.covers(one))
        .map(|one| (one.span.start as usize, one.span.end as usize))
        .filter(|(start, end)| {
            row.choice.is_none_or(|choice| choice == text[*start..*end].trim_matches(['"', '\'']))
        })
        .collect();
    // A place inside another one goes with it.
    places.sort_by_key(|(start, end)| (*start, usize::MAX - end));
    let mut reached = 0;
    places.retain(|(start, end)| {
        let outer = *start >= reached;
        reached = reached.max(*end);
        outer
    });
    // From the end, so that the places before stay where they are.
    let mut changed = text.to_owned();
    for (start, end) in places.iter().rev() {
        changed.replace_range(*start..*end, value);
    }
    (!places.is_empty()).then_some(changed)
}

fn parse(path: &str, text: &str, options: &ReadOptions) -> Option<Read> {
    let mut sources = Sources::new();
    sources.add(path, text);
    let read = read(sources, options);
    (!read.diagnostics.iter().any(|finding| finding.code == "invalid-yaml")).then_some(read)
}

/// A case of `testdata/`: what the tests come to that have these resources, of a file or of one of
/// its tests.
struct Case {
    text: Text,
    /// With these tests alone.
    file: CaseFile,
    setup: usize,
}

const PASSED: &str = "passed";

impl Subject for Case {
    fn text(&self) -> &Text {
        &self.text
    }

    fn before(&self) -> &str {
        PASSED
    }

    fn outcome(&self, text: &str) -> Option<String> {
        let mut file = self.file.clone();
        let setup = file.setups.get_mut(self.setup)?;
        parse(&self.text.path, text, &setup.read_options())?;
        text.clone_into(setup.resources.last_mut()?);
        Some(if cases::run(&[file]).failures.is_empty() { PASSED } else { "failed" }.to_owned())
    }
}

/// The cases that have their resources with them.
fn all_cases() -> Vec<Case> {
    let sources = files::collect(&[root().join("testdata")]).unwrap();
    let (files, _) = cases::load(&sources);
    let setups = files.iter().flat_map(|file| (0..file.setups.len()).map(move |setup| (file, setup)));
    setups
        .filter_map(|(file, setup)| {
            let of = &file.setups[setup];
            let text = of.resources.last()?.clone();
            let path = relative(Path::new(&file.path));
            let uses = parse(&path, &text, &of.read_options())?.field_uses;
            let mut file = file.clone();
            file.tests.retain(|test| test.setup == setup);
            (!file.tests.is_empty()).then_some(Case { text: Text { path, text, uses }, file, setup })
        })
        .collect()
}

/// Resources of `tests/fields`: what is generated from them, in both profiles.
struct Generated {
    text: Text,
    /// Resources beside a MeshConfig.
    resources: Option<String>,
    before: String,
}

impl Subject for Generated {
    fn text(&self) -> &Text {
        &self.text
    }

    fn before(&self) -> &str {
        &self.before
    }

    fn outcome(&self, text: &str) -> Option<String> {
        let (read, mesh) = self.read(text)?;
        let mut out = String::new();
        for profile in [Profile::Standalone, Profile::Istio] {
            // The first Gateway, if there is any, is generated for.
            let gateway = read.gateways.first().map(|gateway| GatewayName {
                namespace: gateway.meta.namespace.clone(),
                name: gateway.meta.name.value.clone(),
            });
            let options = mesh.options(
                Options { profile, gateway, client_locality: "eu".parse().ok(), ..Options::default() },
                &read,
            );
            let mut found = read.diagnostics.clone();
            if !found.has_errors() {
                let mut more = Diagnostics::new();
                let plan = Plan::of(&read.resources(), &options, &mut more);
                found.extend(more);
                // The others hold the plugin config again.
                for output in [Output::PluginConfig, Output::Sds, Output::Envoy] {
                    let files = output.render(&plan, &options, &MeshOptions::default()).unwrap();
                    out.extend(files.into_iter().map(|file| file.content));
                }
            }
            for error in found.iter().filter(|finding| finding.severity == Severity::Error) {
                out += &format!("{}\n", error.message);
            }
        }
        Some(out)
    }
}

impl Generated {
    fn read(&self, text: &str) -> Option<(Read, MeshConfig)> {
        let Some(resources) = &self.resources else {
            return Some((parse(&self.text.path, text, &ReadOptions::default())?, MeshConfig::default()));
        };
        let mut read = parse("resources", resources, &ReadOptions::default())?;
        let mesh = mesh_config::read(&self.text.path, text, &mut read);
        mesh.apply(&mut read);
        Some((read, mesh))
    }
}

fn folder(name: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    paths.sort();
    paths.into_iter().map(|path| (relative(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn is_mesh_config(path: &str) -> bool {
    path.contains("/mesh-config") && !path.ends_with("-resources.yaml")
}

fn all_generated() -> Vec<Generated> {
    let files = folder("fields");
    let resources = files.iter().find(|(path, _)| path.ends_with("/mesh-config-resources.yaml"));
    let resources = resources.map(|(_, text)| text.clone());
    files
        .into_iter()
        .map(|(path, text)| {
            let resources = resources.clone().filter(|_| is_mesh_config(&path));
            let text = Text { path, text, uses: Vec::new() };
            let mut one = Generated { text, resources, before: String::new() };
            let (read, _) = one.read(&one.text.text).unwrap();
            assert!(!read.diagnostics.has_errors(), "{}", read.diagnostics.render(&read.sources));
            one.text.uses = read.field_uses;
            if one.resources.is_some() {
                one.text.uses.retain(|one| &*one.resource == MESH_CONFIG_KIND);
            }
            one.before = one.outcome(&one.text.text).unwrap();
            one
        })
        .collect()
}

/// The files of `tests/input` with the refused fields that they show.
fn all_refusals() -> Vec<Text> {
    folder("input")
        .into_iter()
        .map(|(path, text)| {
            let mut uses = Vec::new();
            let read = if is_mesh_config(&path) {
                let mut read = Read::default();
                mesh_config::read(&path, &text, &mut read);
                Some(read)
            } else {
                parse(&path, &text, &ReadOptions::default())
            };
            if let Some(read) = read {
                uses = read.field_uses;
                let told = |one: &FieldUse| {
                    let mut errors = read.diagnostics.iter();
                    errors.any(|error| {
                        error.resource.as_deref() == Some(&*one.resource)
                            && error.field.as_deref() == Some(&one.field)
                    })
                };
                uses.retain(|one| matches!(one.support, Support::Refused(_)) && told(one));
            }
            Text { path, text, uses }
        })
        .collect()
}

fn relative(path: &Path) -> String {
    path.canonicalize().unwrap().strip_prefix(root()).unwrap().display().to_string()
}

struct Tests {
    cases: Vec<Case>,
    generated: Vec<Generated>,
    refusals: Vec<Text>,
    /// The document as it is: a case that is named there and still shows the row stays.
    document: String,
}

impl Tests {
    /// The path of a test that shows the row.
    fn of(&self, row: &Row) -> Option<String> {
        let uses = |text: &Text| text.uses.iter().any(|one| row.covers(one));
        match row.support {
            Support::Refused(_) => {
                let shows = |text: &&Text| replaced_value_is_there(text, row);
                self.refusals.iter().find(shows).map(|text| text.path.clone())
            }
            Support::Ignored(_) => {
                let mut with = self.generated.iter().filter(|one| uses(&one.text)).peekable();
                let first = with.peek()?.text.path.clone();
                with.all(|one| !depends_on(one, row)).then_some(first)
            }
            Support::Translated | Support::Approximated(_) => {
                // What the document has needs no better one until it is written again.
                let line = self.line(row);
                if !updating() && !line.contains("](../testdata/") {
                    let kept =
                        self.without_case(row).filter(|test| line.ends_with(&format!("{} |", cell(test))));
                    return kept.or_else(|| self.case(row)).or_else(|| self.without_case(row));
                }
                self.case(row).or_else(|| self.without_case(row))
            }
        }
    }

    /// A case that fails without the field. First comes the one that the document names, then those
    /// that name the row's ID, then small ones.
    fn case(&self, row: &Row) -> Option<String> {
        let line = self.line(row);
        let with = self.cases.iter().filter(|case| case.text.uses.iter().any(|one| row.covers(one)));
        let mut cases: Vec<&Case> = with.collect();
        cases.sort_by_key(|case| {
            let cited = case.file.tests.iter().any(|test| test.rules.iter().any(|rule| rule.id == row.rule));
            (!line.contains(&cell(&case.text.path)), !cited, case.text.uses.len())
        });
        let case = cases.into_iter().find(|case| depends_on(*case, row))?;
        Some(case.text.path.clone())
    }

    /// A function in Rust, or resources of which something else is generated without the field.
    fn without_case(&self, row: &Row) -> Option<String> {
        if (row.kind, &*row.path) == (WITHOUT_EFFECT.0, WITHOUT_EFFECT.1) {
            return Some(WITHOUT_EFFECT.2.to_owned());
        }
        let mut with = self.generated.iter().filter(|one| one.text.uses.iter().any(|one| row.covers(one)));
        let generated = with.find(|one| depends_on(*one, row))?;
        Some(in_rust(row).unwrap_or_else(|| generated.text.path.clone()))
    }

    /// The row in the document as it is.
    fn line(&self, row: &Row) -> &str {
        let value = row.choice.map_or(String::new(), |choice| format!(": {choice}"));
        let start = format!("| {} | `{}{value}` |", row.kind, row.path);
        self.document.lines().find(|line| line.starts_with(&start)).unwrap_or_default()
    }
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// The test of [`IN_RUST`] for the row.
fn in_rust(row: &Row) -> Option<String> {
    let value = row.choice.map_or(String::new(), |choice| format!(": {choice}"));
    let path = format!("{}{value}", row.path);
    let here = IN_RUST.iter().filter(|(kind, start, _)| *kind == row.kind && path.starts_with(start));
    let test = here.max_by_key(|(_, start, _)| start.len())?.2;
    let (file, _) = test.split_once("::").unwrap();
    let text = fs::read_to_string(root().join(file)).unwrap();
    let name = row.path.trim_end_matches("[]").trim_end_matches(".*").trim_end_matches("\"]");
    let name = name.rsplit(['.', '"']).next().unwrap();
    let name =
        if name.contains('/') || row.path.contains('"') { name.to_owned() } else { format!("{name}:") };
    (text.contains(&name) && row.choice.is_none_or(|choice| text.contains(choice))).then(|| test.to_owned())
}

/// Whether `file::function` is a test.
fn is_there(test: &str) -> bool {
    let (file, function) = test.split_once("::").unwrap();
    let text = fs::read_to_string(root().join(file)).unwrap_or_default();
    text.contains(&format!("#[test]\nfn {function}()"))
}

/// For the row of a value, that the text has this value.
fn replaced_value_is_there(text: &Text, row: &Row) -> bool {
    text.uses.iter().any(|one| {
        let written = text.text.get(one.span.start as usize..one.span.end as usize).unwrap_or_default();
        row.covers(one) && row.choice.is_none_or(|choice| choice == written)
    })
}

/// A link to a test, a file or `file::function`, from the folder of the document.
fn cell(test: &str) -> String {
    let (file, function) = test.split_once("::").unwrap_or((test, ""));
    let name = file.trim_start_matches("testdata/").trim_start_matches("config-gen/");
    let colon = if function.is_empty() { "" } else { ": " };
    format!("[{name}{colon}{function}](../{file})")
}

#[test]
fn every_field_has_its_test() {
    let path = root().join("docs/fields.md");
    let document = fs::read_to_string(&path).unwrap_or_default();
    let tests = Tests {
        cases: all_cases(),
        generated: all_generated(),
        refusals: all_refusals(),
        document: document.clone(),
    };
    let mut without = Vec::new();
    let named = IN_RUST.iter().chain([&WITHOUT_EFFECT]).map(|(_, _, test)| test);
    for test in named.chain(BEHAVIOURS.iter().map(|(_, test)| test)) {
        assert!(is_there(test), "there is no test {test}");
    }
    let found: Vec<Option<String>> = rows().iter().map(|row| tests.of(row)).collect();
    for (row, test) in rows().iter().zip(&found) {
        if test.is_none() {
            without.push(format!("{} {} {:?}: {}", row.kind, row.path, row.choice, row.support.name()));
        }
    }
    assert!(without.is_empty(), "{} rows have no test:\n{}", without.len(), without.join("\n"));
    let rows = rows();
    let found_for = |row: &Row| {
        let index = rows.iter().position(|other| other == row).unwrap();
        found[index].clone().unwrap()
    };
    let fields = markdown::fields(|row| cell(&found_for(row)));
    // What happens in Envoy comes before what is generated.
    let behaviours: Vec<(&str, String)> = BEHAVIOURS.iter().map(|(what, test)| (*what, cell(test))).collect();
    let policy = markdown::traffic_policy(&behaviours, |row| {
        let in_envoy = in_rust(row).filter(|test| test.starts_with("e2e/"));
        let tests: BTreeSet<String> = in_envoy.into_iter().chain([found_for(row)]).collect();
        tests.iter().map(|test| cell(test)).collect::<Vec<_>>().join("<br>")
    });
    for (name, wanted) in [("fields.md", fields), ("traffic-policy.md", policy)] {
        let path = root().join("docs").join(name);
        if updating() {
            fs::write(&path, wanted).unwrap();
        } else {
            let document = fs::read_to_string(&path).unwrap_or_default();
            assert!(document == wanted, "docs/{name} is out of step; refresh it with UPDATE=1");
        }
    }
}

//! What the fields of DestinationRule and ServiceEntry become in Envoy, for `docs/traffic-policy.md`.

use super::rows::Row;

/// The kind, the beginning of a path (with `: VALUE` for one value), and Envoy's words. Fields are of
/// `envoy.config.cluster.v3.Cluster` where no message is named.
const FIELDS: &[(&str, &str, &str)] = &[
    (
        "ServiceEntry",
        "spec.hosts",
        "`name`, domains in the filter's config, `server_names` of a filter chain",
    ),
    ("ServiceEntry", "spec.addresses", "domains in the filter's config, `prefix_ranges` of a filter chain"),
    ("ServiceEntry", "spec.ports", "`name`, and which listener or filter chain leads there"),
    (
        "ServiceEntry",
        "spec.ports[].protocol",
        "HTTP or TCP filter chain; `HttpProtocolOptions.explicit_http_config`, `use_downstream_protocol_config`",
    ),
    ("ServiceEntry", "spec.ports[].targetPort", "`socket_address.port_value` of endpoints"),
    ("ServiceEntry", "spec.location", "`metadata.filter_metadata.istio.external`"),
    ("ServiceEntry", "spec.resolution", "`type`, `cluster_type`"),
    (
        "ServiceEntry",
        "spec.resolution: NONE",
        "`envoy.cluster.dns`; below a wildcard `envoy.clusters.dynamic_forward_proxy`",
    ),
    ("ServiceEntry", "spec.resolution: STATIC", "`type: STATIC`"),
    ("ServiceEntry", "spec.resolution: DNS", "`envoy.cluster.dns`, all addresses"),
    (
        "ServiceEntry",
        "spec.resolution: DNS_ROUND_ROBIN",
        "`envoy.cluster.dns`, `all_addresses_in_single_endpoint`",
    ),
    ("ServiceEntry", "spec.resolution: DYNAMIC_DNS", "`envoy.clusters.dynamic_forward_proxy`"),
    ("ServiceEntry", "spec.endpoints", "`load_assignment.endpoints[].lb_endpoints[]`"),
    ("ServiceEntry", "spec.endpoints[].address", "`socket_address.address`, `pipe.path`"),
    ("ServiceEntry", "spec.endpoints[].ports", "`socket_address.port_value`"),
    ("ServiceEntry", "spec.endpoints[].labels", "which endpoints the cluster of a subset has; `priority`"),
    ("ServiceEntry", "spec.endpoints[].locality", "`load_assignment.endpoints[].locality`, `priority`"),
    ("ServiceEntry", "spec.endpoints[].weight", "`load_balancing_weight`"),
    ("ServiceEntry", "spec.endpoints[].network", ""),
    ("ServiceEntry", "spec.endpoints[].serviceAccount", ""),
    ("ServiceEntry", "spec.workloadSelector", "`load_assignment.endpoints[].lb_endpoints[]`"),
    ("ServiceEntry", "spec.exportTo", "whether there is a cluster at all"),
    ("ServiceEntry", "spec.subjectAltNames", "`CertificateValidationContext.match_typed_subject_alt_names`"),
    ("DestinationRule", "spec.host", "which clusters the rule is for"),
    ("DestinationRule", "spec.exportTo", "which clusters the rule is for"),
    ("DestinationRule", "spec.workloadSelector", "which clusters the rule is for"),
    ("DestinationRule", "spec.subsets", "a cluster each: `outbound|PORT|SUBSET|HOST`"),
    ("DestinationRule", "spec.subsets[].labels", "`load_assignment.endpoints[].lb_endpoints[]`"),
    ("DestinationRule", "spec.subsets[].trafficPolicy", "as of the rule, in the cluster of the subset"),
    ("DestinationRule", "spec.trafficPolicy", "the fields below"),
    ("DestinationRule", "spec.trafficPolicy.portLevelSettings", "as of the rule, in the cluster of the port"),
    ("DestinationRule", "spec.trafficPolicy.loadBalancer", "`lb_policy`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.simple: PASSTHROUGH",
        "`cluster_type`, as of `resolution: NONE`",
    ),
    ("DestinationRule", "spec.trafficPolicy.loadBalancer.simple: ROUND_ROBIN", "`lb_policy: ROUND_ROBIN`"),
    ("DestinationRule", "spec.trafficPolicy.loadBalancer.simple: RANDOM", "`lb_policy: RANDOM`"),
    ("DestinationRule", "spec.trafficPolicy.loadBalancer.simple: LEAST_CONN", "`lb_policy: LEAST_REQUEST`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.simple: LEAST_REQUEST",
        "`lb_policy: LEAST_REQUEST`",
    ),
    ("DestinationRule", "spec.trafficPolicy.loadBalancer.simple: UNSPECIFIED", "`lb_policy: LEAST_REQUEST`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash",
        "`lb_policy`, `RouteAction.hash_policy`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.httpHeaderName",
        "`RouteAction.hash_policy[].header.header_name`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie",
        "`RouteAction.hash_policy[].cookie`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.useSourceIp",
        "`RouteAction.hash_policy[].connection_properties.source_ip`, `TcpProxy.hash_policy[].source_ip`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.httpQueryParameterName",
        "`RouteAction.hash_policy[].query_parameter.name`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.ringHash",
        "`lb_policy: RING_HASH`, `ring_hash_lb_config.minimum_ring_size`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize",
        "`lb_policy: RING_HASH`, `ring_hash_lb_config.minimum_ring_size`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.consistentHash.maglev",
        "`lb_policy: MAGLEV`, `maglev_lb_config.table_size`",
    ),
    ("DestinationRule", "spec.trafficPolicy.loadBalancer.backendUtilization", ""),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.localityLbSetting",
        "`common_lb_config.locality_weighted_lb_config`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute",
        "`load_assignment.endpoints[].load_balancing_weight`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.localityLbSetting.failover",
        "`load_assignment.endpoints[].priority`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.localityLbSetting.failoverPriority",
        "`load_assignment.endpoints[].priority`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting",
        "`load_assignment.endpoints[].priority`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.warmup",
        "`slow_start_config` of the balancer's `lb_config`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.warmup.duration",
        "`slow_start_config.slow_start_window`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.warmupDurationSecs",
        "`slow_start_config.slow_start_window`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.warmup.minimumPercent",
        "`slow_start_config.min_weight_percent`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.loadBalancer.warmup.aggression",
        "`slow_start_config.aggression`",
    ),
    ("DestinationRule", "spec.trafficPolicy.connectionPool", "`circuit_breakers`, `HttpProtocolOptions`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.tcp.maxConnections",
        "`circuit_breakers.thresholds[].max_connections`",
    ),
    ("DestinationRule", "spec.trafficPolicy.connectionPool.tcp.connectTimeout", "`connect_timeout`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive",
        "`upstream_connection_options.tcp_keepalive`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.tcp.maxConnectionDuration",
        "`HttpProtocolOptions.common_http_protocol_options.max_connection_duration`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.tcp.idleTimeout",
        "`HttpProtocolOptions.common_http_protocol_options.idle_timeout`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.idleTimeout",
        "`HttpProtocolOptions.common_http_protocol_options.idle_timeout`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.http1MaxPendingRequests",
        "`circuit_breakers.thresholds[].max_pending_requests`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.http2MaxRequests",
        "`circuit_breakers.thresholds[].max_requests`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.maxRetries",
        "`circuit_breakers.thresholds[].max_retries`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.maxRequestsPerConnection",
        "`HttpProtocolOptions.common_http_protocol_options.max_requests_per_connection`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.h2UpgradePolicy",
        "`HttpProtocolOptions.explicit_http_config`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.useClientProtocol",
        "`HttpProtocolOptions.use_downstream_protocol_config`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.maxConcurrentStreams",
        "`http2_protocol_options.max_concurrent_streams`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.connectionPool.http.http2KeepAlive",
        "`http2_protocol_options.connection_keepalive`",
    ),
    ("DestinationRule", "spec.trafficPolicy.outlierDetection", "`outlier_detection`"),
    ("DestinationRule", "spec.trafficPolicy.outlierDetection.consecutiveErrors", ""),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.splitExternalLocalOriginErrors",
        "`outlier_detection.split_external_local_origin_errors`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
        "`outlier_detection.consecutive_local_origin_failure`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.consecutiveGatewayErrors",
        "`outlier_detection.consecutive_gateway_failure`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.consecutive5xxErrors",
        "`outlier_detection.consecutive_5xx`",
    ),
    ("DestinationRule", "spec.trafficPolicy.outlierDetection.interval", "`outlier_detection.interval`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.baseEjectionTime",
        "`outlier_detection.base_ejection_time`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.maxEjectionPercent",
        "`outlier_detection.max_ejection_percent`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.minHealthPercent",
        "`common_lb_config.healthy_panic_threshold`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes",
        "`HttpProtocolOptions.outlier_detection.error_matcher`",
    ),
    ("DestinationRule", "spec.trafficPolicy.tls", "`transport_socket`: `UpstreamTlsContext`"),
    ("DestinationRule", "spec.trafficPolicy.tls.mode: DISABLE", "no `transport_socket`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.tls.clientCertificate",
        "`common_tls_context.tls_certificate_sds_secret_configs`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.tls.privateKey",
        "`common_tls_context.tls_certificate_sds_secret_configs`",
    ),
    ("DestinationRule", "spec.trafficPolicy.tls.caCertificates", "`CertificateValidationContext.trusted_ca`"),
    ("DestinationRule", "spec.trafficPolicy.tls.caCrl", "`CertificateValidationContext.crl`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.tls.subjectAltNames",
        "`CertificateValidationContext.match_typed_subject_alt_names`",
    ),
    ("DestinationRule", "spec.trafficPolicy.tls.sni", "`UpstreamTlsContext.sni`"),
    ("DestinationRule", "spec.trafficPolicy.tls.insecureSkipVerify", "no `validation_context`"),
    ("DestinationRule", "spec.trafficPolicy.tunnel", "`TcpProxy.tunneling_config`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.proxyProtocol",
        "`transport_socket`: `ProxyProtocolUpstreamTransport.config.version`",
    ),
    ("DestinationRule", "spec.trafficPolicy.retryBudget", "`circuit_breakers.thresholds[].retry_budget`"),
    (
        "DestinationRule",
        "spec.trafficPolicy.retryBudget.percent",
        "`circuit_breakers.thresholds[].retry_budget.budget_percent`",
    ),
    (
        "DestinationRule",
        "spec.trafficPolicy.retryBudget.minRetryConcurrency",
        "`circuit_breakers.thresholds[].retry_budget.min_retry_concurrency`",
    ),
    ("DestinationRule", "spec.trafficPolicy.retryBudget.budgetInterval", ""),
];

/// The kinds that are told.
pub(super) const KINDS: [&str; 2] = ["ServiceEntry", "DestinationRule"];

impl Row {
    /// What the field becomes in Envoy; empty where it becomes nothing.
    pub fn envoy(&self) -> &'static str {
        let path =
            format!("{}{}", self.path, self.choice.map_or(String::new(), |choice| format!(": {choice}")));
        let here = FIELDS.iter().filter(|(kind, start, _)| *kind == self.kind && path.starts_with(start));
        here.max_by_key(|(_, start, _)| start.len()).map_or("", |(_, _, envoy)| envoy)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::rows;
    use super::*;

    #[test]
    fn each_line_is_about_a_field() {
        let rows = rows();
        for (kind, start, _) in FIELDS {
            let is_there = |row: &Row| {
                let choice = row.choice.map_or(String::new(), |choice| format!(": {choice}"));
                row.kind == *kind && format!("{}{choice}", row.path).starts_with(start)
            };
            assert!(rows.iter().any(is_there), "{kind} {start}");
        }
    }
}

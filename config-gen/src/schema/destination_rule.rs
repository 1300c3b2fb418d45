//! Fields of DestinationRule (spec section 5, 6.0).

use super::{
    Choice, DURATION, INT32, LABELS, Object, PERCENT, PORT_NUMBER, STRING, STRINGS, Ty, UINT32, choice,
    field, list, map, object, text,
};

pub(super) const SPEC: Object = object(&[
    field("host", STRING).required().rule("DR-04"),
    field("trafficPolicy", Ty::Object(&TRAFFIC_POLICY)).rule("DR-TP-01"),
    field("subsets", list(&Ty::Object(&SUBSET))).rule("DR-10"),
    field("exportTo", STRINGS).rule("DR-06"),
    field("workloadSelector", Ty::Object(&WORKLOAD_SELECTOR)).rule("DR-09"),
]);

const TRAFFIC_POLICY: Object = object(&[
    field("loadBalancer", Ty::Object(&LOAD_BALANCER)).rule("DR-LB-01"),
    field("connectionPool", Ty::Object(&CONNECTION_POOL)).rule("DR-CP-01"),
    field("outlierDetection", Ty::Object(&OUTLIER_DETECTION)).rule("DR-OD-01"),
    field("tls", Ty::Object(&TLS)).rule("DR-TLS-01"),
    field("portLevelSettings", Ty::List { item: &Ty::Object(&PORT_POLICY), min: 0, max: 4096 })
        .rule("DR-TP-01"),
    field("tunnel", Ty::Object(&TUNNEL)).rule("DR-TUN-01"),
    field("proxyProtocol", Ty::Object(&PROXY_PROTOCOL)).rule("DR-PP-01"),
    field("retryBudget", Ty::Object(&RETRY_BUDGET)).rule("DR-CP-11"),
]);

const PORT_POLICY: Object = object(&[
    field("port", Ty::Object(&PORT_SELECTOR)).required().rule("DR-TP-05"),
    field("loadBalancer", Ty::Object(&LOAD_BALANCER))
        .like("spec.trafficPolicy.loadBalancer")
        .rule("DR-LB-01"),
    field("connectionPool", Ty::Object(&CONNECTION_POOL))
        .like("spec.trafficPolicy.connectionPool")
        .rule("DR-CP-01"),
    field("outlierDetection", Ty::Object(&OUTLIER_DETECTION))
        .like("spec.trafficPolicy.outlierDetection")
        .rule("DR-OD-01"),
    field("tls", Ty::Object(&TLS)).like("spec.trafficPolicy.tls").rule("DR-TLS-01"),
]);

/// Nothing in the CRD wants `port` or `number`; the webhook does (VAL-DR-03).
const PORT_SELECTOR: Object = object(&[field("number", PORT_NUMBER).required().rule("DR-TP-05")]);

const TLS: Object = object(&[
    field("mode", Ty::Enum(TLS_MODES)).default("DISABLE").rule("DR-TLS-03"),
    field("clientCertificate", STRING).rule("DR-TLS-04"),
    field("privateKey", STRING).rule("DR-TLS-04"),
    field("caCertificates", STRING).rule("DR-TLS-10"),
    field("caCrl", STRING).rule("DR-TLS-10"),
    field("credentialName", STRING).rule("DR-TLS-16"),
    field("subjectAltNames", STRINGS).rule("DR-TLS-11"),
    field("sni", STRING).rule("DR-TLS-07"),
    field("insecureSkipVerify", Ty::Bool).rule("DR-TLS-15"),
]);

const TLS_MODES: &[Choice] = &[choice("DISABLE"), choice("SIMPLE"), choice("MUTUAL"), choice("ISTIO_MUTUAL")];

const SUBSET: Object = object(&[
    field("name", STRING).required().rule("DR-11"),
    field("labels", LABELS).rule("DR-10"),
    field("trafficPolicy", Ty::Object(&TRAFFIC_POLICY)).like("spec.trafficPolicy").rule("DR-TP-04"),
]);

const WORKLOAD_SELECTOR: Object =
    object(&[field("matchLabels", Ty::Map { value: &text(63), max: 4096, null: false })]);

const LOAD_BALANCER: Object = object(&[
    field("simple", Ty::Enum(SIMPLE)).rule("DR-LB-01"),
    field("consistentHash", Ty::Object(&CONSISTENT_HASH)).rule("DR-LB-05"),
    field("backendUtilization", Ty::Any).refused("endpoints would have to report their load"),
    field("localityLbSetting", Ty::Object(&LOCALITY)).rule("DR-LB-12"),
    field("zoneAwareLbSetting", Ty::Object(&ZONE_AWARE))
        .approximated("its failover counts; how many requests stay in the client's zone depends on the other clients, which are not known, so that all zones share")
        .rule("DR-LB-12"),
    field("warmupDurationSecs", DURATION).rule("DR-LB-11"),
    field("warmup", Ty::Object(&WARMUP)).rule("DR-LB-11"),
])
.exclusive("VAL-CRD-20", &[&["simple", "consistentHash", "backendUtilization"]]);

const SIMPLE: &[Choice] = &[
    choice("UNSPECIFIED"),
    choice("LEAST_CONN"),
    choice("RANDOM"),
    choice("PASSTHROUGH")
        .approximated("the host is resolved, where the address that the client dialled is not known"),
    choice("ROUND_ROBIN"),
    choice("LEAST_REQUEST"),
];

const CONSISTENT_HASH: Object = object(&[
    field("httpHeaderName", STRING).rule("DR-LB-05"),
    field("httpCookie", Ty::Object(&HTTP_COOKIE)).rule("DR-LB-06"),
    field("useSourceIp", Ty::Bool).rule("DR-LB-07"),
    field("httpQueryParameterName", STRING).rule("DR-LB-07"),
    field("ringHash", Ty::Object(&RING_HASH)).rule("DR-LB-08"),
    field("maglev", Ty::Object(&MAGLEV)).rule("DR-LB-09"),
    field("minimumRingSize", UNSIGNED).rule("DR-LB-08"),
])
.exclusive(
    "VAL-CRD-20",
    &[&["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"], &["ringHash", "maglev"]],
);

const UNSIGNED: Ty = Ty::Int { min: 0, max: i64::MAX };

const HTTP_COOKIE: Object = object(&[
    field("name", STRING).required(),
    field("path", STRING),
    field("ttl", Ty::Duration { zero: true }),
    field("attributes", list(&Ty::Object(&COOKIE_ATTRIBUTE))),
]);

const COOKIE_ATTRIBUTE: Object = object(&[field("name", STRING).required(), field("value", STRING)]);

const RING_HASH: Object = object(&[field("minimumRingSize", UNSIGNED)]);

const MAGLEV: Object = object(&[field("tableSize", UNSIGNED)]);

pub(super) const LOCALITY: Object = object(&[
    field("distribute", list(&Ty::Object(&DISTRIBUTE))),
    field("failover", list(&Ty::Object(&FAILOVER))),
    field("failoverPriority", STRINGS),
    field("enabled", Ty::Bool),
]);

const ZONE_AWARE: Object = object(&[
    field("enabled", Ty::Bool),
    field("failover", list(&Ty::Object(&FAILOVER))),
    field("failoverPriority", STRINGS),
    field("minClusterSize", Ty::Int { min: 1, max: i64::MAX }),
]);

const DISTRIBUTE: Object = object(&[field("from", STRING), field("to", map(&UINT32))]);

const FAILOVER: Object = object(&[field("from", STRING), field("to", STRING)]);

const WARMUP: Object = object(&[
    field("duration", DURATION).required(),
    field("minimumPercent", PERCENT),
    field("aggression", Ty::Number { min: 0.0, max: f64::MAX }),
]);

pub(super) const CONNECTION_POOL: Object = object(&[
    field("tcp", Ty::Object(&TCP)).rule("DR-CP-01"),
    field("http", Ty::Object(&HTTP)).rule("DR-CP-06"),
]);

const TCP: Object = object(&[
    field("maxConnections", INT32).rule("DR-CP-01"),
    field("connectTimeout", DURATION).rule("DR-CP-02"),
    field("tcpKeepalive", Ty::Object(&KEEPALIVE)).rule("DR-CP-03"),
    field("maxConnectionDuration", DURATION).rule("DR-CP-04"),
    // The only time span without a minimum (DR-CP-05).
    field("idleTimeout", Ty::Duration { zero: true }).rule("DR-CP-05"),
]);

pub(super) const KEEPALIVE: Object =
    object(&[field("probes", UINT32), field("time", DURATION), field("interval", DURATION)]);

const HTTP: Object = object(&[
    field("http1MaxPendingRequests", INT32),
    field("http2MaxRequests", INT32),
    field("maxRequestsPerConnection", INT32).rule("DR-CP-07"),
    field("maxRetries", INT32),
    field("idleTimeout", DURATION).rule("DR-CP-05"),
    field("h2UpgradePolicy", Ty::Enum(H2_UPGRADE)).rule("DR-CP-09"),
    field("useClientProtocol", Ty::Bool).rule("DR-CP-10"),
    field("maxConcurrentStreams", INT32).rule("DR-CP-08"),
    field("http2KeepAlive", Ty::Object(&HTTP2_KEEPALIVE)).rule("DR-CP-08"),
]);

const H2_UPGRADE: &[Choice] = &[choice("DEFAULT"), choice("DO_NOT_UPGRADE"), choice("UPGRADE")];

const HTTP2_KEEPALIVE: Object = object(&[field("interval", DURATION), field("timeout", DURATION)]);

pub(super) const OUTLIER_DETECTION: Object = object(&[
    field("consecutiveErrors", INT32).ignored("Istio doesn't use it").rule("DR-OD-09"),
    field("splitExternalLocalOriginErrors", Ty::Bool).rule("DR-OD-08"),
    field("consecutiveLocalOriginFailures", UINT32).rule("DR-OD-08"),
    field("consecutiveGatewayErrors", UINT32).rule("DR-OD-04"),
    field("consecutive5xxErrors", UINT32).rule("DR-OD-03"),
    field("interval", DURATION).rule("DR-OD-05"),
    field("baseEjectionTime", DURATION).rule("DR-OD-05"),
    field("maxEjectionPercent", INT32).rule("DR-OD-06"),
    field("minHealthPercent", INT32).rule("DR-OD-07"),
    field("outlierDetectionHttpErrorCodes", list(&Ty::Int { min: 100, max: 599 })).rule("DR-OD-10"),
]);

const PROXY_PROTOCOL: Object = object(&[field("version", Ty::Enum(PROXY_VERSIONS))]);

const PROXY_VERSIONS: &[Choice] = &[choice("V1"), choice("V2")];

const RETRY_BUDGET: Object = object(&[
    field("percent", PERCENT),
    field("minRetryConcurrency", UINT32),
    field("budgetInterval", DURATION).ignored("Envoy counts the requests of the moment"),
]);

const TUNNEL: Object = object(&[
    field("protocol", STRING),
    field("targetHost", STRING).required(),
    field("targetPort", UINT32).required(),
]);

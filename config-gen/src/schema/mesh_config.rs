//! Fields of MeshConfig (spec sections 2, 3.4).

use super::destination_rule::{CONNECTION_POOL, KEEPALIVE, LOCALITY, OUTLIER_DETECTION};
use super::virtual_service::RETRIES;
use super::{Choice, DURATION, Object, PORT_NUMBER, STRING, STRINGS, Ty, choice, field, object};

const PROXY: &str = "it concerns Istio's own proxies";
const CONTROL: &str = "it concerns Istio's control plane";
const MTLS: &str = "mutual TLS within a mesh is not spoken";
const LOGS: &str = "access logs are set by `--access-log`";

pub(crate) const MESH_CONFIG: Object = object(&[
    field("outboundTrafficPolicy", Ty::Object(&POLICY)).rule("OTP-02"),
    field("defaultServiceExportTo", STRINGS).rule("VIS-01"),
    field("defaultVirtualServiceExportTo", STRINGS).rule("VIS-03"),
    field("defaultDestinationRuleExportTo", STRINGS).rule("DR-06"),
    field("rootNamespace", STRING).rule("DR-01"),
    field("connectTimeout", DURATION).rule("DEF-08"),
    field("dnsRefreshRate", DURATION).rule("SE-R-06"),
    field("defaultHttpRetryPolicy", Ty::Object(&RETRIES)).rule("VS-RETRY-01"),
    field("defaultTrafficPolicy", Ty::Object(&TRAFFIC_POLICY)).rule("DR-TP-03"),
    field("serviceEntryVisibility", Ty::Any).refused("labels of namespaces are not known").rule("VIS-01"),
    field("discoverySelectors", Ty::Any).refused("labels of namespaces are not known"),
    field("tlsDefaults", Ty::Object(&TLS_DEFAULTS)).rule("DR-TLS-06"),
    field("tcpKeepalive", Ty::Object(&KEEPALIVE)).rule("DR-CP-03"),
    field("h2UpgradePolicy", Ty::Enum(UPGRADES)).rule("DR-CP-09"),
    field("pathNormalization", Ty::Any).refused("only Istio's default normalization is set up").rule("LI-06"),
    field("proxyHttpPort", PORT_NUMBER).refused("there is no explicit proxy").rule("VH-20"),
    field("verifyCertificateAtClient", Ty::Bool)
        .ignored("upstream certificates are always verified against a CA bundle")
        .rule("DR-TLS-09"),
    field("localityLbSetting", Ty::Object(&LOCALITY))
        .like("DestinationRule spec.trafficPolicy.loadBalancer.localityLbSetting")
        .rule("DR-LB-12"),
    field("zoneAwareLbSetting", Ty::Any)
        .ignored("the share of the client's zone depends on the other clients, which are not known")
        .rule("DR-LB-12"),
    field("enableAutoMtls", Ty::Bool).ignored(MTLS).rule("GAP-13"),
    field("meshMTLS", Ty::Any).ignored(MTLS).rule("GAP-13"),
    field("trustDomain", STRING).ignored(MTLS),
    field("trustDomainAliases", STRINGS).ignored(MTLS),
    field("caCertificates", Ty::Any).ignored(MTLS),
    field("certificates", Ty::Any).ignored(MTLS),
    field("ca", Ty::Any).ignored(MTLS),
    field("accessLogFile", STRING).ignored(LOGS),
    field("accessLogFormat", STRING).ignored(LOGS),
    field("accessLogEncoding", STRING).ignored(LOGS),
    field("enableEnvoyAccessLogService", Ty::Bool).ignored(LOGS),
    field("disableEnvoyListenerLog", Ty::Bool).ignored(LOGS),
    field("defaultConfig", Ty::Any).ignored(PROXY),
    field("defaultProviders", Ty::Any).ignored("it concerns metrics, logs and traces only"),
    field("extensionProviders", Ty::Any).ignored("nothing refers to them here"),
    field("enableTracing", Ty::Bool).ignored("it concerns traces only"),
    field("enablePrometheusMerge", Ty::Bool).ignored(PROXY),
    field("inboundClusterStatName", STRING).ignored("it names metrics"),
    field("outboundClusterStatName", STRING).ignored("it names metrics"),
    field("inboundTrafficPolicy", Ty::Any).ignored("only outbound traffic is handled"),
    field("proxyListenPort", Ty::Any).ignored(PROXY),
    field("proxyInboundListenPort", Ty::Any).ignored(PROXY),
    field("protocolDetectionTimeout", Ty::Any).ignored("protocols are told by the first bytes"),
    field("hboneIdleTimeout", Ty::Any).ignored(PROXY),
    field("ingressClass", STRING).ignored(CONTROL),
    field("ingressService", STRING).ignored(CONTROL),
    field("ingressControllerMode", Ty::Any).ignored(CONTROL),
    field("ingressSelector", STRING).ignored(CONTROL),
    field("configSources", Ty::Any).ignored(CONTROL),
    field("serviceSettings", Ty::Any).ignored("it concerns several clusters"),
    field("serviceScopeConfigs", Ty::Any).ignored("it concerns several clusters"),
    field("thriftConfig", Ty::Any).ignored(PROXY),
]);

/// What clusters have where no DestinationRule says otherwise.
const TRAFFIC_POLICY: Object = object(&[
    field("connectionPool", Ty::Object(&CONNECTION_POOL))
        .like("DestinationRule spec.trafficPolicy.connectionPool")
        .rule("DR-TP-03"),
    field("outlierDetection", Ty::Object(&OUTLIER_DETECTION))
        .like("DestinationRule spec.trafficPolicy.outlierDetection")
        .rule("DR-TP-03"),
]);

const TLS_DEFAULTS: Object = object(&[
    field("ecdhCurves", STRINGS).rule("DR-TLS-06"),
    field("cipherSuites", STRINGS).rule("DR-TLS-06"),
    field("minProtocolVersion", STRING).ignored("Istio takes only curves and cipher suites from here"),
]);

const POLICY: Object = object(&[
    field("mode", Ty::Enum(MODES)).rule("OTP-01"),
    field("tls", Ty::Any).refused("TLS is not originated for unknown hosts").rule("OTP-07"),
]);

const MODES: &[Choice] = &[
    choice("REGISTRY_ONLY"),
    choice("ALLOW_ANY"),
    choice("ALLOW_ANY_DYNAMIC_DNS")
        .refused("`ALLOW_ANY` resolves the host of a request as well, and refuses private addresses"),
];

const UPGRADES: &[Choice] = &[choice("DO_NOT_UPGRADE"), choice("UPGRADE")];

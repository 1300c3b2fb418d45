//! Fields of Kubernetes' `Service` (spec 1.7).

use super::{Choice, Field, INT32, LABELS, Object, PORT_NUMBER, STRINGS, Ty, choice, field, object, text};

const LOAD_BALANCER: &str = "it tells how the service is reached from outside the cluster";
const POD_CHOICE: &str = "pods are chosen by the cluster, behind the service's name";
const FAMILIES: &str = "the name is resolved as `--dns-family` says";

pub(super) const SPEC: Object = object(&[
    field("type", Ty::Enum(TYPES)).rule("KS-04"),
    field("externalName", text(253)).rule("KS-04"),
    field("ports", Ty::List { item: &Ty::Object(&PORT), min: 0, max: usize::MAX }).rule("KS-01"),
    field("clusterIP", text(64)).rule("KS-07"),
    field("clusterIPs", STRINGS).rule("KS-07"),
    field("selector", LABELS)
        .approximated("the name of the service is resolved instead of its pods")
        .rule("KS-06"),
    field("publishNotReadyAddresses", Ty::Bool).ignored(POD_CHOICE),
    field("sessionAffinity", Ty::Enum(AFFINITIES)).ignored("Istio doesn't read it either").rule("KS-09"),
    field("sessionAffinityConfig", Ty::Object(&AFFINITY_CONFIG))
        .ignored("Istio doesn't read it either")
        .rule("KS-09"),
    field("internalTrafficPolicy", Ty::Enum(TRAFFIC_POLICIES)).ignored(POD_CHOICE).rule("KS-09"),
    field("trafficDistribution", text(256)).ignored(POD_CHOICE).rule("KS-09"),
    field("topologyKeys", STRINGS).ignored(POD_CHOICE).rule("KS-09"),
    field("externalIPs", STRINGS).ignored(LOAD_BALANCER).rule("KS-09"),
    field("externalTrafficPolicy", Ty::Enum(TRAFFIC_POLICIES)).ignored(LOAD_BALANCER).rule("KS-09"),
    field("loadBalancerIP", text(64)).ignored(LOAD_BALANCER).rule("KS-09"),
    field("loadBalancerClass", text(256)).ignored(LOAD_BALANCER).rule("KS-09"),
    field("loadBalancerSourceRanges", STRINGS).ignored(LOAD_BALANCER).rule("KS-09"),
    field("allocateLoadBalancerNodePorts", Ty::Bool).ignored(LOAD_BALANCER).rule("KS-09"),
    field("healthCheckNodePort", INT32).ignored(LOAD_BALANCER).rule("KS-09"),
    field("ipFamilies", STRINGS).ignored(FAMILIES),
    field("ipFamilyPolicy", text(64)).ignored(FAMILIES),
]);

const TYPES: &[Choice] =
    &[choice("ClusterIP"), choice("NodePort"), choice("LoadBalancer"), choice("ExternalName")];

const AFFINITIES: &[Choice] = &[choice("None"), choice("ClientIP")];

const TRAFFIC_POLICIES: &[Choice] = &[choice("Cluster"), choice("Local")];

const AFFINITY_CONFIG: Object = object(&[field("clientIP", Ty::Object(&CLIENT_IP))]);

const CLIENT_IP: Object = object(&[field("timeoutSeconds", INT32)]);

const PORT: Object = object(PORT_FIELDS);

const PORT_FIELDS: &[Field] = &[
    field("name", text(63)).rule("KS-02"),
    field("port", PORT_NUMBER).required().rule("KS-01"),
    field("protocol", Ty::Enum(PROTOCOLS)).rule("KS-02"),
    field("appProtocol", text(256)).rule("KS-02"),
    field("targetPort", Ty::IntOrString).rule("KS-06"),
    field("nodePort", INT32).ignored(LOAD_BALANCER).rule("KS-09"),
];

const PROTOCOLS: &[Choice] =
    &[choice("TCP"), choice("UDP"), choice("SCTP").refused("no proxy of Istio's serves SCTP")];

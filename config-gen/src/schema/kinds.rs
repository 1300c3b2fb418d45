//! What becomes of a document by its kind.
//!
//! A kind that guards or directs traffic must not be left out in silence: the
//! result would allow what the cluster refuses. Such kinds are errors until
//! the user accepts them by name. Kinds that only run or describe workloads are
//! left out with a note.

/// What becomes of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its fields are read.
    Translated,
    /// Left out with a note, for the reason given.
    Ignored(&'static str),
    /// An error unless it is accepted with `--accept-ignored`, for the reason
    /// given.
    Refused(&'static str),
}

/// A kind that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Name.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Versions of `networking.istio.io` that are read (VAL-CRD-02).
pub const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha3"];

/// Versions that are read of a group that has a kind whose fields are looked at.
pub(crate) fn versions(group: &str) -> &'static [&'static str] {
    match group {
        "" => &["v1"],
        "extensions.istio.io" => &["v1alpha1"],
        _ => &VERSIONS,
    }
}

const fn translated(name: &'static str) -> Kind {
    Kind { group: "networking.istio.io", name, verdict: Verdict::Translated }
}

const fn refused(group: &'static str, name: &'static str, why: &'static str) -> Kind {
    Kind { group, name, verdict: Verdict::Refused(why) }
}

const fn ignored(group: &'static str, name: &'static str, why: &'static str) -> Kind {
    Kind { group, name, verdict: Verdict::Ignored(why) }
}

const WORKLOAD: &str = "it runs a workload and does not direct outbound requests";
const ACCESS: &str = "it governs access to the Kubernetes API, not outbound requests";
const STORAGE: &str = "it concerns storage";
const CLUSTER: &str = "it describes the cluster, not outbound requests";
const GATEWAY_ROUTE: &str = "it routes requests, and without it they would take another way";

/// Every kind that is known.
pub const KINDS: &[Kind] = &[
    translated("ServiceEntry"),
    translated("VirtualService"),
    translated("DestinationRule"),
    translated("WorkloadEntry"),
    translated("Sidecar"),
    translated("Gateway"),
    Kind { group: "", name: "Service", verdict: Verdict::Translated },
    refused(
        "security.istio.io",
        "AuthorizationPolicy",
        "it forbids requests that would be let through without it",
    ),
    refused(
        "security.istio.io",
        "RequestAuthentication",
        "it rejects tokens that would be accepted without it",
    ),
    refused("security.istio.io", "PeerAuthentication", "it asks for mutual TLS, which is not spoken here"),
    refused("authentication.istio.io", "Policy", "it asks for authentication, which would not take place"),
    refused(
        "authentication.istio.io",
        "MeshPolicy",
        "it asks for authentication, which would not take place",
    ),
    refused(
        "networking.istio.io",
        "EnvoyFilter",
        "it changes Envoy's configuration in ways that can't be told from outside",
    ),
    refused(
        "extensions.istio.io",
        "WasmPlugin",
        "it is checked, but the code that it runs on requests may be meant to stop them",
    ),
    refused(
        "extensions.istio.io",
        "TrafficExtension",
        "it runs code on requests that may be meant to stop them",
    ),
    refused(
        "gateway.networking.k8s.io",
        "Gateway",
        "it says which hosts, ports and certificates a gateway serves",
    ),
    refused("gateway.networking.k8s.io", "HTTPRoute", GATEWAY_ROUTE),
    refused("gateway.networking.k8s.io", "GRPCRoute", GATEWAY_ROUTE),
    refused("gateway.networking.k8s.io", "TLSRoute", GATEWAY_ROUTE),
    refused("gateway.networking.k8s.io", "TCPRoute", GATEWAY_ROUTE),
    refused("gateway.networking.k8s.io", "UDPRoute", GATEWAY_ROUTE),
    refused(
        "gateway.networking.k8s.io",
        "ReferenceGrant",
        "it limits which namespaces may refer to another one",
    ),
    refused(
        "gateway.networking.k8s.io",
        "BackendTLSPolicy",
        "it asks for verified TLS to a service, which would be spoken to in plaintext",
    ),
    refused(
        "gateway.networking.k8s.io",
        "BackendTrafficPolicy",
        "it limits retries and sessions towards a service",
    ),
    refused("networking.k8s.io", "NetworkPolicy", "it forbids connections that would be made without it"),
    refused("cilium.io", "CiliumNetworkPolicy", "it forbids connections that would be made without it"),
    refused(
        "cilium.io",
        "CiliumClusterwideNetworkPolicy",
        "it forbids connections that would be made without it",
    ),
    refused("networking.k8s.io", "Ingress", GATEWAY_ROUTE),
    refused(
        "",
        "Secret",
        "it holds credentials, which have no place in the input of a generator; certificates are read from files",
    ),
    ignored("telemetry.istio.io", "Telemetry", "it concerns metrics, logs and traces only"),
    ignored("networking.istio.io", "ProxyConfig", "it concerns Istio's own proxies"),
    ignored(
        "networking.istio.io",
        "WorkloadGroup",
        "it is a pattern for WorkloadEntry objects, and none itself",
    ),
    ignored("gateway.networking.k8s.io", "GatewayClass", "it names a controller, and none runs here"),
    ignored("networking.k8s.io", "IngressClass", "it names a controller, and none runs here"),
    ignored("apps", "Deployment", WORKLOAD),
    ignored("apps", "StatefulSet", WORKLOAD),
    ignored("apps", "DaemonSet", WORKLOAD),
    ignored("apps", "ReplicaSet", WORKLOAD),
    ignored("", "Pod", WORKLOAD),
    ignored("", "ReplicationController", WORKLOAD),
    ignored("batch", "Job", WORKLOAD),
    ignored("batch", "CronJob", WORKLOAD),
    ignored("autoscaling", "HorizontalPodAutoscaler", WORKLOAD),
    ignored("policy", "PodDisruptionBudget", WORKLOAD),
    ignored("", "ConfigMap", "it holds settings of applications"),
    ignored("", "ServiceAccount", "it is an identity, and clients are not told apart by theirs"),
    ignored("", "Namespace", CLUSTER),
    ignored("", "Node", CLUSTER),
    ignored("", "Event", CLUSTER),
    ignored("", "Endpoints", "the name of its Service is resolved instead"),
    ignored("discovery.k8s.io", "EndpointSlice", "the name of its Service is resolved instead"),
    ignored("", "LimitRange", CLUSTER),
    ignored("", "ResourceQuota", CLUSTER),
    ignored("apiextensions.k8s.io", "CustomResourceDefinition", CLUSTER),
    ignored("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", CLUSTER),
    ignored("admissionregistration.k8s.io", "MutatingWebhookConfiguration", CLUSTER),
    ignored("scheduling.k8s.io", "PriorityClass", CLUSTER),
    ignored("", "PersistentVolume", STORAGE),
    ignored("", "PersistentVolumeClaim", STORAGE),
    ignored("storage.k8s.io", "StorageClass", STORAGE),
    ignored("rbac.authorization.k8s.io", "Role", ACCESS),
    ignored("rbac.authorization.k8s.io", "RoleBinding", ACCESS),
    ignored("rbac.authorization.k8s.io", "ClusterRole", ACCESS),
    ignored("rbac.authorization.k8s.io", "ClusterRoleBinding", ACCESS),
    ignored("install.istio.io", "IstioOperator", "it installs Istio; its mesh settings are not read"),
    ignored("kustomize.config.k8s.io", "Kustomization", "it tells another tool how to build the input"),
];

/// A kind by its group and name.
pub(crate) fn find(group: &str, name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.group == group && kind.name == name)
}

/// Istio's translated kind of this name, whatever the group.
pub(crate) fn translated_kind(name: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.name == name && !kind.group.is_empty() && kind.verdict == Verdict::Translated)
}

/// What took the place of a group that Istio has dropped.
pub(crate) fn retired(group: &str) -> Option<&'static str> {
    Some(match group {
        "authentication.istio.io" => "PeerAuthentication and RequestAuthentication of `security.istio.io`",
        "config.istio.io" => "Telemetry of `telemetry.istio.io`, and WasmPlugin of `extensions.istio.io`",
        "rbac.istio.io" => "AuthorizationPolicy of `security.istio.io`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_is_listed_once() {
        let all: HashSet<(&str, &str)> = KINDS.iter().map(|kind| (kind.group, kind.name)).collect();
        assert_eq!(all.len(), KINDS.len());
    }

    #[test]
    fn translated_kinds_have_tables() {
        let translated: Vec<&str> =
            KINDS.iter().filter(|kind| kind.verdict == Verdict::Translated).map(|kind| kind.name).collect();
        let tables: Vec<&str> = super::super::tables().iter().map(|(name, _)| *name).collect();
        assert_eq!(translated, tables);
    }
}

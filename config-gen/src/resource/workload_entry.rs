//! WorkloadEntry: an endpoint with a name of its own (spec 1.4).

use super::Meta;
use super::service_entry::{self, Endpoint};
use crate::input::node::Node;

/// Set by Istio's agent where the workload reports its health.
const HEALTH_CHECKS: &str = "proxy.istio.io/health-checks-enabled";

/// A WorkloadEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadEntry {
    /// Name, namespace and so on.
    pub meta: Meta,
    /// Address, ports and so on. Its labels are those of the metadata and those of the spec;
    /// the former win (SE-34).
    pub endpoint: Endpoint,
    /// Its health is checked, and it isn't said to be healthy (SE-35).
    pub unhealthy: bool,
}

pub(crate) fn read(meta: Meta, spec: &Node, status: Option<&Node>) -> WorkloadEntry {
    let mut endpoint = service_entry::endpoint(spec);
    endpoint.labels.extend(meta.labels.clone());
    let conditions = status.and_then(|status| status.get("conditions")).map(Node::items).unwrap_or_default();
    let text = |node: &Node, name: &str| node.get(name).and_then(Node::as_str).map(str::to_owned);
    let healthy = conditions.iter().any(|condition| {
        text(condition, "type").as_deref() == Some("Healthy")
            && text(condition, "status").as_deref() == Some("True")
    });
    let checked = meta.annotations.get(HEALTH_CHECKS).is_some_and(|value| value == "true");
    WorkloadEntry { endpoint, unhealthy: checked && !healthy, meta }
}

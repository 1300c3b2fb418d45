//! Istio's resources as types.
//!
//! Reading never fails: what the schema refused is left out here, so after an
//! error a resource may be incomplete. Nothing may be generated then.

pub mod action;
pub mod destination_rule;
pub(crate) mod domain;
pub mod gateway;
pub mod kubernetes_service;
mod read;
pub mod service_entry;
pub mod sidecar;
pub(crate) mod validate;
pub mod virtual_service;
pub mod workload_entry;

use std::collections::BTreeMap;
use std::ops::Deref;

use crate::source::Span;

pub use destination_rule::DestinationRule;
pub use gateway::Gateway;
pub use kubernetes_service::KubernetesService;
pub use service_entry::ServiceEntry;
pub use sidecar::Sidecar;
pub use virtual_service::VirtualService;
pub use workload_entry::WorkloadEntry;

/// A value and where it stands in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: f(self.value), span: self.span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// All resources of the input, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resources<'a> {
    /// The ServiceEntry objects.
    pub service_entries: &'a [ServiceEntry],
    /// The Kubernetes Service objects.
    pub kubernetes_services: &'a [KubernetesService],
    /// The WorkloadEntry objects.
    pub workload_entries: &'a [WorkloadEntry],
    /// The Sidecar objects.
    pub sidecars: &'a [Sidecar],
    /// The Gateway objects.
    pub gateways: &'a [Gateway],
    /// The VirtualService objects.
    pub virtual_services: &'a [VirtualService],
    /// The DestinationRule objects.
    pub destination_rules: &'a [DestinationRule],
}

/// What every resource has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The kind, as `ServiceEntry`.
    pub kind: &'static str,
    /// `metadata.name`.
    pub name: Spanned<String>,
    /// `metadata.namespace`, or the default namespace of the run.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`; `istio.io/connect-strategy` is one (SE-22).
    pub annotations: BTreeMap<String, String>,
    /// `metadata.creationTimestamp` in seconds since 1970; orders conflicting
    /// resources (SE-21). Files seldom have one.
    pub creation_timestamp: Option<i64>,
    /// The whole document, or the item of a list.
    pub span: Span,
}

impl Meta {
    /// `Kind namespace/name`, as diagnostics say it.
    pub fn title(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name.value)
    }
}

//! What all kinds have beside their spec: `metadata` and `status`.

use super::{LABELS, Object, STRING, Support, Ty, field, object, text};

const KUBERNETES: &str = "Kubernetes writes it, or it concerns Kubernetes alone";

pub(super) const DOCUMENT: Object = object(&[
    field("metadata", Ty::Object(&METADATA)),
    field("status", Ty::Any).ignored(WRITTEN).rule("SE-35"),
]);

const WRITTEN: &str = "Kubernetes and Istio write it; only that of a WorkloadEntry is read";

/// What becomes of the status of other kinds.
pub(crate) const STATUS: Support = Support::Ignored(WRITTEN);

pub(crate) const METADATA: Object = object(&[
    field("name", text(253)).required().rule("SE-21"),
    field("namespace", text(63)).rule("VIS-01"),
    field("labels", LABELS).rule("SE-34"),
    field("annotations", Ty::Object(&ANNOTATIONS)),
    field("creationTimestamp", STRING).rule("SE-21"),
    field("clusterName", Ty::Any).ignored(KUBERNETES),
    field("deletionGracePeriodSeconds", Ty::Any).ignored(KUBERNETES),
    field("deletionTimestamp", Ty::Any).ignored(KUBERNETES),
    field("finalizers", Ty::Any).ignored(KUBERNETES),
    field("generateName", Ty::Any).ignored(KUBERNETES),
    field("generation", Ty::Any).ignored(KUBERNETES),
    field("initializers", Ty::Any).ignored(KUBERNETES),
    field("managedFields", Ty::Any).ignored(KUBERNETES),
    field("ownerReferences", Ty::Any).ignored(KUBERNETES),
    field("resourceVersion", Ty::Any).ignored(KUBERNETES),
    field("selfLink", Ty::Any).ignored(KUBERNETES),
    field("uid", Ty::Any).ignored(KUBERNETES),
]);

/// Those that are read.
pub(crate) const ANNOTATIONS: Object = object(&[
    field("istio.io/connect-strategy", STRING).rule("SE-22"),
    field("networking.istio.io/exportTo", STRING).rule("KS-05"),
    field("proxy.istio.io/health-checks-enabled", STRING).rule("SE-35"),
]);

/// What becomes of any other annotation.
pub(crate) const OTHER_ANNOTATION: Support = Support::Ignored("nothing here reads this annotation");

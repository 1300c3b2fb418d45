//! Fields of Sidecar (spec section 2, 3.4).

use super::{Choice, LABELS, Object, PORT_NUMBER, STRING, Ty, choice, field, list, object, text};

const INBOUND: &str = "only outbound traffic is handled";

pub(super) const SPEC: Object = object(&[
    field("workloadSelector", Ty::Object(&SELECTOR)).rule("VIS-11"),
    field("egress", list(&Ty::Object(&EGRESS))).rule("VIS-06"),
    field("outboundTrafficPolicy", Ty::Object(&POLICY)).rule("OTP-02"),
    field("ingress", list(&Ty::Object(&INGRESS))).ignored(INBOUND),
    field("inboundConnectionPool", Ty::Any).ignored(INBOUND),
]);

const SELECTOR: Object = object(&[field("labels", LABELS).rule("VIS-11")]);

const EGRESS: Object = object(&[
    field("port", Ty::Object(&PORT)).rule("VIS-12"),
    field("bind", STRING).refused("listeners stand where `--listen` says").rule("VIS-12"),
    field("captureMode", Ty::Enum(CAPTURE_MODES)).default("DEFAULT").rule("VIS-12"),
    field("hosts", Ty::List { item: &STRING, min: 1, max: usize::MAX }).required().rule("VIS-06"),
]);

const INGRESS: Object = object(&[
    field("port", Ty::Object(&PORT)).required(),
    field("bind", STRING),
    field("captureMode", Ty::Enum(INBOUND_CAPTURE_MODES)),
    field("defaultEndpoint", STRING),
    field("tls", Ty::Any),
    field("connectionPool", Ty::Any),
]);

const INBOUND_CAPTURE_MODES: &[Choice] = &[choice("DEFAULT"), choice("IPTABLES"), choice("NONE")];

const EGRESS_PROXY: Object =
    object(&[field("host", STRING).required(), field("subset", STRING), field("port", Ty::Any)]);

const CAPTURE_MODES: &[Choice] = &[
    choice("DEFAULT"),
    choice("IPTABLES").refused("connections are not captured; clients address the listeners"),
    choice("NONE").refused("listeners stand where `--listen` says"),
];

const PORT: Object = object(&[
    field("number", PORT_NUMBER).required().rule("VIS-12"),
    field("protocol", text(256))
        .ignored("the protocols of the services count; `HTTP_PROXY` is refused")
        .rule("VH-20"),
    field("name", text(256)).ignored("nothing refers to it"),
    field("targetPort", PORT_NUMBER).ignored("it has no meaning on egress"),
]);

const POLICY: Object = object(&[
    field("mode", Ty::Enum(MODES)).rule("OTP-01"),
    field("egressProxy", Ty::Object(&EGRESS_PROXY))
        .refused("unknown hosts are not sent to another proxy")
        .rule("OTP-06"),
    field("tls", Ty::Any).refused("it goes with a mode that a Sidecar can't have").rule("OTP-07"),
]);

/// TV-146: a third mode is for the mesh only.
const MODES: &[Choice] = &[choice("REGISTRY_ONLY"), choice("ALLOW_ANY")];

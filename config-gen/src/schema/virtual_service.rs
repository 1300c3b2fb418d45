//! Fields of VirtualService (spec section 4, 6.0).

use super::{
    Choice, DURATION, Field, INT32, ISTIO_REFUSES, LABELS, Object, PERCENT, PORT_NUMBER, STRING, STRINGS, Ty,
    UINT32, choice, field, list, map, object,
};

pub(super) const SPEC: Object = object(&[
    field("hosts", STRINGS).rule("VS-HOST-01"),
    field("gateways", STRINGS).rule("VS-HOST-05"),
    field("http", list(&Ty::Object(&HTTP_ROUTE))).rule("VS-ORD-01"),
    field("tls", list(&Ty::Object(&TLS_ROUTE))).rule("VS-TLS-01"),
    field("tcp", list(&Ty::Object(&TCP_ROUTE))).rule("VS-TCP-01"),
    field("exportTo", STRINGS).rule("VAL-VS-30"),
]);

const HTTP_ROUTE: Object = object(&[
    field("name", STRING).rule("VS-ORD-05"),
    field("match", list(&Ty::Object(&HTTP_MATCH))).rule("VS-ORD-03"),
    field("route", list(&Ty::Object(&HTTP_DESTINATION))).rule("VS-ROUTE-01"),
    field("redirect", Ty::Object(&REDIRECT)).rule("VS-RD-01"),
    field("directResponse", Ty::Object(&DIRECT_RESPONSE)).rule("VS-DR-01"),
    field("delegate", Ty::Object(&DELEGATE)).rule("VS-DEL-01"),
    field("rewrite", Ty::Object(&REWRITE)).rule("VS-RW-01"),
    field("timeout", DURATION).rule("VS-TO-01"),
    field("retries", Ty::Object(&RETRIES)).rule("VS-RETRY-01"),
    field("fault", Ty::Object(&FAULT)).rule("VS-FAULT-01"),
    field("mirror", Ty::Object(&DESTINATION)).rule("VS-MIR-01"),
    field("mirrors", list(&Ty::Object(&MIRROR_POLICY))).rule("VS-MIR-01"),
    field("mirrorPercent", UINT32).rule("VAL-VS-09"),
    field("mirror_percent", UINT32).rule("VAL-VS-09"),
    field("mirrorPercentage", Ty::Object(&PERCENTAGE)).rule("VS-MIR-01"),
    field("corsPolicy", Ty::Object(&CORS)).rule("VS-CORS-01"),
    field("headers", Ty::Object(&HEADERS)).rule("VS-HDR-01"),
]);

const HTTP_MATCH: Object = object(&[
    // Part of the route's name, which logs and `explain` show.
    field("name", STRING).rule("VS-ORD-05"),
    field("statPrefix", STRING)
        .ignored("it has no effect on routing; no statistics are kept by that name")
        .rule("VS-MATCH-35"),
    field("uri", Ty::Object(&STRING_MATCH)).rule("VS-MATCH-03"),
    field("ignoreUriCase", Ty::Bool).rule("VS-MATCH-09"),
    field("scheme", Ty::Object(&STRING_MATCH)).rule("VS-MATCH-10"),
    field("method", Ty::Object(&STRING_MATCH)).rule("VS-MATCH-11"),
    field("authority", Ty::Object(&STRING_MATCH)).rule("VS-MATCH-12"),
    field("headers", map(&Ty::Object(&STRING_MATCH))).rule("VS-MATCH-13"),
    // A null here means: the header is absent (VS-MATCH-24).
    field("withoutHeaders", Ty::Map { value: &Ty::Object(&STRING_MATCH), max: usize::MAX, null: true })
        .rule("VS-MATCH-23"),
    field("queryParams", map(&Ty::Object(&STRING_MATCH))).rule("VS-MATCH-26"),
    field("port", Ty::Int { min: 0, max: 65_535 }).rule("VS-MATCH-30"),
    field("sourceLabels", LABELS).rule("VS-MATCH-31"),
    field("sourceNamespace", STRING).rule("VS-MATCH-32"),
    field("gateways", STRINGS).rule("VS-MATCH-33"),
]);

const STRING_MATCH: Object =
    object(&[field("exact", STRING), field("prefix", STRING), field("regex", Ty::Text).rule("VS-MATCH-07")])
        .exclusive("VAL-CRD-16", &[&["exact", "prefix", "regex"]]);

const HTTP_DESTINATION: Object = object(&[
    field("destination", Ty::Object(&DESTINATION)).required().rule("VS-ROUTE-01"),
    field("weight", INT32).rule("VS-ROUTE-02"),
    field("headers", Ty::Object(&HEADERS)).rule("VS-HDR-01"),
]);

const DESTINATION: Object = object(&[
    field("host", STRING).required().rule("VS-ROUTE-06"),
    field("subset", STRING).rule("VS-ROUTE-07"),
    field("port", Ty::Object(&PORT_SELECTOR)).rule("VAL-VS-14"),
]);

/// Nothing in the CRD wants `number`, but a selector without one is refused by
/// the webhook.
const PORT_SELECTOR: Object = object(&[field("number", PORT_NUMBER).required().rule("VAL-VS-14")]);

const REWRITE: Object = object(&[
    field("uri", STRING).rule("VS-RW-01"),
    field("authority", STRING).rule("VS-RW-12"),
    field("uriRegexRewrite", Ty::Object(&REGEX_REWRITE)).rule("VS-RW-11"),
]);

const REGEX_REWRITE: Object =
    object(&[field("match", Ty::Text).rule("VS-RW-11"), field("rewrite", Ty::Text).rule("VS-RW-11")]);

const REDIRECT: Object = object(&[
    field("uri", STRING).rule("VS-RD-02"),
    field("prefixRewrite", STRING).rule("VS-RD-04"),
    field("authority", STRING).rule("VS-RD-05"),
    field("port", UINT32).rule("VS-RD-07"),
    field("derivePort", Ty::Enum(DERIVE_PORT)).rule("VS-RD-09"),
    field("scheme", STRING).rule("VS-RD-06"),
    field("redirectCode", UINT32).rule("VS-RD-01"),
])
.exclusive("VAL-CRD-17", &[&["port", "derivePort"]]);

const DERIVE_PORT: &[Choice] = &[choice("FROM_PROTOCOL_DEFAULT"), choice("FROM_REQUEST_PORT")];

const DIRECT_RESPONSE: Object = object(&[
    field("status", UINT32).required().rule("VS-DR-01"),
    field("body", Ty::Object(&BODY)).rule("VS-DR-02"),
]);

const BODY: Object =
    object(&[field("string", Ty::Text).rule("VS-DR-02"), field("bytes", Ty::Text).rule("VS-DR-02")])
        .exclusive("VAL-CRD-17", &[&["string", "bytes"]]);

const DELEGATE: Object =
    object(&[field("name", STRING).rule("VS-DEL-01"), field("namespace", STRING).rule("VS-DEL-01")]);

pub(super) const RETRIES: Object = object(&[
    field("attempts", INT32).rule("VS-RETRY-03"),
    field("perTryTimeout", DURATION).rule("VS-RETRY-08"),
    field("backoff", DURATION).rule("VS-RETRY-11"),
    field("retryOn", STRING).rule("VS-RETRY-05"),
    field("retryRemoteLocalities", Ty::Bool).rule("VS-RETRY-09"),
    field("retryIgnorePreviousHosts", Ty::Bool).rule("VS-RETRY-10"),
]);

const FAULT: Object = object(&[
    field("delay", Ty::Object(&DELAY)).rule("VS-FAULT-01"),
    field("abort", Ty::Object(&ABORT)).rule("VS-FAULT-05"),
]);

const DELAY: Object = object(&[
    field("fixedDelay", DURATION).rule("VS-FAULT-01"),
    field("exponentialDelay", DURATION).refused(ISTIO_REFUSES).rule("VAL-VS-21"),
    field("percentage", Ty::Object(&PERCENTAGE)).rule("VS-FAULT-02"),
    field("percent", INT32).rule("VS-FAULT-02"),
])
.exclusive("VAL-CRD-17", &[&["fixedDelay", "exponentialDelay"]]);

const ABORT: Object = object(&[
    field("httpStatus", INT32).rule("VS-FAULT-05"),
    field("grpcStatus", STRING).rule("VS-FAULT-05"),
    field("http2Error", STRING).refused(ISTIO_REFUSES).rule("VAL-VS-21"),
    field("percentage", Ty::Object(&PERCENTAGE)).rule("VS-FAULT-03"),
])
.exclusive("VAL-CRD-17", &[&["httpStatus", "grpcStatus", "http2Error"]]);

const PERCENTAGE: Object = object(&[field("value", PERCENT).rule("VS-FAULT-04")]);

const MIRROR_POLICY: Object = object(&[
    field("destination", Ty::Object(&DESTINATION)).required().rule("VS-MIR-02"),
    field("percentage", Ty::Object(&PERCENTAGE)).rule("VS-MIR-02"),
]);

const CORS: Object = object(&[
    field("allowOrigins", list(&Ty::Object(&STRING_MATCH))).rule("VS-CORS-01"),
    field("allowOrigin", STRINGS).rule("VS-CORS-01"),
    field("allowMethods", STRINGS).rule("VS-CORS-02"),
    field("allowHeaders", STRINGS).rule("VS-CORS-02"),
    field("exposeHeaders", STRINGS).rule("VS-CORS-02"),
    field("maxAge", DURATION).rule("VS-CORS-03"),
    field("allowCredentials", Ty::Bool).rule("VS-CORS-04"),
    field("unmatchedPreflights", Ty::Enum(UNMATCHED_PREFLIGHTS)).rule("VS-CORS-05"),
]);

const UNMATCHED_PREFLIGHTS: &[Choice] = &[choice("UNSPECIFIED"), choice("FORWARD"), choice("IGNORE")];

const HEADERS: Object =
    object(&[field("request", Ty::Object(&HEADER_CHANGES)), field("response", Ty::Object(&HEADER_CHANGES))]);

const HEADER_CHANGES: Object = object(&[
    field("set", map(&Ty::Text)).rule("VS-HDR-02"),
    field("add", map(&Ty::Text)).rule("VS-HDR-02"),
    field("remove", STRINGS).rule("VS-HDR-02"),
]);

const TLS_ROUTE: Object = object(&[
    field("match", list(&Ty::Object(&TLS_MATCH))).required().rule("VS-TLS-02"),
    field("route", list(&Ty::Object(&TCP_DESTINATION))).rule("VS-TLS-07"),
]);

const TLS_MATCH: Object = object(&[
    field("sniHosts", STRINGS).required().rule("VS-TLS-03"),
    field("destinationSubnets", STRINGS).approximated(SUBNETS).rule("VS-TLS-02"),
    field("port", UINT32).rule("VS-TLS-02"),
    field("sourceLabels", LABELS).rule("VS-TLS-02"),
    field("gateways", STRINGS).rule("VS-TLS-02"),
    field("sourceNamespace", STRING).rule("VS-TLS-02"),
]);

const SUBNETS: &str =
    "on a transparent listener; where clients connect to the listener itself, such a route takes nothing";

const TCP_ROUTE: Object = object(&[
    field("match", list(&Ty::Object(&TCP_MATCH))).rule("VS-TCP-03"),
    field("route", list(&Ty::Object(&TCP_DESTINATION))).rule("VS-TLS-07"),
]);

const TCP_MATCH_FIELDS: &[Field] = &[
    field("destinationSubnets", STRINGS).approximated(SUBNETS).rule("VS-TCP-03"),
    field("port", UINT32).rule("VS-TCP-03"),
    field("sourceSubnet", STRING).ignored("Istio doesn't look at it either").rule("VS-TCP-03"),
    field("sourceLabels", LABELS).rule("VS-TCP-03"),
    field("gateways", STRINGS).rule("VS-TCP-03"),
    field("sourceNamespace", STRING).rule("VS-TCP-03"),
];

const TCP_MATCH: Object = object(TCP_MATCH_FIELDS);

const TCP_DESTINATION: Object = object(&[
    field("destination", Ty::Object(&DESTINATION)).required().rule("VS-TLS-07"),
    field("weight", INT32).rule("VS-TLS-07"),
]);

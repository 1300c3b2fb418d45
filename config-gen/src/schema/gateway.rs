//! Fields of Gateway (spec section 4.11, 6.0).

use super::{Choice, LABELS, Object, PORT_NUMBER, STRING, STRINGS, Ty, choice, field, list, object, text};

pub(super) const SPEC: Object = object(&[
    field("selector", LABELS).rule("GW-01"),
    field("servers", list(&Ty::Object(&SERVER))).rule("GW-03"),
]);

const SERVER: Object = object(&[
    field("name", STRING).ignored("nothing refers to it"),
    field("port", Ty::Object(&PORT)).required().rule("GW-02"),
    field("bind", STRING).refused("listeners stand where `--listen` says").rule("GW-04"),
    field("hosts", Ty::List { item: &STRING, min: 1, max: usize::MAX }).required().rule("GW-05"),
    field("tls", Ty::Object(&TLS)).rule("GW-16"),
    field("defaultEndpoint", STRING).ignored("it has no effect in Istio either"),
]);

const PORT: Object = object(&[
    field("number", PORT_NUMBER).required().rule("GW-02"),
    field("protocol", text(256)).required().rule("GW-03"),
    field("name", text(256)).required().rule("VAL-CRD-23"),
    field("targetPort", PORT_NUMBER).refused(super::ISTIO_REFUSES).rule("GW-02"),
]);

const TLS: Object = object(&[
    field("httpsRedirect", Ty::Bool).rule("GW-15"),
    field("mode", Ty::Enum(MODES)).default("PASSTHROUGH").rule("GW-16"),
    field("serverCertificate", STRING).rule("GW-16"),
    field("privateKey", STRING).rule("GW-16"),
    field("caCertificates", STRING).rule("GW-16"),
    field("caCrl", STRING).rule("GW-16"),
    field("credentialName", STRING)
        .approximated("where this gateway is generated for, `--credential` names the files")
        .rule("GW-16"),
    field("credentialNames", Ty::List { item: &STRING, min: 1, max: 2 }).refused(SEVERAL).rule("VAL-CRD-23"),
    field("caCertCredentialName", STRING).refused("name the file in `caCertificates`").rule("GW-16"),
    field("tlsCertificates", Ty::List { item: &Ty::Object(&CERTIFICATE), min: 1, max: 2 })
        .refused(SEVERAL)
        .rule("VAL-CRD-23"),
    field("subjectAltNames", STRINGS).rule("GW-16"),
    field("verifyCertificateSpki", STRINGS).rule("GW-16"),
    field("verifyCertificateHash", STRINGS).rule("GW-16"),
    field("minProtocolVersion", Ty::Enum(VERSIONS)).default("TLS_AUTO").rule("GW-16"),
    field("maxProtocolVersion", Ty::Enum(VERSIONS)).default("TLS_AUTO").rule("GW-16"),
    field("cipherSuites", STRINGS).rule("GW-16"),
])
.exclusive("VAL-CRD-23", &[&["credentialName", "credentialNames"], &["credentialNames", "tlsCertificates"]]);

const SEVERAL: &str = "a server has one certificate; name it in `serverCertificate` and `privateKey`";

const CERTIFICATE: Object = object(&[
    field("serverCertificate", STRING),
    field("privateKey", STRING),
    field("caCertificates", STRING),
]);

/// Those that can't be had are no error in a Gateway that isn't generated for.
const MODES: &[Choice] = &[
    choice("PASSTHROUGH"),
    choice("SIMPLE"),
    choice("MUTUAL"),
    choice("AUTO_PASSTHROUGH").approximated("an error where this gateway is generated for"),
    choice("ISTIO_MUTUAL")
        .approximated("where this gateway is generated for, `--credential ISTIO_MUTUAL=DIR` names the files"),
    choice("OPTIONAL_MUTUAL"),
];

const VERSIONS: &[Choice] =
    &[choice("TLS_AUTO"), choice("TLSV1_0"), choice("TLSV1_1"), choice("TLSV1_2"), choice("TLSV1_3")];

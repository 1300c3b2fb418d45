//! Fields of ServiceEntry (spec 1.1, 1.4, 6.0).

use super::{Choice, Field, LABELS, Object, PORT_NUMBER, STRINGS, Ty, UINT32, choice, field, object, text};

pub(super) const SPEC: Object = object(&[
    field("hosts", Ty::List { item: &Ty::String { max: usize::MAX }, min: 1, max: 256 }).required().rule("SE-01"),
    field("addresses", Ty::List { item: &text(64), min: 0, max: 256 })
        .approximated("names in Host headers and, in profile standalone, endpoints; connections are told apart by them on a transparent listener")
        .rule("SE-06"),
    field("ports", Ty::List { item: &Ty::Object(&PORT), min: 0, max: 256 }).rule("SE-09"),
    field("location", Ty::Enum(LOCATIONS)).rule("SE-13"),
    field("resolution", Ty::Enum(RESOLUTIONS)).default("NONE").rule("SE-16"),
    field("endpoints", Ty::List { item: &Ty::Object(&ENDPOINT), min: 0, max: 4096 }).rule("SE-17"),
    field("workloadSelector", Ty::Object(&SELECTOR))
        .approximated("of WorkloadEntry objects in the input; pods are not known to the generator")
        .rule("SE-18"),
    field("exportTo", STRINGS).rule("SE-19"),
    field("subjectAltNames", STRINGS).rule("SE-20"),
])
.exclusive("VAL-CRD-08", &[&["workloadSelector", "endpoints"]]);

/// The spec of a WorkloadEntry.
pub(super) const WORKLOAD_ENTRY: Object = ENDPOINT;

const LOCATIONS: &[Choice] = &[choice("MESH_EXTERNAL"), choice("MESH_INTERNAL")];

const RESOLUTIONS: &[Choice] = &[
    choice("NONE")
        .approximated("the host is resolved; on a transparent listener the address that the client dialled, if it is one of `addresses`"),
    choice("STATIC"),
    choice("DNS"),
    choice("DNS_ROUND_ROBIN"),
    choice("DYNAMIC_DNS").approximated("on TLS ports, by SNI; other ports are refused"),
];

const PORT: Object = object(&[
    field("number", PORT_NUMBER).required().rule("SE-09"),
    field("name", text(256)).required().rule("SE-10"),
    field("protocol", text(256)).rule("SE-11"),
    field("targetPort", PORT_NUMBER).rule("SE-12"),
]);

/// The spec of a WorkloadEntry, written in place.
const ENDPOINT: Object = object(ENDPOINT_FIELDS);

const ENDPOINT_FIELDS: &[Field] = &[
    field("address", text(256)).rule("SE-26"),
    field("ports", Ty::Map { value: &PORT_NUMBER, max: 128, null: false }).rule("SE-25"),
    field("labels", Ty::Map { value: &Ty::String { max: usize::MAX }, max: 256, null: false })
        .approximated(
            "for `workloadSelector`, subsets and as locality; the mutual TLS of a mesh is not spoken",
        )
        .rule("SE-28"),
    field("network", text(2048))
        .refused("there is no network gateway to send requests through")
        .rule("SE-32"),
    field("locality", text(2048)).rule("SE-30"),
    field("weight", UINT32).rule("SE-31"),
    field("serviceAccount", text(253))
        .ignored("it is an identity for mutual TLS within a mesh, which is not spoken")
        .rule("SE-33"),
];

const SELECTOR: Object = object(&[field("labels", LABELS)]);

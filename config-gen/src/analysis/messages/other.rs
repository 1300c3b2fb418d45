//! Meshes, their configuration, and WasmPlugins.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::error(
        "duplicate-variable",
        "A variable of a WasmPlugin that is given twice",
        "A cluster refuses it.",
        "keep one of the two",
    ),
    Message::error(
        "empty-value",
        "A value of a WasmPlugin that is empty",
        "A cluster refuses it.",
        "fill it in, or leave it out",
    ),
    Message::error(
        "invalid-digest",
        "A digest that is none",
        "The module is not loaded if its digest differs.",
        "write 64 hexadecimal digits in lower case",
    ),
    Message::error(
        "invalid-mesh-config",
        "A MeshConfig that can't be read",
        "What the mesh says of clusters and of unknown hosts depends on it.",
        "correct the place that is named",
    ),
    Message::error(
        "invalid-url",
        "A URL that no module can have",
        "The proxy loads the module from there.",
        "write an `oci`, `https`, `http` or `file` URL",
    ),
    Message::warning(
        "mesh-applied-twice",
        "Rules that the mesh has as well",
        "The plugin and the mesh would both rewrite requests.",
        "don't apply to the cluster what the plugin config has",
    ),
    Message::note(
        "mesh-needs-registry",
        "What the mesh has to know itself",
        "In a mesh the plugin rewrites and nothing else: hosts, endpoints and TLS are the sidecars' own.",
        "apply ServiceEntries and DestinationRules to the cluster",
    ),
    Message::warning(
        "mesh-reaches-gateways",
        "A plugin in the root namespace",
        "Without a selector it reaches gateways as well, which then rewrite requests of sidecars a second time.",
        "choose workloads with `--selector`, or another namespace with `--namespace`",
    ),
    Message::warning(
        "not-in-mesh",
        "Something that can't be done in a mesh",
        "There the sidecar's own routes choose the destination.",
        "do it with a VirtualService that is applied to the cluster, or in an Envoy of Portolan's own",
    ),
];

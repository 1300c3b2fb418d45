//! ServiceEntries and WorkloadEntries, each by itself.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::error(
        "ambiguous-port",
        "Several hosts that nothing tells apart",
        "On a port that is neither HTTP nor TLS a connection has no name. Of several hosts of one entry it can't be said which is meant.",
        "give each host a ServiceEntry of its own, with `addresses`",
    ),
    Message::error(
        "duplicate-port",
        "A port that is given twice",
        "Numbers and names tell ports apart.",
        "give it another number or name, or take one out",
    ),
    Message::warning(
        "host-in-capitals",
        "A host in capitals",
        "Hosts are compared in lower case. Istio gives the cluster a name with the capitals and looks for one without: requests get 503.",
        "write the host in lower case",
    ),
    Message::error(
        "invalid-address",
        "An address that is none",
        "Connections are told apart by addresses, and nothing is dialled by this one.",
        "write an IP address, or a range such as `10.0.0.0/8`",
    ),
    Message::error(
        "invalid-dynamic-dns",
        "`DYNAMIC_DNS` with what it can't have",
        "The name is looked up for each request: there is one wildcard host, HTTP or TLS, and no addresses or endpoints of its own.",
        "make it a wildcard host with HTTP or TLS ports alone, or set `resolution: DNS`",
    ),
    Message::error(
        "invalid-export-to",
        "An `exportTo` that contradicts itself",
        "`*` is everybody and `~` nobody, so each stands alone; a namespace stands once.",
        "keep `*`, or `.`, or a list of namespaces",
    ),
    Message::error(
        "invalid-host",
        "A host that is no name",
        "Requests carry names; this can't be one of them, or takes all of them.",
        "write a DNS name, with `*` for the first label at most",
    ),
    Message::error(
        "invalid-label",
        "A label that Kubernetes refuses",
        "Nothing can carry it, so nothing is selected by it.",
        "write letters, digits, `-`, `_` and `.`, at most 63 of them",
    ),
    Message::error(
        "invalid-port-name",
        "A name that no port can have",
        "Endpoints refer to ports by name.",
        "write lower-case letters, digits and `-`",
    ),
    Message::error(
        "invalid-selector",
        "A selector with a label that is none",
        "Nothing can carry the label, so nothing is selected.",
        "correct the label; `*` has no meaning in it",
    ),
    Message::warning(
        "location-omitted",
        "`location` is missing",
        "Istio takes such a host for an external one. Profile standalone takes it for one's own, as the documentation long had it. Requests go the same way, but policies and metrics tell the two apart.",
        "write it: `MESH_EXTERNAL` for what is somebody else's",
    ),
    Message::warning(
        "no-ports",
        "A ServiceEntry without ports",
        "Hosts are registered port by port, so that nothing is.",
        "list the ports",
    ),
    Message::warning(
        "partial-wildcard",
        "A wildcard for a part of a label",
        "`*-eu.example.com` works on HTTP ports. On TLS ports Envoy refuses it, and the whole listener with it.",
        "write a wildcard for whole labels, or list the hosts",
    ),
    Message::warning(
        "public-wildcard",
        "A wildcard that opens names of strangers",
        "Below such a domain anybody can have a name. Whoever may call these hosts may send data anywhere.",
        "list the hosts that are needed, one by one",
    ),
    Message::warning(
        "selects-everything",
        "A `workloadSelector` without labels",
        "It selects every workload of the namespace, also those of other services.",
        "name the labels of this service",
    ),
    Message::warning(
        "tcp-without-address",
        "A TCP port that takes what nobody else claims",
        "TCP carries no name. Without `addresses` the proxy listens on all of them, and whatever a client sends to the port, to any host, goes to this service.",
        "add `addresses`, or name the protocol, if it is HTTP or TLS",
    ).istio(&["IST0134"]),
    Message::error(
        "too-many-endpoints",
        "More endpoints than the resolution has",
        "`DNS_ROUND_ROBIN` takes one address at a time, out of those that one name has.",
        "keep one endpoint, or set `resolution: DNS`",
    ),
    Message::error(
        "unknown-port",
        "An endpoint's port with a name that the entry doesn't have",
        "The port of an endpoint stands for a port of the ServiceEntry, by its name.",
        "use the name of one of `spec.ports`",
    ),
    Message::error(
        "unknown-protocol",
        "A protocol that nobody knows",
        "What the proxy does with the bytes depends on it.",
        "write one of the protocols that are listed",
    ),
    Message::error(
        "unresolvable-host",
        "A wildcard that would have to be looked up",
        "DNS has no answer for `*.example.com`, so there is no address to dial.",
        "list the hosts one by one; or `resolution: NONE`, where clients dial the addresses themselves; or give `endpoints`",
    ),
    Message::error(
        "unused-endpoints",
        "Endpoints that are never dialled",
        "With `resolution: NONE`, which is the default, requests go where the client has dialled.",
        "set `resolution: STATIC` for IP addresses, or `DNS` for names",
    ),
    Message::warning(
        "workload-left-out",
        "A WorkloadEntry that is selected and not used",
        "It is unhealthy, or its address is of a sort that the resolution doesn't take.",
        "give it an IP address, or set `resolution: DNS` for names",
    ),
    Message::note(
        "workload-unused",
        "A WorkloadEntry that nothing selects",
        "It is an endpoint of nothing.",
        "correct its labels or those of the selector; both have to be in one namespace",
    ),
    Message::note(
        "wildcard-trusts-client",
        "A wildcard whose addresses the client chooses",
        "With `resolution: NONE` Istio looks at the name and then dials the address that the client has dialled. A client that names an allowed host reaches any address.",
        "list the hosts with `resolution: DNS`, so that the proxy finds their addresses itself",
    ),
];

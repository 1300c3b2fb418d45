//! Services and what becomes of them together.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::warning(
        "address-in-use",
        "One address for two services",
        "Requests whose host is that address go to one of the two.",
        "give each service an address of its own",
    ),
    Message::note(
        "addresses-approximated",
        "Addresses that a plain listener can't see",
        "Istio tells TLS services with addresses apart by what the client dialled. A client that connects to the listener itself has dialled the listener.",
        "leave it so if server names differ; otherwise redirect connections with `--transparent`",
    ),
    Message::warning(
        "addresses-as-endpoints",
        "A `STATIC` service without endpoints",
        "In Istio it has nowhere to go, and requests get 503. Here its addresses are dialled.",
        "list the addresses under `endpoints`",
    ),
    Message::note(
        "all-addresses-balanced",
        "All addresses of a name are used, where one would be",
        "Names of private addresses are refused, and so each address is an endpoint of its own. With one that fails over \
         to the next, Envoy would not ask.",
        "nothing, unless it matters which address has a request; then allow all addresses",
    ),
    Message::note(
        "any-host-approximated",
        "A port without protocol at an address of its own",
        "Istio takes any Host header there. Here it has to be one of the service's.",
        "name the protocol",
    ),
    Message::warning(
        "conflicting-port",
        "A port that two entries define",
        "The definition of the older entry counts; what the other says of it has no effect.",
        "define the port once",
    ),
    Message::warning(
        "conflicting-protocol",
        "A port with one protocol here and another there",
        "Clients see the host from one of the entries, by their namespace, and listeners are made from all: what one takes for HTTP is bytes to the other.",
        "give the port one protocol, or keep the entries apart by `exportTo`",
    ).istio(&["IST0177"]),
    Message::error(
        "conflicting-service-entries",
        "Entries for one host that contradict each other",
        "Istio takes ports from one and leaves others without a cluster, depending on which is older. Requests to these get 503.",
        "put all ports of the host into one ServiceEntry",
    ).istio(&["IST0177"]),
    Message::warning(
        "connect-strategy-ignored",
        "Racing for addresses of several endpoints",
        "The annotation `istio.io/connect-strategy` is for the addresses of one name.",
        "list a single endpoint, or take the annotation out",
    ),
    Message::error(
        "dials-itself",
        "An endpoint that is the proxy itself",
        "Requests would come back to the proxy, or reach its admin interface.",
        "correct the address; `--admin off` closes the admin interface",
    ),
    Message::warning(
        "duplicate-service-entry",
        "Two entries that say the same",
        "The settings of the older one count; endpoints are joined.",
        "make one ServiceEntry of the two",
    ),
    Message::note(
        "first-address-guarded",
        "Names of which one address is looked at",
        "A name that is resolved as it is called is refused if its first address is private. Envoy may go on to the others \
         where it can't reach that one.",
        "list the hosts, and generate with `--clusters dedicated`; let no network route lead to private addresses",
    ),
    Message::warning(
        "host-already-routed",
        "A host with two VirtualServices",
        "They are not merged: the first one has the host, by age, then by name. The rules of the other are lost.",
        "merge the routes into one VirtualService",
    ).istio(&["IST0109"]),
    Message::warning(
        "host-in-other-namespace",
        "A host that two namespaces register",
        "Each client takes it from one namespace: its own, else the oldest. What the other says has no effect there.",
        "remove one of the two, or narrow its `exportTo`",
    ),
    Message::note(
        "kubernetes-service-approximated",
        "A Kubernetes Service outside its cluster",
        "Its pods are not in the input, so it is reached by its name: the cluster chooses the pod, and not Envoy.",
        "to have Envoy choose, list the endpoints in a ServiceEntry",
    ),
    Message::warning(
        "kubernetes-service-wins",
        "A ServiceEntry for the host of a Kubernetes Service",
        "The Service counts, and nothing of the entry.",
        "take the ServiceEntry out, or give it another host",
    ),
    Message::warning(
        "named-target-port",
        "A headless Service whose port has a name",
        "Which number the name stands for, the pods say, and they are not in the input. The service's own port is dialled.",
        "write the number as `targetPort`",
    ),
    Message::warning(
        "no-endpoints",
        "A service without endpoints",
        "Requests for it get 503.",
        "list endpoints, or set `resolution: DNS`",
    ),
    Message::note(
        "not-exported",
        "A resource that the client doesn't see",
        "Its `exportTo` names other namespaces.",
        "choose another client with `--client-namespace`, or widen `exportTo`",
    ),
    Message::note(
        "not-imported",
        "A service that the client's Sidecar leaves out",
        "A Sidecar lists what its clients import. To them this host is unknown.",
        "add it to the `hosts` of the Sidecar",
    ),
    Message::note(
        "resolution-none-approximated",
        "The address that a client dials is not known",
        "With `resolution: NONE` Istio dials what the client dialled. A plain listener doesn't know that, so the host is looked up.",
        "write `resolution: DNS`; with `--transparent` the address is known",
    ),
    Message::note(
        "sidecar-unused",
        "A Sidecar that is for other clients",
        "One Sidecar applies to a client, and it isn't this one.",
        "choose another client with `--client-namespace` and `--client-labels`",
    ),
    Message::warning(
        "udp-ignored",
        "A UDP port",
        "No proxy of Istio's serves UDP, and neither does this one.",
        "take the port out",
    ),
    Message::warning(
        "unknown-external-name",
        "An `ExternalName` Service that leads nowhere",
        "It is another name for a host that the registry has. Here it hasn't.",
        "add a ServiceEntry for the host that is meant",
    ),
];

//! Connections whose bytes are passed through, and listeners.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::warning(
        "connection-route-unused",
        "A `tls` or `tcp` route that takes nothing",
        "No port of the hosts carries such connections, or other routes take them all.",
        "give the host a port of that protocol in a ServiceEntry",
    ),
    Message::warning(
        "connections-already-routed",
        "Connections that another rule has",
        "A server name or an address goes to the first rule that asks for it.",
        "take it out of one of the two",
    ),
    Message::warning(
        "no-name-to-dial",
        "TCP below a wildcard",
        "TCP carries no name, so that there is nothing to look up. Connections are closed.",
        "list the hosts one by one, or give the entry `endpoints`",
    ),
    Message::note(
        "one-address-at-a-time",
        "Hosts that share a cluster",
        "A shared cluster looks names up for each request and takes one address at a time, where Istio balances over all.",
        "keep clusters apart with `--clusters dedicated`",
    ),
    Message::warning(
        "original-destination-unknown",
        "A rule by addresses that nobody knows",
        "Clients connect to the listener itself, so that the address they mean isn't known.",
        "redirect connections with `--transparent`",
    ),
    Message::warning(
        "port-of-envoy",
        "A port that the proxy itself listens on",
        "Connections to that port of the service are closed, or the proxy would dial itself.",
        "listen on a port that no service has",
    ),
    Message::warning(
        "port-without-listener",
        "A port that no listener carries",
        "Nothing that clients send comes to it.",
        "add a listener with `--listen`",
    ),
    Message::warning(
        "server-first-port-shared",
        "A server that speaks first beside another service",
        "MySQL and Mongo servers speak before the client does, so that nothing tells the two services apart on one port.",
        "give one of the two another port, or `addresses`",
    ),
    Message::warning(
        "server-name-not-routed",
        "A host whose server name no `tls` rule takes",
        "Its VirtualService has `tls` rules for other names only; in Istio such connections find no rule and are closed.",
        "add the host to `sniHosts`",
    ),
    Message::note(
        "server-speaks-first-unguarded",
        "A TCP service whose name may turn out to be a private address",
        "Connections there are closed with the client's first bytes, which are not passed on. What the server says before goes \
         to the client.",
        "give the service `endpoints` with addresses, or let no network route lead to private addresses",
    ),
    Message::warning(
        "tcp-port-in-use",
        "Two TCP services on one port",
        "Nothing but the port tells them apart: the first has all connections.",
        "give one of the two another port, or both `addresses`",
    ),
];

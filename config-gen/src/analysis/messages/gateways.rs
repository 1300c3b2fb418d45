//! Gateways.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::warning(
        "claims-without-authentication",
        "Rules for the claims of tokens that nobody verifies",
        "Claims are known once a RequestAuthentication has verified the token. Without one the condition is never met.",
        "add a RequestAuthentication for the workloads of the gateway",
    ).istio(&["IST0149"]),
    Message::error(
        "conflicting-servers",
        "Servers of gateways that can't share a port",
        "One port of a proxy has one protocol.",
        "give one of them another port",
    ),
    Message::note(
        "gateway-collapsed",
        "The way over an egress gateway is left out",
        "With `--collapse-egress-gateway` what the gateway would do is done right here.",
        "leave the option out to send requests to the gateway",
    ),
    Message::error(
        "gateway-not-collapsed",
        "A way over an egress gateway that can't be shortened",
        "What is done on the way to the gateway can't be done together with what the gateway does.",
        "write one rule that leads to the external host, without the gateway",
    ),
    Message::warning(
        "gateway-not-found",
        "A gateway that isn't there",
        "The VirtualService is bound to it, so that its rules are nobody's.",
        "correct the name (`NAMESPACE/NAME`, or `NAME` in its own namespace), or add the Gateway",
    ).istio(&["IST0101"]),
    Message::error(
        "gateway-not-supported",
        "Something of a Gateway that is not supported",
        "It would change what clients of the gateway get.",
        "take it out, or keep Istio's own gateway for it",
    ),
    Message::warning(
        "gateway-only",
        "A VirtualService that is for gateways alone",
        "Sidecars don't ask it. Applications' own requests go where they would without it.",
        "add `mesh` to `gateways`, if they are meant; or generate for the gateway with `--gateway`",
    ),
    Message::note(
        "gateway-unused",
        "A Gateway that another proxy serves",
        "Its `selector` doesn't fit the proxy.",
        "choose another one with `--gateway` or `--client-labels`",
    ),
    Message::warning(
        "host-not-in-gateway",
        "A host that the gateway doesn't serve",
        "None of the gateway's servers lists it, so that no request of that host gets in.",
        "add the host to `servers[].hosts` of the Gateway",
    ).istio(&["IST0132"]),
    Message::warning(
        "internal-gateway",
        "A gateway that Istio makes for itself",
        "Gateways of the Kubernetes Gateway API become such gateways inside Istio. Their names may change, and the webhook refuses them.",
        "write an HTTPRoute for that Gateway",
    ).istio(&["IST0165"]),
    Message::error(
        "invalid-protocol",
        "A protocol that no server can have",
        "What the gateway does with the bytes depends on it.",
        "write one of the protocols that are listed",
    ),
    Message::warning(
        "no-host-of-gateway",
        "A VirtualService without effect on its gateway",
        "No server of the Gateway has one of its hosts.",
        "add the host to `servers[].hosts` of the Gateway",
    ).istio(&["IST0132"]),
    Message::warning(
        "redirect-without-effect",
        "`httpsRedirect` where there is no HTTP",
        "It answers plaintext requests. On this protocol there are none.",
        "take it out, or put it on the HTTP server",
    ),
    Message::warning(
        "rules-not-at-gateway",
        "Rules for subsets that a gateway doesn't follow",
        "A gateway asks the VirtualServices that are bound to it, and none of the mesh. Requests that come in through it are spread over all subsets.",
        "name the subsets here as well, or bind the other VirtualService to the gateway",
    ).istio(&["IST0140"]),
    Message::error(
        "unknown-gateway",
        "The gateway of `--gateway` isn't there",
        "There is nothing to generate for.",
        "correct the name, or add the Gateway to the input",
    ),
];

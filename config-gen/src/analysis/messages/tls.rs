//! TLS that is originated.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::warning(
        "certificate-name-not-checked",
        "A certificate whose name nobody looks at",
        "With `sni` and without `subjectAltNames`, any certificate of the authority will do: another site's, too.",
        "add `subjectAltNames` with the name that the certificate carries",
    ),
    Message::error(
        "credential-without-files",
        "A `credentialName` that Istio's sidecar ignores",
        "Without a `workloadSelector` a sidecar leaves the settings out and sends plaintext. Here its files are not known.",
        "give its files with `--credential NAME=DIR`",
    ),
    Message::error(
        "host-of-request-not-dialled",
        "Copies to names below a wildcard",
        "What is dialled there is the host of the request, and a copy has that of another service.",
        "list the host that gets copies in a ServiceEntry of its own",
    ),
    Message::warning(
        "host-not-below-wildcard",
        "A host that the wildcard destination doesn't have",
        "What is dialled there is the host of the request, and it isn't below the wildcard: requests get 502.",
        "rewrite `authority` to the host that is meant",
    ),
    Message::error(
        "incomplete-credential",
        "A credential without a certificate",
        "`MUTUAL` presents one.",
        "give `cert` and `key`: `--credential NAME=cert=FILE,key=FILE,cacert=FILE`",
    ),
    Message::note(
        "no-ca-certificates",
        "TLS that any public authority can vouch for",
        "Without `caCertificates` the system's bundle is taken, which is right for public hosts. For a private one it lets strangers in. Old releases of Istio verify nothing then.",
        "name the file of the authority in `caCertificates`, if it is a private one",
    ).istio(&["IST0128", "IST0129"]),
    Message::error(
        "no-mesh-certificates",
        "`ISTIO_MUTUAL` outside a mesh",
        "It presents the certificate that a mesh gives its proxies, and there is none here.",
        "give its files with `--credential ISTIO_MUTUAL=DIR`",
    ),
    Message::warning(
        "no-sni-for-address",
        "TLS to an address",
        "No server name is sent for an address, so that a server with several sites doesn't know which is meant.",
        "add `sni` and `subjectAltNames`",
    ),
    Message::warning(
        "plaintext-in-istio",
        "A credential that Istio's sidecar ignores",
        "Here there is TLS; in Istio the sidecar would send plaintext, since the rule has no `workloadSelector`.",
        "give the rule a `workloadSelector`",
    ),
    Message::error(
        "plaintext-to-tls-port",
        "Plaintext to a port that expects TLS",
        "The rule sends HTTP requests to it as they are. The server doesn't understand them.",
        "add a DestinationRule with `trafficPolicy.tls.mode: SIMPLE`",
    ),
    Message::warning(
        "tls-in-tls",
        "TLS inside TLS",
        "Clients speak TLS to the port, and the DestinationRule puts another TLS around it. The server understands neither.",
        "originate TLS on a port of its own, with `protocol: HTTP` and `targetPort: 443`",
    ),
    Message::warning(
        "tls-not-verified",
        "TLS that nobody verifies",
        "With `insecureSkipVerify` whoever answers is believed: the connection is encrypted, perhaps to an attacker.",
        "name the authority in `caCertificates` instead",
    ),
    Message::error(
        "unknown-credential",
        "A credential without files",
        "A `credentialName` is a Secret of the cluster; Envoy reads files.",
        "give its files with `--credential NAME=DIR`",
    ),
];

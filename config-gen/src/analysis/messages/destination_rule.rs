//! DestinationRules.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::warning(
        "client-locality-unknown",
        "A rule on localities without the client's",
        "`localityLbSetting` depends on where the client stands, and that is not known.",
        "say it with `--client-locality REGION/ZONE/SUBZONE`",
    ),
    Message::error(
        "contradicting-tls",
        "TLS settings that contradict each other",
        "Istio refuses them.",
        "keep one of the two",
    ),
    Message::error(
        "empty-policy",
        "A policy that says nothing",
        "Istio refuses it.",
        "fill it in, or take it out",
    ),
    Message::warning(
        "empty-subset",
        "A subset without endpoints",
        "No endpoint has its labels. Requests for it get 503.",
        "give endpoints these labels; names without `endpoints` have none",
    )
    .istio(&["IST0173"]),
    Message::error(
        "invalid-connection-pool",
        "Limits that contradict themselves",
        "Istio refuses them.",
        "correct the value that is named",
    ),
    Message::error(
        "invalid-load-balancer",
        "A load balancer that contradicts itself",
        "Istio refuses it.",
        "correct the value that is named",
    ),
    Message::error(
        "invalid-outlier-detection",
        "Ejections that contradict themselves",
        "Istio refuses them.",
        "correct the value that is named",
    ),
    Message::error(
        "invalid-tunnel",
        "A tunnel to nowhere",
        "Istio refuses it.",
        "correct the value that is named",
    ),
    Message::warning(
        "subset-approximated",
        "A subset of pods",
        "Pods are not in the input, so the subset is all of the service.",
        "to choose endpoints, list them with their labels in a ServiceEntry",
    ),
    Message::warning(
        "unknown-destination-rule-host",
        "A rule for a host that nobody registers",
        "It applies to nothing.",
        "correct the host, or add a ServiceEntry for it",
    )
    .istio(&["IST0174"]),
];

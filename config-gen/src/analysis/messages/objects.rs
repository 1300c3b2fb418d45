//! Documents as Kubernetes objects.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::error(
        "duplicate-object",
        "Two objects of one kind, namespace and name",
        "In a cluster the second replaces the first. Which one is meant, a set of files can't tell.",
        "rename one of the two, or take one out",
    ),
    Message::note(
        "ignored-kind",
        "A kind that is left out",
        "It has no effect on where requests go, or none that matters here; the message says why.",
        "leave it out of the input, if the note is in the way",
    ),
    Message::error(
        "invalid-name",
        "A name or namespace that Kubernetes refuses",
        "The API server takes lower-case letters, digits, `-` and `.` alone. A cluster would never have this object.",
        "write it in lower case, with `-` between words",
    ),
    Message::error(
        "invalid-namespace",
        "A namespace that can't exist",
        "The condition is met by clients of that namespace, so by none.",
        "write the name of a namespace: lower-case letters, digits and `-`",
    ),
    Message::error(
        "invalid-timestamp",
        "A creation time that is none",
        "Of two resources for one host the older one wins, so the time decides.",
        "write it as `2024-05-06T07:08:09Z`, or leave it out",
    ),
    Message::error(
        "missing-name",
        "An object without a name",
        "Nothing can refer to it, and Kubernetes refuses it.",
        "give it `metadata.name`",
    ),
    Message::error(
        "no-kubernetes-object",
        "A document that is no Kubernetes object",
        "What it is meant to be is not said: `apiVersion` and `kind` are what tells.",
        "add `apiVersion` and `kind`, or take the document out",
    ),
    Message::error(
        "refused-kind",
        "A kind that is not supported, and matters",
        "In a mesh it changes where requests go or who may send them. To go on without it would open or break something in silence.",
        "take it out of the input, or accept the difference with `--accept-ignored KIND`",
    ),
    Message::error(
        "retired-kind",
        "A kind that Istio has dropped",
        "No release of today knows it. What it said has no effect any more, and nobody complains.",
        "write the resource that took its place",
    )
    .istio(&["IST0002"]),
    Message::error(
        "unknown-kind",
        "A kind that nobody knows",
        "Most often it is misspelt. What is meant can't have any effect.",
        "correct the kind, or take the object out",
    ),
    Message::error(
        "wrong-api-version",
        "A group or version that the kind doesn't have",
        "A cluster takes it for another kind, which it doesn't know.",
        "write `networking.istio.io/v1`",
    ),
];

//! Fields as the schema has them.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::error(
        "exclusive-fields",
        "Fields that exclude each other",
        "Only one of them can be done, and Istio refuses the resource.",
        "keep one of the two",
    ),
    Message::error(
        "invalid-duration",
        "A time span that is none",
        "Go's time spans have units, such as `1.5s`. Numbers without one, days, and parts of a millisecond are refused.",
        "write it with `h`, `m`, `s` or `ms`",
    ),
    Message::error(
        "invalid-value",
        "A word that the field doesn't know",
        "The field takes one of a list of words, in capitals. A cluster refuses any other.",
        "write one of the words that are listed",
    ),
    Message::error(
        "missing-field",
        "A field that has to be there",
        "Without it the resource says nothing, and a cluster refuses it.",
        "add the field",
    ),
    Message::error(
        "not-supported",
        "A field that is known and not supported",
        "Portolan can't do what it says. To leave it out would change what happens to requests, so it is an error.",
        "take it out, or do it in another way",
    ),
    Message::error(
        "out-of-range",
        "A number outside its range",
        "A cluster refuses it.",
        "write a number within the range that is named",
    ),
    Message::error(
        "refused-field",
        "A field that Istio itself refuses",
        "It is in the API and has never been taken.",
        "take it out",
    ),
    Message::error("too-long", "A text longer than the schema takes", "A cluster refuses it.", "shorten it"),
    Message::error(
        "unknown-field",
        "A field that doesn't exist",
        "A cluster drops it in silence, so what it was meant to say has no effect. Misspelt fields are the commonest way to lose a rule.",
        "correct its name; the message names the nearest one",
    ),
    Message::error(
        "wrong-count",
        "Too few or too many items",
        "A cluster refuses the list.",
        "give as many as the message says",
    ),
    Message::error(
        "wrong-type",
        "A value of another type",
        "Text where a number is meant, a list where an object is meant, and so on. A cluster refuses it.",
        "write a value of the type that is named; quote what is meant as text",
    ),
];

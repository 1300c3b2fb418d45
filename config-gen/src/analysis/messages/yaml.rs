//! Text that is no YAML, or YAML that is read otherwise than one thinks.

use super::Message;

pub(super) const MESSAGES: &[Message] = &[
    Message::error(
        "invalid-yaml",
        "The text is no YAML",
        "Nothing of the file can be read, so none of its resources counts.",
        "mend the text at the place that is named; often it is an indentation, or a quote that isn't closed",
    ),
    Message::error(
        "bad-alias",
        "An alias without its anchor",
        "`*name` stands for a value that `&name` has marked before, in the same document. Without it there is no value.",
        "write the value out, or mark it with `&name` before it is used",
    ),
    Message::error(
        "bad-key",
        "Something that can't be the key of an object",
        "Kubernetes knows strings as keys and nothing else.",
        "write a string as key",
    ),
    Message::error(
        "bad-merge",
        "A merge key with something that is no object",
        "`<<` takes over the fields of an object, or of a list of objects. Anything else has none.",
        "give `<<` an object, or write the fields out",
    ),
    Message::error(
        "bad-tag",
        "A value that doesn't fit its tag",
        "`!!int` and its like say how a value is read, and this one can't be read so.",
        "take the tag out, or correct the value",
    ),
    Message::warning(
        "changed-key",
        "A key that YAML reads as something else",
        "`on`, `yes`, `80` and their like are no strings in YAML. As keys they become the strings `true` or `80`, which may not be what was written.",
        "quote the key",
    ),
    Message::error(
        "duplicate-key",
        "A key that is given twice",
        "Parsers disagree on which of the two counts, so a cluster may do what the file doesn't seem to say.",
        "keep one of the two",
    ),
    Message::error(
        "file-too-large",
        "A file of more than 4 GiB",
        "Places in a file are counted in 32 bits. No one writes so much; more likely the wrong file was named.",
        "split the file, or name another one",
    ),
    Message::error(
        "merge-order",
        "A merge key after a key that it also has",
        "Parsers disagree on whether `<<` overwrites what stands before it.",
        "put `<<` first",
    ),
    Message::error(
        "nested-too-deeply",
        "Values inside values, too many levels deep",
        "Resources have about twelve levels. The limit keeps a hostile file from taking all of the stack.",
        "write it flatter; the text at the place is no resource",
    ),
    Message::error(
        "too-many-aliases",
        "Aliases that grow beyond measure",
        "A few lines of aliases can stand for billions of values. The limit keeps such a file from taking all memory.",
        "write the values out",
    ),
    Message::error(
        "unknown-tag",
        "A YAML tag that means nothing here",
        "Tags such as `!include` are instructions to other tools. Nobody has followed this one.",
        "render the file with the tool that knows the tag, and give its output",
    ),
    Message::error(
        "unrendered-template",
        "A template that was never filled in",
        "Placeholders of Helm, of a shell or of Go would be taken for text. What is meant isn't known before they are filled in.",
        "render it first, for instance with `helm template`, and give the output",
    ),
];

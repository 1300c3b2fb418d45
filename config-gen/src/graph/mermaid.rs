//! For Mermaid, which code hosting sites draw in Markdown.

use std::fmt::Write as _;

use super::{Graph, Kind, Node};

impl Graph {
    /// In the language of Mermaid.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        // Writing to a string can't fail.
        for (index, node) in self.nodes.iter().enumerate() {
            let (open, close) = brackets(node.kind);
            let _ = writeln!(out, "  n{index}{open}\"{}\"{close}:::{}", label(node), node.kind.as_str());
        }
        for edge in &self.edges {
            let arrow = if edge.mirror { "-.->" } else { "-->" };
            let label =
                edge.label.as_ref().map(|label| format!("|\"{}\"|", escaped(label))).unwrap_or_default();
            let _ = writeln!(out, "  n{} {arrow}{label} n{}", edge.from, edge.to);
        }
        out.push_str("  classDef refusal stroke-dasharray: 4 2\n");
        out
    }
}

const fn brackets(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Host => ("(", ")"),
        Kind::Rule => ("[", "]"),
        Kind::Cluster => ("[[", "]]"),
        Kind::Answer => ("[/", "/]"),
        Kind::Refusal => ("{{", "}}"),
    }
}

fn label(node: &Node) -> String {
    let lines: Vec<String> =
        std::iter::once(&node.title).chain(&node.lines).map(|line| escaped(line)).collect();
    lines.join("<br/>")
}

/// Only what has no meaning in Mermaid, HTML or Markdown stays; all else is an entity.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || " .,:/-%=".contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    out
}

//! For Graphviz: `dot -Tsvg`.

use std::fmt::Write as _;

use super::{Graph, Kind, Node};

impl Graph {
    /// In the language of Graphviz.
    pub fn dot(&self) -> String {
        let mut out = String::from(
            "digraph portolan {\n  rankdir=LR;\n  node [fontname=\"monospace\", fontsize=10];\n  \
             edge [fontname=\"monospace\", fontsize=9];\n",
        );
        // Writing to a string can't fail.
        for (index, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(out, "  n{index} [{}, label=\"{}\"];", look(node.kind), label(node));
        }
        for edge in &self.edges {
            let mut settings = Vec::new();
            settings.extend(edge.label.as_ref().map(|label| format!("label=\"{}\"", escaped(label))));
            if edge.mirror {
                settings.push("style=dashed".to_owned());
            }
            let settings = match settings.is_empty() {
                true => String::new(),
                false => format!(" [{}]", settings.join(", ")),
            };
            let _ = writeln!(out, "  n{} -> n{}{settings};", edge.from, edge.to);
        }
        out.push_str("}\n");
        out
    }
}

fn look(kind: Kind) -> &'static str {
    match kind {
        Kind::Host => "shape=box, style=rounded",
        Kind::Rule => "shape=box",
        Kind::Cluster => "shape=box, peripheries=2",
        Kind::Answer => "shape=note",
        Kind::Refusal => "shape=octagon",
    }
}

/// Lines that begin at the left.
fn label(node: &Node) -> String {
    let lines = std::iter::once(&node.title).chain(&node.lines);
    lines.map(|line| format!("{}\\l", escaped(line))).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

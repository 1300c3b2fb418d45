//! As a picture that any browser shows. Three columns; what has a way through the middle one without a
//! rule gets a place there too, so that no way crosses a rule that it doesn't take.

use std::fmt::Write as _;

use super::{Edge, Graph, Kind, Node};
use crate::xml::escape;

/// Of the font, in pixels: a monospaced one of 12.
const CHARACTER: f64 = 7.3;
const LINE: f64 = 16.0;
const PADDING: f64 = 10.0;
/// Between columns, and between nodes of a column.
const BETWEEN_COLUMNS: f64 = 96.0;
const BETWEEN_NODES: f64 = 14.0;
const MARGIN: f64 = 16.0;
/// Above the columns: their headings.
const HEADING: f64 = 28.0;

const HEADINGS: [&str; 3] = ["Hosts", "Rules", "Destinations"];

/// Colours by the reader's choice of light or dark; the shapes and words say the same without them.
const STYLE: &str = "\
:root{color-scheme:light dark}\
.back{fill:#fff}text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1b1f24}\
.title{font-weight:600}.heading{font-weight:600;fill:#59636e}\
.box{fill:#f6f8fa;stroke:#59636e}.host .box{fill:#ddf4ff;stroke:#0969da}\
.cluster .box{fill:#dafbe1;stroke:#1a7f37}.answer .box{fill:#fff8c5;stroke:#9a6700}\
.refusal .box{fill:#ffebe9;stroke:#cf222e;stroke-dasharray:5 3}\
.label{paint-order:stroke;stroke:#fff;stroke-width:4px}.edge{fill:none;stroke:#59636e;stroke-width:1.2}.mirror{stroke-dasharray:5 4}.tip{fill:#59636e}\
@media(prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#e6edf3}.heading,.tip{fill:#9198a1}.label{stroke:#0d1117}\
.box{fill:#151b23;stroke:#9198a1}.host .box{fill:#0c2d6b;stroke:#4493f8}.cluster .box{fill:#033a16;stroke:#3fb950}\
.answer .box{fill:#4b2900;stroke:#d29922}.refusal .box{fill:#5d0f12;stroke:#f85149}.edge{stroke:#9198a1}}";

impl Graph {
    /// As SVG, with a style of its own for light and dark.
    pub fn svg(&self) -> String {
        let layout = Layout::of(self);
        let (width, height) = layout.size;
        let mut out = String::new();
        // Writing to a string can't fail.
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{}\">\n\
             <style>{STYLE}</style>\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
             orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
             <rect class=\"back\" width=\"100%\" height=\"100%\"/>\n",
            escape(&self.summary())
        );
        for (heading, x) in HEADINGS.iter().zip(layout.columns) {
            let _ = writeln!(
                out,
                "<text class=\"heading\" x=\"{x:.0}\" y=\"{:.0}\">{heading}</text>",
                MARGIN + 12.0
            );
        }
        for (edge, pass) in self.edges.iter().zip(&layout.passes) {
            layout.edge(edge, *pass, &mut out);
        }
        self.edges.iter().for_each(|edge| layout.label(edge, &mut out));
        for (node, place) in self.nodes.iter().zip(&layout.places) {
            place.draw(node, &mut out);
        }
        out.push_str("</svg>\n");
        out
    }

    fn summary(&self) -> String {
        let count = |column| self.nodes.iter().filter(|node| node.kind.column() == column).count();
        format!("{} hosts, {} rules, {} destinations", count(0), count(1), count(2))
    }
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Place {
    fn middle(self) -> f64 {
        self.y + self.height / 2.0
    }

    fn draw(self, node: &Node, out: &mut String) {
        let Self { x, y, width, height } = self;
        let radius = if node.kind == Kind::Host { 10.0 } else { 2.0 };
        let _ = write!(
            out,
            "<g class=\"{}\"><title>{}</title><rect class=\"box\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" rx=\"{radius}\"/>",
            node.kind.as_str(),
            escape(&std::iter::once(&node.title).chain(&node.lines).cloned().collect::<Vec<_>>().join("\n"))
        );
        let lines = std::iter::once(&node.title).chain(&node.lines);
        for (index, line) in lines.enumerate() {
            let class = if index == 0 { " class=\"title\"" } else { "" };
            let baseline = y + PADDING / 2.0 + LINE * (index as f64 + 1.0) - 3.0;
            let _ = write!(
                out,
                "<text{class} x=\"{:.0}\" y=\"{baseline:.0}\">{}</text>",
                x + PADDING,
                escape(line)
            );
        }
        out.push_str("</g>\n");
    }
}

/// A place in the middle column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Rule(usize),
    /// Where the edge of this number passes.
    Edge(usize),
}

struct Layout {
    places: Vec<Place>,
    /// Where edges that take no rule pass the middle column, by their numbers.
    passes: Vec<Option<f64>>,
    /// Where the columns begin.
    columns: [f64; 3],
    size: (f64, f64),
}

impl Layout {
    fn of(graph: &Graph) -> Self {
        let mut layout = Self {
            places: graph.nodes.iter().map(size).collect(),
            passes: vec![None; graph.edges.len()],
            columns: [MARGIN; 3],
            size: (0.0, 0.0),
        };
        layout.align_columns(graph);
        layout.stack(&slots(graph));
        layout.place_hosts(graph);
        layout.place_destinations(graph);
        let right = layout.places.iter().map(|place| place.x + place.width).fold(0.0, f64::max);
        let bottom = layout.places.iter().map(|place| place.y + place.height).fold(0.0, f64::max);
        layout.size = (right.max(layout.columns[2] + 100.0) + MARGIN, bottom + MARGIN);
        layout
    }

    /// All nodes of a column are as wide as the widest.
    fn align_columns(&mut self, graph: &Graph) {
        let mut x = MARGIN;
        for column in 0..3 {
            let here = || graph.nodes.iter().map(|node| node.kind.column() == column);
            let width = self.places.iter().zip(here()).filter(|(_, it)| *it).map(|(place, _)| place.width);
            let width = width.fold(80.0, f64::max);
            self.columns[column] = x;
            for (place, _) in self.places.iter_mut().zip(here()).filter(|(_, it)| *it) {
                (place.x, place.width) = (x, width);
            }
            x += width + BETWEEN_COLUMNS;
        }
    }

    /// The middle column from top to bottom.
    fn stack(&mut self, slots: &[Slot]) {
        let mut y = MARGIN + HEADING;
        for slot in slots {
            match *slot {
                Slot::Rule(node) => {
                    self.places[node].y = y;
                    y += self.places[node].height + BETWEEN_NODES;
                }
                Slot::Edge(edge) => {
                    // As high as most hosts are, so that they stand beside one another.
                    let height = 2.0 * LINE + PADDING;
                    self.passes[edge] = Some(y + height / 2.0);
                    y += height + BETWEEN_NODES;
                }
            }
        }
    }

    /// Hosts stand beside what they lead to.
    fn place_hosts(&mut self, graph: &Graph) {
        let mut wanted: Vec<(f64, usize)> = Vec::new();
        for (index, _) in graph.nodes.iter().enumerate().filter(|(_, node)| node.kind == Kind::Host) {
            let leaves = graph.edges.iter().zip(&self.passes).filter(|(edge, _)| edge.from == index);
            let to = leaves.map(|(edge, pass)| pass.unwrap_or_else(|| self.places[edge.to].middle()));
            wanted.push((mean(to), index));
        }
        self.place(wanted);
    }

    fn place_destinations(&mut self, graph: &Graph) {
        let mut wanted: Vec<(f64, usize)> = Vec::new();
        for (index, _) in graph.nodes.iter().enumerate().filter(|(_, node)| node.kind.column() == 2) {
            let arrives = graph.edges.iter().zip(&self.passes).filter(|(edge, _)| edge.to == index);
            let from = arrives.map(|(edge, pass)| pass.unwrap_or_else(|| self.places[edge.from].middle()));
            wanted.push((mean(from), index));
        }
        self.place(wanted);
    }

    /// Each as near as can be to where it wants to be, in that order, and none upon another.
    fn place(&mut self, mut wanted: Vec<(f64, usize)>) {
        wanted.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut free = MARGIN + HEADING;
        for (middle, index) in wanted {
            let place = &mut self.places[index];
            place.y = (middle - place.height / 2.0).max(free);
            free = place.y + place.height + BETWEEN_NODES;
        }
    }

    fn edge(&self, edge: &Edge, pass: Option<f64>, out: &mut String) {
        let (from, to) = (self.places[edge.from], self.places[edge.to]);
        let (x1, y1, x2, y2) = (from.x + from.width, from.middle(), to.x - 1.0, to.middle());
        let curve = |x1: f64, y1: f64, x2: f64, y2: f64| {
            let bend = (x1 + x2) / 2.0;
            format!("C{bend:.0} {y1:.0} {bend:.0} {y2:.0} {x2:.0} {y2:.0}")
        };
        let way = match pass {
            Some(y) => {
                let (begin, end) = (self.columns[1], self.columns[2] - BETWEEN_COLUMNS);
                format!("M{x1:.0} {y1:.0}{}H{end:.0}{}", curve(x1, y1, begin, y), curve(end, y, x2, y2))
            }
            None => format!("M{x1:.0} {y1:.0}{}", curve(x1, y1, x2, y2)),
        };
        let mirror = if edge.mirror { " mirror" } else { "" };
        let _ = writeln!(out, "<path class=\"edge{mirror}\" marker-end=\"url(#tip)\" d=\"{way}\"/>");
    }

    /// Where the way leaves, each at its own height, and upon all ways.
    fn label(&self, edge: &Edge, out: &mut String) {
        let Some(label) = &edge.label else { return };
        let (from, to) = (self.places[edge.from], self.places[edge.to]);
        let x = from.x + from.width + 0.3 * (to.x - from.x - from.width);
        let y = from.middle() + 0.22 * (to.middle() - from.middle()) - 4.0;
        let _ = writeln!(out, "<text class=\"label\" x=\"{x:.0}\" y=\"{y:.0}\">{}</text>", escape(label));
    }
}

fn size(node: &Node) -> Place {
    let lines = std::iter::once(&node.title).chain(&node.lines);
    let longest = lines.map(|line| line.chars().count()).max().unwrap_or(0);
    Place {
        width: longest as f64 * CHARACTER + 2.0 * PADDING,
        height: (node.lines.len() + 1) as f64 * LINE + PADDING,
        ..Place::default()
    }
}

/// The middle column: host by host its rules and the ways past them.
fn slots(graph: &Graph) -> Vec<Slot> {
    let mut slots = Vec::new();
    let hosts = graph.nodes.iter().enumerate().filter(|(_, node)| node.kind == Kind::Host);
    for (host, _) in hosts {
        for (number, edge) in graph.edges.iter().enumerate().filter(|(_, edge)| edge.from == host) {
            let slot = match graph.nodes[edge.to].kind {
                Kind::Rule => Slot::Rule(edge.to),
                _ => Slot::Edge(number),
            };
            if !slots.contains(&slot) {
                slots.push(slot);
            }
        }
    }
    slots
}

/// 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

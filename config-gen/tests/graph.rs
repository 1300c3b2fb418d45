//! Pictures: that they hold what the plan has, and that names can't get out of their quotes.

use config_gen::graph::{Graph, Kind};
use config_gen::input::{self, ReadOptions};
use config_gen::options::{Options, OutboundPolicy};
use config_gen::plan::Plan;
use config_gen::ports;
use config_gen::source::Sources;

fn graph(yaml: &str, mut options: Options) -> Graph {
    let mut sources = Sources::new();
    sources.add("rules.yaml", yaml);
    let read = input::read(sources, &ReadOptions::default());
    let mut found = read.diagnostics.clone();
    let ports = ports::of(&read.resources(), &options);
    ports::listen(&mut options, ports);
    let plan = Plan::of(&read.resources(), &options, &mut found);
    assert!(!found.has_errors(), "{}", found.render(&read.sources));
    Graph::of(&plan, &options)
}

fn rules() -> Graph {
    graph(include_str!("commands/actions.yaml"), Options::default())
}

/// `from -> to [label]`, by titles.
fn ways(graph: &Graph) -> Vec<String> {
    let title = |index: usize| graph.nodes[index].title.as_str();
    let way = |edge: &config_gen::graph::Edge| {
        let label = edge.label.as_ref().map(|label| format!(" [{label}]")).unwrap_or_default();
        format!("{} -> {}{label}", title(edge.from), title(edge.to))
    };
    graph.edges.iter().map(way).collect()
}

#[test]
fn rules_lead_from_hosts_to_destinations() {
    let graph = rules();
    let ways = ways(&graph);
    for way in [
        "copy.example.com -> outbound|80||copy.example.com",
        "shop.example.com -> VirtualService default/shop canary",
        "VirtualService default/shop canary -> outbound|80||next.example.com [75 %]",
        "VirtualService default/shop canary -> outbound|80||copy.example.com [copy of 12.5 %]",
        "VirtualService default/shop old -> redirect 302",
        "VirtualService default/shop robots -> answer 200",
        "shop.example.com -> outbound|443||shop.example.com",
        "any other host -> refused 502",
    ] {
        assert!(ways.iter().any(|it| it == way), "{way} is missing in {ways:#?}");
    }
    // Column by column.
    let columns: Vec<usize> = graph.nodes.iter().map(|node| node.kind.column()).collect();
    assert!(columns.is_sorted());
    let canary = graph.nodes.iter().find(|node| node.title.ends_with(" canary")).unwrap();
    assert!(canary.lines.contains(&"path: prefix `/cart`".to_owned()), "{canary:?}");
    assert!(canary.lines.contains(&"delays 10 % by 5s".to_owned()), "{canary:?}");
}

#[test]
fn unknown_hosts_go_where_the_policy_says() {
    let policy = Some(OutboundPolicy::AllowAny);
    let graph = graph(
        include_str!("commands/webserver.yaml"),
        Options { outbound_policy: policy, ..Options::default() },
    );
    assert!(ways(&graph).contains(&"any other host -> PassthroughCluster".to_owned()));
    // In plaintext it is refused.
    let wild = graph.nodes.iter().filter(|node| node.title == "*.wild.example.com");
    let lines: Vec<&[String]> = wild.map(|node| node.lines.as_slice()).collect();
    assert_eq!(lines, [["HTTP on every port"], ["TLS on port 443"]]);
}

#[test]
fn nothing_gives_a_picture_as_well() {
    let graph = graph("", Options::default());
    assert_eq!(ways(&graph), ["any other host -> refused 502"]);
    assert!(graph.svg().ends_with("</svg>\n"));
    assert!(Graph::default().svg().ends_with("</svg>\n"), "no node at all");
}

/// Each node once, each edge between nodes that are there, in every language.
#[test]
fn every_language_has_all_of_it() {
    let graph = rules();
    let (dot, mermaid, svg) = (graph.dot(), graph.mermaid(), graph.svg());
    assert_eq!(
        dot.matches("label=\"").count() - dot.matches("-> ").count(),
        graph.nodes.len() - unlabelled(&graph)
    );
    assert_eq!(dot.matches(" -> ").count(), graph.edges.len());
    assert_eq!(mermaid.matches(":::").count(), graph.nodes.len());
    assert_eq!(mermaid.matches("-->").count() + mermaid.matches("-.->").count(), graph.edges.len());
    assert_eq!(svg.matches("<title>").count(), graph.nodes.len());
    assert_eq!(svg.matches("class=\"edge").count(), graph.edges.len());
}

fn unlabelled(graph: &Graph) -> usize {
    graph.edges.iter().filter(|edge| edge.label.is_none()).count()
}

/// No box lies on another one.
#[test]
fn boxes_lie_apart() {
    let svg = rules().svg();
    let number = |text: &str, name: &str| -> f64 {
        let (_, rest) = text.split_once(&format!(" {name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    };
    let boxes: Vec<[f64; 4]> = svg
        .split("<rect class=\"box\"")
        .skip(1)
        .map(|rest| ["x", "y", "width", "height"].map(|name| number(rest, name)))
        .collect();
    assert!(boxes.len() > 10);
    for (index, [x, y, width, height]) in boxes.iter().enumerate() {
        for [other_x, other_y, other_width, other_height] in &boxes[..index] {
            let apart = x + width <= *other_x
                || other_x + other_width <= *x
                || y + height <= *other_y
                || other_y + other_height <= *y;
            assert!(apart, "{index}: {x} {y}");
        }
    }
}

/// What stands in rules is text in every language, whatever it holds.
#[test]
fn names_stay_text() {
    let hostile = r##"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - name: "\"]; <script>alert(1)</script> & `x` %% --> n0\\l \u0007"
    match: [{uri: {exact: "/\"<b>"}}]
    redirect: {authority: "a\"<i>.example.com"}
  - directResponse: {status: 200}
"##;
    let graph = graph(hostile, Options::default());
    assert!(graph.nodes.iter().any(|node| node.kind == Kind::Rule && node.title.contains("<script>")));
    let (dot, mermaid, svg) = (graph.dot(), graph.mermaid(), graph.svg());
    assert!(!svg.contains("<script") && !svg.contains("<b>") && !svg.contains("<i>"), "{svg}");
    assert!(!mermaid.contains("<script") && !mermaid.contains("`"), "{mermaid}");
    for line in dot.lines().filter(|line| line.contains("label=\"")) {
        let (_, label) = line.split_once("label=\"").unwrap();
        let quotes = label.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert_eq!(quotes, 1, "only the closing one: {line}");
    }
    for picture in [dot, mermaid, svg] {
        assert!(!picture.contains('\u{7}'), "control characters are no text");
    }
}

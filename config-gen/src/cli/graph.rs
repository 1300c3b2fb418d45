//! `config-gen graph`: the rules as a picture.

use super::arguments::{Graph, Picture};
use super::planned::Planned;
use super::{Status, print};
use crate::graph;
use crate::ports;

pub(super) fn run(arguments: &Graph) -> Status {
    let planned = Planned::read(&arguments.input.files, &arguments.input.reading).and_then(|read| {
        let ports = ports::of(&read.texts.read.resources(), &read.options);
        read.plan(ports)
    });
    let planned = match planned {
        Ok(planned) => planned,
        Err(status) => return status,
    };
    let graph = graph::Graph::of(&planned.plan, &planned.options);
    let picture = match arguments.format {
        Picture::Dot => graph.dot(),
        Picture::Mermaid => graph.mermaid(),
        Picture::Svg => graph.svg(),
    };
    print(&picture).err().unwrap_or(planned.status())
}

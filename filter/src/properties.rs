//! What values of headers are composed from (GAP-07), asked for one by one.

use std::borrow::Cow;

use portolan_engine::config::Mode;
use portolan_engine::headers::{ORIGINAL_HOST, ORIGINAL_PATH, is_forbidden};
use portolan_engine::{Message, Properties, Property};

use crate::host::{self, Map};

/// Envoy's attributes of the request.
#[derive(Debug)]
pub(crate) struct Attributes;

impl Properties for Attributes {
    fn text(&self, property: Property) -> Option<Vec<u8>> {
        host::property(path(property))
    }

    fn number(&self, property: Property) -> Option<i64> {
        // An answer of Envoy's own has a status here that its headers couldn't see.
        if property == Property::ResponseCode && host::property("response\0code_details")? != b"via_upstream"
        {
            return None;
        }
        host::number_property(path(property))
    }
}

fn path(property: Property) -> &'static str {
    match property {
        Property::Protocol => "request\0protocol",
        Property::DownstreamRemoteAddress => "source\0address",
        Property::DownstreamLocalAddress => "destination\0address",
        Property::StartTime => "request\0time",
        Property::ResponseCode => "response\0code",
        Property::UpstreamHost => "upstream\0address",
        Property::UpstreamCluster => "xds\0cluster_name",
    }
}

/// A response that passes.
#[derive(Debug)]
pub(crate) struct Response {
    /// Headers of its request.
    pub(crate) request: Vec<(String, Vec<u8>)>,
}

impl Message for Response {
    fn request_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        // What the filter told Envoy isn't part of it any more.
        if is_forbidden(name.as_bytes(), Mode::Proxy) && ![ORIGINAL_PATH, ORIGINAL_HOST].contains(&name) {
            return None;
        }
        let line = self.request.iter().find(|(known, _)| known == name);
        line.map(|(_, value)| Cow::Borrowed(value.as_slice()))
    }

    fn response_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        host::header(Map::Response, name).map(Cow::Owned)
    }
}

impl Properties for Response {
    fn text(&self, property: Property) -> Option<Vec<u8>> {
        Attributes.text(property)
    }

    fn number(&self, property: Property) -> Option<i64> {
        Attributes.number(property)
    }
}

//! What header values are composed from, natively: the parts that a case says.

use std::borrow::Cow;

use portolan_engine::{Message, Properties, Property};

use crate::request::Lines;

/// A client of the tests.
#[derive(Debug)]
pub(crate) struct Client;

impl Properties for Client {
    fn text(&self, property: Property) -> Option<Vec<u8>> {
        matches!(property, Property::Protocol).then(|| b"HTTP/1.1".to_vec())
    }

    fn number(&self, _: Property) -> Option<i64> {
        None
    }
}

/// The upstream's answer to a request.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    /// The request as the upstream sees it, pseudo headers included.
    pub(crate) request: &'a Lines,
    pub(crate) cluster: Option<&'a str>,
    pub(crate) status: u16,
    pub(crate) headers: &'a Lines,
}

fn line<'a>(lines: &'a Lines, name: &str) -> Option<Cow<'a, [u8]>> {
    let line = lines.iter().find(|(known, _)| known == name);
    line.map(|(_, value)| Cow::Borrowed(value.as_slice()))
}

impl Message for Response<'_> {
    fn request_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        line(self.request, name)
    }

    fn response_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        line(self.headers, name)
    }
}

impl Properties for Response<'_> {
    fn text(&self, property: Property) -> Option<Vec<u8>> {
        match property {
            Property::UpstreamCluster => self.cluster.map(|cluster| cluster.as_bytes().to_vec()),
            other => Client.text(other),
        }
    }

    fn number(&self, property: Property) -> Option<i64> {
        matches!(property, Property::ResponseCode).then_some(self.status.into())
    }
}

//! Headers of answers of our own.

use std::borrow::Cow;

use crate::decision::{Headers, ResponseHeaders};
use crate::request::Request;
use crate::route::format::{Message, Properties, Property};

/// An answer of our own, as operators in its headers see it (VS-HDR-12): Envoy tells them nothing
/// of an upstream, and no status but in `:status`.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    request: &'a Request<'a>,
    status: u16,
    headers: &'a [(&'a str, Cow<'a, [u8]>)],
    /// The one that would have got the request.
    cluster: Option<&'a str>,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(status: u16, request: &'a Request<'a>, cluster: Option<&'a str>) -> Self {
        Self { request, status, headers: &[], cluster }
    }

    /// `headers` with what the route changes in them.
    pub(crate) fn changed<'t>(
        self,
        headers: Headers<'t>,
        response: Option<&'t ResponseHeaders>,
    ) -> Headers<'t> {
        let Some(response) = response else { return headers };
        let mut changed = headers.clone();
        response.apply(&Answer { headers: &headers, ..self }, &mut changed);
        changed
    }
}

impl Message for Answer<'_> {
    fn request_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.request.request_header(name)
    }

    fn response_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        if name == ":status" {
            return Some(Cow::Owned(self.status.to_string().into_bytes()));
        }
        let line = self.headers.iter().find(|(known, _)| *known == name);
        line.map(|(_, value)| Cow::Borrowed(value.as_ref()))
    }
}

impl Properties for Answer<'_> {
    fn text(&self, property: Property) -> Option<Vec<u8>> {
        match property {
            Property::UpstreamHost => None,
            Property::UpstreamCluster => self.cluster.map(|cluster| cluster.as_bytes().to_vec()),
            other => self.request.text(other),
        }
    }

    fn number(&self, property: Property) -> Option<i64> {
        if property == Property::ResponseCode { None } else { self.request.number(property) }
    }
}

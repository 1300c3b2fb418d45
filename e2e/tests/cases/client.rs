//! Sends the requests of tests, and reads what came of them: from the answer, from the upstreams
//! and from Envoy's access log.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use config_gen::cases::{ByProxy, Effects, Expect, Headers, Request, Seen, Test, UpstreamReply};
use portolan_e2e::process::poll;
use portolan_e2e::raw::{self, Head, Response};
use portolan_e2e::{Portolan, tls_client};
use serde_json::Value;

use crate::world::World;

/// How many requests it takes to tell shares.
const MANY: usize = 600;

/// How long a line of the access log, or a copy of a request, may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Client<'a> {
    portolan: &'a Portolan,
    world: &'a World,
    /// Lines of the access log about HTTP that were read.
    read: Cell<usize>,
    /// Lines about connections.
    connections: HashSet<String>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(portolan: &'a Portolan, world: &'a World) -> Self {
        Self { portolan, world, read: Cell::new(0), connections: HashSet::new() }
    }

    /// Sends the request of `test`; what came of it, and Envoy's own words.
    ///
    /// Where it is `untold`, its connection has a line in the log and the request has none; but for the
    /// CONNECT of a tunnel that was refused.
    pub(crate) fn send(
        &mut self,
        test: &Test,
        request: &Request,
        expect: &Expect,
        untold: bool,
    ) -> Result<(Seen, String)> {
        self.world.begin(&test.upstream);
        let address = match test.by_proxy {
            Some(_) => self.portolan.envoy.listener_addr("explicit_proxy")?,
            None => self.portolan.listener(request.port)?,
        };
        let start = Instant::now();
        let mut tunnel_refused = false;
        let response = match (&test.by_proxy, &test.tls) {
            (Some(ByProxy::Tunnel(target)), tls) => match raw::tunnel(address, target)? {
                Ok(stream) => match tls {
                    Some(name) => tls_client::request_on(stream, name, &bytes(request))?,
                    None => answer(raw::exchange_on(stream, &bytes(request)), request)?,
                },
                Err(refused) => {
                    tunnel_refused = true;
                    Some(refused)
                }
            },
            (Some(ByProxy::Absolute(host)), _) => {
                let url = [b"http://", host.as_slice(), &request.path].concat();
                let sent = Request { path: url, ..request.clone() };
                answer(raw::exchange(address, &bytes(&sent)), request)?
            }
            (None, Some(name)) => tls_client::request(address, name, &bytes(request))?,
            (None, None) => answer(raw::exchange(address, &bytes(request)), request)?,
        };
        let elapsed = start.elapsed();
        let Some(response) = response else { return Ok((Seen::Closed, String::new())) };
        // Without the filter there is no line.
        if matches!(expect, Expect::Closed) {
            let (status, body) = (response.status, response.text());
            let seen = Seen::Answered { status, reason: String::new(), body, effects: Box::default() };
            return Ok((seen, String::new()));
        }
        let line = if untold && !tunnel_refused { self.connections(1)?.pop() } else { self.lines(1)?.pop() }
            .context("no line")?;
        let seen = self.seen(test, request, expect, &response, elapsed, &line)?;
        Ok((seen, format!("access log: {line}")))
    }

    /// The server name of TLS that doesn't end at a gateway.
    fn passed_through<'t>(&self, test: &'t Test, request: &Request) -> Option<&'t str> {
        let name = test.tls.as_deref()?;
        (!self.world.terminates(name, request.port)).then_some(name)
    }

    fn seen(
        &self,
        test: &Test,
        request: &Request,
        expect: &Expect,
        response: &Response,
        elapsed: Duration,
        line: &Value,
    ) -> Result<Seen> {
        let passed = self.passed_through(test, request).is_some();
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let upstream = text("upstream").and_then(|upstream| upstream.parse().ok());
        let cluster = text("upstream_cluster").map(|cluster| self.world.dedicated(cluster, upstream));
        let copies = match expect {
            Expect::Forward { effects, .. } => effects.mirrors.len(),
            _ => 0,
        };
        if copies > 0 {
            poll(PATIENCE, || (self.world.arrived(cluster.as_deref()).1.len() >= copies).then_some(()));
        } else if self.world.mirrors {
            // One that isn't expected shall be seen, too.
            std::thread::sleep(Duration::from_millis(50));
        }
        let (arrived, mirrors) = self.world.arrived(cluster.as_deref());
        let effects = Effects {
            response_headers: Some(headers(response)),
            grpc_status: Some(response.header("grpc-status").and_then(|status| status.parse().ok())),
            elapsed: Some(elapsed),
            attempts: Some(arrived.len()),
            mirrors: Some(mirrors),
            reported: Some(text("decision").as_deref().and_then(reported)),
            ..Effects::default()
        };
        let reason = text("reason").unwrap_or_default();
        // Envoy's fault filter answers what the filter has decided.
        if text("decision").is_none() || reason == "fault_filter_abort" {
            ensure!(arrived.is_empty(), "it was refused, and arrived all the same");
            let reason = reason.split('{').next().unwrap_or_default().to_owned();
            let (status, body) = (response.status, response.text());
            return Ok(Seen::Answered { status, reason, body, effects: Box::new(effects) });
        }
        let cluster = match cluster {
            // Envoy doesn't tell the name of a cluster that isn't there.
            None if text("response_flags").as_deref() == Some("NC") => None,
            cluster => Some(cluster.unwrap_or_else(|| "(none)".to_owned())),
        };
        let (authority, path, headers) = match arrived.last() {
            None if passed => (request.authority.clone(), request.path.clone(), None),
            None => {
                let bytes = |name: &str| text(name).unwrap_or_default().into_bytes();
                (bytes("authority"), bytes("path"), None)
            }
            Some(seen) => {
                let originated = cluster.as_deref().is_some_and(|cluster| self.world.originates_tls(cluster));
                ensure!(seen.tls == (originated || passed), "it arrived with TLS: {}", seen.tls);
                let headers = Headers { lines: seen.headers.clone(), all: true };
                (seen.host.clone().into_bytes(), seen.path.clone().into_bytes(), Some(headers))
            }
        };
        Ok(Seen::Forwarded {
            dials: upstream.and_then(|upstream| self.world.dialled(cluster.as_deref()?, upstream)),
            cluster,
            authority,
            path,
            status: Some(response.status),
            headers,
            effects: Box::new(effects),
        })
    }

    /// Sends a request many times, on connections of their own where nothing else tells them apart;
    /// how often what came of it.
    pub(crate) fn count(
        &mut self,
        test: &Test,
        request: &Request,
        untold: bool,
    ) -> Result<BTreeMap<String, usize>> {
        self.world.begin(&UpstreamReply::default());
        let address = self.portolan.listener(request.port)?;
        let lines = if untold {
            for _ in 0..MANY {
                match &test.tls {
                    Some(name) => tls_client::request(address, name, &bytes(request))?,
                    None => answer(raw::exchange(address, &bytes(request)), request)?,
                };
            }
            self.connections(MANY)?
        } else {
            raw::repeat(address, &bytes(request), MANY)?;
            self.lines(MANY)?
        };
        let mut counts = BTreeMap::new();
        for line in lines {
            let what = match line["upstream_cluster"].as_str() {
                Some(cluster) => {
                    let upstream = line["upstream"].as_str().and_then(|upstream| upstream.parse().ok());
                    self.world.dedicated(cluster.to_owned(), upstream)
                }
                None => line["response_code"].to_string(),
            };
            *counts.entry(what).or_default() += 1;
        }
        Ok(counts)
    }

    /// The next lines of the access log about HTTP requests. Each has one, in their order.
    fn lines(&self, count: usize) -> Result<Vec<Value>> {
        let read = self.read.get();
        let found = poll(PATIENCE, || {
            let mut lines = self.portolan.access_log();
            lines.retain(|line| line.get("method").is_some() && !is_looked_into(line));
            let new = lines.split_off(read.min(lines.len()));
            (new.len() >= count).then_some(new)
        });
        let mut lines = found.with_context(|| {
            let last = self.portolan.access_log().pop();
            format!("no {count} new lines in the access log; the last one is {last:?}")
        })?;
        lines.truncate(count);
        self.read.set(read + count);
        Ok(lines)
    }

    /// The next lines about connections that were passed through. Each has one once it is closed, in
    /// any order.
    fn connections(&mut self, count: usize) -> Result<Vec<Value>> {
        let found = poll(PATIENCE, || {
            let mut lines = self.portolan.access_log();
            lines.retain(|line| {
                line.get("method").is_none()
                    && line["upstream"].is_string()
                    && !self.connections.contains(&line.to_string())
            });
            (lines.len() >= count).then_some(lines)
        });
        let lines =
            found.with_context(|| format!("no {count} new lines about connections in the access log"))?;
        self.connections.extend(lines.iter().map(ToString::to_string));
        Ok(lines)
    }
}

/// About a tunnel, of which what is inside has lines of its own.
fn is_looked_into(line: &Value) -> bool {
    line["upstream_cluster"].as_str().is_some_and(|cluster| cluster.starts_with("tunnel_"))
}

/// The reason in a decision such as `passthrough host_not_in_registry{b.example.com:80}`.
fn reported(decision: &str) -> Option<String> {
    let (sort, rest) = decision.split_once(' ')?;
    let (reason, _) = rest.split_once("_not_in_registry{")?;
    ["passthrough", "tls_reported"].contains(&sort).then(|| format!("{reason}_not_in_registry"))
}

fn headers(response: &Response) -> Headers {
    let name = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    let lines = response.headers.iter().map(|(key, value)| (name(key), value.clone())).collect();
    Headers { lines, all: true }
}

fn bytes(request: &Request) -> Vec<u8> {
    Head::new(&request.method, &request.path)
        .header("Host", &request.authority)
        .headers(&request.headers)
        .finish()
}

/// What came of `request`; none if the connection was closed without an answer.
fn answer(received: Result<Vec<u8>>, request: &Request) -> Result<Option<Response>> {
    let bytes = match received {
        Ok(bytes) => bytes,
        Err(error) => {
            let kind = error.root_cause().downcast_ref().map(std::io::Error::kind);
            if matches!(kind, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)) {
                return Ok(None);
            }
            return Err(error);
        }
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let response = Response::parse(&bytes, true, request.method == "HEAD")?;
    Ok(Some(response.with_context(|| format!("no full response: {}", bytes.escape_ascii()))?))
}

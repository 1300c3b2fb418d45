//! The Proxy-Wasm module: asks Envoy for the request, asks the engine what to do, and tells
//! Envoy. No routing rule lives here.
//!
//! It fails closed. Envoy's routes match on a filter state that only [`apply`] writes, as
//! its last step; where anything before it fails, the request meets the last route, which
//! answers 503.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod apply;
mod headers;
mod host;
mod properties;
mod random;
mod stats;

use std::rc::Rc;
use std::sync::Arc;

use portolan_engine::config::Mode;
use portolan_engine::headers::ALLOW_ORIGIN;
use portolan_engine::host::addressed_port;
use portolan_engine::{
    Decision, Engine, HeaderChange, Headers, ListenerPort, LocalReply, NoTrace, Request, ResponseHeaders,
};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use headers::HeaderMap;
use host::{LogSeverity, Map, Status};
use properties::Attributes;
use random::Random;
use stats::Stats;

mod entry {
    use super::*;

    proxy_wasm::main! {{
        // The SDK's hook for panics logs through it; our own lines go through `host::log`.
        proxy_wasm::set_log_level(LogLevel::Warn);
        proxy_wasm::set_root_context(|_| Box::new(Root::default()));
    }}
}

/// One loaded config.
struct Loaded {
    engine: Engine,
    stats: Stats,
    random: Random,
}

/// The plugin in one VM.
#[derive(Default)]
struct Root {
    loaded: Option<Rc<Loaded>>,
}

impl Context for Root {}

impl RootContext for Root {
    /// Loads the plugin config. A refused one leaves Envoy with the config it had: Envoy
    /// rejects the update when this returns false.
    fn on_configure(&mut self, _: usize) -> bool {
        match load() {
            Ok(loaded) => {
                self.loaded = Some(Rc::new(loaded));
                true
            }
            Err(reason) => {
                stats::config_refused();
                host::log(LogSeverity::Error, &format!("portolan: plugin config refused: {reason}"));
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { loaded: self.loaded.clone(), response: OnResponse::default() }))
    }
}

#[inline(never)]
fn load() -> Result<Loaded, String> {
    let json =
        host::plugin_configuration().map_err(|status| format!("Envoy did not hand it over: {status}"))?;
    let (bytes, hash) = (json.len(), crc32fast::hash(&json));
    let config = portolan_engine::Config::from_json(&json).map_err(|error| error.to_string())?;
    // Before the tables are built: what counts for a VM's memory is the peak.
    drop(json);
    let engine = Engine::new(config).map_err(|error| error.to_string())?;
    let counted = Stats::define().and_then(|stats| {
        stats::config_accepted(hash, engine.virtual_host_count())?;
        Ok(stats)
    });
    let stats = counted.map_err(|status| format!("counters can't be defined: {status}"))?;
    host::log(
        LogSeverity::Info,
        &format!(
            "portolan: plugin config loaded: {} virtual hosts, {bytes} bytes, crc32 {hash:08x}",
            engine.virtual_host_count()
        ),
    );
    Ok(Loaded { engine, stats, random: Random::seeded() })
}

/// One request.
struct Stream {
    loaded: Option<Rc<Loaded>>,
    response: OnResponse,
}

/// What is to be done when the response comes.
#[derive(Default)]
struct OnResponse {
    /// What its route changes in it.
    headers: Option<Arc<ResponseHeaders>>,
    /// The headers of the request that this takes.
    request: Vec<(String, Vec<u8>)>,
    /// The origin that may read it, and what else CORS sets.
    cors: Option<(Vec<u8>, Arc<[HeaderChange<'static>]>)>,
    /// The headers of what is to be answered in its place, to a preflight request.
    preflight: Option<Vec<(String, Vec<u8>)>>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(loaded) = &self.loaded else {
            return fail_closed("the filter has no plugin config");
        };
        match loaded.handle(&mut self.response) {
            Ok(action) => action,
            Err(fault) => {
                loaded.stats.failed();
                fail_closed(&fault)
            }
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        match std::mem::take(&mut self.response).apply(self.loaded.as_deref()) {
            Ok(action) => action,
            Err(status) => {
                // The response is on its way; nothing better can be done with it.
                host::log(LogSeverity::Error, &format!("portolan: a response can't be changed: {status}"));
                Action::Continue
            }
        }
    }
}

impl OnResponse {
    fn apply(self, loaded: Option<&Loaded>) -> Result<Action, Status> {
        if let (Some(headers), Some(loaded)) = (self.preflight, loaded) {
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.into())).collect();
            apply::respond(&LocalReply::preflight(headers), &loaded.stats)?;
            return Ok(Action::Pause);
        }
        if let Some(headers) = self.headers {
            let response = properties::Response { request: self.request };
            apply::changes(Map::Response, &headers.changes(&response))?;
        }
        if let Some((origin, rest)) = self.cors {
            host::replace_header(Map::Response, ALLOW_ORIGIN, &origin)?;
            apply::changes(Map::Response, &rest)?;
        }
        Ok(Action::Continue)
    }
}

impl Loaded {
    /// Decides and applies; what is to be done with the response is left in `response`.
    fn handle(&self, response: &mut OnResponse) -> Result<Action, String> {
        let mode = self.engine.mode();
        let map = host::request_headers()
            .map_err(|status| format!("the request headers can't be read: {status}"))?;
        let headers = HeaderMap::parse(&map).ok_or("the request headers can't be parsed")?;
        apply::strip(&headers, mode, &self.stats)
            .map_err(|status| format!("a header can't be removed: {status}"))?;
        let mut request = Request { properties: Some(&Attributes), ..headers.request(self.random.next()) };
        request.listener_port = match mode {
            _ if !self.engine.uses_listener_port() && !self.engine.uses_original_destination() => 0,
            Mode::Proxy => match host::listener_port().ok_or("the listener doesn't say its port")? {
                ListenerPort::Fixed(port) => port,
                ListenerPort::Destination => {
                    let address = host::destination_address().ok_or("the original destination is unknown")?;
                    request.original_destination = Some(address);
                    address.port()
                }
                ListenerPort::Authority => {
                    addressed_port(request.method, request.scheme, request.authority).unwrap_or(0)
                }
            },
            // A sidecar's listeners have the ports that clients address (LI-01).
            Mode::Mesh => host::destination_port().unwrap_or(80),
        };
        match self.engine.decide(&request, &mut NoTrace) {
            Decision::Forward(mut forward) => {
                *response = OnResponse {
                    headers: forward.response.cloned(),
                    request: Vec::new(),
                    cors: forward.cors.take().map(|(origin, rest)| (origin, Arc::clone(rest))),
                    preflight: forward.preflight.take().map(owned),
                };
                let original = self.engine.sends_original_headers().then_some(&request);
                apply::forward(&forward, original, &self.stats)
                    .map_err(|status| format!("the decision can't be applied: {status}"))?;
                if let Some(headers) = forward.response {
                    // As they are sent on.
                    let values = headers.request_headers().iter();
                    let values =
                        values.filter_map(|name| Some((name.clone(), host::header(Map::Request, name)?)));
                    response.request = values.collect();
                }
                Ok(Action::Continue)
            }
            Decision::Respond(reply) => {
                apply::respond(&reply, &self.stats)
                    .map_err(|status| format!("the answer can't be sent: {status}"))?;
                Ok(Action::Pause)
            }
            Decision::Pass => Ok(Action::Continue),
        }
    }
}

/// `headers` for a time when the engine's are out of reach.
fn owned(headers: Headers<'_>) -> Vec<(String, Vec<u8>)> {
    headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
}

/// Answers 503. Should Envoy refuse even that, the request is held: it goes nowhere, and
/// Envoy's stream timeout ends it.
fn fail_closed(fault: &str) -> Action {
    host::log(LogSeverity::Error, &format!("portolan: request refused: {fault}"));
    let _ = host::send_local_response(
        503,
        "portolan_cannot_decide",
        &[],
        None,
        b"the registry filter can't decide\n",
    );
    Action::Pause
}

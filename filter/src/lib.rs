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
mod random;
mod stats;

use std::rc::Rc;
use std::sync::Arc;

use portolan_engine::config::Mode;
use portolan_engine::headers::ALLOW_ORIGIN;
use portolan_engine::{Decision, Engine, NoTrace, ResponseHeaders};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use headers::HeaderMap;
use host::{LogSeverity, Map};
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
                host::log(LogSeverity::Error, &format!("portolan: plugin config refused: {reason}"));
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { loaded: self.loaded.clone(), response: None, cors: None }))
    }
}

fn load() -> Result<Loaded, String> {
    let json =
        host::plugin_configuration().map_err(|status| format!("Envoy did not hand it over: {status}"))?;
    let (bytes, hash) = (json.len(), crc32fast::hash(&json));
    let config = portolan_engine::Config::from_json(&json).map_err(|error| error.to_string())?;
    // Before the tables are built: what counts for a VM's memory is the peak.
    drop(json);
    let engine = Engine::new(config).map_err(|error| error.to_string())?;
    let stats = Stats::define().map_err(|status| format!("counters can't be defined: {status}"))?;
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
    /// What its route changes in the response.
    response: Option<Arc<ResponseHeaders>>,
    /// The origin that may read the response, and what else CORS sets.
    cors: Option<(Vec<u8>, Arc<ResponseHeaders>)>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(loaded) = &self.loaded else {
            return fail_closed("the filter has no plugin config");
        };
        match loaded.handle(&mut self.response, &mut self.cors) {
            Ok(action) => action,
            Err(fault) => fail_closed(&fault),
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(response) = self.response.take()
            && let Err(status) = apply::changes(Map::Response, response.changes())
        {
            // The response is on its way; nothing better can be done with it.
            host::log(LogSeverity::Error, &format!("portolan: a response header can't be changed: {status}"));
        }
        if let Some((origin, rest)) = self.cors.take()
            && let Err(status) = host::replace_header(Map::Response, ALLOW_ORIGIN, &origin)
                .and_then(|()| apply::changes(Map::Response, rest.changes()))
        {
            host::log(LogSeverity::Error, &format!("portolan: a response header can't be changed: {status}"));
        }
        Action::Continue
    }
}

impl Loaded {
    /// Decides and applies; what is to be done with the response is left in `response`.
    fn handle(
        &self,
        response: &mut Option<Arc<ResponseHeaders>>,
        cors: &mut Option<(Vec<u8>, Arc<ResponseHeaders>)>,
    ) -> Result<Action, String> {
        let mode = self.engine.mode();
        let map = host::request_headers()
            .map_err(|status| format!("the request headers can't be read: {status}"))?;
        let headers = HeaderMap::parse(&map).ok_or("the request headers can't be parsed")?;
        apply::strip(&headers, mode, &self.stats)
            .map_err(|status| format!("a header can't be removed: {status}"))?;
        let port = match mode {
            _ if !self.engine.uses_listener_port() => 0,
            Mode::Proxy => host::listener_port().ok_or("the listener doesn't say its port")?,
            // A sidecar's listeners have the ports that clients address (LI-01).
            Mode::Mesh => host::destination_port().unwrap_or(80),
        };
        let request = headers.request(port, self.random.next());
        match self.engine.decide(&request, &mut NoTrace) {
            Decision::Forward(mut forward) => {
                *cors = forward.cors.take().map(|(origin, rest)| (origin, Arc::clone(rest)));
                *response = forward.response.cloned();
                let original = self.engine.sends_original_headers().then_some(&request);
                apply::forward(&forward, original, &self.stats)
                    .map_err(|status| format!("the decision can't be applied: {status}"))?;
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

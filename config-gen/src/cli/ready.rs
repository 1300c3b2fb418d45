//! `config-gen ready`: whether the filter decides on a listener.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::Ready;
use super::{Status, complain};
use crate::emit::readiness::{ANSWER, HOST};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Between two attempts.
const INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn run(arguments: &Ready) -> Status {
    let until = Instant::now() + Duration::from_secs(arguments.within);
    for listener in &arguments.listeners {
        while let Err(why) = ask(*listener) {
            if Instant::now() >= until {
                complain(&format!("{listener} isn't ready: {why}"));
                return Status::Findings;
            }
            thread::sleep(INTERVAL);
        }
    }
    Status::Done
}

/// Asks for the host that only the filter answers for.
fn ask(listener: SocketAddr) -> Result<(), String> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build();
    let request = ureq::Agent::from(config).get(format!("http://{listener}/")).header("host", HOST);
    let mut answer = request.call().map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    match status {
        200 if text == ANSWER => Ok(()),
        500 => Err("it answers 500, as Envoy does until the filter has a config that it accepts".to_owned()),
        503 => Err("it answers 503, as Envoy does where the filter is missing or has died".to_owned()),
        _ => Err(format!("it answers {status}, which isn't the filter's answer")),
    }
}

//! The listener that clients name in `HTTP_PROXY` and `HTTPS_PROXY` (design, section 6).

use std::net::SocketAddr;

use portolan_engine::ListenerPort;
use serde_json::{Value, json};

use super::http_connection_manager::http_connection_manager;
use super::{BUFFER_LIMIT, no_chain_log, told_to_filter};
use crate::emit::cluster::socket_address;
use crate::options::Options;
use crate::plan::Plan;

pub(crate) const NAME: &str = "explicit_proxy";

/// The port that clients mean stands in each request.
pub(in crate::emit) fn explicit_proxy(
    address: &SocketAddr,
    plan: &Plan,
    options: &Options,
) -> anyhow::Result<Value> {
    let manager = http_connection_manager(NAME, ListenerPort::Authority, None, plan, options)?;
    Ok(json!({
        "name": NAME,
        "metadata": told_to_filter(ListenerPort::Authority),
        "address": socket_address(address),
        "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
        "filter_chains": [{"name": "http", "filters": [manager]}],
        "access_log": no_chain_log(NAME, options),
    }))
}

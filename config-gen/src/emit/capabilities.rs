//! What the module may do with its host, and its host with it.

use serde_json::{Map, Value, json};

/// All that the filter calls and is called by. What else the SDK imports (calls by HTTP and gRPC, shared data,
/// timers) is never used. A call by Envoy that isn't among them is skipped without a word, so all exported ones are.
///
/// `e2e/tests/capabilities.rs` compares this with the module and the filter's source.
pub(super) const CAPABILITIES: [&str; 26] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_property",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_vm_start",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_property",
    "random_get",
];

/// Restricts a plugin to them. Envoy 1.40 calls the field deprecated.
pub(super) fn restriction() -> Value {
    let allowed: Map<String, Value> =
        CAPABILITIES.map(|name| (name.to_owned(), json!({}))).into_iter().collect();
    json!({"allowed_capabilities": allowed})
}

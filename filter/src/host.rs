//! The host calls: the only place that talks to Envoy, and the only unsafe code.
//!
//! The SDK's own wrappers panic on a status they don't expect and on text that isn't UTF-8;
//! a panic ends the VM and every request in it. Here every call takes and gives bytes and
//! returns the status. Signatures are those of Proxy-Wasm ABI 0.2.1.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;

use portolan_engine::ListenerPort;

/// A status other than OK that Envoy returned for a host call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(u32);

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "not found",
            2 => "bad argument",
            3 => "serialization failure",
            4 => "parse failure",
            6 => "invalid memory access",
            7 => "empty",
            8 => "cas mismatch",
            10 => "internal failure",
            12 => "unimplemented",
            _ => "unknown",
        };
        write!(formatter, "host status {} ({name})", self.0)
    }
}

impl Status {
    const NOT_FOUND: Self = Self(1);
    const OK: u32 = 0;

    fn check(status: u32) -> Result<(), Self> {
        if status == Self::OK { Ok(()) } else { Err(Self(status)) }
    }
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LogSeverity {
    Info = 2,
    Error = 4,
}

/// One of the header maps of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
}

const HTTP_REQUEST_HEADERS: u32 = Map::Request as u32;
const PLUGIN_CONFIGURATION: u32 = 7;
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;

/// No gRPC status: Envoy maps the HTTP status for a gRPC request.
const NO_GRPC_STATUS: i32 = -1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, length: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_length: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, length: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_length: usize,
        value: *const u8,
        value_length: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_length: usize,
        value: *const u8,
        value_length: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_length: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_length: usize, data: *mut *mut u8, length: *mut usize)
    -> u32;
    fn proxy_set_property(path: *const u8, path_length: usize, value: *const u8, value_length: usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_length: usize,
        body: *const u8,
        body_length: usize,
        headers: *const u8,
        headers_length: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_length: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_length: usize,
        arguments: *const u8,
        arguments_length: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
}

/// Calls a host function that hands over a block of memory, and takes that block.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut length = 0;
    Status::check(call(&raw mut data, &raw mut length))?;
    if data.is_null() || length == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: Envoy allocated the block by calling this module's `proxy_on_memory_allocate`,
    // which the SDK implements with a `Vec<u8>` of exactly this capacity and forgets; Envoy
    // filled all of it and keeps no pointer to it.
    Ok(unsafe { Vec::from_raw_parts(data, length, length) })
}

/// Writes a line to Envoy's log. A log that fails must not fail a request.
pub(crate) fn log(severity: LogSeverity, message: &str) {
    // SAFETY: pointer and length are those of a live string.
    let _ = unsafe { proxy_log(severity as u32, message.as_ptr(), message.len()) };
}

/// The plugin config. Only answered during `on_configure`.
pub(crate) fn plugin_configuration() -> Result<Vec<u8>, Status> {
    // SAFETY: `take` passes two valid places for the results.
    let config = take(|data, length| unsafe {
        proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, usize::MAX, data, length)
    });
    match config {
        // How Envoy says that there is none.
        Err(Status::NOT_FOUND) => Ok(Vec::new()),
        other => other,
    }
}

/// All request headers in one serialized block, as [`crate::headers`] reads it. One call
/// costs as much as reading two headers by name.
pub(crate) fn request_headers() -> Result<Vec<u8>, Status> {
    // SAFETY: `take` passes two valid places for the results.
    take(|data, length| unsafe { proxy_get_header_map_pairs(HTTP_REQUEST_HEADERS, data, length) })
}

/// The first line of a header; none where there is none.
pub(crate) fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    // SAFETY: the name is a live string; `take` passes two valid places for the results.
    take(|data, length| unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, length)
    })
    .ok()
}

/// Sets a request header, in place of all its lines.
pub(crate) fn replace_request_header(name: &str, value: &[u8]) -> Result<(), Status> {
    replace_header(Map::Request, name, value)
}

/// Removes all lines of a request header.
pub(crate) fn remove_request_header(name: &[u8]) -> Result<(), Status> {
    remove_header(Map::Request, name)
}

/// Sets a header, in place of all its lines. Envoy checks values in requests only.
pub(crate) fn replace_header(map: Map, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: pointers and lengths are those of live slices.
    Status::check(unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Adds a line to a header.
pub(crate) fn add_header(map: Map, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: pointers and lengths are those of live slices.
    Status::check(unsafe {
        proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes all lines of a header.
pub(crate) fn remove_header(map: Map, name: &[u8]) -> Result<(), Status> {
    // SAFETY: pointer and length are those of a live slice.
    Status::check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Which port clients of the listener mean, as its metadata says (GAP-01).
pub(crate) fn listener_port() -> Option<ListenerPort> {
    let value = property("xds\0listener_metadata\0filter_metadata\0portolan\0port")
        // Servers of a gateway that share a port have route configurations of their own (GW-17).
        .or_else(|| property("xds\0virtual_host_metadata\0filter_metadata\0portolan\0port"))?;
    ListenerPort::parse(&value)
}

/// The local address of the client's connection: where it was redirected, its original destination.
pub(crate) fn destination_address() -> Option<SocketAddr> {
    std::str::from_utf8(&property("destination\0address")?).ok()?.parse().ok()
}

/// The local port of the client's connection.
pub(crate) fn destination_port() -> Option<u16> {
    u16::try_from(number_property("destination\0port")?).ok()
}

/// A property of the request; the parts of its path are separated by zero bytes.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: the path is a live string; `take` passes two valid places for the results.
    take(|data, length| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, length) }).ok()
}

/// A property that is a whole number, or a time in nanoseconds.
pub(crate) fn number_property(path: &str) -> Option<i64> {
    Some(i64::from_le_bytes(property(path)?.try_into().ok()?))
}

/// Writes the filter state `wasm.<name>` of this request.
pub(crate) fn set_property(name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: pointers and lengths are those of live slices.
    Status::check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Answers the request. `status` must be in 200..=599: Envoy closes the connection without
/// an answer on others. Envoy writes header values out as they are, so they must not hold
/// line breaks.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    headers: &[(&str, Cow<'_, [u8]>)],
    grpc_status: Option<u8>,
    body: &[u8],
) -> Result<(), Status> {
    const NO_HEADERS: [u8; 4] = [0; 4];
    let serialized;
    let headers: &[u8] = if headers.is_empty() {
        &NO_HEADERS
    } else {
        serialized = serialize(headers);
        &serialized
    };
    // SAFETY: pointers and lengths are those of live slices.
    Status::check(unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status.map_or(NO_GRPC_STATUS, i32::from),
        )
    })
}

/// Headers as Envoy reads them: a count, a pair of lengths for each, then name and value of
/// each, both followed by a zero byte. All numbers are 32 bits, little endian.
fn serialize(headers: &[(&str, Cow<'_, [u8]>)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or_default().to_le_bytes();
    let mut block = Vec::from(number(headers.len()));
    for (name, value) in headers {
        block.extend(number(name.len()));
        block.extend(number(value.len()));
    }
    for (name, value) in headers {
        block.extend_from_slice(name.as_bytes());
        block.push(0);
        block.extend_from_slice(value);
        block.push(0);
    }
    block
}

/// A counter; `/stats` shows it as `wasmcustom.<name>`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter(u32);

impl Counter {
    /// Defines the counter, or finds it: values belong to the process.
    pub(crate) fn define(name: &str) -> Result<Self, Status> {
        define_metric(COUNTER, name).map(Self)
    }

    /// Adds to the counter. A count that fails must not fail a request.
    pub(crate) fn add(self, count: u32) {
        // SAFETY: takes no pointers.
        let _ = unsafe { proxy_increment_metric(self.0, i64::from(count)) };
    }
}

/// A value of the process, which every VM sets alike; `/stats` shows it as `wasmcustom.<name>`.
pub(crate) fn set_gauge(name: &str, value: u64) -> Result<(), Status> {
    let id = define_metric(GAUGE, name)?;
    // SAFETY: takes no pointers.
    Status::check(unsafe { proxy_record_metric(id, value) })
}

thread_local! {
    /// Ids of metrics by name. Envoy gives another one for each definition, and keeps it as long as the VM lives.
    static METRICS: Cell<Vec<(String, u32)>> = const { Cell::new(Vec::new()) };
}

fn define_metric(kind: u32, name: &str) -> Result<u32, Status> {
    let mut known = METRICS.take();
    let found = match known.iter().find(|(known, _)| known == name) {
        Some((_, id)) => Ok(*id),
        None => {
            let mut id = 0;
            // SAFETY: the name is a live string, and the id has a valid place.
            let defined = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
            Status::check(defined).map(|()| {
                known.push((name.to_owned(), id));
                id
            })
        }
    };
    METRICS.set(known);
    found
}

/// Calls one of Envoy's foreign functions and drops what it returns.
fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<(), Status> {
    // SAFETY: name and arguments are live slices; `take` passes two valid places for the
    // results.
    take(|data, length| unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            data,
            length,
        )
    })
    .map(drop)
}

/// Whether Envoy chooses the route anew by itself after every header mutation. It does for modules
/// that declare ABI 0.2.1 at most, as the SDK has this one do; the build fails when that changes
/// (tools/trim-exports). Asking for it all the same would cost each request a call.
pub(crate) const CLEARS_ROUTE_CACHE: bool = true;

/// Has Envoy choose the route anew; an Envoy without the function does so by itself.
pub(crate) fn clear_route_cache() -> Result<(), Status> {
    match call_foreign_function("clear_route_cache", &[]) {
        Err(Status::NOT_FOUND) => Ok(()),
        other => other,
    }
}

/// Writes one of Envoy's own filter state objects, for the time of this request.
pub(crate) fn set_envoy_filter_state(key: &str, value: &[u8]) -> Result<(), Status> {
    // A protobuf message: 1 key, 2 value, 3 life span (1: downstream request).
    let mut message = Vec::with_capacity(key.len() + value.len() + 12);
    put_field(&mut message, 1, key.as_bytes());
    put_field(&mut message, 2, value);
    message.extend([3 << 3, 1]);
    call_foreign_function("set_envoy_filter_state", &message)
}

/// Appends a length-delimited protobuf field.
fn put_field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push((number << 3) | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

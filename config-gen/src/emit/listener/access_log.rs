//! A JSON line for each request or connection.

use serde_json::{Value, json};

use crate::emit::type_url;
use crate::options::{Options, STDOUT};

/// A JSON line for each request or connection.
pub(super) fn access_log(options: &Options, format: &Value, only_flag: Option<&str>) -> Vec<Value> {
    let Some(path) = &options.envoy.access_log else { return Vec::new() };
    let mut log = if path == STDOUT {
        // Not opened by name, which a user without rights to the terminal could not.
        json!({
            "name": "envoy.access_loggers.stdout",
            "typed_config": {
                "@type": type_url("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"),
                "log_format": {"json_format": format},
            },
        })
    } else {
        json!({
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": type_url("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
                "path": path,
                "log_format": {"json_format": format},
            },
        })
    };
    if let (Some(flag), Value::Object(log)) = (only_flag, &mut log) {
        log.insert("filter".to_owned(), json!({"response_flag_filter": {"flags": [flag]}}));
    }
    vec![log]
}

//! Ready-made handlers.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Reply, SeenRequest};

/// Answers every request with what it was, as a JSON object: `upstream`,
/// `method`, `path`, `host`, `headers` (a list of pairs), `sni`, `tls`, `version`
/// and `body`. Bytes that are not UTF-8 are replaced.
pub fn echo() -> impl Fn(&SeenRequest) -> Reply + Send + Sync + 'static {
    |request| {
        let headers: Vec<(&str, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        let answer = json!({
            "upstream": &*request.upstream,
            "method": request.method,
            "path": request.path,
            "host": request.host,
            "headers": headers,
            "sni": request.sni,
            "tls": request.tls,
            "version": request.version,
            "body": String::from_utf8_lossy(&request.body),
        });
        Reply::new(200, answer.to_string()).header("content-type", "application/json")
    }
}

/// Serves fixed bodies by host and path, and looks at both as a service like
/// GitHub does: 404 for another host (a port in it is not looked at) or another
/// path. A query is not looked at.
pub fn virtual_hosts(
    hosts: &[(&str, &[(&str, &str)])],
) -> impl Fn(&SeenRequest) -> Reply + Send + Sync + 'static + use<> {
    let mut bodies = BTreeMap::<(String, String), String>::new();
    for (host, paths) in hosts {
        for (path, body) in *paths {
            bodies.insert((host.to_ascii_lowercase(), (*path).to_owned()), (*body).to_owned());
        }
    }
    move |request| {
        let host = request.host.split_once(':').map_or(&*request.host, |(host, _)| host);
        let path = request.path.split_once('?').map_or(&*request.path, |(path, _)| path);
        let reply = match bodies.get(&(host.to_ascii_lowercase(), path.to_owned())) {
            Some(body) => Reply::new(200, body.clone()),
            None => Reply::new(404, format!("404: {host}{path} is not here\n")),
        };
        reply.header("content-type", "text/plain; charset=utf-8")
    }
}

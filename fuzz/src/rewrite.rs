//! What is rewritten stays one line of a request, and one value of a header.

use portolan_engine::config::{
    Config, HeaderOperations, PathRegex, Redirect, Rewrite, Route, RouteAction, RouteMatch, StringMatch,
    VirtualHost,
};
use portolan_engine::{Engine, NoTrace, Request};

use crate::checks::{Allowed, is_target};
use crate::{choice, split};

/// `data` is a choice of what is rewritten, what the path has to be, what replaces it, and a path; with zero bytes between.
pub fn run(data: &[u8]) {
    let (kind, rest) = choice(data);
    let (pattern, rest) = split(rest);
    let (replacement, path) = split(rest);
    let (Ok(pattern), Ok(replacement)) = (str::from_utf8(pattern), str::from_utf8(replacement)) else {
        return;
    };
    // Envoy lets nothing else through.
    if path.is_empty() || !is_target(path) {
        return;
    }
    let config = config(kind, pattern, replacement);
    let Ok(engine) = Engine::new(config.clone()) else { return };
    let request = Request { authority: b"a", method: b"GET", scheme: b"http", path, ..Request::default() };
    Allowed::by(&config).check(&engine.decide(&request, &mut NoTrace));
}

/// One route that does it.
fn config(kind: u8, pattern: &str, replacement: &str) -> Config {
    let (pattern, replacement) = (pattern.to_owned(), replacement.to_owned());
    let given = || Some(replacement.clone());
    let rewrite = match kind % 8 {
        0 | 1 => Some(Rewrite { path: given(), ..Rewrite::default() }),
        2 | 3 => {
            let path_regex = PathRegex { pattern: pattern.clone(), replacement: replacement.clone() };
            Some(Rewrite { path_regex: Some(path_regex), ..Rewrite::default() })
        }
        4 => Some(Rewrite { authority: given(), ..Rewrite::default() }),
        _ => None,
    };
    let redirect = match kind % 8 {
        5 => Some(Redirect { code: 301, path: given(), ..Redirect::default() }),
        6 => Some(Redirect {
            code: 301,
            prefix: given(),
            authority: Some("b".to_owned()),
            ..Redirect::default()
        }),
        _ => None,
    };
    let set = vec![("x-a".to_owned(), replacement.clone())];
    let request_headers = match kind % 8 {
        7 => HeaderOperations { set, ..HeaderOperations::default() },
        _ => HeaderOperations::default(),
    };
    let path = match kind / 8 % 4 {
        0 => Some(StringMatch::Prefix(pattern)),
        1 => Some(StringMatch::Exact(pattern)),
        2 => Some(StringMatch::Regex(pattern)),
        _ => None,
    };
    let action = RouteAction {
        cluster: redirect.is_none().then(|| "c".to_owned()),
        rewrite,
        redirect,
        request_headers,
        ..RouteAction::default()
    };
    let matcher = RouteMatch { path, ignore_path_case: kind & 32 != 0, ..RouteMatch::default() };
    let routes = vec![Route { name: "r".to_owned(), matcher, route: action }];
    let empty = Config::from_json(br#"{"version":1}"#).unwrap_or_else(|error| panic!("{error}"));
    let host = VirtualHost {
        name: "v".to_owned(),
        domains: vec!["a".to_owned()],
        ports: Vec::new(),
        routes,
        refuse: None,
        unregistered: false,
    };
    Config { virtual_hosts: vec![host], ..empty }
}

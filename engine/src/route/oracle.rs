//! The index against the plain walk over all routes, on made-up routes and requests.
//!
//! Not part of the module: tests feed it random bytes, the fuzzer those that it finds.
#![allow(clippy::panic, reason = "it is how both are told")]

use super::{Owner, RouteTable};
use crate::config::{self, HeaderMatch, Mode, QueryParameterMatch, RouteMatch, StringMatch};
use crate::request::Request;
use crate::trace::{Event, Trace};

/// Texts that overlap: shared starts, both cases, characters that only case folding leads to.
const TEXTS: &[&str] = &[
    "",
    "/",
    "/a",
    "/A",
    "/a/",
    "/a/a",
    "/a/A",
    "/a/a/a",
    "/ab",
    "/aB",
    "/b",
    "/ks",
    "/KS",
    "/k",
    "/s",
    "/\u{212a}\u{17f}",
    "/\u{212a}",
    "/é",
    "/a/b/c",
    "/a/0",
    "/a/1",
    "/a/12",
    "/a/123",
    "a",
    "/a\n",
];

const REGEXES: &[&str] = &[
    ".*",
    "/a.*",
    "(?i)/A",
    "(?i)/a/.*",
    "/(a|b)c?",
    "/",
    "/a",
    "/a/[0-9]+",
    "/a/[^/]+",
    "(?i)/ks?.*",
    "(?i)/k",
    "(/a)?/b",
    "[^/]*",
    "/a(/.*)?",
    ".+a",
    "/[a-z]+",
    "a|/a",
    "^/a$",
    "/(?i)a/.",
    "(?:/a)+",
    "(?:/a){2}/?.*",
    "",
    r"\Q/a\E/.{1,2}",
    "()",
    "/a/a|/a/b",
    "(?s).*\n",
    "/.",
    "/a/0?",
    r"/a\b.*",
    "(?i).*S",
    "/é.*",
    "[^a]+",
    "/a{0}",
];

const VALUES: &[&str] = &["", "a", "A", "b", "a,b", "1", "2", "3", "4", "5", "6", "7", "8", "ab", "-"];

const NAMES: &[&str] = &["x", "X", "y", "z", "a", "k"];

/// Choices made by bytes; when they are used up, always the first.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn below(&mut self, count: usize) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first) % count.max(1)
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of.get(self.below(of.len())).copied().unwrap_or_default()
    }

    /// One in `count`.
    fn sometimes(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    fn string_match(&mut self, texts: &[&'static str]) -> StringMatch {
        match self.below(6) {
            0 | 1 => StringMatch::Exact(self.one(texts).to_owned()),
            2 => StringMatch::Prefix(self.one(texts).to_owned()),
            3 => {
                let regex = self.one(REGEXES);
                StringMatch::Regex(if regex.is_empty() { "()".into() } else { regex.into() })
            }
            4 => StringMatch::Regex(
                format!("{}{}", self.one(&["/a", "/a/", "[a]?", "(?i)/K"]), self.one(VALUES)) + "|/x",
            ),
            _ => StringMatch::Present,
        }
    }

    /// A route that few requests match, so that many of them are alive.
    fn rare_route_match(&mut self) -> RouteMatch {
        let number = self.below(64);
        let text = format!("{}/{number}", self.one(&["/a", "/a/a", "/A", ""]));
        let path = match self.below(8) {
            0 => StringMatch::Exact(text),
            1 => StringMatch::Prefix(text),
            2 => StringMatch::Regex(format!("(?i){text}.*")),
            3 => StringMatch::Regex(format!(".*{text}/.*")),
            4 => StringMatch::Regex(format!("/a/.*{text}/[^/]*")),
            5 => StringMatch::Regex(format!("/a/.*{text}")),
            _ => StringMatch::Regex(format!("{}{text}", self.one(&[".*", "[^0-9]*", "(/a)*"]))),
        };
        let mut route = RouteMatch { path: Some(path), ..RouteMatch::default() };
        if self.sometimes(8) {
            let value = StringMatch::Exact(self.one(VALUES).to_owned());
            route.headers.push(HeaderMatch { name: self.one(NAMES).to_owned(), value, invert: false });
        }
        route.ignore_path_case = self.sometimes(3);
        route
    }

    fn route_match(&mut self) -> RouteMatch {
        let mut route = RouteMatch::default();
        if !self.sometimes(4) {
            route.path = Some(match self.string_match(TEXTS) {
                // More regexes with a literal start or end, and many that differ.
                StringMatch::Present => {
                    let number = self.below(200);
                    StringMatch::Regex(if self.sometimes(2) {
                        format!("/a/{number}(/.*)?")
                    } else {
                        format!("{}/{number}", self.one(&[".*", "/a/.*", "[^/]*", "(?i)/a.*"]))
                    })
                }
                other => other,
            });
        }
        route.ignore_path_case = self.sometimes(3);
        if self.sometimes(6) {
            route.method = Some(self.string_match(&["GET", "POST", "get"]));
        }
        if self.sometimes(12) {
            route.scheme = Some(self.string_match(&["http", "https"]));
        }
        if self.sometimes(8) {
            route.authority = Some(self.string_match(&["a", "A", "a:80"]));
        }
        while self.sometimes(3) && route.headers.len() < 3 {
            let (name, value) = (self.one(NAMES).to_owned(), self.string_match(VALUES));
            route.headers.push(HeaderMatch { name, value, invert: self.sometimes(3) });
        }
        while self.sometimes(4) && route.query_parameters.len() < 2 {
            let (name, value) = (self.one(NAMES).to_owned(), self.string_match(VALUES));
            route.query_parameters.push(QueryParameterMatch { name, value });
        }
        route
    }
}

#[derive(Default)]
struct Chosen {
    matched: Option<String>,
    rejected: Vec<usize>,
}

impl Trace for Chosen {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::RouteMatched { route } => self.matched = Some(route.to_owned()),
            Event::RouteRejected { route, .. } => self.rejected.extend(route.parse::<usize>()),
            Event::VirtualHost { .. } | Event::NoVirtualHost { .. } => {}
        }
    }
}

/// Makes routes and requests from `data` and compares. How many requests were tried.
///
/// # Panics
///
/// When the index chooses another route, or asks out of order.
#[cfg_attr(not(feature = "oracle"), allow(unreachable_pub, reason = "public where the fuzzer calls it"))]
pub fn index_agrees_with_oracle(data: &[u8]) -> usize {
    let choices = &mut Choices(data);
    let count = match choices.below(4) {
        0..=2 => choices.below(20),
        _ => choices.below(250),
    };
    // Few kinds of route and many of each, or all kinds.
    let kinds: Vec<RouteMatch> =
        if choices.sometimes(3) { (0..3).map(|_| choices.route_match()).collect() } else { Vec::new() };
    let rare = choices.sometimes(3);
    let mut routes = Vec::new();
    for index in 0..count {
        let mut matcher = match kinds.get(choices.below(4)) {
            Some(kind) => kind.clone(),
            None if rare => choices.rare_route_match(),
            None => choices.route_match(),
        };
        if !kinds.is_empty() && choices.sometimes(2) {
            let (name, value) = (choices.one(NAMES).to_owned(), choices.string_match(VALUES));
            matcher.headers.push(HeaderMatch { name, value, invert: false });
        }
        routes.push(config::Route {
            name: index.to_string(),
            matcher,
            route: config::RouteAction { route_profile: "default".into(), ..Default::default() },
        });
    }
    let table =
        RouteTable::new(routes.clone(), "h", Mode::Mesh, "").unwrap_or_else(|error| panic!("{error}"));
    let requests = 8 + choices.below(32);
    for _ in 0..requests {
        let mut path = choices.one(TEXTS).to_owned();
        if choices.sometimes(3) {
            path.push_str(choices.one(TEXTS));
        }
        if choices.sometimes(3) {
            path = format!("/a/{}{path}", choices.below(200));
        }
        if choices.sometimes(3) {
            path = format!("{path}/{}", choices.below(64));
        }
        let mut query = String::new();
        while choices.sometimes(2) && query.len() < 40 {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(choices.one(NAMES));
            if !choices.sometimes(4) {
                query.push('=');
                query.push_str(choices.one(VALUES));
            }
        }
        let mut path = (path + &query).into_bytes();
        if choices.sometimes(20) {
            path.push(0xff);
        }
        let mut headers: Vec<(&[u8], &[u8])> = Vec::new();
        while !choices.sometimes(3) && headers.len() < 5 {
            headers.push((choices.one(NAMES).as_bytes(), choices.one(VALUES).as_bytes()));
        }
        let request = Request {
            listener_port: 80,
            method: choices.one(&["GET", "POST", "get"]).as_bytes(),
            scheme: choices.one(&["http", "https"]).as_bytes(),
            authority: choices.one(&["a", "A", "a:80"]).as_bytes(),
            path: &path,
            headers: &headers,
            ..Request::default()
        };
        let mut chosen = Chosen::default();
        let decided = table.decide(Owner::default(), &request, &mut chosen).is_some();
        let expected = table.first_by_asking_all(&request);
        let describe = || format!("{request:?}\n{}", serde_json::to_string(&routes).unwrap_or_default());
        assert_eq!(chosen.matched.as_deref(), expected, "{}", describe());
        assert_eq!(decided, expected.is_some());
        let end = expected.and_then(|name| name.parse().ok()).unwrap_or(count);
        let ordered = chosen.rejected.is_sorted_by(|a, b| a < b);
        assert!(ordered && chosen.rejected.iter().all(|&id| id < end), "{}", describe());
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of it runs always; all of it with `PORTOLAN_CASES=1000000`, and from another start
    /// with `PORTOLAN_SEED`.
    #[test]
    fn the_index_chooses_what_a_walk_over_all_routes_chooses() {
        let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
        let cases: usize = variable("PORTOLAN_CASES").unwrap_or(25_000);
        let mut state: usize = variable("PORTOLAN_SEED").unwrap_or(1);
        let mut random = || {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let mut tried = 0;
        while tried < cases {
            let data: Vec<u8> = (0..512).flat_map(|_| random().to_le_bytes()).collect();
            tried += index_agrees_with_oracle(&data);
        }
    }
}

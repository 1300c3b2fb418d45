//! The rules that are measured, and the requests that ask for them.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Rules of one kind, in virtual hosts of several sizes.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// How many rules the virtual hosts have.
    pub(crate) sizes: &'static [usize],
    /// The condition of the rule of this number, as in a VirtualService.
    condition: fn(usize) -> String,
    /// A request for the rule of this number, and for none before it.
    pub(crate) request: fn(usize) -> Sent,
    /// Whether no rule matches `request`.
    pub(crate) is_miss: bool,
}

/// What is sent besides the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) path: String,
    pub(crate) header: Option<(String, String)>,
}

const ALL: &[usize] = &[10, 100, 1000, 10_000];
const ENDS: &[usize] = &[10, 10_000];
const UPPER: &[usize] = &[10, 1000, 10_000];

pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "prefix",
        sizes: ALL,
        condition: |i| format!("uri: {{prefix: /service{i:05}/}}"),
        request: |i| path(format!("/service{i:05}/items/12")),
        is_miss: false,
    },
    Kind {
        name: "exact",
        sizes: ALL,
        condition: |i| format!("uri: {{exact: /service{i:05}/items}}"),
        request: |i| path(format!("/service{i:05}/items")),
        is_miss: false,
    },
    REGEX,
    Kind {
        name: "common-prefix",
        sizes: ENDS,
        condition: |i| format!("uri: {{prefix: /api/v1/service{i:05}}}"),
        request: |i| path(format!("/api/v1/service{i:05}/items/12")),
        is_miss: false,
    },
    Kind {
        // Five in each other, the innermost first.
        name: "nested",
        sizes: ENDS,
        condition: |i| format!("uri: {{prefix: /service{:05}/{}}}", i / 5, "a/".repeat(4 - i % 5)),
        request: |i| path(format!("/service{:05}/{}items/12", i / 5, "a/".repeat(4 - i % 5))),
        is_miss: false,
    },
    Kind {
        name: "miss",
        sizes: ENDS,
        condition: |i| format!("uri: {{prefix: /service{i:05}/}}"),
        request: |i| path(format!("/nothing{i:05}/items/12")),
        is_miss: true,
    },
    Kind {
        name: "header",
        sizes: UPPER,
        condition: |i| format!("headers: {{x-user: {{exact: user{i:05}}}}}"),
        request: |i| Sent {
            header: Some(("x-user".into(), format!("user{i:05}"))),
            ..path("/items/12".into())
        },
        is_miss: false,
    },
    Kind {
        name: "query",
        sizes: UPPER,
        condition: |i| format!("queryParams: {{user: {{exact: user{i:05}}}}}"),
        request: |i| path(format!("/items/12?page=2&user=user{i:05}&sort=name")),
        is_miss: false,
    },
    Kind {
        name: "regex-no-literal",
        sizes: &[10, 1000],
        condition: |i| format!("uri: {{regex: '.*/[a-z]*{}'}}", digits_as_classes(i)),
        request: |i| path(format!("/catalogue/items/of{}", digits(i))),
        is_miss: false,
    },
];

const REGEX: Kind = Kind {
    name: "regex",
    sizes: ALL,
    condition: |i| format!("uri: {{regex: '/service{i:05}/[0-9]+'}}"),
    request: |i| path(format!("/service{i:05}/12")),
    is_miss: false,
};

/// Regexes to be loaded, ten thousand of them.
pub(crate) const LOADED: &[Kind] = &[
    REGEX,
    Kind {
        name: "regex-automaton",
        sizes: &[10_000],
        condition: |i| format!("uri: {{regex: '/service{i:05}/([a-z]+/)*v[0-9]+(\\.[0-9]+)*'}}"),
        request: |i| path(format!("/service{i:05}/items/of/v1.2.3")),
        is_miss: false,
    },
];

fn path(path: String) -> Sent {
    Sent { path, header: None }
}

/// Seven digits to the base 5, each doubled.
fn digits(number: usize) -> String {
    (0..7).map(|place| (number / 5_usize.pow(place) % 5 * 2).to_string()).collect()
}

/// The same in a regex, without any text that a path must have.
fn digits_as_classes(number: usize) -> String {
    let digit = |place| number / 5_usize.pow(place) % 5 * 2;
    (0..7).map(|place| format!("[{}{}]", digit(place), digit(place) + 1)).collect()
}

impl Kind {
    /// The virtual host with `size` of these rules.
    pub(crate) fn authority(&self, size: usize) -> String {
        format!("{}-{size}.rules.example.com", self.name)
    }
}

/// The registry with a virtual host for each of `kinds` and sizes. The last rule of each forwards to
/// a cluster of its own, by which it is known that it was hit.
pub(crate) fn registry(kinds: &[(&Kind, usize)], address: Ipv4Addr) -> String {
    let mut yaml = String::new();
    for name in ["other", "last"] {
        // STATIC, for DNS would be asked again and again during the measurement.
        let _ = write!(
            yaml,
            "\
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}.example.org]
  location: MESH_EXTERNAL
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: {address}}}]
"
        );
    }
    for (kind, size) in kinds {
        let authority = kind.authority(*size);
        let _ = write!(
            yaml,
            "\
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {}-{size}}}
spec:
  hosts: [{authority}]
  http:
",
            kind.name
        );
        for rule in 0..*size {
            let destination = if rule + 1 == *size { "last" } else { "other" };
            let _ = write!(
                yaml,
                "  - match: [{{{}}}]
    route: [{{destination: {{host: {destination}.example.org, port: {{number: 80}}}}}}]
",
                (kind.condition)(rule)
            );
        }
    }
    yaml
}

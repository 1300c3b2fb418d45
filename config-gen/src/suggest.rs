//! ServiceEntries for what an access log says the registry lacks, under the outbound policy `report`.
//!
//! The names come from whoever could send requests. What is written as YAML is a DNS name by its
//! characters; all else is told in comments, escaped, and nothing is unbounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Deserialize;

use crate::emit::guard;
use crate::options::EnvoyOptions;
use crate::resource::domain::fqdn;

/// Longest name, as DNS has it (RFC 1035).
const LONGEST_NAME: usize = 253;

/// How many things that can't be suggested are named in comments.
const NAMED: usize = 50;

/// What an access log has said so far.
#[derive(Debug, Clone, Default)]
pub struct Suggestion {
    hosts: BTreeMap<String, Ports>,
    /// What was passed through and has no suggestion, by its name for a comment.
    without: BTreeMap<String, usize>,
    /// Of names beyond the bound.
    beyond: usize,
    reported: usize,
    other_lines: usize,
    most_hosts: usize,
}

/// How often each protocol was spoken on a port.
type Ports = BTreeMap<u16, BTreeMap<Protocol, usize>>;

/// What a client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Http,
    Tls,
    Tcp,
}

impl Protocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
        }
    }
}

/// A line, as far as it matters.
#[derive(Deserialize)]
struct Line {
    decision: Option<String>,
    method: Option<String>,
    reason: Option<String>,
    upstream: Option<String>,
    server_name: Option<String>,
}

/// A name and port that the registry lacks.
struct Reported {
    name: String,
    port: u16,
    protocol: Protocol,
}

impl Suggestion {
    /// For a log that names up to `most_hosts`; what is beyond is counted.
    pub fn new(most_hosts: usize) -> Self {
        Self { most_hosts, ..Self::default() }
    }

    /// Takes in a line. Lines that report nothing are passed over, whatever they are.
    ///
    /// `envoy` says which private addresses may be dialled.
    pub fn add(&mut self, line: &str, envoy: &EnvoyOptions) {
        let read: Option<Line> = serde_json::from_str(line).ok();
        let Some((reported, line)) = read.and_then(|line| Some((reported(&line)?, line))) else {
            self.other_lines += 1;
            return;
        };
        self.reported += 1;
        let shown = format!("{}:{} ({})", shown(&reported.name), reported.port, reported.protocol.as_str());
        let why = match reached(&line, envoy) {
            Err(why) => Some(why),
            Ok(()) if reported.name.parse::<IpAddr>().is_ok() => {
                Some("an address, for which no name is known")
            }
            Ok(()) if !is_name(&reported.name) => Some("no name that a ServiceEntry can have"),
            Ok(()) => None,
        };
        if let Some(why) = why {
            return self.leave_out(format!("{shown}: {why}"));
        }
        if !self.hosts.contains_key(&reported.name) && self.hosts.len() >= self.most_hosts {
            self.beyond += 1;
            return;
        }
        let ports = self.hosts.entry(reported.name).or_default();
        *ports.entry(reported.port).or_default().entry(reported.protocol).or_default() += 1;
    }

    fn leave_out(&mut self, what: String) {
        if self.without.len() < self.most_hosts || self.without.contains_key(&what) {
            *self.without.entry(what).or_default() += 1;
        } else {
            self.beyond += 1;
        }
    }

    /// How many hosts would be allowed.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// What was read, in one sentence.
    pub fn summary(&self) -> String {
        format!(
            "{} reported requests and connections, {} hosts suggested, {} other lines",
            self.reported,
            self.hosts.len(),
            self.other_lines
        )
    }

    /// The ServiceEntries, with counts and what is left out as comments.
    pub fn yaml(&self) -> String {
        let mut out = String::from(
            "# Written by `config-gen suggest`. Read it before it is applied: whoever can send requests through Envoy\n\
             # can have names stand here.\n",
        );
        // Writing to a string can't fail.
        for (host, ports) in &self.hosts {
            let count = |ports: &BTreeMap<Protocol, usize>| ports.values().sum::<usize>();
            let _ = write!(
                out,
                "---\n# {} times\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: \"{host}\"\n\
                 spec:\n  hosts: [\"{host}\"]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports:\n",
                ports.values().map(count).sum::<usize>()
            );
            for (port, protocols) in ports {
                out.push_str(&port_line(*port, protocols));
            }
        }
        if !self.without.is_empty() || self.beyond > 0 {
            out.push_str("# Left out:\n");
        }
        let mut without: Vec<(&String, &usize)> = self.without.iter().collect();
        without.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (what, count) in without.iter().take(NAMED) {
            let _ = writeln!(out, "#   {count} times {what}");
        }
        let unnamed: usize = without.iter().skip(NAMED).map(|(_, count)| **count).sum();
        if unnamed + self.beyond > 0 {
            let _ = writeln!(out, "#   {} times others", unnamed + self.beyond);
        }
        out
    }
}

/// A port with the protocol that was spoken on it; of several Envoy tells them apart by the first bytes,
/// where the entry says none.
fn port_line(port: u16, protocols: &BTreeMap<Protocol, usize>) -> String {
    let counts: Vec<String> =
        protocols.iter().map(|(protocol, count)| format!("{count} {}", protocol.as_str())).collect();
    let counts = counts.join(", ");
    match protocols.keys().collect::<Vec<_>>().as_slice() {
        [only] => {
            let protocol = only.as_str();
            let name = protocol.to_ascii_lowercase();
            format!("  - {{number: {port}, name: {name}-{port}, protocol: {protocol}}} # {counts}\n")
        }
        _ => format!("  - {{number: {port}, name: port-{port}}} # {counts}: told apart by the first bytes\n"),
    }
}

/// What `line` reports, if it does.
fn reported(line: &Line) -> Option<Reported> {
    let (sort, what) = line.decision.as_deref()?.split_once(' ')?;
    let (reason, rest) = what.split_once('{')?;
    let (name, port) = rest.strip_suffix('}')?.rsplit_once(':')?;
    let protocol = match (sort, reason) {
        ("passthrough", "host_not_in_registry" | "port_not_in_registry") => match line.method.as_deref() {
            // What is in the tunnel isn't looked at.
            Some("CONNECT") if port == "443" => Protocol::Tls,
            Some("CONNECT") => Protocol::Tcp,
            _ => Protocol::Http,
        },
        ("tls_reported", "server_name_not_in_registry") => Protocol::Tls,
        ("tcp_reported", "destination_not_in_registry") => Protocol::Tcp,
        _ => return None,
    };
    // On a listener that knows the original destination TLS may have a name all the same.
    let server_name = line.server_name.as_deref().filter(|name| protocol == Protocol::Tcp && is_name(name));
    let (name, protocol) = server_name.map_or((name, protocol), |name| (name, Protocol::Tls));
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    Some(Reported { name, port: port.parse().ok().filter(|port| *port != 0)?, protocol })
}

/// Whether the upstream was there, and is one that a stranger's name may lead to.
fn reached(line: &Line, envoy: &EnvoyOptions) -> Result<(), &'static str> {
    if line.reason.as_deref().is_some_and(|reason| reason.contains(guard::POLICY)) {
        return Err("its address is private, and wasn't dialled");
    }
    let upstream = line.upstream.as_deref().and_then(|upstream| upstream.rsplit_once(':'));
    let address = upstream.and_then(|(address, _)| address.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    match address {
        None => Err("it wasn't reached"),
        Some(address) if guard::refuses(address, envoy) => Err("its address is private (`--allow-upstream`)"),
        Some(_) => Ok(()),
    }
}

/// Whether an entry can have `name` as its host.
fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.contains('.') && fqdn(name).is_ok()
}

/// `name` on one line of a comment.
fn shown(name: &str) -> String {
    let escaped = name.as_bytes().escape_ascii().to_string();
    match escaped.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}...", escaped.get(..end).unwrap_or_default()),
        None => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{self, ReadOptions};
    use crate::source::Sources;

    fn suggest(lines: &[&str]) -> Suggestion {
        let mut suggestion = Suggestion::new(100);
        lines.iter().for_each(|line| suggestion.add(line, &EnvoyOptions::default()));
        suggestion
    }

    fn http(name: &str) -> String {
        let decision = format!("passthrough host_not_in_registry{{{name}}}");
        serde_json::json!({"method": "GET", "decision": decision, "upstream": "203.0.113.7:80"}).to_string()
    }

    /// The hosts and ports that `yaml` has, read as it would be for generating.
    fn entries(yaml: &str) -> Vec<String> {
        let mut sources = Sources::new();
        sources.add("suggested.yaml", yaml);
        let read = input::read(sources, &ReadOptions::default());
        assert!(!read.diagnostics.has_errors(), "{yaml}\n{}", read.diagnostics.render(&read.sources));
        let entry = |entry: &crate::resource::ServiceEntry| {
            let ports =
                entry.ports.iter().map(|port| format!("{} {:?}", port.number.value, port.protocol.value));
            format!("{} {}", entry.hosts[0].value, ports.collect::<Vec<_>>().join(", "))
        };
        read.service_entries.iter().map(entry).collect()
    }

    #[test]
    fn each_host_has_one_entry_with_its_ports() {
        let tls = r#"{"decision": "tls_reported server_name_not_in_registry{a.example.com:443}", "upstream": "203.0.113.7:443"}"#;
        let connect = r#"{"method": "CONNECT", "decision": "passthrough host_not_in_registry{db.example.com:5432}", "upstream": "203.0.113.7:5432"}"#;
        let redirected = r#"{"decision": "tcp_reported destination_not_in_registry{203.0.113.9:443}", "server_name": "c.example.com", "upstream": "203.0.113.9:443"}"#;
        let suggestion = suggest(&[
            &http("a.example.com:80"),
            &http("A.example.com.:80"),
            &http("both.example.com:443"),
            &tls.replace("a.example", "both.example"),
            tls,
            connect,
            redirected,
            r#"{"decision": "default ServiceEntry default/x default", "upstream": "203.0.113.7:80"}"#,
            "[info] no JSON",
        ]);
        let yaml = suggestion.yaml();
        assert_eq!(
            entries(&yaml),
            [
                "a.example.com 80 Http, 443 Tls",
                "both.example.com 443 Unspecified",
                "c.example.com 443 Tls",
                "db.example.com 5432 Tcp",
            ]
        );
        assert!(yaml.contains("protocol: HTTP} # 2 HTTP\n"), "{yaml}");
        assert_eq!(
            suggestion.summary(),
            "7 reported requests and connections, 4 hosts suggested, 2 other lines"
        );
    }

    #[test]
    fn private_addresses_and_what_was_not_there_are_left_out() {
        let line = |reason: &str, upstream: &str| {
            let decision = "passthrough host_not_in_registry{a.example.com:80}";
            serde_json::json!({"decision": decision, "reason": reason, "upstream": upstream}).to_string()
        };
        let lines = [
            line("rbac_access_denied_matched_policy[private_upstream_address]", ""),
            line("via_upstream", "10.0.0.1:80"),
            line("via_upstream", "[::1]:80"),
            line("dns_resolution_failure", "-"),
            line("dns_resolution_failure", ""),
        ];
        let suggestion = suggest(&lines.each_ref().map(String::as_str));
        assert_eq!(suggestion.hosts(), 0, "{}", suggestion.yaml());
        assert_eq!(entries(&suggestion.yaml()), Vec::<String>::new());
        let mut allowed = Suggestion::new(9);
        let envoy =
            EnvoyOptions { allow_upstream: vec!["10.0.0.0/8".parse().unwrap()], ..EnvoyOptions::default() };
        allowed.add(&lines[1], &envoy);
        assert_eq!(allowed.hosts(), 1);
    }

    /// Nothing that a client sends gets into the YAML but as a name.
    #[test]
    fn hostile_names_stay_in_comments() {
        let long = "a".repeat(10_000);
        let hostile = [
            "x\nkind: Secret\n---\n:80",
            "a\"]\nspec: {}:80",
            "\\x0akind:80",
            "*:80",
            "*.example.com:80",
            "a b.example.com:80",
            "a.example.com#:80",
            "_a.example.com:80",
            "{}:80",
            "a..b:80",
            "10.0.0.1:80",
            "[2001:db8::1]:80",
            "127.1:80",
            "localhost:80",
            "é.example.com:80",
            "\u{2028}.example.com:80",
            ".:80",
            ":80",
            "a.example.com:0",
            "a.example.com:65536",
            "a.example.com",
            &format!("{long}.example.com:80"),
            &format!("{}.com:80", "a.".repeat(200)),
        ];
        let lines: Vec<String> = hostile.iter().map(|name| http(name)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let suggestion = suggest(&lines);
        let yaml = suggestion.yaml();
        assert_eq!(entries(&yaml), Vec::<String>::new(), "{yaml}");
        for line in yaml.lines() {
            assert!(line.starts_with('#') && line.is_ascii() && line.len() < 400, "{line}");
        }
    }

    #[test]
    fn what_a_client_can_have_written_is_bounded() {
        let mut suggestion = Suggestion::new(3);
        for number in 0..1000 {
            suggestion.add(&http(&format!("h{number}.example.com:80")), &EnvoyOptions::default());
            suggestion.add(&http(&format!("_{number}:80")), &EnvoyOptions::default());
        }
        let yaml = suggestion.yaml();
        assert_eq!(entries(&yaml).len(), 3);
        assert!(yaml.contains("#   1994 times others"), "{yaml}");
    }
}

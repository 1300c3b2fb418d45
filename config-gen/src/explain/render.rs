//! Explanations as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Chain, Explanation, Found, Lost, Named};
use crate::cases::{Request, Seen};
use crate::options::Profile;
use crate::source::Sources;

/// How many routes that lost are shown as text.
const SHOWN: usize = 8;

impl Named {
    fn file_and_line<'s>(&self, sources: &'s Sources) -> Option<(&'s str, u32)> {
        self.span.map(|span| (sources.name(span.file), span.line))
    }

    /// The name, with its place in parentheses.
    fn text(&self, sources: &Sources) -> String {
        match self.file_and_line(sources) {
            Some((file, line)) => format!("{} ({file}:{line})", self.name),
            None => self.name.clone(),
        }
    }

    fn json(&self, sources: &Sources) -> Value {
        let mut value = json!({"name": self.name});
        if let Some((file, line)) = self.file_and_line(sources) {
            value["file"] = json!(file);
            value["line"] = json!(line);
        }
        value
    }
}

fn bytes(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

impl Explanation {
    /// Several lines, the first without indent.
    pub fn text(&self, request: &Request, sources: &Sources) -> String {
        let mut out = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(out, "{}{}", title(self.profile), self.seen);
        let mut fact = |name: &str, value: String| {
            let _ = writeln!(out, "  {name}: {value}");
        };
        match &self.seen {
            Seen::Forwarded { authority, path, dials, .. } => {
                for (name, after, before) in
                    [("authority", authority, &request.authority), ("path", path, &request.path)]
                {
                    if after == before {
                        fact(name, format!("{}, as sent", bytes(after)));
                    } else {
                        fact(name, format!("{}, for {}", bytes(after), bytes(before)));
                    }
                }
                if let Some(dials) = dials {
                    fact("dials", dials.clone());
                }
                if self.cluster_missing {
                    fact("but", "there is no such cluster, so the client gets 503".to_owned());
                }
            }
            Seen::Answered { body, .. } if !body.trim().is_empty() => fact("body", body.trim().to_owned()),
            Seen::Answered { .. } | Seen::Closed => {}
        }
        out.push_str("  because\n");
        for line in self.reasons(sources) {
            let _ = writeln!(out, "    {line}");
        }
        out
    }

    fn reasons(&self, sources: &Sources) -> Vec<String> {
        let mut lines = Vec::new();
        let host = &self.host;
        match &self.virtual_host {
            Found::NoHost => lines.push("the authority is not one host".to_owned()),
            Found::Nothing { on_another_port } => {
                let other = if *on_another_port { "; another port has it" } else { "" };
                lines.push(format!("no virtual host has `{host}` on this port{other}"));
                match self.seen {
                    Seen::Forwarded { .. } => {
                        lines.push("hosts outside the registry are passed through (ALLOW_ANY)".to_owned());
                    }
                    Seen::Closed => {
                        lines.push("no host has HTTP on this port, so its listener closes".to_owned());
                    }
                    Seen::Answered { .. } => {}
                }
            }
            Found::VirtualHost { named, unregistered } => {
                let only = if *unregistered { "; no ServiceEntry has it" } else { "" };
                lines.push(format!("`{host}` is served by {}{only}", named.text(sources)));
            }
        }
        match &self.route {
            Some(route) if self.lost.is_empty() => {
                lines.push(format!("route {} is the first", route.text(sources)));
            }
            Some(route) => lines.push(format!("route {} is the first that matches", route.text(sources))),
            None => {}
        }
        let shown = nearest(&self.lost);
        for lost in &shown {
            let got = lost.got.as_ref().map_or_else(|| "none".to_owned(), |got| format!("`{got}`"));
            lines.push(format!(
                "route {} lost by its {}: wanted {}, got {got}",
                lost.route.text(sources),
                lost.condition,
                lost.wanted,
            ));
        }
        let hidden = self.lost.len() - shown.len();
        if hidden > 0 {
            lines.push(format!("{hidden} more lost (`-o json` has all)"));
        }
        lines
    }

    fn json(&self, sources: &Sources) -> Value {
        let decision = match &self.seen {
            Seen::Forwarded { cluster, authority, path, dials, .. } => {
                let mut decision = json!({
                    "action": "forward",
                    "cluster": cluster,
                    "clusterExists": !self.cluster_missing,
                    "authority": bytes(authority),
                    "path": bytes(path),
                });
                if let Some(dials) = dials {
                    decision["dials"] = json!(dials);
                }
                decision
            }
            Seen::Answered { status, reason, body, .. } => {
                json!({"action": "respond", "status": status, "reason": reason, "body": body})
            }
            Seen::Closed => json!({"action": "close"}),
        };
        let virtual_host = match &self.virtual_host {
            Found::NoHost | Found::Nothing { .. } => Value::Null,
            Found::VirtualHost { named, unregistered } => {
                let mut value = named.json(sources);
                value["unregistered"] = json!(unregistered);
                value
            }
        };
        let lost = |lost: &Lost| {
            let mut value = lost.route.json(sources);
            value["condition"] = json!(lost.condition);
            value["wanted"] = json!(lost.wanted);
            value["got"] = json!(lost.got);
            value
        };
        json!({
            "profile": self.profile.map(|profile| profile.to_string()),
            "decision": decision,
            "host": self.host,
            "onAnotherPort": self.virtual_host == Found::Nothing { on_another_port: true },
            "virtualHost": virtual_host,
            "route": self.route.as_ref().map(|route| route.json(sources)),
            "lost": self.lost.iter().map(lost).collect::<Value>(),
        })
    }
}

/// Those that came nearest to matching, in their order.
fn nearest(lost: &[Lost]) -> Vec<&Lost> {
    let mut order: Vec<usize> = (0..lost.len()).collect();
    // Later ones are nearer to the route that matched.
    order.sort_by_key(|&index| std::cmp::Reverse((lost.get(index).map(|lost| lost.rank), index)));
    order.truncate(SHOWN);
    order.sort_unstable();
    order.into_iter().filter_map(|index| lost.get(index)).collect()
}

impl Chain {
    fn text(&self, profile: Profile, sources: &Sources) -> String {
        let title = title(Some(profile));
        match self {
            Self::Registered { server_name, cluster, cluster_missing, resource } => {
                let but = if *cluster_missing {
                    "  but: there is no such cluster, so the connection is closed\n"
                } else {
                    ""
                };
                format!(
                    "{title}TLS is passed through to {cluster}\n{but}  because\n    the server name is that of chain `{server_name}`, from {}\n",
                    resource.text(sources)
                )
            }
            Self::Unregistered { cluster } => format!(
                "{title}TLS is passed through to {cluster}\n  because\n    no chain has the server name on this port\n    hosts outside the registry are passed through (ALLOW_ANY)\n"
            ),
            Self::Closed => {
                format!("{title}closed\n  because\n    no chain has the server name on this port\n")
            }
            Self::NotTls => format!(
                "{title}closed\n  because\n    no registered host has TLS on this port, so its listener expects HTTP\n"
            ),
        }
    }

    fn json(&self, profile: Profile, sources: &Sources) -> Value {
        let (decision, chain) = match self {
            Self::Registered { server_name, cluster, cluster_missing, resource } => (
                json!({"action": "passTlsThrough", "cluster": cluster, "clusterExists": !cluster_missing}),
                json!({"serverName": server_name, "resource": resource.json(sources)}),
            ),
            Self::Unregistered { cluster } => {
                (json!({"action": "passTlsThrough", "cluster": cluster}), Value::Null)
            }
            Self::Closed => (json!({"action": "close", "reason": "unknown_server_name"}), Value::Null),
            Self::NotTls => (json!({"action": "close", "reason": "no_tls_on_port"}), Value::Null),
        };
        json!({"profile": profile.to_string(), "decision": decision, "chain": chain})
    }
}

fn title(profile: Option<Profile>) -> String {
    profile.map_or_else(String::new, |profile| format!("{profile}: "))
}

/// What one profile says.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To a plaintext request.
    Http(Box<Explanation>),
    /// To a TLS connection.
    Tls(Profile, Chain),
    /// Nothing: its rules have this many errors, so that nothing is generated.
    Errors(Profile, usize),
}

impl Answer {
    /// Whether both come to the same.
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => one.agrees_with(other),
            (Self::Tls(_, one), Self::Tls(_, other)) => one == other,
            _ => false,
        }
    }

    /// The profile's name; empty for a plugin config, which has none.
    pub fn profile(&self) -> String {
        let profile = match self {
            Self::Http(explanation) => explanation.profile,
            Self::Tls(profile, _) | Self::Errors(profile, _) => Some(*profile),
        };
        profile.map(|profile| profile.to_string()).unwrap_or_default()
    }

    /// Lines for a person.
    pub fn text(&self, request: &Request, sources: &Sources) -> String {
        match self {
            Self::Http(explanation) => explanation.text(request, sources),
            Self::Tls(profile, chain) => chain.text(*profile, sources),
            Self::Errors(profile, count) => {
                let s = if *count == 1 { "" } else { "s" };
                format!("{profile}: nothing is generated, for {count} error{s}\n")
            }
        }
    }

    /// The same as data.
    pub fn json(&self, sources: &Sources) -> Value {
        match self {
            Self::Http(explanation) => explanation.json(sources),
            Self::Tls(profile, chain) => chain.json(*profile, sources),
            Self::Errors(profile, count) => json!({"profile": profile.to_string(), "errors": count}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_failed_late_are_shown_before_others() {
        let lost = |index: usize| Lost {
            route: Named { name: index.to_string(), span: None },
            condition: String::new(),
            wanted: String::new(),
            got: None,
            rank: u8::from(index == 3),
        };
        let lost: Vec<Lost> = (0..20).map(lost).collect();
        let shown: Vec<&str> = nearest(&lost).iter().map(|lost| lost.route.name.as_str()).collect();
        assert_eq!(shown, ["3", "13", "14", "15", "16", "17", "18", "19"]);
    }
}

//! Explanations as lines for a person.

use std::fmt::Write as _;

use super::outcome::{Forwarded, Local, MILLION, Outcome, Retries, Share, address};
use super::{Answer, Asked, Chain, Change, Explanation, Found, Lost, Named, Registered};
use crate::options::Profile;
use crate::source::Sources;

/// How many routes that lost are shown.
const SHOWN: usize = 8;

/// Longest value, in bytes, that is shown whole.
const LONGEST: usize = 200;

/// The question in one line.
pub(super) fn question(asked: &Asked) -> String {
    match asked {
        Asked::Http(request) if request.method == "CONNECT" => {
            format!("CONNECT {}", bytes(&request.authority))
        }
        Asked::Http(request) => format!(
            "{} http://{}{} on port {}",
            request.method,
            bytes(&request.authority),
            bytes(&request.path),
            request.port
        ),
        Asked::Tls { host, port, .. } => format!("TLS to {host} on port {port}"),
        Asked::Tcp { target, port } => format!("TCP to {target} on port {port}"),
    }
}

/// The question and all answers, each on several lines.
pub fn report(asked: &Asked, answers: &[Answer], sources: &Sources) -> String {
    let mut out = question(asked);
    out.push('\n');
    let Some((first, others)) = answers.split_first() else { return out };
    out.push('\n');
    out.push_str(&first.text(asked, sources));
    for other in others {
        out.push('\n');
        if first.agrees_with(other) {
            let _ = writeln!(out, "{}the same{}", title(other.profile()), first.told_apart(other));
        } else {
            out.push_str(&other.text(asked, sources));
        }
    }
    out
}

impl Answer {
    fn text(&self, asked: &Asked, sources: &Sources) -> String {
        match self {
            Self::Http(explanation) => explanation.text(asked, sources),
            Self::Connection(profile, chain) => chain.text(*profile, sources),
            Self::Errors(profile, errors) => {
                let mut out = format!("{}nothing is generated\n  because\n", title(Some(*profile)));
                for error in errors {
                    let _ = writeln!(out, "    error[{}]: {}", error.code, error.message);
                }
                out
            }
        }
    }

    /// In which way answers that agree still differ.
    fn told_apart(&self, other: &Self) -> &'static str {
        let told = |answer: &Self| match answer {
            Self::Http(explanation) => match &explanation.outcome {
                Outcome::Forwarded(forwarded) => !forwarded.told.is_empty(),
                _ => false,
            },
            _ => false,
        };
        match (told(self), told(other)) {
            (false, true) => ", and the upstream gets `x-envoy-*` headers",
            (true, false) => ", and the upstream gets no `x-envoy-*` headers",
            _ => "",
        }
    }
}

impl Named {
    /// The name, with its place in parentheses.
    pub(super) fn text(&self, sources: &Sources) -> String {
        match self.span.map(|span| (sources.name(span.file), span.line)) {
            Some((file, line)) => format!("{} ({file}:{line})", self.name),
            None => self.name.clone(),
        }
    }
}

impl Explanation {
    fn text(&self, asked: &Asked, sources: &Sources) -> String {
        let mut out = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(out, "{}{}", title(self.profile), headline(&self.outcome));
        let facts = match (&self.outcome, asked) {
            (Outcome::Forwarded(forwarded), Asked::Http(sent)) => facts(
                forwarded,
                &sent.authority,
                self.normalized_path.as_ref().unwrap_or(&sent.path),
                sources,
            ),
            (Outcome::Answered(local), _) => local_facts(local),
            _ => Vec::new(),
        };
        for (name, value) in facts {
            let _ = writeln!(out, "  {name}: {value}");
        }
        out.push_str("  because\n");
        for line in self.reasons(sources) {
            let _ = writeln!(out, "    {line}");
        }
        out
    }

    /// Whether the routes are those of a VirtualService; a plugin config keeps the names.
    fn has_virtual_service(&self) -> bool {
        match &self.virtual_host {
            Found::VirtualHost { named, .. } => {
                !named.name.starts_with("ServiceEntry ") && !named.name.starts_with("Service ")
            }
            _ => false,
        }
    }

    fn reasons(&self, sources: &Sources) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(path) = &self.normalized_path {
            lines.push(format!("Envoy normalizes the path to `{}` before rules see it", bytes(path)));
        }
        let host = &self.host;
        match &self.virtual_host {
            Found::NotAsked => {}
            Found::NoHost => lines.push("the authority is not one host".to_owned()),
            Found::Nothing { on_another_port } => {
                let other = if *on_another_port { "; another port has it" } else { "" };
                lines.push(format!("no virtual host has `{host}` on this port{other}"));
                match &self.outcome {
                    Outcome::Forwarded(forwarded) => {
                        lines.push("hosts outside the registry are passed through (ALLOW_ANY)".to_owned());
                        let dialled = forwarded.dials.as_deref().and_then(|it| it.rsplit_once(':'));
                        if dialled.is_some_and(|(host, _)| address(host.as_bytes()).is_none()) {
                            lines.push(
                                "if the name resolves to a private address, the answer is 403 instead"
                                    .to_owned(),
                            );
                        }
                    }
                    Outcome::Closed => {
                        lines.push("no host has HTTP on this port, so its listener closes".to_owned());
                    }
                    Outcome::Answered(_) => {}
                    Outcome::LeftAlone => lines.push("the sidecar's own routes go on".to_owned()),
                }
            }
            Found::VirtualHost { named, domain, unregistered } => {
                let by = if domain == host { String::new() } else { format!(" as `{domain}`") };
                let only = if *unregistered { "; no ServiceEntry has it on this port" } else { "" };
                lines.push(format!("`{host}` is served by {}{by}{only}", named.text(sources)));
            }
        }
        let bypassed = self.bypassed.iter().take(SHOWN);
        lines.extend(bypassed.map(|it| format!("{} names it, but {}", it.resource.text(sources), it.why)));
        match &self.route {
            Some(_) if !self.has_virtual_service() => lines.push("no VirtualService routes it".to_owned()),
            Some(route) if self.lost.is_empty() => {
                lines.push(format!("route {} is the first for this port and client", route.text(sources)));
            }
            Some(route) => lines.push(format!("route {} is the first that matches", route.text(sources))),
            None => {}
        }
        match &self.outcome {
            Outcome::Answered(Local { note: Some(note), .. }) => lines.push(note.clone()),
            Outcome::Forwarded(forwarded) if forwarded.cluster_missing => {
                lines.push(match (&forwarded.service, &forwarded.cluster) {
                    (Some(service), _) => format!("{} has no such port for HTTP", service.text(sources)),
                    (None, Some(cluster)) => {
                        let host = cluster.rsplit('|').next().unwrap_or_default();
                        format!(
                            "no ServiceEntry or Service has the host `{host}`, so there is no such cluster"
                        )
                    }
                    (None, None) => String::new(),
                });
            }
            Outcome::Forwarded(forwarded) if forwarded.guarded => lines.push(
                "if the name resolves to a private address, the answer is 403 instead (`--allow-upstream`)"
                    .to_owned(),
            ),
            _ => {}
        }
        let shown = nearest(&self.lost);
        lines.extend(shown.iter().map(|lost| lost.text(sources)));
        let hidden = self.lost.len() - shown.len();
        if hidden > 0 {
            lines.push(format!("{hidden} more lost (`-o json` has all)"));
        }
        lines
    }
}

impl Lost {
    fn text(&self, sources: &Sources) -> String {
        let mut out = format!("route {} lost", self.route.text(sources));
        let Some((first, others)) = self.failed.split_first() else { return out };
        let got = first.got.as_ref().map_or_else(|| "none".to_owned(), |got| format!("`{}`", shortened(got)));
        let _ = write!(out, " by its {}: wanted {}, got {got}", first.condition, first.wanted);
        if !others.is_empty() {
            let others: Vec<&str> = others.iter().map(|failed| failed.condition.as_str()).collect();
            let _ = write!(out, " (its {} failed too)", others.join(" and its "));
        }
        out
    }
}

pub(super) fn headline(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Forwarded(forwarded) => match &forwarded.cluster {
            Some(cluster) if forwarded.cluster_missing => {
                format!("answered 503, for lack of the cluster {cluster}")
            }
            Some(cluster) => format!("forwarded to {cluster}"),
            None => "forwarded by the sidecar's own routes".to_owned(),
        },
        Outcome::Answered(local) => match &local.headers.iter().find(|(name, _)| name == "location") {
            Some((_, location)) => format!("redirected to {} ({})", bytes(location), local.status),
            None => format!("answered {} ({})", local.status, local.reason),
        },
        Outcome::Closed => "closed".to_owned(),
        Outcome::LeftAlone => "left alone".to_owned(),
    }
}

pub(super) type Fact = (&'static str, String);

pub(super) fn facts(forwarded: &Forwarded, authority: &[u8], path: &[u8], sources: &Sources) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    if let Some(service) = forwarded.service.as_ref().filter(|_| !forwarded.cluster_missing) {
        facts.push(("registered by", service.text(sources)));
    }
    if forwarded.destinations.len() > 1 {
        let drawn = "; this one has the largest share, `--draw` draws one";
        let drawn = if forwarded.drawn { "" } else { drawn };
        facts.push(("destinations", format!("{}{drawn}", shares(&forwarded.destinations, ""))));
    }
    for (name, after, before) in
        [("authority", &forwarded.authority, authority), ("path", &forwarded.path, path)]
    {
        let value = if after == before {
            format!("{}, as sent", shown(after))
        } else {
            format!("{}, for {}", shown(after), shown(before))
        };
        facts.push((name, value));
    }
    if let Some(name) = &forwarded.server_name {
        facts.push(("TLS", format!("originated, for the server name {name}")));
    }
    if let Some(dials) = &forwarded.dials {
        facts.push(("dials", dials.clone()));
    }
    facts.extend(forwarded.reported.as_deref().map(reported));
    if let Some(tunnel) = &forwarded.tunnel {
        facts.push(("inside", tunnel.clone()));
    }
    let requests: Vec<Change> = forwarded.request_headers.iter().chain(&forwarded.told).cloned().collect();
    for (name, changes) in [("request headers", &requests), ("response headers", &forwarded.response_headers)]
    {
        if !changes.is_empty() {
            facts.push((name, changes.iter().map(change).collect::<Vec<_>>().join("; ")));
        }
    }
    if forwarded.cluster.is_some() {
        let asked = if forwarded.client_timeout { ", as the gRPC client asks" } else { "" };
        let timeout = forwarded.timeout_ms.map_or_else(|| "none".to_owned(), time);
        facts.push(("timeout", format!("{timeout}{asked}")));
        facts.push(("retries", forwarded.retries.as_ref().map_or_else(|| "none".to_owned(), retries)));
    }
    if let Some(delay) = forwarded.delay_ms {
        facts.push(("delayed by", time(delay)));
    }
    if let Some(status) = &forwarded.abort {
        facts.push(("then answered", status.clone()));
    }
    let certain = |per_million: u32| per_million == MILLION;
    if let Some(delay) = forwarded.delay_fault.as_ref().filter(|delay| !certain(delay.per_million)) {
        facts.push(("delay", format!("{} for {} of requests", time(delay.ms), percent(delay.per_million))));
    }
    if let Some(abort) = forwarded.abort_fault.as_ref().filter(|abort| !certain(abort.per_million)) {
        let grpc = abort.grpc_status.map(|status| format!(" (gRPC {status})")).unwrap_or_default();
        facts.push((
            "abort",
            format!("{}{grpc} for {} of requests", abort.status, percent(abort.per_million)),
        ));
    }
    if !forwarded.mirrors.is_empty() {
        facts.push(("mirrored to", shares(&forwarded.mirrors, " of requests")));
    }
    if !forwarded.hash.is_empty() {
        facts.push(("chosen by hash of", forwarded.hash.join(", ")));
    }
    facts
}

fn reported(reason: &str) -> Fact {
    ("reported", format!("{reason}, counted and in the access log"))
}

pub(super) fn local_facts(local: &Local) -> Vec<Fact> {
    let mut facts = Vec::new();
    // The headline has the location.
    let headers = local.headers.iter().filter(|(name, _)| name != "location");
    let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {}", shown(value))).collect();
    if !headers.is_empty() {
        facts.push(("headers", headers.join("; ")));
    }
    if let Some(status) = local.grpc_status {
        facts.push(("gRPC status", status.to_string()));
    }
    if let Some(delay) = local.delay_ms {
        facts.push(("delayed by", time(delay)));
    }
    let body = String::from_utf8_lossy(&local.body);
    if !body.trim().is_empty() {
        facts.push((
            "body",
            shortened(&body.trim().escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")),
        ));
    }
    facts
}

fn change(change: &Change) -> String {
    match change {
        Change::Remove(name) => format!("remove {name}"),
        Change::Set(name, value) => format!("set {name}: {}", shown(value)),
        Change::Add(name, value) => format!("add {name}: {}", shown(value)),
    }
}

/// `3, on 5xx unavailable, on status 503, 500ms per try`.
fn retries(retries: &Retries) -> String {
    let default = if retries.is_default { " (default)" } else { "" };
    let mut words = vec![format!("{}{default}", retries.attempts)];
    if !retries.on.is_empty() {
        words.push(format!("on {}", retries.on.join(" ")));
    }
    if !retries.status_codes.is_empty() {
        let codes: Vec<String> = retries.status_codes.iter().map(u16::to_string).collect();
        words.push(format!("on status {}", codes.join(" ")));
    }
    if let Some(limit) = retries.per_try_timeout_ms {
        words.push(format!("{} per try", time(limit)));
    }
    if let Some(backoff) = retries.backoff_ms {
        words.push(format!("backoff from {}", time(backoff)));
    }
    if retries.same_hosts {
        words.push("also hosts that failed".to_owned());
    }
    if retries.remote_localities {
        words.push("also other localities".to_owned());
    }
    words.join(", ")
}

fn shares(shares: &[Share], what: &str) -> String {
    let share = |share: &Share| format!("{} ({}{what})", share.cluster, percent(share.per_million));
    shares.iter().map(share).collect::<Vec<_>>().join(", ")
}

/// `12.5 %`, with up to two decimals.
pub(crate) fn percent(per_million: u32) -> String {
    format!("{} %", (f64::from(per_million) / 100.0).round() / 100.0)
}

/// `250ms`, `5s`, `1.5s`.
pub(crate) fn time(ms: u64) -> String {
    match (ms / 1000, ms % 1000) {
        (0, rest) => format!("{rest}ms"),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, rest) => format!("{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
    }
}

pub(super) fn bytes(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn shown(value: &[u8]) -> String {
    shortened(&bytes(value))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}... ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => text.to_owned(),
    }
}

/// Those that came nearest to matching, in their order.
fn nearest(lost: &[Lost]) -> Vec<&Lost> {
    let mut order: Vec<usize> = (0..lost.len()).collect();
    // The first condition that failed says how far it came; later routes are nearer to the one
    // that matched.
    let rank = |index: usize| lost.get(index).and_then(|lost| lost.failed.first()).map(|failed| failed.rank);
    order.sort_by_key(|&index| std::cmp::Reverse((rank(index), index)));
    order.truncate(SHOWN);
    order.sort_unstable();
    order.into_iter().filter_map(|index| lost.get(index)).collect()
}

impl Chain {
    /// What becomes of the connection, and what else there is to say of that.
    pub(super) fn told(&self) -> (String, Vec<Fact>) {
        match self {
            Self::Registered(chain) => {
                let kind = if chain.server_name.is_some() { "TLS" } else { "TCP" };
                let mut facts = Vec::new();
                if chain.destinations.len() > 1 {
                    let shares = shares(&chain.destinations, "");
                    facts.push(("destinations", format!("{shares}; this one has the largest share")));
                }
                facts.extend(chain.dials.clone().map(|dials| ("dials", dials)));
                (format!("{kind} is passed through to {}", chain.cluster), facts)
            }
            Self::Unregistered { cluster, dials, reported } => {
                let mut facts = vec![("dials", dials.clone())];
                facts.extend(reported.then(|| self::reported("server_name_not_in_registry")));
                (format!("TLS is passed through to {cluster}"), facts)
            }
            Self::Closed { .. } | Self::NotTls | Self::NoHttp => ("closed".to_owned(), Vec::new()),
            Self::NotHttp => ("answered 400 and closed".to_owned(), Vec::new()),
        }
    }

    fn text(&self, profile: Profile, sources: &Sources) -> String {
        let (decision, facts) = self.told();
        let mut out = format!("{}{decision}\n", title(Some(profile)));
        for (name, value) in facts {
            let _ = writeln!(out, "  {name}: {value}");
        }
        let text = |line: &str| vec![line.to_owned()];
        let lines = match self {
            Self::Registered(chain) => chain.reasons(sources),
            Self::Unregistered { .. } => vec![
                "no chain has the server name on this port".to_owned(),
                "hosts outside the registry are passed through (ALLOW_ANY)".to_owned(),
            ],
            Self::Closed { no_name: true } => {
                text("clients send no server name for an address, and chains are chosen by it")
            }
            Self::Closed { no_name: false } => text("no chain has the server name on this port"),
            Self::NotTls => text("no registered host has TLS on this port, so its listener expects HTTP"),
            Self::NotHttp => text("no service has TCP on this port, so its listener expects HTTP"),
            Self::NoHttp => text("no service has TCP or HTTP on this port"),
        };
        out.push_str("  because\n");
        for line in lines {
            let _ = writeln!(out, "    {line}");
        }
        out
    }
}

impl Registered {
    fn reasons(&self, sources: &Sources) -> Vec<String> {
        let mut lines = Vec::new();
        let from = self.resource.text(sources);
        lines.push(match (&self.server_name, self.addresses.as_slice()) {
            (Some(name), []) => format!("the server name is that of chain `{name}`, from {from}"),
            (Some(name), addresses) => {
                format!("the server name is that of chain `{name}` for {}, from {from}", addresses.join(", "))
            }
            (None, []) if self.beside_http => {
                format!("what isn't HTTP goes there, whatever its address: the port is of {from}")
            }
            (None, []) => format!("all connections go there, whatever their address: the port is of {from}"),
            (None, addresses) => format!("the address is of {}, from {from}", addresses.join(", ")),
        });
        if let Some(rule) = &self.rule {
            lines.push(format!("route {} is the first for this port and client", rule.text(sources)));
        }
        if self.cluster_missing {
            lines.push("there is no such cluster, so the connection is closed".to_owned());
        }
        lines
    }
}

fn title(profile: Option<Profile>) -> String {
    profile.map_or_else(String::new, |profile| format!("{profile}: "))
}

#[cfg(test)]
mod tests {
    use super::super::FailedCondition;
    use super::*;

    #[test]
    fn routes_that_failed_late_are_shown_before_others() {
        let lost = |index: usize| Lost {
            route: Named { name: index.to_string(), span: None },
            failed: vec![FailedCondition {
                condition: String::new(),
                wanted: String::new(),
                got: None,
                rank: u8::from(index == 3),
            }],
        };
        let lost: Vec<Lost> = (0..20).map(lost).collect();
        let shown: Vec<&str> = nearest(&lost).iter().map(|lost| lost.route.name.as_str()).collect();
        assert_eq!(shown, ["3", "13", "14", "15", "16", "17", "18", "19"]);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([250, 5000, 1500, 61_020].map(time), ["250ms", "5s", "1.5s", "61.02s"]);
        assert_eq!([1_000_000, 125_000, 333_333, 1].map(percent), ["100 %", "12.5 %", "33.33 %", "0 %"]);
        assert_eq!(shortened(&"ä".repeat(201)), format!("{}... (402 bytes)", "ä".repeat(200)));
    }
}

//! A case file, read strictly: what isn't understood is an error with its place.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use super::generated::ABOUT;
use super::options::CaseOptions;
use super::{
    ByProxy, CaseFile, EngineKind, Expect, Expectations, Lines, Request, Retries, RetryPolicy, Rule, Setup,
    Test, UpstreamReply, WantedEffects, WantedFinding, WantedLines, WantedOutput,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::input::node::{Node, Value};
use crate::input::yaml;
use crate::options::Profile;
use crate::schema::{duration, suggest};
use crate::source::{FileId, Sources, Span};

/// Reads case files; what is wrong is in the diagnostics, and such a file is left out.
pub fn load(sources: &Sources) -> (Vec<CaseFile>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let mut files = Vec::new();
    for file in sources.files() {
        let documents = yaml::load(sources, file, &mut diagnostics);
        let mut reader = Reader { sources, file, out: &mut diagnostics };
        match documents.as_slice() {
            [root] => files.extend(reader.case_file(root)),
            _ => {
                let name = sources.name(file);
                let start = sources.span(file, 0..0);
                reader.error(start, format!("`{name}` must hold one YAML document"));
            }
        }
    }
    diagnostics.sort();
    if diagnostics.has_errors() {
        files.clear();
    }
    (files, diagnostics)
}

/// A request of a list of its own.
pub(crate) enum Listed {
    /// In the form that a test has.
    Request(Request),
    /// A text, which the caller reads.
    Line(String),
    /// A connection that isn't plain HTTP, which no test can describe.
    Connection {
        /// Where to.
        url: String,
        /// The port of the listener, if it is given.
        port: Option<u16>,
    },
}

/// Reads lists of requests, each with the line it begins on.
pub(crate) fn requests(sources: &Sources) -> (Vec<(u32, Listed)>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let mut found = Vec::new();
    for file in sources.files() {
        let documents = yaml::load(sources, file, &mut diagnostics);
        let mut reader = Reader { sources, file, out: &mut diagnostics };
        for root in &documents {
            if !matches!(root.value, Value::List(_)) {
                reader.error(root.span, format!("this must be a list of requests, not {}", root.describe()));
            }
            let entries = root.items().iter();
            found.extend(entries.filter_map(|node| Some((node.span.line, reader.listed(node)?))));
        }
    }
    diagnostics.sort();
    (found, diagnostics)
}

struct Reader<'a> {
    sources: &'a Sources,
    file: FileId,
    out: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn case_file(&mut self, root: &Node) -> Option<CaseFile> {
        let fields = [&["name", "profiles", "tests"], SETUP.as_slice()].concat();
        self.object(root, &fields)?;
        let name = self.required_text(root, "name")?;
        let profiles = match root.get("profiles") {
            Some(list) => self.words(list, &PROFILES),
            None => PROFILES.iter().map(|(_, profile)| *profile).collect(),
        };
        let mut setups = vec![self.setup(root, None)?];
        let list = self.required(root, "tests")?;
        if !matches!(&list.value, Value::List(items) if !items.is_empty()) {
            self.error(list.span, "`tests` must be a list of tests");
        }
        let tests: Vec<Test> = list.items().iter().filter_map(|node| self.test(node, &mut setups)).collect();
        self.names(list);
        let path = self.sources.name(self.file).to_owned();
        Some(CaseFile { path, name, profiles, setups, tests })
    }

    /// What `node` gives, on top of what the file does.
    fn setup(&mut self, node: &Node, file: Option<&Setup>) -> Option<Setup> {
        let mut options = file.map(|file| file.options.clone()).unwrap_or_default();
        options.extend(node.get("options").map(|list| self.texts(list)).unwrap_or_default());
        let parsed = match CaseOptions::parse_list(&options) {
            Ok(parsed) => parsed,
            Err(message) => {
                let span = node.get("options").map_or(node.span, |list| list.span);
                self.error(span, message);
                return None;
            }
        };
        let mut resources = file.map(|file| file.resources.clone()).unwrap_or_default();
        if let Some(node) = node.get("resources") {
            resources.push(self.placed(node)?);
        }
        let mesh_config = match node.get("mesh_config") {
            Some(node) => Some(self.placed(node)?),
            None => file.and_then(|file| file.mesh_config.clone()),
        };
        let folder = Path::new(self.sources.name(self.file)).parent().unwrap_or(Path::new("")).to_path_buf();
        let mut files = file.map(|file| file.files.clone()).unwrap_or_default();
        let more = node.get("files").map(|list| self.texts(list)).unwrap_or_default();
        files.extend(more.iter().map(|path| folder.join(path)));
        Some(Setup {
            options,
            resources,
            mesh_config,
            files,
            ports: BTreeSet::new(),
            explicit_proxy: false,
            parsed,
        })
    }

    /// The text, moved down to the line it stands on in the file.
    fn placed(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        let first = text.lines().next().unwrap_or_default().trim();
        let lines = self.sources.text(self.file).lines().enumerate();
        let above = lines
            .skip(node.span.line.saturating_sub(1) as usize)
            .find(|(_, line)| line.trim() == first)
            .map_or(0, |(index, _)| index);
        Some("\n".repeat(above) + &text)
    }

    fn test(&mut self, node: &Node, setups: &mut Vec<Setup>) -> Option<Test> {
        let fields = [
            &["name", "rules", "only_native", "only_envoy", "request", "upstream", "expect", "known_failure"],
            SETUP.as_slice(),
        ]
        .concat();
        self.object(node, &fields)?;
        let rules = match node.get("rules") {
            Some(rules) => self.rules(rules),
            None => Vec::new(),
        };
        let mut only = None;
        for (name, engine) in [("only_native", EngineKind::Native), ("only_envoy", EngineKind::Envoy)] {
            if let Some(reason) = node.get(name) {
                if only.is_some() {
                    self.error(reason.span, "a test that no engine runs is none");
                }
                only = Some((engine, self.text(reason)?));
            }
        }
        let setup = if SETUP.iter().any(|name| node.get(name).is_some()) {
            setups.push(self.setup(node, setups.first())?);
            setups.len() - 1
        } else {
            0
        };
        let (request, tls, by_proxy) = match node.get("request") {
            Some(request) => {
                let by_proxy = self.by_proxy(request)?;
                let (request, tls) = self.request(request)?;
                if let Some(setup) = setups.get_mut(setup) {
                    if by_proxy.is_some() {
                        setup.explicit_proxy = true;
                    } else {
                        setup.ports.insert(request.port);
                    }
                }
                (Some(request), tls, by_proxy)
            }
            None => (None, None, None),
        };
        let draws = node.get("request").and_then(|request| request.get("random"));
        if let Some(random) = draws.filter(|_| !matches!(only, Some((EngineKind::Native, _)))) {
            self.error(random.span, "what is drawn can only be chosen with `only_native`");
        }
        let upstream = match node.get("upstream") {
            Some(upstream) => self.upstream(upstream)?,
            None => UpstreamReply::default(),
        };
        let expect_node = self.required(node, "expect")?;
        let expect = self.expectations(expect_node)?;
        let expects: Vec<&Expect> = [&expect.istio, &expect.standalone].into_iter().flatten().collect();
        let of_request = |expect: &&Expect| !matches!(expect, Expect::Generated(_));
        if request.is_none() && expects.iter().any(of_request) {
            self.error(node.span, "`request` is missing");
        }
        if request.is_some() && !expects.iter().all(of_request) {
            self.error(expect_node.span, "this is expected of resources; leave out `request`");
        }
        if setups.get(setup).is_some_and(|setup| setup.resources.is_empty() && setup.files.is_empty()) {
            self.error(node.span, "`resources` or `files` must be given, here or at the top of the file");
        }
        let known_failure = match node.get("known_failure") {
            Some(reason) => Some(self.text(reason)?),
            None => None,
        };
        let name = self.required_text(node, "name")?;
        let line = node.span.line;
        Some(Test { name, line, rules, only, setup, request, tls, by_proxy, upstream, expect, known_failure })
    }

    fn rules(&mut self, node: &Node) -> Vec<Rule> {
        let texts = self.texts(node);
        if texts.is_empty() {
            self.error(node.span, "`rules` must name at least one row of the specification");
        }
        let mut rules = Vec::new();
        for text in texts {
            let (id, negative) = match text.strip_prefix("not ") {
                Some(id) => (id, true),
                None => (text.as_str(), false),
            };
            if !is_row(id) {
                let message = format!("`{text}` is no row of the specification, such as `VH-03`");
                self.error(node.span, message);
            }
            rules.push(Rule { id: id.to_owned(), negative });
        }
        rules
    }

    fn upstream(&mut self, node: &Node) -> Option<UpstreamReply> {
        self.object(node, &["status", "headers", "delay"])?;
        let mut reply = UpstreamReply::default();
        if let Some(status) = node.get("status") {
            reply.status = self.number(status, 200..=599)?;
        }
        if let Some(headers) = node.get("headers") {
            reply.headers = self.lines(headers)?;
        }
        if let Some(delay) = node.get("delay") {
            reply.delay = self.time(delay)?;
        }
        Some(reply)
    }

    /// A failure is named by its test, so two can't have one name.
    fn names(&mut self, tests: &Node) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for name in tests.items().iter().filter_map(|test| test.get("name")) {
            let Some(text) = name.as_str() else { continue };
            if let Some(first) = seen.insert(text, name.span) {
                let message = format!("there are two tests `{text}`");
                self.out.push(
                    Diagnostic::error("invalid-case", message).at(name.span).also("first given at", first),
                );
            }
        }
    }

    fn listed(&mut self, node: &Node) -> Option<Listed> {
        if let Some(line) = node.as_str() {
            return Some(Listed::Line(line.to_owned()));
        }
        let url = node.get("url").and_then(Node::as_str).filter(|url| url.contains("://"));
        let Some(url) = url.filter(|url| !url.starts_with("http://")) else {
            return self.request(node).map(|(request, _)| Listed::Request(request));
        };
        self.object(node, &["url", "port"])?;
        let port = match node.get("port") {
            Some(port) => Some(self.number(port, 1..=65_535)?),
            None => None,
        };
        Some(Listed::Connection { url: url.to_owned(), port })
    }

    /// The request; and its host, if the client speaks TLS.
    fn request(&mut self, node: &Node) -> Option<(Request, Option<String>)> {
        self.object(node, &["url", "authority", "method", "port", "headers", "random", "proxy", "connect"])?;
        let url_node = self.required(node, "url")?;
        let url = self.bytes(url_node)?;
        let (rest, tls) = match (url.strip_prefix(b"http://"), url.strip_prefix(b"https://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => {
                self.error(url_node.span, "`url` must begin with `http://` or `https://`");
                return None;
            }
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let path = if path.is_empty() { b"/".to_vec() } else { path.to_vec() };
        if !path.starts_with(b"/") || path.iter().any(u8::is_ascii_whitespace) {
            self.error(url_node.span, "the path must begin with `/` and can't hold blanks");
        }
        let tls = tls.then(|| {
            let host = String::from_utf8_lossy(host);
            host.split(':').next().unwrap_or_default().to_owned()
        });
        let authority = match node.get("authority") {
            Some(authority) => self.bytes(authority)?,
            None => host.to_vec(),
        };
        let method = match node.get("method") {
            Some(method) => self.text(method)?,
            None => "GET".to_owned(),
        };
        let port = match node.get("port") {
            Some(port) => self.number(port, 1..=65_535)?,
            None if tls.is_some() => 443,
            None => 80,
        };
        let headers = match node.get("headers") {
            Some(headers) => self.lines(headers)?,
            None => Lines::new(),
        };
        let random = match node.get("random") {
            Some(random) => self.number(random, 0..=i64::MAX)?,
            None => 0,
        };
        Some((
            Request { port, method, authority, path, headers, by_tls: false, by_proxy: false, random },
            tls,
        ))
    }

    /// How it goes by the explicit proxy, if it does.
    fn by_proxy(&mut self, node: &Node) -> Option<Option<ByProxy>> {
        let (proxy, connect) = (node.get("proxy"), node.get("connect"));
        for field in ["proxy", "connect"].into_iter().filter_map(|name| node.get(name)) {
            if let (Some(_), Some(_)) = (proxy, connect) {
                self.error(field.span, "`proxy` and `connect` exclude each other");
            }
            if node.get("port").is_some() {
                self.error(field.span, "the explicit proxy has no `port` of its own");
            }
        }
        if let Some(target) = connect {
            return Some(Some(ByProxy::Tunnel(self.bytes(target)?)));
        }
        let Some(proxy) = proxy else { return Some(None) };
        let url = self.required(node, "url")?;
        let url = self.bytes(url)?;
        let rest = url.strip_prefix(b"http://").filter(|_| proxy.as_bool() == Some(true));
        let Some(rest) = rest else {
            self.error(proxy.span, "`proxy` can only be `true`, and beside `http://`");
            return None;
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        Some(Some(ByProxy::Absolute(rest.iter().take(end).copied().collect())))
    }

    /// Name to value, or to a list of values: a line for each.
    fn lines(&mut self, node: &Node) -> Option<Lines> {
        self.map(node)?;
        let mut lines = Lines::new();
        for entry in node.entries() {
            for value in values(&entry.node) {
                lines.push((entry.key.to_ascii_lowercase(), self.bytes(value)?));
            }
        }
        Some(lines)
    }

    /// The same, where null says that there is none.
    fn wanted_lines(&mut self, node: &Node, field: &str) -> Option<WantedLines> {
        let Some(node) = node.get(field) else { return Some(WantedLines::new()) };
        self.map(node)?;
        let mut lines = WantedLines::new();
        for entry in node.entries() {
            let value = if entry.node.is_null() {
                None
            } else {
                Some(values(&entry.node).into_iter().map(|value| self.bytes(value)).collect::<Option<_>>()?)
            };
            lines.push((entry.key.to_ascii_lowercase(), value));
        }
        Some(lines)
    }

    fn expectations(&mut self, node: &Node) -> Option<Expectations> {
        self.map(node)?;
        let by_profile =
            node.entries().iter().any(|entry| PROFILES.iter().any(|(name, _)| *name == entry.key));
        if !by_profile {
            let expect = self.expect(node)?;
            return Some(Expectations { istio: Some(expect.clone()), standalone: Some(expect) });
        }
        self.object(node, &PROFILES.map(|(name, _)| name))?;
        let mut of = |name: &str| match node.get(name) {
            Some(node) => self.expect(node).map(Some),
            None => Some(None),
        };
        Some(Expectations { istio: of("istio")?, standalone: of("standalone")? })
    }

    fn expect(&mut self, node: &Node) -> Option<Expect> {
        self.map(node)?;
        if let Some(closed) = node.get("closed") {
            self.object(node, &["closed"])?;
            if closed.as_bool() != Some(true) {
                self.error(closed.span, "`closed` can only be `true`");
            }
            return Some(Expect::Closed);
        }
        if let Some(shares) = node.get("shares") {
            self.object(node, &["shares"])?;
            return self.shares(shares).map(Expect::Shares);
        }
        if ["error", "warning", "note", "clusters"].iter().any(|name| node.entry(name).is_some()) {
            return self.output(node).map(Expect::Generated);
        }
        let status = match node.get("status") {
            Some(status) => Some(self.number(status, 100..=599)?),
            None => None,
        };
        let effects = Box::new(self.effects(node)?);
        let Some(cluster) = node.get("cluster") else {
            self.object(node, &["status", "reason", "body", "response_headers", "grpc_status", "delay"])?;
            let Some(status) = status else {
                self.error(
                    node.span,
                    "`cluster`, `status`, `closed`, `shares`, `error`, `warning`, `note` or `clusters` must be given",
                );
                return None;
            };
            let mut text = |name: &str| match node.get(name) {
                Some(node) => self.text(node).map(Some),
                None => Some(None),
            };
            let (reason, body) = (text("reason")?, text("body")?);
            return Some(Expect::Respond { status, reason, body, effects });
        };
        let fields = [
            &["cluster", "authority", "path", "dials", "status", "headers"],
            [
                "response_headers",
                "grpc_status",
                "delay",
                "timeout",
                "retries",
                "attempts",
                "mirrors",
                "hash",
                "reported",
            ]
            .as_slice(),
        ];
        self.object(node, &fields.concat())?;
        let mut bytes = |name: &str| match node.get(name) {
            Some(node) => self.bytes(node).map(Some),
            None => Some(None),
        };
        let (authority, path) = (bytes("authority")?, bytes("path")?);
        let dials = match node.get("dials") {
            Some(dials) => Some(self.text(dials)?),
            None => None,
        };
        let headers = self.wanted_lines(node, "headers")?;
        let cluster = self.text(cluster)?;
        Some(Expect::Forward { cluster, authority, path, dials, status, headers, effects })
    }

    fn effects(&mut self, node: &Node) -> Option<WantedEffects> {
        let mut effects = WantedEffects {
            response_headers: self.wanted_lines(node, "response_headers")?,
            ..WantedEffects::default()
        };
        if let Some(status) = node.get("grpc_status") {
            effects.grpc_status = Some(self.number(status, 0..=16)?);
        }
        if let Some(delay) = node.get("delay") {
            effects.delay = Some(self.time(delay)?);
        }
        if let Some(timeout) = node.get("timeout") {
            effects.timeout = Some(self.time(timeout)?);
        }
        if let Some(retries) = node.get("retries") {
            effects.retries = Some(self.retries(retries)?);
        }
        if let Some(attempts) = node.get("attempts") {
            effects.attempts = Some(self.number(attempts, 0..=20)?);
        }
        if let Some(mirrors) = node.get("mirrors") {
            effects.mirrors = self.texts(mirrors);
        }
        if let Some(reason) = node.get("reported") {
            effects.reported = Some(self.text(reason)?);
        }
        if let Some(hash) = node.get("hash") {
            effects.hash = Some(self.texts(hash));
        }
        Some(effects)
    }

    fn retries(&mut self, node: &Node) -> Option<Retries> {
        match node.as_str() {
            Some("default") => return Some(Retries::Default),
            Some("none") => return Some(Retries::Off),
            _ => {}
        }
        self.object(
            node,
            &[
                "attempts",
                "retry_on",
                "status_codes",
                "per_try_timeout",
                "previous_hosts",
                "remote_localities",
                "backoff",
            ],
        )?;
        let attempts = self.required(node, "attempts")?;
        let mut policy = RetryPolicy {
            attempts: self.number(attempts, 1..=1000)?,
            on: self.required_text(node, "retry_on")?,
            ..RetryPolicy::default()
        };
        if let Some(codes) = node.get("status_codes") {
            let codes: Option<Vec<u16>> =
                codes.items().iter().map(|code| self.number(code, 100..=599)).collect();
            policy.status_codes = codes?.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        }
        if let Some(limit) = node.get("per_try_timeout") {
            policy.per_try_timeout = Some(self.time(limit)?);
        }
        if let Some(backoff) = node.get("backoff") {
            policy.backoff = Some(self.time(backoff)?);
        }
        policy.previous_hosts = node.get("previous_hosts").and_then(Node::as_bool).unwrap_or(false);
        policy.remote_localities = node.get("remote_localities").and_then(Node::as_bool).unwrap_or(false);
        Some(Retries::These(policy))
    }

    fn shares(&mut self, node: &Node) -> Option<Vec<(String, u32)>> {
        self.map(node)?;
        let mut shares = Vec::new();
        for entry in node.entries() {
            shares.push((entry.key.clone(), self.number(&entry.node, 0..=100)?));
        }
        if shares.iter().map(|(_, share)| share).sum::<u32>() != 100 {
            self.error(node.span, "shares must add up to 100");
        }
        Some(shares)
    }

    fn output(&mut self, node: &Node) -> Option<WantedOutput> {
        self.object(node, &["error", "warning", "note", "clusters"])?;
        let mut output = WantedOutput::default();
        if let Some(errors) = node.get("error") {
            output.errors = self.findings(errors)?;
        }
        for (name, severity) in [("warning", Severity::Warning), ("note", Severity::Note)] {
            if let Some(findings) = node.get(name) {
                output.others.push((severity, self.findings(findings)?));
            }
        }
        if let Some(clusters) = node.get("clusters") {
            self.map(clusters)?;
            for entry in clusters.entries() {
                let wanted = if entry.node.is_null() { None } else { Some(json(&entry.node)) };
                output.clusters.push((entry.key.clone(), wanted));
            }
        }
        Some(output)
    }

    /// One, or a list.
    fn findings(&mut self, node: &Node) -> Option<Vec<WantedFinding>> {
        values(node).into_iter().map(|one| self.finding(one)).collect()
    }

    fn finding(&mut self, node: &Node) -> Option<WantedFinding> {
        if !matches!(node.value, Value::Map(_)) {
            return Some(WantedFinding { text: Some(self.text(node)?), about: [const { None }; 3] });
        }
        let names = ABOUT.map(|(name, _)| name);
        self.object(node, &[&["text"], names.as_slice()].concat())?;
        let mut text = |name: &str| match node.get(name) {
            Some(node) => self.text(node).map(Some),
            None => Some(None),
        };
        let [resource, field, rule] = names.map(&mut text);
        Some(WantedFinding { text: text("text")?, about: [resource?, field?, rule?] })
    }

    /// A time span, such as `300ms`.
    fn time(&mut self, node: &Node) -> Option<Duration> {
        let text = self.text(node)?;
        let nanoseconds = duration::nanoseconds(&text).and_then(|number| u64::try_from(number).ok());
        if nanoseconds.is_none() {
            self.error(node.span, "this must be a time span, such as `300ms`");
        }
        nanoseconds.map(Duration::from_nanos)
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.out.push(Diagnostic::error("invalid-case", message).at(span));
    }

    fn map(&mut self, node: &Node) -> Option<()> {
        if matches!(node.value, Value::Map(_)) {
            return Some(());
        }
        self.error(node.span, format!("this must be an object, not {}", node.describe()));
        None
    }

    /// An object with no other fields than these.
    fn object(&mut self, node: &Node, fields: &[&str]) -> Option<()> {
        self.map(node)?;
        for entry in node.entries().iter().filter(|entry| !fields.contains(&entry.key.as_str())) {
            let mut diagnostic =
                Diagnostic::error("invalid-case", format!("the field `{}` is not known here", entry.key))
                    .at(entry.key_span);
            if let Some(name) = suggest::nearest(&entry.key, fields.iter().copied()) {
                diagnostic = diagnostic.help(format!("did you mean `{name}`?"));
            }
            self.out.push(diagnostic);
        }
        Some(())
    }

    fn required<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n Node> {
        let found = node.get(name);
        if found.is_none() {
            self.error(node.span, format!("`{name}` is missing"));
        }
        found
    }

    fn required_text(&mut self, node: &Node, name: &str) -> Option<String> {
        let found = self.required(node, name)?;
        self.text(found)
    }

    fn text(&mut self, node: &Node) -> Option<String> {
        if let Some(text) = node.as_str() {
            return Some(text.to_owned());
        }
        let message = format!("this must be a string, not {}", node.describe());
        self.out.push(Diagnostic::error("invalid-case", message).at(node.span).help("put it in quotes"));
        None
    }

    fn texts(&mut self, node: &Node) -> Vec<String> {
        if !matches!(node.value, Value::List(_)) {
            self.error(node.span, format!("this must be a list, not {}", node.describe()));
        }
        node.items().iter().filter_map(|item| self.text(item)).collect()
    }

    fn words<T: Copy>(&mut self, node: &Node, known: &[(&str, T)]) -> Vec<T> {
        let mut found = Vec::new();
        for text in self.texts(node) {
            match known.iter().find(|(name, _)| *name == text) {
                Some((_, value)) => found.push(*value),
                None => {
                    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                    self.error(node.span, format!("`{text}` is not known; it can be {}", names.join(" or ")));
                }
            }
        }
        if found.is_empty() {
            self.error(node.span, "this list can't be empty");
        }
        found
    }

    fn number<T: TryFrom<i64>>(&mut self, node: &Node, range: std::ops::RangeInclusive<i64>) -> Option<T> {
        let found =
            node.as_int().filter(|number| range.contains(number)).and_then(|number| number.try_into().ok());
        if found.is_none() {
            self.error(node.span, format!("this must be a number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// A text in which `\xNN` stands for a byte and `\\` for a backslash.
    fn bytes(&mut self, node: &Node) -> Option<Vec<u8>> {
        let text = self.text(node)?;
        let bytes = unescape(&text);
        if bytes.is_none() {
            self.error(node.span, "behind a backslash must stand `xNN` (a byte) or another backslash");
        }
        bytes
    }
}

const PROFILES: [(&str, Profile); 2] = [("istio", Profile::Istio), ("standalone", Profile::Standalone)];

/// What `config-gen` is given: by the file to all tests, by a test to itself.
const SETUP: [&str; 4] = ["options", "resources", "mesh_config", "files"];

/// The items of a list, or the one value.
fn values(node: &Node) -> Vec<&Node> {
    match &node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![node],
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json(&entry.node))).collect(),
    }
}

/// `VH-03`, `VS-MATCH-12`, `DR-TLS-08`, `VAL-00f`.
fn is_row(text: &str) -> bool {
    let Some((section, number)) = text.rsplit_once('-') else { return false };
    let number = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
    !section.is_empty()
        && section.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        && (2..=3).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            // Two in a row; what follows stands for itself.
            out.push(b'\\');
            out.extend_from_slice(parts.next()?.as_bytes());
            continue;
        }
        let digits = part.strip_prefix('x')?.get(..2)?;
        out.push(
            u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))?,
        );
        out.extend_from_slice(part.get(3..)?.as_bytes());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<CaseFile>, String) {
        let mut sources = Sources::new();
        sources.add("a.yaml", text);
        let (files, diagnostics) = load(&sources);
        let lines =
            diagnostics.iter().map(|d| format!("{}: {}\n", d.span.map_or(0, |span| span.line), d.message));
        (files, lines.collect())
    }

    const GOOD: &str = r#"
name: one
resources: |
  a: b
tests:
- name: t
  rules: [VH-03]
  request: {url: 'http://A.b:81/x?y', authority: 'q\xff\\', headers: {X-U: [a, 'b\x00']}}
  expect: {istio: {cluster: c, path: /y}, standalone: {status: 502, reason: r}}
- name: u
  rules: [VAL-00f]
  only_envoy: why
  request: {url: http://a, method: PUT, port: 81}
  expect: {closed: true}
- name: v
  rules: [not VH-01]
  resources: |
    c: d
  options: [--namespace, ns]
  upstream: {status: 503, headers: {x: v}, delay: 1.5s}
  request: {url: https://s.t:1/}
  expect:
    cluster: c
    headers: {x: [a, b], z: null}
    retries: {attempts: 2, retry_on: reset, status_codes: [503], per_try_timeout: 10ms}
    timeout: 1s
    attempts: 3
    mirrors: [m]
- name: w
  expect:
    error: [one, {text: two, resource: A b/c, field: f, rule: VH-01}]
    warning: []
    clusters: {a: {b: [1, "2", null]}, c: null}
- name: x
  request: {url: http://a}
  expect: {shares: {c: 25, "503": 75}}
"#;

    #[test]
    fn everything_is_read() {
        let (files, wrong) = read(GOOD);
        assert_eq!(wrong, "");
        let file = &files[0];
        let [setup, own] = file.setups.as_slice() else { panic!("{:?}", file.setups) };
        assert_eq!(setup.resources, ["\n\n\na: b\n"]);
        assert_eq!((&setup.ports, &own.ports), (&BTreeSet::from([80, 81]), &BTreeSet::from([443])));
        assert_eq!(own.resources.len(), 2);
        assert_eq!(own.read_options().default_namespace, "ns");
        let test = &file.tests[0];
        let request = test.request.as_ref().unwrap();
        assert_eq!((test.line, request.authority.as_slice()), (6, b"q\xff\\".as_slice()));
        assert_eq!(request.path, b"/x?y");
        assert_eq!(request.headers, [("x-u".to_owned(), b"a".to_vec()), ("x-u".to_owned(), b"b\0".to_vec())]);
        assert!(
            matches!(&test.expect.istio, Some(Expect::Forward { path: Some(path), .. }) if path == b"/y")
        );
        assert!(matches!(test.expect.standalone, Some(Expect::Respond { status: 502, .. })));
        assert_eq!(file.selected(EngineKind::Native, Profile::Istio).count(), 4);
        assert_eq!(file.selected(EngineKind::Envoy, Profile::Istio).count(), 5);
        assert_eq!(file.groups(EngineKind::Envoy, Profile::Istio).len(), 2);
        let request = file.tests[1].request.as_ref().unwrap();
        assert_eq!((request.authority.as_slice(), request.path.as_slice()), (&b"a"[..], &b"/"[..]));
        let test = &file.tests[2];
        assert_eq!(test.rules, [Rule { id: "VH-01".to_owned(), negative: true }]);
        assert_eq!(test.tls.as_deref(), Some("s.t"));
        assert_eq!(test.upstream.delay, Duration::from_millis(1500));
        let Some(Expect::Forward { headers, effects, .. }) = &test.expect.istio else { panic!("{test:?}") };
        let both = Some(vec![b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(headers, &[("x".to_owned(), both), ("z".to_owned(), None)]);
        assert_eq!(
            effects.retries.as_ref().map(ToString::to_string).as_deref(),
            Some("2 on reset, status codes 503, 10ms for each")
        );
        assert_eq!((effects.attempts, effects.timeout), (Some(3), Some(Duration::from_secs(1))));
        let Some(Expect::Generated(output)) = &file.tests[3].expect.istio else { panic!("{file:?}") };
        assert_eq!(output.errors.len(), 2);
        assert_eq!(output.others, [(Severity::Warning, vec![])]);
        assert_eq!(output.clusters[0].1, Some(serde_json::json!({"b": [1, "2", null]})));
        assert!(matches!(&file.tests[4].expect.istio, Some(Expect::Shares(shares)) if shares.len() == 2));
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for (from, to, message) in [
            ("name: one\n", "name: one\nprofile: [istio]\n", "3: the field `profile` is not known here\n"),
            ("name: one\n", "", "2: `name` is missing\n"),
            (
                "name: one\n",
                "name: one\noptions: [--profile, istio]\n",
                "3: unexpected argument '--profile' found\n",
            ),
            (
                "name: one\n",
                "name: one\nprofiles: [mesh]\n",
                "3: `mesh` is not known; it can be istio or standalone\n3: this list can't be empty\n",
            ),
            ("name: u", "name: t", "10: there are two tests `t`\n"),
            ("[VH-03]", "[VH3]", "7: `VH3` is no row of the specification, such as `VH-03`\n"),
            ("[VH-03]", "[]", "7: `rules` must name at least one row of the specification\n"),
            ("http://a,", "ftp://a,", "13: `url` must begin with `http://` or `https://`\n"),
            ("path: /y", "pth: /y", "9: the field `pth` is not known here\n"),
            ("status: 502", "status: 99", "9: this must be a number from 100 to 599\n"),
            (
                "status: 502, ",
                "",
                "9: `cluster`, `status`, `closed`, `shares`, `error`, `warning`, `note` or `clusters` must be given\n",
            ),
            ("q\\xff", "q\\f", "8: behind a backslash must stand `xNN` (a byte) or another backslash\n"),
            ("method: PUT", "random: 1", "13: what is drawn can only be chosen with `only_native`\n"),
            (
                "  only_envoy: why\n",
                "  only_envoy: why\n  only_native: why\n",
                "12: a test that no engine runs is none\n",
            ),
            ("  request: {url: http://a}\n", "", "34: `request` is missing\n"),
            ("delay: 1.5s", "delay: 1.5", "20: this must be a string, not a number\n"),
            ("\"503\": 75", "\"503\": 7", "36: shares must add up to 100\n"),
            ("port: 81", "port: 0", "13: this must be a number from 1 to 65535\n"),
            ("[a, 'b\\x00']", "1", "8: this must be a string, not a whole number\n"),
            (
                "resources: |\n  a: b\ntests",
                "tests",
                &[4, 8, 27, 32]
                    .map(|line| {
                        format!(
                            "{line}: `resources` or `files` must be given, here or at the top of the file\n"
                        )
                    })
                    .concat(),
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let (files, wrong) = read(&GOOD.replace(from, to));
            assert_eq!(wrong, message, "{from} -> {to}");
            assert!(files.is_empty());
        }
    }

    #[test]
    fn bytes_are_escaped() {
        assert_eq!(unescape(r"a\x00\xfF\\x41\\"), Some(b"a\x00\xff\\x41\\".to_vec()));
        for bad in [r"\", r"\n", r"\x", r"\x1", r"\x+1", r"\xé1"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }
}

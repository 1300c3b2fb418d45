//! A case file, read strictly: what isn't understood is an error with its place.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::options::CaseOptions;
use super::{CaseFile, EngineKind, Expect, Expectations, Request, Test};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::input::node::{Node, Value};
use crate::input::yaml;
use crate::options::Profile;
use crate::schema::suggest;
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
        let fields = ["name", "profiles", "options", "resources", "files", "tests"];
        self.object(root, &fields)?;
        let name = self.required_text(root, "name")?;
        let profiles = match root.get("profiles") {
            Some(list) => self.words(list, &PROFILES),
            None => PROFILES.iter().map(|(_, profile)| *profile).collect(),
        };
        let options = root.get("options").map(|list| self.texts(list)).unwrap_or_default();
        let parsed = match CaseOptions::parse_list(&options) {
            Ok(parsed) => parsed,
            Err(message) => {
                let span = root.get("options").map_or(root.span, |list| list.span);
                self.error(span, message);
                return None;
            }
        };
        let resources = match root.get("resources") {
            Some(node) => Some(self.resources(node)?),
            None => None,
        };
        let folder = Path::new(self.sources.name(self.file)).parent().unwrap_or(Path::new("")).to_path_buf();
        let files: Vec<PathBuf> = root
            .get("files")
            .map(|list| self.texts(list))
            .unwrap_or_default()
            .iter()
            .map(|path| folder.join(path))
            .collect();
        if resources.is_none() && files.is_empty() {
            self.error(root.span, "`resources` or `files` must be given");
        }
        let list = self.required(root, "tests")?;
        if !matches!(&list.value, Value::List(items) if !items.is_empty()) {
            self.error(list.span, "`tests` must be a list of tests");
        }
        let tests: Vec<Test> = list.items().iter().filter_map(|node| self.test(node)).collect();
        self.names(list);
        Some(CaseFile {
            path: self.sources.name(self.file).to_owned(),
            name,
            profiles,
            options,
            resources,
            files,
            tests,
            parsed,
        })
    }

    /// The text, moved down to the line it stands on in the file.
    fn resources(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        let first = text.lines().next().unwrap_or_default().trim();
        let lines = self.sources.text(self.file).lines().enumerate();
        let above = lines
            .skip(node.span.line.saturating_sub(1) as usize)
            .find(|(_, line)| line.trim() == first)
            .map_or(0, |(index, _)| index);
        Some("\n".repeat(above) + &text)
    }

    fn test(&mut self, node: &Node) -> Option<Test> {
        self.object(node, &["name", "rules", "engines", "request", "expect", "known_failure"])?;
        let mut rules = Vec::new();
        if let Some(rules_node) = node.get("rules") {
            rules = self.texts(rules_node);
            if rules.is_empty() {
                self.error(rules_node.span, "`rules` must name at least one row of the specification");
            }
            for rule in rules.iter().filter(|rule| !is_row(rule)) {
                self.error(
                    rules_node.span,
                    format!("`{rule}` is no row of the specification, such as `VH-03`"),
                );
            }
        }
        let engines: BTreeSet<EngineKind> = match node.get("engines") {
            Some(list) => self.words(list, &ENGINES).into_iter().collect(),
            None => ENGINES.iter().map(|(_, engine)| *engine).collect(),
        };
        let request = self.required(node, "request")?;
        let request = self.request(request)?;
        let expect_node = self.required(node, "expect")?;
        let expect = self.expectations(expect_node)?;
        if engines.contains(&EngineKind::Native) {
            let envoy_only =
                [&expect.istio, &expect.standalone].into_iter().flatten().any(|expect| match expect {
                    Expect::Closed => true,
                    Expect::Forward { headers, .. } => !headers.is_empty(),
                    Expect::Respond { .. } => false,
                });
            if envoy_only {
                self.error(
                    expect_node.span,
                    "`closed` and `headers` can only be told with `engines: [envoy]`",
                );
            }
        }
        let known_failure = match node.get("known_failure") {
            Some(reason) => Some(self.text(reason)?),
            None => None,
        };
        let name = self.required_text(node, "name")?;
        Some(Test { name, line: node.span.line, rules, engines, request, expect, known_failure })
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
            return self.request(node).map(Listed::Request);
        };
        self.object(node, &["url", "port"])?;
        let port = match node.get("port") {
            Some(port) => Some(self.number(port, 1..=65_535)?),
            None => None,
        };
        Some(Listed::Connection { url: url.to_owned(), port })
    }

    fn request(&mut self, node: &Node) -> Option<Request> {
        self.object(node, &["url", "authority", "method", "port", "headers"])?;
        let url_node = self.required(node, "url")?;
        let url = self.bytes(url_node)?;
        let Some(rest) = url.strip_prefix(b"http://") else {
            self.error(
                url_node.span,
                "`url` must begin with `http://`; clients that speak TLS can't be tested yet",
            );
            return None;
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let path = if path.is_empty() { b"/".to_vec() } else { path.to_vec() };
        if !path.starts_with(b"/") || path.iter().any(u8::is_ascii_whitespace) {
            self.error(url_node.span, "the path must begin with `/` and can't hold blanks");
        }
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
            None => 80,
        };
        let mut headers = Vec::new();
        let headers_node = node.get("headers");
        if let Some(headers_node) = headers_node {
            self.map(headers_node)?;
        }
        for entry in headers_node.map(Node::entries).unwrap_or_default() {
            let values = match &entry.node.value {
                Value::List(items) => items.iter().collect(),
                _ => vec![&entry.node],
            };
            for value in values {
                headers.push((entry.key.to_ascii_lowercase(), self.bytes(value)?));
            }
        }
        Some(Request { port, method, authority, path, headers })
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
        let status = match node.get("status") {
            Some(status) => Some(self.number(status, 100..=599)?),
            None => None,
        };
        let Some(cluster) = node.get("cluster") else {
            self.object(node, &["status", "reason", "body"])?;
            let Some(status) = status else {
                self.error(node.span, "`cluster`, `status` or `closed` must be given");
                return None;
            };
            let mut text = |name: &str| match node.get(name) {
                Some(node) => self.text(node).map(Some),
                None => Some(None),
            };
            return Some(Expect::Respond { status, reason: text("reason")?, body: text("body")? });
        };
        self.object(node, &["cluster", "authority", "path", "dials", "status", "headers"])?;
        let mut bytes = |name: &str| match node.get(name) {
            Some(node) => self.bytes(node).map(Some),
            None => Some(None),
        };
        let (authority, path) = (bytes("authority")?, bytes("path")?);
        let dials = match node.get("dials") {
            Some(dials) => Some(self.text(dials)?),
            None => None,
        };
        let mut headers = Vec::new();
        if let Some(node) = node.get("headers") {
            self.map(node)?;
            for entry in node.entries() {
                let value = if entry.node.is_null() { None } else { Some(self.bytes(&entry.node)?) };
                headers.push((entry.key.to_ascii_lowercase(), value));
            }
        }
        Some(Expect::Forward { cluster: self.text(cluster)?, authority, path, dials, status, headers })
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

    fn number(&mut self, node: &Node, range: std::ops::RangeInclusive<i64>) -> Option<u16> {
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

const ENGINES: [(&str, EngineKind); 2] = [("native", EngineKind::Native), ("envoy", EngineKind::Envoy)];

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
  engines: [envoy]
  request: {url: http://a, method: PUT, port: 81}
  expect: {closed: true}
"#;

    #[test]
    fn everything_is_read() {
        let (files, wrong) = read(GOOD);
        assert_eq!(wrong, "");
        let file = &files[0];
        assert_eq!(file.resources.as_deref(), Some("\n\n\na: b\n"));
        assert_eq!(file.ports(), BTreeSet::from([80, 81]));
        let test = &file.tests[0];
        assert_eq!((test.line, test.request.authority.as_slice()), (6, b"q\xff\\".as_slice()));
        assert_eq!(test.request.path, b"/x?y");
        assert_eq!(
            test.request.headers,
            [("x-u".to_owned(), b"a".to_vec()), ("x-u".to_owned(), b"b\0".to_vec())]
        );
        assert!(
            matches!(&test.expect.istio, Some(Expect::Forward { path: Some(path), .. }) if path == b"/y")
        );
        assert!(matches!(test.expect.standalone, Some(Expect::Respond { status: 502, .. })));
        assert_eq!(file.selected(EngineKind::Native, Profile::Istio).count(), 1);
        assert_eq!(file.selected(EngineKind::Envoy, Profile::Istio).count(), 2);
        assert_eq!(
            (file.tests[1].request.authority.as_slice(), file.tests[1].request.path.as_slice()),
            (&b"a"[..], &b"/"[..])
        );
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
            (
                "http://a,",
                "https://a,",
                "13: `url` must begin with `http://`; clients that speak TLS can't be tested yet\n",
            ),
            ("path: /y", "pth: /y", "9: the field `pth` is not known here\n"),
            ("status: 502", "status: 99", "9: this must be a number from 100 to 599\n"),
            ("status: 502, ", "", "9: `cluster`, `status` or `closed` must be given\n"),
            ("q\\xff", "q\\f", "8: behind a backslash must stand `xNN` (a byte) or another backslash\n"),
            (
                "  engines: [envoy]\n",
                "",
                "13: `closed` and `headers` can only be told with `engines: [envoy]`\n",
            ),
            ("port: 81", "port: 0", "13: this must be a number from 1 to 65535\n"),
            ("[a, 'b\\x00']", "1", "8: this must be a string, not a whole number\n"),
            ("resources: |\n  a: b\n", "", "2: `resources` or `files` must be given\n"),
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

//! What `config-gen` makes of a file of the catalogue: its plan, and what `explain` says of its requests.

use anyhow::{Context as _, Result, ensure};
use config_gen::cases::{self, ByProxy, CaseFile, EngineKind, Prepared, Report, Seen, Test};
use config_gen::options::Profile;
use config_gen::request::Request;
use config_gen::source::Sources;
use serde_json::{Value, json};

use crate::catalogue::{Catalogue, Outcome};

/// A file of the catalogue as one of ordinary cases, of which only the way in counts.
pub(crate) struct Native {
    file: CaseFile,
    prepared: Prepared,
}

impl Native {
    pub(crate) fn of(catalogue: &Catalogue) -> Result<Self> {
        let way = |name: String, more: Value| {
            let mut request = json!({"url": "http://x.example.com/"});
            if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
                request.extend(more);
            }
            json!({"name": name, "request": request, "expect": {"closed": true}})
        };
        let ports = catalogue.ports.iter().map(|port| way(port.to_string(), json!({"port": port})));
        let proxy = catalogue.ports.is_empty().then(|| way("proxy".to_owned(), json!({"proxy": true})));
        let file = case_file(catalogue, &ports.chain(proxy).collect::<Vec<_>>())?;
        let group = file.groups(EngineKind::Envoy, Profile::Standalone).pop().context("no tests")?;
        let prepared =
            cases::prepare(&file.path, group.setup, Profile::Standalone).map_err(anyhow::Error::msg)?;
        if let Err(why) = prepared.plan() {
            anyhow::bail!("{}: {why}", catalogue.path);
        }
        Ok(Self { file, prepared })
    }

    pub(crate) fn plan(&self) -> Option<&config_gen::plan::Plan> {
        self.prepared.plan().ok()
    }

    /// What `explain` says otherwise of a request whose answer is `outcome`; none where it can't be asked,
    /// since the bytes are no request that it has a form for.
    pub(crate) fn contradicts(
        &self,
        port: Option<u16>,
        bytes: &[u8],
        outcome: &Outcome,
    ) -> Option<Option<String>> {
        let way = port.map_or_else(|| "proxy".to_owned(), |port| port.to_string());
        let way = self.file.tests.iter().find(|test| test.name == way)?;
        let (test, request) = described(way, port, bytes)?;
        let seen = match self.prepared.decide(&test, &request) {
            Ok((seen, _)) => seen,
            Err(why) => return Some(Some(why.to_owned())),
        };
        // Where a name leads is only known when it is asked for.
        let passed = |cluster: &String| cluster == "PassthroughCluster";
        if matches!(&seen, Seen::Forwarded { cluster, .. } if cluster.as_ref().is_some_and(passed)) {
            return None;
        }
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let same = match &seen {
            Seen::Forwarded { authority, path, cluster, .. } => {
                let wanted = |field: &Option<String>| {
                    field.as_ref().and_then(|field| crate::catalogue::bytes(field).ok())
                };
                let cluster = cluster.as_deref().map(|cluster| {
                    let mut parts = cluster.split('|');
                    let (port, host) = (parts.nth(1).unwrap_or_default(), parts.nth(1).unwrap_or_default());
                    format!("{host}:{port}")
                });
                outcome.upstream == cluster
                    && wanted(&outcome.authority).as_ref() == Some(authority)
                    && wanted(&outcome.path).as_ref() == Some(path)
            }
            Seen::Answered { status, reason, .. } => match (&outcome.filter, outcome.envoy) {
                (Some(wanted), _) => wanted == reason && outcome.status == Some(*status),
                (_, Some(wanted)) => wanted == *status,
                _ => false,
            },
            Seen::Closed => outcome.closed,
        };
        let told = match &seen {
            Seen::Forwarded { authority, path, .. } => {
                format!("{seen} as {} {}", text(authority), text(path))
            }
            _ => seen.to_string(),
        };
        Some((!same).then_some(told))
    }
}

/// The one well-formed request that `bytes` are.
fn described(way: &Test, port: Option<u16>, bytes: &[u8]) -> Option<(Test, Request)> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut lines);
    let Ok(httparse::Status::Complete(_)) = parsed.parse(bytes) else { return None };
    let hosts = parsed.headers.iter().filter(|line| line.name.eq_ignore_ascii_case("host"));
    // Envoy joins several, and leaves out empty ones.
    let has_host = hosts.clone().next().is_some();
    let authority: Vec<&[u8]> = hosts.map(|line| line.value).filter(|value| !value.is_empty()).collect();
    let target = parsed.path?;
    // Where a request ends is not for explain to say.
    let framing = ["content-length", "transfer-encoding"];
    if parsed.headers.iter().any(|line| framing.contains(&&*line.name.to_ascii_lowercase())) {
        return None;
    }
    let mut test = way.clone();
    // Everything else explain has no form for.
    let path = match (port, target.strip_prefix("http://")) {
        _ if parsed.method == Some("CONNECT") => return None,
        (_, None) if target.starts_with('/') && has_host => {
            test.by_proxy = port.is_none().then(|| ByProxy::Absolute(authority.join(&b","[..])));
            target
        }
        (None, Some(rest)) => {
            let (host, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            test.by_proxy = Some(ByProxy::Absolute(host.as_bytes().to_vec()));
            rest.get(host.len()..).filter(|path| path.starts_with('/'))?
        }
        _ => return None,
    };
    if port.is_none() && test.by_proxy.is_none() || parsed.version != Some(1) {
        return None;
    }
    let others = parsed.headers.iter().filter(|line| !line.name.eq_ignore_ascii_case("host"));
    let request = Request {
        method: parsed.method?.to_owned(),
        authority: authority.join(&b","[..]),
        path: path.as_bytes().to_vec(),
        headers: others.map(|line| (line.name.to_ascii_lowercase(), line.value.to_vec())).collect(),
        ..way.request.clone()?
    };
    Some((test, request))
}

/// Runs the cases that only the generator is asked about.
pub(crate) fn generated(catalogue: &Catalogue) -> Result<Option<Report>> {
    let tests = catalogue.cases.iter().filter_map(|case| {
        let (resources, outcome) = (case.resources.as_ref()?, case.outcomes(false).first()?);
        Some(json!({"name": case.name, "resources": resources, "expect": {"error": outcome.error}}))
    });
    let tests: Vec<Value> = tests.collect();
    if tests.is_empty() {
        return Ok(None);
    }
    Ok(Some(cases::run(&[case_file(catalogue, &tests)?])))
}

fn case_file(catalogue: &Catalogue, tests: &[Value]) -> Result<CaseFile> {
    let file = json!({
        "name": catalogue.name,
        "profiles": ["standalone"],
        "options": catalogue.options,
        "resources": catalogue.resources,
        "tests": tests,
    });
    let mut sources = Sources::new();
    sources.add(format!("testdata/hostile/{}", catalogue.path), file.to_string());
    let (mut files, diagnostics) = cases::load(&sources);
    ensure!(!diagnostics.has_errors(), "{}", diagnostics.render(&sources));
    files.pop().context("no file")
}

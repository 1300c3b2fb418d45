//! The format of `testdata/hostile/*.cases`, read strictly; `testdata/README.md` describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use portolan_e2e::places;
use serde::Deserialize;

/// Cases that share a configuration, and so an Envoy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    /// The file's name without its folder.
    #[serde(skip)]
    pub(crate) path: String,
    /// What the cases are about.
    pub(crate) name: String,
    /// Options of `config-gen generate`, as in other cases.
    #[serde(default)]
    pub(crate) options: Vec<String>,
    /// The listeners' ports.
    #[serde(default)]
    pub(crate) ports: BTreeSet<u16>,
    /// Istio YAML.
    #[serde(default)]
    pub(crate) resources: String,
    /// The first one is plain: at the end it has to hold again.
    pub(crate) cases: Vec<Case>,
}

/// What is sent in one connection, and what has to come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Default: the file's first port, or the explicit proxy where there is one.
    pub(crate) to: Option<u16>,
    /// Lines of the one request that is sent; in place of `send`.
    head: Option<Vec<String>>,
    /// What follows it.
    body: Option<String>,
    /// What is sent, step by step.
    send: Option<Vec<Step>>,
    /// Raw bytes with which the upstream answers; default: 200.
    pub(crate) answer: Option<String>,
    /// Istio YAML of its own, about which only the generator is asked.
    pub(crate) resources: Option<String>,
    /// One outcome for each answer.
    expect: OneOrMore<Outcome>,
    /// The same where the oldest Envoy differs.
    oldest_envoy: Option<OneOrMore<Outcome>>,
    /// Why `explain` says something else of this request.
    pub(crate) explain_differs: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    More(Vec<T>),
    One(T),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    head: Option<Vec<String>>,
    body: Option<String>,
    raw: Option<String>,
    h2: Option<Vec<Frame>>,
    client_hello: Option<String>,
    tls: Option<String>,
    alpn: Option<String>,
    wait: Option<Wait>,
}

/// What of a step is done.
#[derive(Debug)]
pub(crate) enum Action {
    /// These bytes are sent.
    Send(Vec<u8>),
    /// The beginning of HTTP/2, and these frames.
    Http2(Vec<Frame>),
    /// TLS begins, with this server name and protocol.
    Tls(String, Option<String>),
    /// Nothing is sent before the next answer, or the head of one that begins a tunnel, is there.
    Wait(Wait),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wait {
    Answer,
    Tunnel,
}

/// A frame of HTTP/2.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frame {
    /// Names and values of a HEADERS frame.
    pub(crate) headers: Option<Vec<(String, String)>>,
    /// The payload of a DATA frame.
    pub(crate) data: Option<String>,
    /// The type of any other frame.
    pub(crate) frame: Option<u8>,
    #[serde(default)]
    pub(crate) flags: u8,
    pub(crate) payload: Option<String>,
    #[serde(default = "first_stream")]
    pub(crate) stream: u32,
    /// Whether it is the last one of its stream; default: for headers.
    pub(crate) end: Option<bool>,
}

fn first_stream() -> u32 {
    1
}

/// What comes of a request: one of the first six, and what belongs to it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    /// It arrives at this upstream, `HOST:PORT` of the registry, which answers.
    pub(crate) upstream: Option<String>,
    /// The filter answers, for this reason.
    pub(crate) filter: Option<String>,
    /// Envoy itself answers, with this status.
    pub(crate) envoy: Option<u16>,
    /// The connection (or stream) is closed without an answer.
    #[serde(default)]
    pub(crate) closed: bool,
    /// A tunnel begins.
    #[serde(default)]
    pub(crate) tunnel: bool,
    /// The generator refuses the resources with this code.
    pub(crate) error: Option<String>,

    /// With `upstream`: the Host header there.
    pub(crate) authority: Option<String>,
    /// With `upstream`: the path there.
    pub(crate) path: Option<String>,
    /// With `upstream`: the method there; default: not looked at.
    pub(crate) method: Option<String>,
    /// With `upstream`: the server name of its TLS; default: it has none.
    pub(crate) sni: Option<String>,
    /// With `upstream`: headers there, to the value of each line, or to `null` for none.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<OneValue>>,
    /// With `upstream`: the body there.
    pub(crate) body: Option<String>,
    /// With `upstream` (default: 200) and `filter`.
    pub(crate) status: Option<u16>,
    /// Headers of the answer, as `headers`.
    #[serde(default)]
    pub(crate) response_headers: BTreeMap<String, Option<OneValue>>,
    /// The whole body of the answer.
    pub(crate) response_body: Option<String>,
    /// Before Envoy refused, or closed, the request's beginning may have gone to this upstream.
    pub(crate) begun: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneValue {
    One(String),
    Lines(Vec<String>),
}

impl OneValue {
    pub(crate) fn lines(&self) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::One(value) => Ok(vec![bytes(value)?]),
            Self::Lines(values) => values.iter().map(|value| bytes(value)).collect(),
        }
    }
}

/// The texts of all files with their names, in that order.
pub(crate) fn load() -> Result<Vec<(String, String)>> {
    let folder = places::root()?.join("testdata/hostile");
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        ensure!(
            path.extension().is_some_and(|end| end == "cases"),
            "{}: not a `.cases` file",
            path.display()
        );
        paths.push(path);
    }
    paths.sort();
    let wanted = std::env::var("CASES").unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().contains(&wanted));
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).with_context(|| format!("read {name}"))?;
        Ok((name, text))
    };
    paths.iter().map(read).collect()
}

/// Reads a file, in which `$NAME` stands for the ports that are only known when all runs.
pub(crate) fn read(name: &str, text: &str, ports: &[(&str, u16)]) -> Result<Catalogue> {
    let fill =
        |text: String, (name, port): &(&str, u16)| text.replace(&format!("${name}"), &port.to_string());
    let text = ports.iter().fold(text.to_owned(), fill);
    let mut read: Catalogue =
        serde_saphyr::from_str(&text).with_context(|| format!("testdata/hostile/{name}"))?;
    name.clone_into(&mut read.path);
    ensure!(!read.cases.is_empty(), "{name}: no cases");
    let mut names = BTreeSet::new();
    for case in &read.cases {
        ensure!(names.insert(&case.name), "{name}: `{}` stands there twice", case.name);
        case.check().with_context(|| format!("{name}: {}", case.name))?;
    }
    Ok(read)
}

impl Case {
    fn check(&self) -> Result<()> {
        let ways = [self.head.is_some(), self.send.is_some(), self.resources.is_some()];
        ensure!(ways.iter().filter(|way| **way).count() == 1, "one of `head`, `send` and `resources`");
        ensure!(self.body.is_none() || self.head.is_some(), "`body` without a `head`");
        self.actions()?;
        for oldest in [false, true] {
            let outcomes = self.outcomes(oldest);
            ensure!(!outcomes.is_empty(), "nothing is expected");
            for outcome in outcomes {
                outcome.check(self.resources.is_some())?;
            }
        }
        Ok(())
    }

    /// What the answers have to be, in order; for HTTP/2 in that of the streams.
    pub(crate) fn outcomes(&self, oldest_envoy: bool) -> &[Outcome] {
        let expect = self.oldest_envoy.as_ref().filter(|_| oldest_envoy).unwrap_or(&self.expect);
        match expect {
            OneOrMore::One(outcome) => std::slice::from_ref(outcome),
            OneOrMore::More(outcomes) => outcomes,
        }
    }

    pub(crate) fn actions(&self) -> Result<Vec<Action>> {
        if let Some(lines) = &self.head {
            return Ok(vec![Action::Send(request(lines, self.body.as_deref())?)]);
        }
        self.send.iter().flatten().map(Step::action).collect()
    }

    /// The bytes of the one request that this is; none where it is something else.
    pub(crate) fn plain_request(&self) -> Option<Vec<u8>> {
        request(self.head.as_ref()?, self.body.as_deref()).ok()
    }
}

impl Step {
    fn action(&self) -> Result<Action> {
        let Self { head, body, raw, h2, client_hello, tls, alpn, wait } = self.clone();
        ensure!(alpn.is_none() || tls.is_some(), "`alpn` without `tls`");
        Ok(match (head, body, raw, h2, client_hello, tls, wait) {
            (Some(lines), body, None, None, None, None, None) => {
                Action::Send(request(&lines, body.as_deref())?)
            }
            (None, None, Some(raw), None, None, None, None) => Action::Send(bytes(&raw)?),
            (None, None, None, Some(frames), None, None, None) => Action::Http2(frames),
            (None, None, None, None, Some(name), None, None) => {
                Action::Send(client_hello_for(&bytes(&name)?))
            }
            (None, None, None, None, None, Some(name), None) => Action::Tls(name, alpn),
            (None, None, None, None, None, None, Some(wait)) => Action::Wait(wait),
            _ => {
                bail!("a step is one of `head` (with `body`), `raw`, `h2`, `client_hello`, `tls` and `wait`")
            }
        })
    }
}

impl Outcome {
    fn check(&self, generated: bool) -> Result<()> {
        let sorts = [
            self.upstream.is_some(),
            self.filter.is_some(),
            self.envoy.is_some(),
            self.closed,
            self.tunnel,
            self.error.is_some(),
        ];
        ensure!(
            sorts.iter().filter(|sort| **sort).count() == 1,
            "an outcome is one of `upstream`, `filter`, `envoy`, `closed`, `tunnel` and `error`"
        );
        ensure!(generated == self.error.is_some(), "`error` goes with `resources`");
        let arrives = [&self.authority, &self.path];
        ensure!(
            arrives.iter().all(|field| field.is_some() == self.upstream.is_some()),
            "`authority` and `path` go with `upstream`"
        );
        let more =
            self.method.is_some() || self.sni.is_some() || self.body.is_some() || !self.headers.is_empty();
        ensure!(!more || self.upstream.is_some(), "what arrives goes with `upstream`");
        ensure!(self.filter.is_none() || self.status.is_some(), "`filter` needs a `status`");
        ensure!(
            self.begun.is_none() || self.envoy.is_some() || self.closed,
            "`begun` goes with `envoy` or `closed`"
        );
        Ok(())
    }
}

/// Lines that each end with CRLF, an empty one, and the body.
fn request(lines: &[String], body: Option<&str>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for line in lines.iter().map(String::as_str).chain([""]) {
        out.extend(bytes(line)?);
        out.extend(b"\r\n");
    }
    out.extend(bytes(body.unwrap_or_default())?);
    Ok(out)
}

/// The bytes that a text stands for: `\xNN`, `\r`, `\n`, `\\`, and `\(60000*a)` for 60 000 times `a`.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend(before.as_bytes());
        let mut chars = after.chars();
        rest = match chars.next() {
            Some('r') => push(&mut out, b'\r', chars.as_str()),
            Some('n') => push(&mut out, b'\n', chars.as_str()),
            Some('\\') => push(&mut out, b'\\', chars.as_str()),
            Some('x') => {
                let digits = chars.as_str().get(..2).context("`\\x` needs two digits")?;
                let byte = u8::from_str_radix(digits, 16).with_context(|| format!("`\\x{digits}`"))?;
                push(&mut out, byte, chars.as_str().get(2..).unwrap_or_default())
            }
            Some('(') => {
                let (inside, behind) = chars.as_str().split_once(')').context("`\\(` without `)`")?;
                let (count, what) = inside.split_once('*').context("`\\(COUNT*TEXT)`")?;
                out.extend(bytes(what)?.repeat(count.parse().with_context(|| format!("`\\({inside})`"))?));
                behind
            }
            _ => bail!("an unknown escape in `{text}`"),
        };
    }
    out.extend(rest.as_bytes());
    Ok(out)
}

fn push<'t>(out: &mut Vec<u8>, byte: u8, rest: &'t str) -> &'t str {
    out.push(byte);
    rest
}

/// A ClientHello of TLS 1.2 with this server name, which needn't be one (RFC 5246, RFC 6066).
fn client_hello_for(server_name: &[u8]) -> Vec<u8> {
    let sized = |width: usize, content: Vec<u8>| {
        let length = content.len().to_be_bytes();
        [&length[length.len() - width..], &content].concat()
    };
    let name = sized(2, [vec![0], sized(2, server_name.to_vec())].concat());
    let extension = [vec![0, 0], sized(2, name)].concat();
    let body = [
        vec![3, 3],
        vec![7; 32],
        vec![0],
        sized(2, vec![0xc0, 0x2f, 0xc0, 0x30]),
        sized(1, vec![0]),
        sized(2, extension),
    ];
    let handshake = [vec![1], sized(3, body.concat())].concat();
    // Records have 16 KB at most.
    let record = |part: &[u8]| [vec![0x16, 3, 1], sized(2, part.to_vec())].concat();
    handshake.chunks(16_000).flat_map(record).collect()
}

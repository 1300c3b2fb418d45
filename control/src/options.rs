//! What JavaScript hands over.

use std::collections::BTreeMap;

use config_gen::analysis::Suppression;
use config_gen::emit::Output;
use config_gen::explain::{Asked, Inquiry, Typed};
use config_gen::options::{Options, Profile};
use config_gen::plan::Plan;
use config_gen::source::Sources;
use config_gen::texts::{Planned, Texts};
use config_gen::typed::{Envoy, Generation, Meaning, WasmPlugin};
use config_gen::{diff, ports};
use serde::Deserialize;
use serde_json::Value;

/// A text to be read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// What findings call it.
    pub name: String,
    /// YAML or JSON.
    pub text: String,
}

/// The options of a call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    emit: Vec<Output>,
    profile: Profile,
    #[serde(flatten)]
    meaning: Meaning,
    #[serde(flatten)]
    envoy: Envoy,
    #[serde(flatten)]
    wasm_plugin: WasmPlugin,
    mesh_config: Option<Text>,
    only_profile: bool,
    keep_going: bool,
    draw: Option<u64>,
    suppress: Vec<String>,
    pub(crate) format: Picture,
    max_requests: Option<usize>,
    pub(crate) report: bool,
    /// What is none of the above. It has to be the last field.
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

impl Settings {
    /// Reads options, out of the JSON of an object, or of nothing.
    ///
    /// # Errors
    ///
    /// An option isn't known, or has a value that it can't have.
    pub fn from_json(json: &str) -> Result<Self, String> {
        let settings: Option<Self> =
            serde_json::from_str(json).map_err(|error| format!("options: {error}"))?;
        let settings = settings.unwrap_or_default();
        match settings.unknown.keys().next() {
            Some(name) => Err(format!("options: `{name}` is not known")),
            None => Ok(settings),
        }
    }

    /// What is generated with them.
    pub(crate) fn generation(&self) -> Generation {
        let Self { emit, profile, meaning, envoy, wasm_plugin, .. } = self.clone();
        Generation { emit, profile, meaning, envoy, wasm_plugin }
    }

    /// The findings that are left out.
    pub(crate) fn suppressions(&self) -> Result<Vec<Suppression>, String> {
        let read = |text: &String| text.parse().map_err(|message| format!("options: suppress: {message}"));
        self.suppress.iter().map(read).collect()
    }

    /// How much is compared.
    pub(crate) fn comparison(&self) -> diff::Settings {
        let default = diff::Settings::default();
        diff::Settings { most_requests: self.max_requests.unwrap_or(default.most_requests), ..default }
    }

    /// Plans what was read for listeners on `ports`, whatever the options say of listeners.
    pub(crate) fn plan(
        &self,
        texts: &Texts,
        mut options: Options,
        ports: impl IntoIterator<Item = u16>,
    ) -> Planned {
        ports::listen(&mut options, ports);
        if self.keep_going { texts.plan_in_spite_of_errors(options) } else { texts.plan(options) }
    }

    /// The plan, if there may be an answer by it.
    pub(crate) fn usable<'p>(&self, planned: &'p Planned) -> Option<&'p Plan> {
        if self.keep_going { planned.plan.as_ref() } else { planned.sound() }
    }

    /// Who is asked.
    pub(crate) fn inquiry(&self) -> Inquiry {
        let Self { profile, only_profile, keep_going, draw, .. } = *self;
        Inquiry { profile, alone: only_profile, keep_going, draw }
    }

    /// Reads the texts, and the MeshConfig of these options.
    pub(crate) fn read(&self, texts: &[Text]) -> Texts {
        let mut sources = Sources::new();
        for Text { name, text } in texts {
            sources.add(name, text);
        }
        let mesh_config = self.mesh_config.iter().map(|mesh| (mesh.name.as_str(), mesh.text.as_str()));
        Texts::read(sources, mesh_config, &self.meaning.read_options())
    }
}

/// What a picture is written in.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Picture {
    #[default]
    Svg,
    Dot,
    Mermaid,
}

/// A request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Question {
    url: Option<String>,
    curl: Option<String>,
    method: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    headers: Headers,
    port: Option<u16>,
    proxy: bool,
    escaped: bool,
}

/// Header lines, in either form.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Headers {
    Lines(Vec<(String, String)>),
    ByName(BTreeMap<String, Values>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
}

impl Default for Headers {
    fn default() -> Self {
        Self::Lines(Vec::new())
    }
}

impl Headers {
    fn lines(self) -> Vec<(String, String)> {
        match self {
            Self::Lines(lines) => lines,
            Self::ByName(names) => {
                let lines = names.into_iter().flat_map(|(name, values)| {
                    let values = match values {
                        Values::One(value) => vec![value],
                        Values::Several(values) => values,
                    };
                    values.into_iter().map(move |value| (name.clone(), value))
                });
                lines.collect()
            }
        }
    }
}

impl Question {
    /// What is asked.
    pub(crate) fn asked(self) -> Result<Asked, String> {
        let Self { url, curl, method, authority, path, headers, port, proxy, escaped } = self;
        let typed = Typed { url, method, headers: Vec::new(), port };
        let mut asked = match curl {
            Some(command) => typed.with_curl(&command)?.asked()?,
            None => typed.asked()?,
        };
        let request = match &mut asked {
            Asked::Http(request) => request,
            Asked::Tls { request, .. } => request,
            Asked::Tcp { .. } => return Ok(asked),
        };
        request.by_proxy = proxy;
        let bytes = |text: String| if escaped { unescape(&text) } else { Ok(text.into_bytes()) };
        for (name, value) in headers.lines() {
            let name = name.trim().to_ascii_lowercase();
            if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == b':') {
                return Err(format!("`{name}` is no name of a header"));
            }
            let value = bytes(value)?.trim_ascii().to_vec();
            if name == "host" { request.authority = value } else { request.headers.push((name, value)) }
        }
        if let Some(authority) = authority {
            request.authority = bytes(authority)?;
        }
        if let Some(path) = path {
            request.path = bytes(path)?;
        }
        Ok(asked)
    }
}

/// JSON of JavaScript, which writes half of a pair of surrogates as an escape, and nothing else of that sort.
/// Each becomes U+FFFD, which takes as much room.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "the bindings call it"))]
pub(crate) fn without_lone_surrogates(json: String) -> String {
    if !json.contains("\\ud") {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json.as_str();
    // JavaScript escapes `\ud800` and its like in lower case.
    while let Some((before, escape)) = rest.find('\\').map(|at| rest.split_at(at)) {
        let is_half = escape.get(..6).is_some_and(|escape| escape.starts_with("\\ud"));
        let length = if is_half { 6 } else { 2 };
        out.push_str(before);
        out.push_str(if is_half { "\\ufffd" } else { escape.get(..2).unwrap_or(escape) });
        rest = escape.get(length..).unwrap_or_default();
    }
    out + rest
}

/// The bytes that `\xNN`, and a backslash before another character, stand for: what answers show.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{text}` has a backslash that means nothing; `\\\\` is the character");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&kind, after) = rest.split_first().ok_or_else(wrong)?;
        rest = after;
        bytes.push(match kind {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (digits, after) = rest.split_at_checked(2).ok_or_else(wrong)?;
                rest = after;
                let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
                u8::from_str_radix(digits, 16).map_err(|_| wrong())?
            }
            b'\\' | b'\'' | b'"' => kind,
            _ => return Err(wrong()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_command_line() {
        let json = r#"{"profile": "istio", "outboundPolicy": "allow-any", "clientLabels": {"app": "a"},
            "listen": ["80=127.0.0.1:1"], "admin": "off", "meshConfig": {"name": "m", "text": ""},
            "gateway": null, "selector": {"a": "b"}, "draw": 7}"#;
        let settings = Settings::from_json(json).unwrap();
        let generation = settings.generation();
        let options = generation.options();
        assert_eq!(options.profile, Profile::Istio);
        assert_eq!(options.client_labels["app"], "a");
        assert_eq!((options.envoy.listeners.len(), options.envoy.admin), (1, None));
        assert_eq!(generation.mesh().selector["a"], "b");
        assert_eq!((settings.inquiry().draw, settings.mesh_config.is_some()), (Some(7), true));
        assert!(Settings::from_json("null").is_ok());
        for (json, part) in [
            (r#"{"profiles": "istio"}"#, "`profiles` is not known"),
            (r#"{"profile": "Istio"}"#, "Istio"),
            (r#"{"listen": ["80"]}"#, "PORT=ADDRESS:PORT"),
            (r#"{"wasmUrl": "ftp://a"}"#, ""),
            ("7", "options: "),
        ] {
            let message = Settings::from_json(json).unwrap_err();
            assert!(message.contains(part), "{json}: {message}");
        }
    }

    #[test]
    fn halves_of_surrogates_are_replaced() {
        for (json, wanted) in [
            (r#""a\ud800b""#, r#""a\ufffdb""#),
            (r#""\\ud800 \"\udfff""#, r#""\\ud800 \"\ufffd""#),
            (r#""\u0001é\n""#, r#""\u0001é\n""#),
            (r#""\u0001é\udead""#, r#""\u0001é\ufffd""#),
        ] {
            assert_eq!(without_lone_surrogates(json.to_owned()), wanted);
            assert!(serde_json::from_str::<String>(wanted).is_ok());
        }
    }

    #[test]
    fn requests_are_read() {
        let asked = |json: &str| serde_json::from_str::<Question>(json).unwrap().asked();
        let Ok(Asked::Http(request)) = asked(
            r#"{"url": "http://a:81/x", "authority": "b\\xff", "path": "*", "escaped": true, "method": "PUT",
                "headers": {"X-A": ["1", " 2 "], "host": "c"}}"#,
        ) else {
            panic!("no request")
        };
        assert_eq!((request.authority.as_slice(), request.path.as_slice()), (&b"b\xff"[..], &b"*"[..]));
        let lines = [("x-a".to_owned(), b"1".to_vec()), ("x-a".to_owned(), b"2".to_vec())];
        assert_eq!((request.port, request.headers.as_slice()), (81, &lines[..]));
        assert!(matches!(asked(r#"{"curl": "curl https://a"}"#), Ok(Asked::Tls { port: 443, .. })));
        for wrong in [
            "{}",
            r#"{"url": "http://a b"}"#,
            r#"{"url": "http://a", "headers": {"a b": "c"}}"#,
            r#"{"url": "http://a", "path": "\\q", "escaped": true}"#,
            r#"{"url": "http://a", "path": "\\x4", "escaped": true}"#,
        ] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}

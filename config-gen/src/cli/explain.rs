//! `config-gen explain`: a request as typed, and why it is decided as it is.

use std::fs;
use std::path::Path;

use portolan_engine::Config;
use serde_json::{Value, json};

use super::arguments::{Explain, Format};
use super::{Status, UNREADABLE, complain, print, read_sources};
use crate::cases::{Request, Seen};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::emit::listener::carries_http;
use crate::explain::{self, Answer};
use crate::input;
use crate::options::{Listen, Options, Profile};
use crate::plan::Plan;
use crate::source::Sources;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    request: Request,
    /// The host of the URL, if a client speaks TLS to it.
    tls: Option<String>,
}

pub(super) fn run(arguments: &Explain) -> Status {
    let asked = match asked(arguments) {
        Ok(asked) => asked,
        Err(message) => {
            complain(&message);
            return Status::Usage;
        }
    };
    let path = &asked.request.path;
    if path.windows(2).any(|two| two == b"/.") || path.contains(&b'\\') {
        eprintln!("note: Envoy normalizes paths before rules see them; give the path as normalized");
    }
    let answered = match &arguments.plugin_config {
        Some(file) => from_plugin_config(file, &asked).map(|answers| (answers, Sources::new())),
        None => from_resources(arguments, &asked),
    };
    let (answers, sources) = match answered {
        Ok(answered) => answered,
        Err(status) => return status,
    };
    let data = match arguments.output {
        Format::Text => text(&asked, &answers, &sources),
        Format::Json => format!("{:#}\n", json_answers(&asked, &answers, &sources)),
    };
    print(&data).err().unwrap_or(Status::Done)
}

fn from_plugin_config(file: &Path, asked: &Asked) -> Result<Vec<Answer>, Status> {
    if asked.tls.is_some() {
        complain("a plugin config doesn't say what becomes of TLS; name the resources with `-f`");
        return Err(Status::Usage);
    }
    let path = file.display();
    let json = fs::read(file).map_err(|error| {
        complain(&format!("could not read the file `{path}`: {error}"));
        Status::Unreadable
    })?;
    let config = Config::from_json(&json);
    let answer = config.and_then(|config| explain::explain(&config, None, None, &asked.request));
    match answer {
        Ok(explanation) => Ok(vec![Answer::Http(Box::new(explanation))]),
        Err(error) => {
            complain(&format!("{path}: {error}"));
            Err(Status::Unreadable)
        }
    }
}

/// What the profile that was asked for says, and then the other one.
fn from_resources(arguments: &Explain, asked: &Asked) -> Result<(Vec<Answer>, Sources), Status> {
    let sources = read_sources(&arguments.files)?;
    let read = input::read(sources, &arguments.meaning.read_options());
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    let fail = |errors: &Diagnostics| {
        eprint!("{}", errors.render(&read.sources));
        let unreadable = errors.iter().any(|error| UNREADABLE.contains(&error.code));
        if unreadable { Status::Unreadable } else { Status::Findings }
    };
    let mut errors = Diagnostics::new();
    errors.extend(read.diagnostics.iter().filter(|diagnostic| is_error(diagnostic)).cloned());
    if !errors.is_empty() {
        return Err(fail(&errors));
    }
    let other = match arguments.profile {
        Profile::Standalone => Profile::Istio,
        Profile::Istio => Profile::Standalone,
    };
    let mut answers = Vec::new();
    for profile in [arguments.profile, other] {
        let options = options(arguments, profile, asked.request.port);
        let mut found = Diagnostics::new();
        let plan = Plan::of(&read.resources(), &options, &mut found);
        let mut errors = Diagnostics::new();
        errors.extend(found.into_iter().filter(is_error).map(|diagnostic| read.locate(diagnostic)));
        if !errors.is_empty() {
            if profile == arguments.profile {
                return Err(fail(&errors));
            }
            answers.push(Answer::Errors(profile, errors.len()));
            continue;
        }
        if let Some(host) = &asked.tls {
            let chain = explain::explain_tls(&plan, &options, host, asked.request.port);
            answers.push(Answer::Tls(profile, chain));
            continue;
        }
        let config = plan.proxy_config(&options);
        match explain::explain(&config, Some(&plan), Some(profile), &asked.request) {
            Ok(mut explanation) => {
                if !carries_http(asked.request.port, &plan, &options) {
                    explanation.seen = Seen::Closed;
                }
                answers.push(Answer::Http(Box::new(explanation)));
            }
            Err(error) => {
                complain(&format!("plugin config: {error}"));
                return Err(Status::Findings);
            }
        }
    }
    Ok((answers, read.sources))
}

/// The options as typed, with a listener for the port.
fn options(arguments: &Explain, profile: Profile, port: u16) -> Options {
    let mut options = arguments.meaning.options(profile);
    if options.envoy.listeners.iter().all(|listener| listener.port != port) {
        options.envoy.listeners.push(Listen { port, address: ([127, 0, 0, 1], 0).into() });
    }
    options
}

fn text(asked: &Asked, answers: &[Answer], sources: &Sources) -> String {
    let request = &asked.request;
    let mut out = match &asked.tls {
        Some(host) => format!("TLS to {host} on port {}\n", request.port),
        None => format!(
            "{} http://{}{} on port {}\n",
            request.method,
            request.authority.escape_ascii(),
            request.path.escape_ascii(),
            request.port
        ),
    };
    let Some((first, others)) = answers.split_first() else { return out };
    out.push('\n');
    out.push_str(&first.text(request, sources));
    for other in others {
        out.push('\n');
        if first.agrees_with(other) {
            out.push_str(&format!("{}: the same\n", other.profile()));
        } else {
            out.push_str(&other.text(request, sources));
        }
    }
    out
}

fn json_answers(asked: &Asked, answers: &[Answer], sources: &Sources) -> Value {
    let request = &asked.request;
    let bytes = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let agree = answers.split_first().map(|(first, others)| others.iter().all(|it| first.agrees_with(it)));
    json!({
        "request": match &asked.tls {
            Some(host) => json!({"port": request.port, "serverName": host}),
            None => json!({
                "port": request.port,
                "method": request.method,
                "authority": bytes(&request.authority),
                "path": bytes(&request.path),
                "headers": request.headers.iter().map(|(name, value)| json!([name, bytes(value)])).collect::<Value>(),
            }),
        },
        "profilesAgree": agree,
        "answers": answers.iter().map(|answer| answer.json(sources)).collect::<Value>(),
    })
}

/// The request that the arguments describe.
fn asked(arguments: &Explain) -> Result<Asked, String> {
    let mut typed = Typed {
        url: arguments.url.clone(),
        method: arguments.method.clone(),
        headers: arguments.headers.clone(),
    };
    if let Some(command) = &arguments.curl {
        let curl = Typed::from_curl(command)?;
        typed.url = typed.url.or(curl.url);
        typed.method = typed.method.or(curl.method);
        typed.headers.splice(0..0, curl.headers);
    }
    typed.asked(arguments.port)
}

#[derive(Debug, Default)]
struct Typed {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<String>,
}

impl Typed {
    /// What a curl command sends, as far as rules can see it.
    fn from_curl(command: &str) -> Result<Self, String> {
        let mut words = shell_words(command)?.into_iter();
        if words.next().as_deref() != Some("curl") {
            return Err("`--curl` takes a command that begins with `curl`".to_owned());
        }
        let mut typed = Self::default();
        let mut has_body = false;
        while let Some(word) = words.next() {
            // `-XPUT`, `--request=PUT`
            let (option, mut attached) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => {
                    (option.to_owned(), Some(value.to_owned()))
                }
                _ => match (word.get(..2), word.get(2..)) {
                    (Some(option), Some(value))
                        if !value.is_empty() && matches!(option, "-X" | "-H" | "-d" | "-A" | "-o" | "-m") =>
                    {
                        (option.to_owned(), Some(value.to_owned()))
                    }
                    _ => (word.clone(), None),
                },
            };
            let mut value = || {
                let value = attached.take().or_else(|| words.next());
                value.ok_or_else(|| format!("`{option}` of curl needs a value"))
            };
            match option.as_str() {
                "-X" | "--request" => typed.method = Some(value()?),
                "-H" | "--header" => typed.headers.push(value()?),
                "-A" | "--user-agent" => typed.headers.push(format!("user-agent: {}", value()?)),
                "--url" => typed.url = Some(value()?),
                "-I" | "--head" => drop(typed.method.get_or_insert_with(|| "HEAD".to_owned())),
                "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-urlencode" | "--json" => {
                    value()?;
                    has_body = true;
                }
                // Where the connection goes, and what becomes of the answer.
                "--connect-to" | "--resolve" | "-o" | "--output" | "-w" | "--write-out" | "--cacert"
                | "-m" | "--max-time" | "--connect-timeout" | "--retry" => drop(value()?),
                option if is_harmless(option) => {}
                option if option.starts_with('-') && option.len() > 1 => {
                    return Err(format!(
                        "`{option}` of curl is not known here; leave it out if it doesn't change the request"
                    ));
                }
                _ if typed.url.is_some() => return Err(format!("`{word}` would be a second URL")),
                _ => typed.url = Some(word),
            }
        }
        if has_body {
            typed.method.get_or_insert_with(|| "POST".to_owned());
        }
        Ok(typed)
    }

    fn asked(self, port: Option<u16>) -> Result<Asked, String> {
        let url = self.url.ok_or("a URL is missing, such as http://example.com/")?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("`{url}` is neither an http nor an https URL")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return Err(format!("`{url}` must have a host, and no user name"));
        }
        if url.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
            return Err("the URL must not hold blanks or control characters".to_owned());
        }
        let (host, own_port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse::<u16>().ok().filter(|port| *port != 0);
                (host, Some(port.ok_or_else(|| format!("`{authority}` has no valid port"))?))
            }
            _ => (authority, None),
        };
        let default = if tls { 443 } else { 80 };
        // Clients leave the scheme's own port out.
        let mut sent = if own_port == Some(default) { host } else { authority }.as_bytes().to_vec();
        let mut headers = Vec::new();
        for line in &self.headers {
            let form = || format!("`{line}` is not of the form `name: value`");
            let (name, value) = line.split_once(':').ok_or_else(form)?;
            let name = name.trim().to_ascii_lowercase();
            if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace()) {
                return Err(form());
            }
            let value = value.trim().as_bytes().to_vec();
            if name == "host" { sent = value } else { headers.push((name, value)) }
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let request = Request {
            port: port.or(own_port).unwrap_or(default),
            method: self.method.unwrap_or_else(|| "GET".to_owned()),
            authority: sent,
            path: format!("{slash}{path}").into_bytes(),
            headers,
            random: 0,
        };
        Ok(Asked { request, tls: tls.then(|| host.to_owned()) })
    }
}

/// Options of curl without a value that don't change what is asked for.
fn is_harmless(option: &str) -> bool {
    let long = ["--silent", "--show-error", "--verbose", "--insecure", "--location", "--include", "--fail"];
    let short =
        |letters: &str| !letters.is_empty() && letters.chars().all(|letter| "sSvkLif".contains(letter));
    long.contains(&option) || option.strip_prefix('-').is_some_and(short)
}

/// The words of a shell command: blanks, both quotes, backslashes.
fn shell_words(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => match chars.next() {
                Some('\n') => {}
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("the curl command ends in a backslash".to_owned()),
            },
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote of the curl command isn't closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curl(command: &str) -> Result<Asked, String> {
        Typed::from_curl(command)?.asked(None)
    }

    #[test]
    fn curl_commands_are_read() {
        let asked =
            curl("curl -sSv -XPUT \\\n -H 'X-User: a \"b\"' --data=x -H host:other \"http://a:8080?x=1#y\"")
                .unwrap();
        let request = Request {
            port: 8080,
            method: "PUT".to_owned(),
            authority: b"other".to_vec(),
            path: b"/?x=1".to_vec(),
            headers: vec![("x-user".to_owned(), b"a \"b\"".to_vec())],
            random: 0,
        };
        assert_eq!(asked, Asked { request, tls: None });
        assert_eq!(curl("curl a -d x").unwrap().request.method, "POST");
        assert_eq!(curl("curl https://a:443/").unwrap().tls.as_deref(), Some("a"));
        assert_eq!(curl("curl http://a:80/").unwrap().request.authority, b"a");
        assert_eq!(curl("curl http://[::1]/").unwrap().request.authority, b"[::1]");
        for wrong in [
            "wget a",
            "curl",
            "curl a b",
            "curl 'a",
            "curl --proxy x a",
            "curl -H x a",
            "curl ftp://a",
            "curl http://a:x/",
        ] {
            assert!(curl(wrong).is_err(), "{wrong}");
        }
    }
}

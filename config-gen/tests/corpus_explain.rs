//! `explain` on configuration that others wrote: the folder that `PORTOLAN_CORPUS` names.
//!
//! For each file with a VirtualService a request is built from its first HTTP rule, and each such
//! file has to come to a decision, or to be refused with a reason. Nothing may crash or hang.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use config_gen::input::{self, ReadOptions, files};
use config_gen::resource::VirtualService;
use config_gen::resource::virtual_service::{HttpMatch, NamedMatch, StringMatch};
use regex_syntax::hir::{Class, ClassBytesRange, ClassUnicodeRange, Hir, HirKind};

/// Longest time that one file may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What no text can be read with.
const UNREADABLE: [&str; 3] = ["invalid-yaml", "unrendered-template", "file-too-large"];

/// What `explain` came to.
enum Outcome {
    /// The line that tells it.
    Decision(String),
    /// The first error.
    Refused(String),
}

#[test]
fn every_file_comes_to_a_decision_or_a_reason() {
    let Some(folder) = std::env::var_os("PORTOLAN_CORPUS").map(PathBuf::from) else {
        return println!("skipped: PORTOLAN_CORPUS names no folder of Istio configuration");
    };
    if !folder.is_dir() {
        return println!("skipped: {} is no folder", folder.display());
    }
    let mut paths = Vec::new();
    walk(&folder, &mut paths);
    paths.sort();
    let (mut count, mut decisions) = (0, 0);
    let mut partial: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in paths {
        let Some(arguments) = arguments(&path) else { continue };
        count += 1;
        let name = path.strip_prefix(&folder).unwrap_or(&path).display().to_string();
        let (decision, why) = match explain(&path, &arguments, false) {
            Outcome::Decision(line) => (line, None),
            Outcome::Refused(why) => match explain(&path, &arguments, true) {
                Outcome::Decision(line) => (line, Some(why)),
                Outcome::Refused(why) => {
                    refused.entry(why).or_default().push(name);
                    continue;
                }
            },
        };
        decisions += 1;
        println!("{name}: {} -> {decision}", arguments.last().unwrap());
        if let Some(why) = why {
            partial.entry(why).or_default().push(name);
        }
    }
    let number = |list: &BTreeMap<String, Vec<String>>| list.values().map(Vec::len).sum::<usize>();
    for (what, list) in [("decided with --keep-going", &partial), ("refused", &refused)] {
        for (why, names) in list {
            println!("{what}, {why} ({}): {}", names.len(), names.join(", "));
        }
    }
    println!(
        "corpus: {count} files with a VirtualService, {decisions} decisions ({} of them with --keep-going), {} refused",
        number(&partial),
        number(&refused)
    );
    assert!(count > 0, "{} holds no VirtualService", folder.display());
    assert_eq!(decisions + number(&refused), count);
    for why in refused.keys() {
        assert!(UNREADABLE.iter().any(|code| why.contains(code)), "refused in spite of --keep-going: {why}");
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml" || ending == "json")
        {
            found.push(path);
        }
    }
}

/// A request for the first VirtualService of the file as arguments, the URL last; none where it
/// has none.
fn arguments(path: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let kind = |line: &str| line.trim().trim_start_matches("- ").replace(['"', '\'', ','], "");
    if !text.lines().any(|line| kind(line) == "kind: VirtualService") {
        return None;
    }
    let read =
        files::collect(&[path.to_owned()]).map(|sources| input::read(sources, &ReadOptions::default()));
    let read = read.unwrap_or_default();
    let has_http = |service: &&VirtualService| !service.http.is_empty();
    let service = read.virtual_services.iter().find(has_http).or(read.virtual_services.first());
    let mut arguments: Vec<String> = Vec::new();
    let Some(service) = service else {
        // Nothing could be read of it; `explain` says why.
        return Some(vec!["http://any.example.com/".to_owned()]);
    };
    let host = service.hosts.first().map_or("any.example.com", |host| host.value.as_str());
    let host = host.strip_prefix('*').map_or_else(|| host.to_owned(), |rest| format!("any{rest}"));
    let host = if host == "any" { "any.example.com".to_owned() } else { host };
    let rule = service.http.first().and_then(|http| http.matches.first());
    arguments.extend(["--client-namespace".to_owned(), service.meta.namespace.clone()]);
    let mut path = "/".to_owned();
    if let Some(rule) = rule {
        conditions(rule, &mut arguments);
        path = rule.uri.as_ref().map_or(path, |uri| sample(&uri.value));
        let query: Vec<String> = rule
            .query_params
            .iter()
            .map(|it| format!("{}={}", it.name.value, sample(&it.value.value)))
            .collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    arguments.push(format!("http://{host}{slash}{}", path.replace(' ', "%20")));
    Some(arguments)
}

fn conditions(rule: &HttpMatch, arguments: &mut Vec<String>) {
    if let Some(method) = &rule.method {
        arguments.extend(["-X".to_owned(), sample(&method.value)]);
    }
    if let Some(port) = &rule.port {
        arguments.extend(["--port".to_owned(), port.value.to_string()]);
    }
    let mut header = |name: &str, value: &StringMatch| {
        arguments.extend(["-H".to_owned(), format!("{name}: {}", sample(value))]);
    };
    if let Some(authority) = &rule.authority {
        header("host", &authority.value);
    }
    for NamedMatch { name, value } in rule.headers.iter().filter(|it| !it.name.value.starts_with(':')) {
        header(&name.value, &value.value);
    }
    if !rule.source_labels.is_empty() {
        let labels: Vec<String> =
            rule.source_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        arguments.extend(["--client-labels".to_owned(), labels.join(",")]);
    }
}

/// A text that fits.
fn sample(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) | StringMatch::Prefix(text) => text.clone(),
        StringMatch::Regex(pattern) => {
            let mut out = Vec::new();
            if let Ok(hir) = regex_syntax::parse(pattern) {
                shortest(&hir, &mut out);
            }
            String::from_utf8_lossy(&out).into_owned()
        }
        StringMatch::Present => "x".to_owned(),
    }
}

/// A short text that `hir` matches.
fn shortest(hir: &Hir, out: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(Class::Unicode(class)) => {
            // `x` where it may stand, as for a dot.
            let holds = |c: char| class.ranges().iter().any(|range| range.start() <= c && c <= range.end());
            let first = class.ranges().first().map_or('x', ClassUnicodeRange::start);
            let chosen = if holds('x') { 'x' } else { first };
            out.extend_from_slice(chosen.to_string().as_bytes());
        }
        HirKind::Class(Class::Bytes(class)) => out.extend(class.ranges().first().map(ClassBytesRange::start)),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                shortest(&repetition.sub, out);
            }
        }
        HirKind::Capture(capture) => shortest(&capture.sub, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| shortest(part, out)),
        HirKind::Alternation(parts) => parts.iter().take(1).for_each(|part| shortest(part, out)),
    }
}

/// Runs the program; kinds that would be refused are left out, and what Istio would go on with is
/// accepted, so that as much as possible comes to a decision.
fn explain(path: &Path, arguments: &[String], keep_going: bool) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_config-gen"));
    command.args(["explain", "-f"]).arg(path);
    for code in config_gen::plan::ACCEPTABLE {
        command.args(["--accept", code]);
    }
    for kind in config_gen::schema::kinds::KINDS.iter().map(|kind| kind.name) {
        command.args(["--accept-ignored", kind]);
    }
    if keep_going {
        command.arg("--keep-going");
    }
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let err = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("{}: no answer in {LIMIT:?}", path.display());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    let at = || format!("{} {arguments:?}\n{out}{err}", path.display());
    let decision = out.lines().find(|line| line.starts_with("standalone: "));
    match (status.code(), decision) {
        (Some(0 | 1), Some(line)) if keep_going || status.success() => Outcome::Decision(line.to_owned()),
        (Some(1 | 2), None) => {
            let errors = || err.lines().filter(|line| line.starts_with("error"));
            let first = errors().find(|line| UNREADABLE.iter().any(|code| line.contains(code)));
            let error = first.or_else(|| errors().next()).unwrap_or_else(|| panic!("no reason: {}", at()));
            Outcome::Refused(error.split(':').next().unwrap_or(error).to_owned())
        }
        (other, _) => panic!("ended with {other:?}: {}", at()),
    }
}

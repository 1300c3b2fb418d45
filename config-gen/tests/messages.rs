//! Every code with an example that fails and one that is mended, and the pages that are made of them.
//!
//! `tests/messages/CODE.yaml` has the two; both are given to the program, and its code has to be
//! among the findings of the first and not of the second. What it prints is in `docs/messages`. To
//! write these pages, run
//!
//! ```text
//! UPDATE=1 cargo test -p portolan-config-gen --test messages
//! ```
//!
//! and look at what changed before it is committed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use config_gen::analysis::messages::{self, Message};
use serde::Deserialize;
use tempfile::TempDir;

/// An example.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// Why there is none.
    no_example: Option<String>,
    /// What the program is called with, besides the file.
    #[serde(default = "validate")]
    arguments: String,
    /// What the example is called; a MeshConfig is given beside the file of `input`.
    #[serde(default = "in_a_file")]
    file: String,
    /// Resources beside the example, where that is something else.
    input: Option<String>,
    #[serde(default)]
    fails: String,
    #[serde(default)]
    mended: String,
}

fn validate() -> String {
    "validate".to_owned()
}

fn in_a_file() -> String {
    "example.yaml".to_owned()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

impl Example {
    fn of(message: &Message) -> Self {
        let path = folder("tests/messages").join(format!("{}.yaml", message.code));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The command as it is typed, what it prints, and its exit status.
    fn run(&self, text: &str) -> (String, String, Option<i32>) {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join(&self.file), text).unwrap();
        let mut words: Vec<&str> = self.arguments.split_whitespace().collect();
        match &self.input {
            Some(input) => {
                fs::write(directory.path().join("input.yaml"), input).unwrap();
                words.extend(["-f", "input.yaml", "--mesh-config", &self.file]);
            }
            None => words.extend(["-f", &self.file]),
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_config-gen"));
        let output = command.current_dir(directory.path()).args(&words).output().unwrap();
        // Of `generate`, findings are talk and the rest is data.
        let findings = if words.first() == Some(&"validate") { &output.stdout } else { &output.stderr };
        let mut printed = String::from_utf8(findings.clone()).unwrap();
        if words.first() == Some(&"validate") {
            printed.push_str(&String::from_utf8(output.stderr).unwrap());
        }
        (format!("config-gen {}", words.join(" ")), printed, output.status.code())
    }
}

/// What is wrong with an example, and its page.
fn check(message: &Message) -> (Vec<String>, String) {
    let example = Example::of(message);
    let code = message.code;
    let mut wrong = Vec::new();
    let mut page = head(message);
    if let Some(why) = &example.no_example {
        let _ = writeln!(page, "\nThere is no example: {why}.");
        return (wrong, page);
    }
    let found = format!("[{code}]");
    let (command, printed, _) = example.run(&example.fails);
    if !printed.contains(&found) {
        wrong.push(format!("{code}: not found in what fails:\n{printed}"));
    }
    let (_, mended, status) = example.run(&example.mended);
    if mended.contains(&found) {
        wrong.push(format!("{code}: still found in what is mended:\n{mended}"));
    } else if status != Some(0) {
        wrong.push(format!("{code}: what is mended has errors:\n{mended}"));
    }
    let (fails, printed, mended) = (short(&example.fails), short(&printed), short(&example.mended));
    let _ = write!(page, "\n## An example that fails\n\n");
    if let Some(input) = &example.input {
        let _ = write!(page, "`input.yaml`:\n\n```yaml\n{input}```\n\n");
    }
    let _ = write!(page, "`{}`:\n\n```yaml\n{fails}```\n\n", example.file);
    let _ = write!(page, "```console\n$ {command}\n{printed}```\n\n");
    let _ = write!(page, "## Mended\n\n```yaml\n{mended}```\n");
    (wrong, page)
}

fn head(message: &Message) -> String {
    let Message { code, severity, title, why, way_out, istio } = message;
    let istio = match istio.is_empty() {
        true => String::new(),
        false => format!(" `istioctl analyze` calls it {}.", istio.join(" or ")),
    };
    format!(
        "<!-- Written by config-gen/tests/messages.rs. -->\n# {title}\n\n`{code}`, {article} {severity}.{istio}\n\n{why}\n\n\
         **Way out**: {way_out}.\n",
        article = if severity.to_string() == "error" { "an" } else { "a" },
    )
}

/// Some examples are about what is too long or too many; nobody wants to read that.
fn short(text: &str) -> String {
    const LONGEST: usize = 200;
    let line = |line: &str| match line.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}...\n", &line[..cut]),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn list() -> String {
    let mut out = String::from(
        "<!-- Written by config-gen/tests/messages.rs. -->\n# Findings\n\nWhat `config-gen validate`, and in part \
         `config-gen generate`, can say. `config-gen validate --explain CODE` prints the first lines of a page.\n\n\
         | Code | Severity | What it is about | `istioctl analyze` |\n| --- | --- | --- | --- |\n",
    );
    let mut all: Vec<&Message> = messages::all().collect();
    all.sort_by_key(|message| message.code);
    for Message { code, severity, title, istio, .. } in all {
        let _ = writeln!(out, "| [{code}]({code}.md) | {severity} | {title} | {} |", istio.join(", "));
    }
    out.push_str(OUT_OF_REACH);
    out
}

const OUT_OF_REACH: &str = "
## Out of reach

What `istioctl analyze` finds by looking into a cluster, files don't tell:

- Which pods there are. Subsets of a ServiceEntry are compared with its endpoints (IST0173: `empty-subset`); those of a
  Kubernetes Service are taken as they are (`subset-approximated`). Neither selectors of gateways and Sidecars nor their
  ports are compared with workloads.
- Injection, webhooks, versions of proxies, and the state of the control plane.
- CustomResourceDefinitions. Objects of kinds that Istio has dropped are found (IST0002: `retired-kind`).
- Whether the RequestAuthentication that verifies a token is for the right gateway (IST0149): that there is one is enough.
";

#[test]
fn every_code_has_an_example_that_fails_and_one_that_is_mended() {
    let docs = folder("../docs/messages");
    let mut pages = vec![("README.md".to_owned(), list())];
    let mut wrong = Vec::new();
    for message in messages::all() {
        let (problems, page) = check(message);
        wrong.extend(problems);
        pages.push((format!("{}.md", message.code), page));
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&docs).unwrap();
        for entry in fs::read_dir(&docs).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, page) in &pages {
            fs::write(docs.join(name), page).unwrap();
        }
    }
    for (name, page) in &pages {
        if fs::read_to_string(docs.join(name)).unwrap_or_default() != *page {
            wrong.push(format!("docs/messages/{name} is out of date; refresh it with UPDATE=1"));
        }
    }
    let written: BTreeSet<String> = names_in(&docs);
    let expected: BTreeSet<String> = pages.into_iter().map(|(name, _)| name).collect();
    wrong.extend(written.difference(&expected).map(|name| format!("docs/messages/{name} is of no code")));
    assert!(wrong.is_empty(), "{} problems:\n{}", wrong.len(), wrong.join("\n"));
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn examples_and_codes_are_the_same_ones() {
    let codes: Vec<&str> = messages::all().map(|message| message.code).collect();
    let distinct: BTreeSet<&str> = codes.iter().copied().collect();
    assert_eq!(codes.len(), distinct.len(), "a code stands twice");
    let files = names_in(&folder("tests/messages"));
    let expected: BTreeSet<String> = codes.iter().map(|code| format!("{code}.yaml")).collect();
    assert_eq!(files, expected);
    for Message { code, title, why, way_out, .. } in messages::all() {
        assert!(why.ends_with('.') && !title.ends_with('.') && !way_out.ends_with('.'), "{code}");
    }
}

/// Codes are written where findings are made.
#[test]
fn every_code_of_the_source_is_known() {
    /// Of case files, which have their own documentation.
    const ELSEWHERE: [&str; 1] = ["invalid-case"];
    let mut unknown = BTreeSet::new();
    let mut folders = vec![folder("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            for severity in ["Diagnostic::error(", "Diagnostic::warning(", "Diagnostic::note("] {
                for call in text.split(severity).skip(1) {
                    let Some(code) =
                        call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
                    else {
                        continue;
                    };
                    if messages::find(code).is_none() && !ELSEWHERE.contains(&code) {
                        unknown.insert(format!("{code} ({})", path.display()));
                    }
                }
            }
        }
    }
    assert!(unknown.is_empty(), "codes without an entry in `messages`: {unknown:#?}");
}

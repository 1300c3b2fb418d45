//! Bad inputs and what is said about them.
//!
//! Each `tests/input/NAME.yaml` (or `.json`) has the expected text beside it in `NAME.txt`. To
//! write the texts, and the documents that are generated from the tables, run
//!
//! ```text
//! UPDATE=1 cargo test -p portolan-config-gen --test input
//! ```
//!
//! and look at what changed before it is committed.

use std::fs;
use std::path::{Path, PathBuf};

use config_gen::input::{Read, ReadOptions, files, read};
use config_gen::mesh_config;
use config_gen::report;
use config_gen::schema::markdown;
use config_gen::source::Sources;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/input")
}

fn wanted(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "json")
}

/// Compares with a file, or writes it if `UPDATE` is set. Returns what is wrong.
fn compare(path: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, actual).unwrap();
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    (expected != actual).then(|| {
        format!(
            "{} differs; refresh it with UPDATE=1\n--- expected\n{expected}\n--- actual\n{actual}",
            path.display()
        )
    })
}

fn summary(read: &Read) -> String {
    let mut out = read.diagnostics.render(&read.sources);
    if !out.is_empty() {
        out.push('\n');
    }
    out + &format!(
        "{} ServiceEntry, {} VirtualService, {} DestinationRule; {} fields of Kubernetes ignored\n",
        read.service_entries.len(),
        read.virtual_services.len(),
        read.destination_rules.len(),
        read.ignored_metadata_fields
    )
}

#[test]
fn every_input_is_reported_as_expected() {
    let mut inputs: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| wanted(path))
        .collect();
    inputs.sort();
    assert!(inputs.len() > 10, "the inputs are missing");
    let mut wrong = Vec::new();
    for path in inputs {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let read = if name.starts_with("mesh-config") {
            let mut read = Read::default();
            mesh_config::read(name, &text, &mut read);
            read
        } else {
            let mut sources = Sources::new();
            sources.add(name, text);
            read(sources, &ReadOptions::default())
        };
        wrong.extend(compare(&path.with_extension("txt"), &summary(&read)));
        wrong.extend(report::missing(&read).into_iter().map(|place| format!("{name}: no line for {place}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_inputs_have_no_findings() {
    for name in [
        "good-anchors.yaml",
        "good-crlf.yaml",
        "good-empty-documents.yaml",
        "good-kubectl-list.yaml",
        "good.json",
    ] {
        let sources = files::collect(&[folder().join(name)]).unwrap();
        let read = read(sources, &ReadOptions::default());
        assert!(read.diagnostics.is_empty(), "{}", read.diagnostics.render(&read.sources));
        assert!(!read.service_entries.is_empty(), "{name}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let text = fs::read_to_string(folder().join("secret.yaml")).unwrap();
    let told = fs::read_to_string(folder().join("secret.txt")).unwrap();
    let mut secrets = text.split_whitespace().filter(|word| word.starts_with("TOP-SECRET")).peekable();
    assert!(secrets.peek().is_some());
    assert!(secrets.all(|secret| !told.contains(secret)) && !told.contains("TOP-SECRET"));
}

#[test]
fn accepted_kinds_are_left_out() {
    let sources = files::collect(&[folder().join("refused-kinds.yaml")]).unwrap();
    let accept = ["AuthorizationPolicy", "Ingress", "Unheard"].map(str::to_owned).to_vec();
    let read = read(sources, &ReadOptions { accept_ignored: accept, ..ReadOptions::default() });
    assert!(!read.diagnostics.has_errors(), "{}", read.diagnostics.render(&read.sources));
    assert_eq!(read.ignored_objects.values().sum::<usize>(), 5);
}

#[test]
fn the_list_of_kinds_is_in_step() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let wrong = compare(&docs.join("kinds.md"), &markdown::kinds());
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

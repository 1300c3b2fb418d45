//! Commands that report: their whole output, kept in files.
//!
//! Each command runs in `tests/commands`, and what it prints is kept there in `NAME.out`. To write
//! these files, run
//!
//! ```text
//! UPDATE=1 cargo test -p portolan-config-gen --test commands
//! ```
//!
//! and look at what changed before it is committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands")
}

/// Standard output, standard error and exit status.
fn run(arguments: &[&str]) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_config-gen"));
    let output = command.current_dir(folder()).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// What is wrong with the outputs of these commands.
fn compare(commands: &[(&str, &[&str])]) {
    let mut wrong = Vec::new();
    for (name, arguments) in commands {
        let (out, err, status) = run(arguments);
        let words: Vec<String> = arguments
            .iter()
            .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() })
            .collect();
        let actual = format!("$ config-gen {}\n{out}--- stderr\n{err}--- status {status}\n", words.join(" "));
        let path = folder().join(format!("{name}.out"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, actual).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != actual {
            wrong.push(format!(
                "{} differs; refresh it with UPDATE=1\n--- expected\n{expected}\n--- actual\n{actual}",
                path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn test_reports_every_failure() {
    compare(&[
        ("test-text", &["test", "cases"]),
        ("test-json", &["test", "cases", "-o", "json"]),
        ("test-junit", &["test", "cases", "-o", "junit"]),
        ("test-no-case", &["test", "webserver.yaml"]),
    ]);
}

#[test]
fn test_exit_status() {
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata");
    assert_eq!(run(&["test", testdata]).2, 0);
    assert!(run(&["test", "--help"]).0.contains("config-gen test tests/webserver.yaml"));
    assert_eq!(run(&["test", "cases"]).2, 1);
    assert_eq!(run(&["test", "missing.yaml"]).2, 2);
    assert_eq!(run(&["test"]).2, 2, "there is no directory `tests`");
    assert_eq!(run(&["test", "-o", "xml", "cases"]).2, 64);
}

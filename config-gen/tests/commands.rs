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

/// Compares with a file, or writes it if `UPDATE` is set. Returns what is wrong.
fn kept(name: &str, actual: &str) -> Option<String> {
    let path = folder().join(format!("{name}.out"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, actual).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    (expected != actual).then(|| {
        format!(
            "{} differs; refresh it with UPDATE=1\n--- expected\n{expected}\n--- actual\n{actual}",
            path.display()
        )
    })
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
        wrong.extend(kept(name, &actual));
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

#[test]
fn validate_tells_people_and_programs() {
    let one = |rest: &[&'static str]| [&["validate", "-f", "validate.yaml"], rest].concat();
    let commands: [(&str, Vec<&str>); 11] = [
        ("validate-text", one(&[])),
        ("validate-istio", one(&["--profile", "istio", "--client-namespace", "shop"])),
        ("validate-colour", one(&["--color", "always", "--suppress", "*=VirtualService/made-up.*"])),
        ("validate-json", one(&["--format", "json"])),
        ("validate-sarif", one(&["--format", "sarif"])),
        ("validate-junit", one(&["--format", "junit"])),
        ("validate-github", one(&["--format", "github"])),
        ("validate-suppressed", one(&["--suppress", "IST0101", "--suppress", "r*=VirtualService files.*"])),
        ("validate-nothing", vec!["validate", "-f", "webserver.yaml", "--suppress", "*"]),
        ("validate-explain", vec!["validate", "--explain", "foreign-host"]),
        ("validate-no-such-code", vec!["validate", "--explain", "foreign-hosts"]),
    ];
    let commands: Vec<(&str, &[&str])> =
        commands.iter().map(|(name, arguments)| (*name, arguments.as_slice())).collect();
    compare(&commands);
}

/// What the schemas of the two forms ask for.
#[test]
fn reports_are_well_formed() {
    let (sarif, ..) = run(&["analyze", "-f", "validate.yaml", "--format", "sarif"]);
    let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run_ = &sarif["runs"][0];
    let driver = &run_["tool"]["driver"];
    assert!(driver["name"].is_string());
    let rules = driver["rules"].as_array().unwrap();
    let results = run_["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for rule in rules {
        assert!(rule["id"].is_string() && rule["shortDescription"]["text"].is_string(), "{rule}");
    }
    for result in results {
        assert!(result["message"]["text"].is_string(), "{result}");
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()), "{result}");
        let rule = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[rule]["id"], result["ruleId"]);
        let locations = [&result["locations"], &result["relatedLocations"]];
        for location in locations.into_iter().filter_map(serde_json::Value::as_array).flatten() {
            let physical = &location["physicalLocation"];
            assert_eq!(physical["artifactLocation"]["uri"], "validate.yaml");
            let region = |name: &str| physical["region"][name].as_u64().unwrap();
            assert!(region("startLine") >= 1 && region("startColumn") >= 1 && region("endColumn") >= 1);
            assert!((region("startLine"), region("startColumn")) <= (region("endLine"), region("endColumn")));
        }
    }
    let (junit, ..) = run(&["validate", "-f", "validate.yaml", "--format", "junit"]);
    let document = roxmltree::Document::parse(&junit).unwrap();
    let suites = document.root_element();
    assert_eq!(suites.tag_name().name(), "testsuites");
    let elements = |name: &'static str| suites.descendants().filter(move |node| node.has_tag_name(name));
    let count = |name: &str| suites.attribute(name).unwrap().parse::<usize>().unwrap();
    assert_eq!(count("tests"), elements("testcase").count());
    assert_eq!(count("failures"), elements("failure").count());
    assert_eq!(elements("testcase").count(), results.len());
    for case in elements("testcase") {
        assert!(case.attribute("name").is_some() && case.attribute("classname").is_some());
    }
}

#[test]
fn validate_exit_status() {
    let status = |rest: &[&str]| run(&[&["validate", "-f", "validate.yaml"], rest].concat()).2;
    let errors_out = ["--suppress", "IST0101"];
    assert_eq!(status(&[]), 1);
    assert_eq!(status(&errors_out), 0);
    assert_eq!(status(&[&errors_out[..], &["--fail-on", "warning"]].concat()), 1);
    assert_eq!(status(&["--suppress", "*", "--fail-on", "note"]), 0);
    assert_eq!(status(&["--suppress", "no-such-code"]), 64);
    assert_eq!(status(&["--format", "html"]), 64);
    assert_eq!(run(&["validate"]).2, 64);
    assert_eq!(run(&["validate", "-f", "missing.yaml"]).2, 2);
}

/// Colours are for terminals, and not for who has said that they don't want any.
#[test]
fn validate_has_no_colours_in_a_file() {
    let (out, ..) = run(&["validate", "-f", "validate.yaml"]);
    assert!(!out.contains('\u{1b}'));
}

#[test]
fn explain_says_what_and_why() {
    let one = |rest: &[&'static str]| [&["explain", "-f", "webserver.yaml"], rest].concat();
    let commands: [(&str, Vec<&str>); 14] = [
        ("explain-match", one(&["http://webserver/files/7?v=1"])),
        ("explain-header", one(&["-X", "POST", "-H", "X-User: nobody", "http://WEBSERVER:80/admin"])),
        ("explain-absent-header", one(&["-H", "x-old: 1", "http://webserver/?v=2"])),
        ("explain-no-route", one(&["http://webserver/nothing", "--outbound-policy", "registry-only"])),
        ("explain-same", one(&["http://files.example.com/"])),
        ("explain-other-port", one(&["http://files.example.com/", "--port", "8080"])),
        ("explain-two-hosts", one(&["-H", "host: a,b", "http://a/"])),
        (
            "explain-closed",
            one(&["http://x/", "--port", "81", "--profile", "istio", "--outbound-policy", "registry-only"]),
        ),
        ("explain-tls", one(&["https://a.wild.example.com/"])),
        ("explain-tls-unknown", one(&["https://example.org/"])),
        ("explain-tls-port", one(&["https://files.example.com/", "--port", "80"])),
        ("explain-curl", one(&["--curl", "curl -d x -H 'x-user: root' http://webserver/admin"])),
        ("explain-json", one(&["-o", "json", "http://webserver/files/7"])),
        (
            "explain-plugin-config",
            vec!["explain", "--plugin-config", "plugin-config.json", "http://a.example.com/x"],
        ),
    ];
    let actions = |rest: &[&'static str]| [&["explain", "-f", "actions.yaml"], rest].concat();
    let jason = ["-H", "cookie: user=jason", "http://shop.example.com/cart"];
    let more = [
        ("explain-requests", actions(&["--requests", "requests.yaml"])),
        (
            "explain-allow-any",
            actions(&[
                "--requests",
                "requests.txt",
                "--outbound-policy",
                "allow-any",
                "--allow-upstream",
                "192.168.0.0/16",
            ]),
        ),
        ("explain-mesh-config", actions(&["--mesh-config", "mesh.yaml", "http://unknown.example.com/"])),
        ("explain-drawn", [actions(&["--draw", "24"]), jason.to_vec()].concat()),
        ("explain-drawn-other", [actions(&["--draw", "25"]), jason.to_vec()].concat()),
        ("explain-yaml", [actions(&["-o", "yaml"]), jason.to_vec()].concat()),
        (
            "explain-one-profile",
            one(&["--profile", "istio", "http://webserver.default.svc.cluster.local/files/7"]),
        ),
        (
            "explain-unserved",
            vec![
                "explain",
                "-f",
                "unserved.yaml",
                "--accept",
                "unknown-destination",
                "--requests",
                "unserved.txt",
            ],
        ),
        (
            "explain-keep-going",
            vec!["explain", "-f", "unserved.yaml", "--keep-going", "http://nowhere.example.com/"],
        ),
        (
            "explain-mesh",
            vec!["explain", "--plugin-config", "mesh-plugin-config.json", "--requests", "mesh-requests.txt"],
        ),
        ("explain-report", one(&["--outbound-policy", "report", "http://unknown.example.org/"])),
        ("explain-report-tls", one(&["--outbound-policy", "report", "https://unknown.example.org:8443/"])),
        (
            "explain-requests-json",
            vec![
                "explain",
                "--plugin-config",
                "mesh-plugin-config.json",
                "--requests",
                "mesh-requests.txt",
                "-o",
                "json",
            ],
        ),
        ("explain-requests-wrong", actions(&["--requests", "requests-wrong.yaml"])),
        ("explain-lines-wrong", actions(&["--requests", "requests-wrong.txt"])),
    ];
    let commands: Vec<(&str, &[&str])> =
        commands.iter().chain(&more).map(|(name, arguments)| (*name, arguments.as_slice())).collect();
    compare(&commands);
}

/// The examples in README.md, some of which end in `...`.
#[test]
fn the_readme_shows_what_commands_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for name in ["explain", "graph", "diff", "suggest"] {
        let (_, rest) = readme.split_once(&format!("$ config-gen {name} ")).expect("the example");
        let (line, rest) = rest.split_once('\n').unwrap();
        let (shown, _) = rest.split_once("```").expect("the end of the example");
        let (shown, whole) = match shown.trim_end().strip_suffix("...") {
            Some(shown) => (shown.trim_end_matches(' '), false),
            None => (shown, true),
        };
        let arguments: Vec<&str> = line.split(' ').map(|word| word.trim_matches('\'')).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_config-gen"));
        let output = command.current_dir(&root).arg(name).args(arguments).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(if whole { out == shown } else { out.starts_with(shown) }, "{name}:\n{out}");
    }
}

#[test]
fn explain_exit_status() {
    let status = |arguments: &[&str]| run(&[&["explain"], arguments].concat()).2;
    assert_eq!(status(&["-f", "webserver.yaml", "http://unknown/"]), 0);
    assert_eq!(status(&["-f", "cases/mixed.yaml", "http://a/"]), 1, "no Kubernetes objects");
    assert_eq!(status(&["-f", "missing.yaml", "http://a/"]), 2);
    assert_eq!(status(&["--plugin-config", "webserver.yaml", "http://a/"]), 2);
    assert_eq!(status(&["--plugin-config", "plugin-config.json", "https://a/"]), 64);
    assert_eq!(status(&["-f", "webserver.yaml", "--requests", "missing.yaml"]), 2);
    assert_eq!(status(&["-f", "webserver.yaml", "--requests", "requests-wrong.yaml"]), 2);
    assert_eq!(status(&["-f", "webserver.yaml", "--requests", "requests.yaml", "http://a/"]), 64);
    for wrong in [&["http://a/"][..], &["-f", "webserver.yaml"], &["-f", "webserver.yaml", "ftp://a/"]] {
        assert_eq!(status(wrong), 64, "{wrong:?}");
    }
}

#[test]
fn diff_tells_what_changes() {
    compare(&[
        ("diff-text", &["diff", "actions.yaml", "diff/after.yaml"]),
        (
            "diff-bounded",
            &["diff", "actions.yaml", "diff/after.yaml", "--max-changes", "1", "--max-requests", "40"],
        ),
        ("diff-markdown", &["diff", "actions.yaml", "diff/after.yaml", "--format", "markdown"]),
        ("diff-json", &["diff", "diff/after.yaml", "actions.yaml", "--format", "json"]),
        ("diff-same", &["diff", "actions.yaml", "actions.yaml"]),
        ("diff-same-markdown", &["diff", "actions.yaml", "actions.yaml", "--format", "markdown"]),
        ("diff-profiles", &["diff", "webserver.yaml", "--profiles"]),
        ("diff-errors", &["diff", "webserver.yaml", "unserved.yaml"]),
    ]);
}

#[test]
fn diff_exit_status() {
    let status = |arguments: &[&str]| run(&[&["diff"], arguments].concat()).2;
    assert_eq!(status(&["actions.yaml", "actions.yaml"]), 0);
    assert_eq!(status(&["actions.yaml", "webserver.yaml"]), 1);
    assert_eq!(status(&["actions.yaml", "missing.yaml"]), 2);
    assert_eq!(status(&["unserved.yaml", "unserved.yaml"]), 2, "it has errors");
    assert_eq!(status(&["unserved.yaml", "unserved.yaml", "--keep-going"]), 0);
    for wrong in
        [&["actions.yaml"][..], &["a", "b", "--profiles"], &["a", "--profiles", "--profile", "istio"]]
    {
        assert_eq!(status(wrong), 64, "{wrong:?}");
    }
}

#[test]
fn suggest_tells_what_would_allow_it() {
    compare(&[("suggest", &["suggest", "access.log"])]);
    assert_eq!(run(&["suggest", "missing.log"]).2, 2);
    assert_eq!(run(&["suggest"]).2, 64);
}

#[test]
fn graph_exit_status() {
    let status = |arguments: &[&str]| run(&[&["graph"], arguments].concat()).2;
    assert_eq!(status(&["-f", "actions.yaml"]), 0);
    assert_eq!(status(&["-f", "unserved.yaml"]), 1);
    assert_eq!(status(&["-f", "unserved.yaml", "--keep-going"]), 1);
    assert_eq!(status(&["-f", "missing.yaml"]), 2);
    assert_eq!(status(&["-f", "actions.yaml", "--format", "png"]), 64);
}

/// The report that `generate` writes on `input`, and what it says beside it.
fn report(input: &str) -> (String, String, i32) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("out/report.json");
    let (out, err, status) =
        run(&["generate", "-f", input, "--emit", "plugin-config", "--report", file.to_str().unwrap()]);
    assert_eq!(out.is_empty(), status != 0, "{err}");
    (fs::read_to_string(file).unwrap(), err, status)
}

#[test]
fn generate_reports_every_field() {
    let mut wrong = Vec::new();
    for (name, input) in [("report", "webserver.yaml"), ("report-errors", "refused.yaml")] {
        let (json, err, status) = report(input);
        let actual = format!("{json}--- stderr\n{err}--- status {status}\n");
        wrong.extend(kept(name, &actual));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let arguments =
        ["generate", "-f", "webserver.yaml", "--emit", "envoy", "--report", "refused.yaml/report.json"];
    let (out, err, status) = run(&arguments);
    assert_eq!((out.as_str(), status), ("", 2));
    assert!(err.contains("can't write `refused.yaml/report.json`"), "{err}");
}

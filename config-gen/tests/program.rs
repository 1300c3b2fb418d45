//! What the program says of itself: completions, manual pages, versions.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_config-gen")).args(arguments).output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// What bash would offer for the last of `words`.
fn offered(words: &[&str]) -> String {
    let script = r#"
        source <("$0" completions bash)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _config__gen config-gen "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["-euc", script, env!("CARGO_BIN_EXE_config-gen")]).args(words);
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{}", text(output.stderr));
    text(output.stdout)
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(offered(&["config-gen", "gene"]), "generate\n");
    assert_eq!(offered(&["config-gen", "explain", "--mesh-c"]), "--mesh-config\n");
    assert_eq!(offered(&["config-gen", "generate", "--profile", ""]), "standalone istio\n");
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success());
        assert!(text(output.stdout).contains("outbound-policy"), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd.exe"]).status.code(), Some(64));
}

#[test]
fn every_command_has_a_manual_page() {
    let page = text(run(&["man"]).stdout);
    assert!(page.contains(".TH CONFIG-GEN 1") && page.contains("Exit status"), "{page}");
    let folder = tempfile::TempDir::new().unwrap();
    let target = folder.path().join("man1");
    assert!(run(&["man", "-o", target.to_str().unwrap()]).status.success());
    let help = text(run(&["--help"]).stdout);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        let page = fs::read_to_string(target.join(format!("config-gen-{name}.1"))).unwrap_or_default();
        assert!(page.contains("Example"), "{name}: {page}");
        assert!(page.contains(&format!("config\\-gen {name}")), "{name} is typed apart: {page}");
    }
    assert!(target.join("config-gen.1").is_file());
    // The directory is a file.
    let file = target.join("config-gen.1");
    assert_eq!(run(&["man", "-o", file.to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn version_tells_the_digest_of_the_module() {
    let folder = tempfile::TempDir::new().unwrap();
    let in_folder = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_config-gen"));
        let output = command.current_dir(folder.path()).arg("version").args(arguments).output().unwrap();
        (text(output.stdout), text(output.stderr), output.status.code())
    };
    let (out, _, status) = in_folder(&[]);
    assert!(out.contains("module: none here") && status == Some(0), "{out}");
    fs::write(folder.path().join("portolan.wasm"), b"\0asm and more").unwrap();
    let (out, _, _) = in_folder(&[]);
    assert!(out.contains(&format!("sha256: {}", sha256sum(&folder.path().join("portolan.wasm")))), "{out}");
    fs::write(folder.path().join("other"), "no module").unwrap();
    let (out, err, status) = in_folder(&["--module", "other", "-o", "json"]);
    assert!(out.is_empty() && err.contains("`other` is no WebAssembly module"), "{err}");
    assert_eq!(status, Some(2));
    let (out, _, _) = in_folder(&["-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["module"]["bytes"], &json["envoyVersions"][0]), (&13.into(), &"1.36.4".into()));
}

/// As another program computes it.
fn sha256sum(file: &Path) -> String {
    let mut python = Command::new("python3");
    let script = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())";
    let mut child = python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(file).unwrap()).unwrap();
    text(child.wait_with_output().unwrap().stdout).trim().to_owned()
}

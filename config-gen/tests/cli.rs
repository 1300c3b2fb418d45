//! The program as it is typed: exit status, what is written, and what isn't.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const DONE: Option<i32> = Some(0);
const FINDINGS: Option<i32> = Some(1);
const UNREADABLE: Option<i32> = Some(2);
const USAGE: Option<i32> = Some(64);

fn config_gen(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_config-gen"));
    command.current_dir(directory).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A directory with `in.yaml`.
fn with_input(yaml: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("in.yaml"), yaml).unwrap();
    directory
}

const GOOD: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
";

#[test]
fn exit_status_tells_findings_from_unreadable_input_and_wrong_usage() {
    let good = with_input(GOOD);
    let status = |arguments: &[&str]| config_gen(good.path(), arguments).status.code();
    assert_eq!(status(&["generate", "-f", "in.yaml", "--emit", "plugin-config"]), DONE);
    assert_eq!(status(&["--help"]), DONE);
    assert_eq!(status(&["generate", "-f", "missing.yaml", "--emit", "envoy"]), UNREADABLE);
    assert_eq!(status(&[]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml"]), USAGE, "no output is chosen");
    assert_eq!(status(&["generate", "-f", "in.yaml", "--emit", "envoy", "--emit", "ecds"]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml", "-o", "out", "--listen", "80"]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml", "-o", "out", "--wasm-sha256", "XY"]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml", "-o", "out", "--transparent", "127.0.0.1:0"]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml", "-o", "out", "--proxy-uid", "1"]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml", "--watch"]), USAGE, "there is no directory");
    assert_eq!(status(&["generate", "-f", "-", "-o", "out", "--watch"]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml", "-o", "out", "--watch", "--emit", "envoy"]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml", "--emit", "cds"]), USAGE);
    assert_eq!(status(&["generate", "-f", "in.yaml", "--emit", "cds", "--dynamic-resources"]), DONE);

    let wrong = with_input(&GOOD.replace("hosts: [a.example.com]", "hosts: []"));
    assert_eq!(config_gen(wrong.path(), &["generate", "-f", "in.yaml", "-o", "out"]).status.code(), FINDINGS);
    let broken = with_input("a: [b\n");
    assert_eq!(
        config_gen(broken.path(), &["generate", "-f", "in.yaml", "-o", "out"]).status.code(),
        UNREADABLE
    );
    let binary = TempDir::new().unwrap();
    fs::write(binary.path().join("in.yaml"), b"\xff\xfe\x00").unwrap();
    assert_eq!(
        config_gen(binary.path(), &["generate", "-f", "in.yaml", "-o", "out"]).status.code(),
        UNREADABLE
    );
}

#[test]
fn nothing_is_written_unless_all_of_it_is() {
    let wrong = with_input(&GOOD.replace("protocol: HTTP", "protocol: HTTQ"));
    let output = config_gen(wrong.path(), &["generate", "-f", "in.yaml", "-o", "out"]);
    assert!(text(&output.stderr).contains("nothing was written"));
    assert!(output.stdout.is_empty() && !wrong.path().join("out").exists());

    // A file where a directory is needed: the last one fails, the others are taken back.
    let good = with_input(GOOD);
    fs::create_dir(good.path().join("out")).unwrap();
    fs::write(good.path().join("out/envoy.d"), "in the way").unwrap();
    let output = config_gen(good.path(), &["generate", "-f", "in.yaml", "-o", "out"]);
    assert_eq!(output.status.code(), UNREADABLE);
    assert!(text(&output.stderr).contains("out/envoy.d"), "{}", text(&output.stderr));
    let left: Vec<_> =
        fs::read_dir(good.path().join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["envoy.d"]);
}

#[test]
fn same_input_same_bytes() {
    let directory = TempDir::new().unwrap();
    let entries: Vec<String> = (0..50)
        .map(|n| {
            GOOD.replace("name: a}", &format!("name: a{n}}}")).replace("a.example", &format!("a{n}.example"))
        })
        .collect();
    fs::write(directory.path().join("one.yaml"), entries.join("---")).unwrap();
    let reversed: Vec<String> = entries.into_iter().rev().collect();
    fs::write(directory.path().join("two.yaml"), reversed.join("---")).unwrap();
    let emit = |file: &str, output: &str| {
        let output = config_gen(directory.path(), &["generate", "-f", file, "--emit", output]);
        assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
        output.stdout
    };
    for output in ["plugin-config", "envoy", "ecds", "wasmplugin", "trafficextension"] {
        let first = emit("one.yaml", output);
        assert_eq!(first, emit("one.yaml", output), "{output}");
        assert_eq!(first, emit("two.yaml", output), "{output}: the order of the input");
    }
}

#[test]
fn input_comes_from_files_directories_and_standard_input() {
    let directory = TempDir::new().unwrap();
    fs::create_dir_all(directory.path().join("in/deep/er")).unwrap();
    fs::write(directory.path().join("in/deep/er/a.yml"), GOOD).unwrap();
    fs::write(directory.path().join("in/notes.txt"), "not read").unwrap();
    let from_directory = config_gen(directory.path(), &["generate", "-f", "in", "--emit", "plugin-config"]);
    assert_eq!(from_directory.status.code(), DONE, "{}", text(&from_directory.stderr));

    let mut child = Command::new(env!("CARGO_BIN_EXE_config-gen"))
        .args(["generate", "-f", "-", "--emit", "plugin-config"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", GOOD.trim().replace('\n', "\n  "));
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let from_stdin = child.wait_with_output().unwrap();
    assert_eq!(from_stdin.stdout, from_directory.stdout);
}

#[test]
fn secrets_are_never_printed() {
    let secret = "\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n";
    for document in [secret.to_owned(), secret.replace("stringData", "data: [\nstringData")] {
        let directory = with_input(&document);
        let output = config_gen(directory.path(), &["generate", "-f", "in.yaml", "-o", "out"]);
        assert_ne!(output.status.code(), DONE);
        assert!(!text(&output.stderr).contains("hunter2"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_security_relevant_kind_is_left_out_only_when_that_is_accepted() {
    let yaml = format!(
        "{GOOD}---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: deny}}\nspec: {{}}\n"
    );
    let directory = with_input(&yaml);
    let refused = config_gen(directory.path(), &["generate", "-f", "in.yaml", "-o", "out"]);
    assert_eq!(refused.status.code(), FINDINGS);
    assert!(
        text(&refused.stderr).contains("--accept-ignored AuthorizationPolicy"),
        "{}",
        text(&refused.stderr)
    );
    let accepted = config_gen(
        directory.path(),
        &["generate", "-f", "in.yaml", "-o", "out", "--accept-ignored", "AuthorizationPolicy"],
    );
    assert_eq!(accepted.status.code(), DONE, "{}", text(&accepted.stderr));
}

#[test]
fn the_wasm_plugin_is_in_mesh_mode() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let digest = "a".repeat(64);
    let output = config_gen(
        &root,
        &[
            "generate",
            "-f",
            "examples/webserver/istio",
            "--emit",
            "wasmplugin",
            "-n",
            "shop",
            "--wasm-url",
            "oci://registry.example/portolan:1",
            "--wasm-sha256",
            &digest,
            "--selector",
            "app=web,tier=a",
        ],
    );
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    let plugin = text(&output.stdout);
    for line in [
        "kind: WasmPlugin",
        "  namespace: shop",
        "  url: oci://registry.example/portolan:1",
        "  - mode: CLIENT",
        "  failStrategy: FAIL_RELOAD",
        "    mode: mesh",
        "      app: web",
    ] {
        assert!(plugin.lines().any(|known| known.trim_end() == line), "`{line}` is missing in\n{plugin}");
    }
    assert!(
        plugin.contains(&format!("sha256: {digest}")) || plugin.contains(&format!("sha256: \"{digest}\""))
    );
    assert!(plugin.contains("VirtualService shop/webserver; don't apply to the cluster"), "{plugin}");
    // Asked for by name, its limits are said aloud; among all outputs they stand in the file.
    for (arguments, said) in [(&["--emit", "trafficextension"][..], true), (&["-o", "/dev/null/x"], false)] {
        let output =
            config_gen(&root, &[&["generate", "-f", "examples/webserver/istio"], arguments].concat());
        assert_eq!(text(&output.stderr).contains("warning[not-in-mesh]"), said, "{}", text(&output.stderr));
    }
    // A sidecar's own routes choose the cluster.
    assert!(!plugin.contains("cluster:") && !plugin.contains("outbound|"));
}

#[test]
fn a_mesh_config_changes_what_is_written() {
    let directory = with_input(GOOD);
    fs::write(
        directory.path().join("mesh.yaml"),
        "connectTimeout: 3s\noutboundTrafficPolicy: {mode: ALLOW_ANY}\n",
    )
    .unwrap();
    let run = |arguments: &[&str]| {
        let fixed = ["generate", "-f", "in.yaml", "--mesh-config", "mesh.yaml"];
        config_gen(directory.path(), &[&fixed, arguments].concat())
    };
    let envoy = text(&run(&["--emit", "envoy"]).stdout);
    assert!(envoy.contains("connect_timeout: 3s") && !envoy.contains("connect_timeout: 10s"), "DEF-08");
    // OTP-02, and an option before it.
    let config = |arguments: &[&str]| text(&run(&[&["--emit", "plugin-config"], arguments].concat()).stdout);
    assert!(config(&[]).contains("ALLOW_ANY"));
    assert!(config(&["--outbound-policy", "registry-only"]).contains("REGISTRY_ONLY"));

    // VS-RETRY-01, VS-RETRY-05
    let retries = |policy: &str| {
        let mesh = format!("defaultHttpRetryPolicy: {policy}\n");
        fs::write(directory.path().join("mesh.yaml"), mesh).unwrap();
        text(&run(&["--emit", "envoy"]).stdout)
    };
    assert!(retries("null").contains("num_retries: 2"), "DEF-06");
    assert!(!retries("{attempts: 0}").contains("retry_policy"), "VS-RETRY-02");
    let envoy = retries("{attempts: 4, retryOn: '503,reset,unavailable', perTryTimeout: 2s, backoff: 50ms}");
    for line in [
        "num_retries: 4",
        "retry_on: reset,retriable-status-codes,unavailable",
        "- 503",
        "per_try_timeout: 2.000s",
        "base_interval: 0.050s",
        "envoy.retry_host_predicates.previous_hosts",
    ] {
        assert!(envoy.contains(line), "{line} in {envoy}");
    }

    fs::write(directory.path().join("mesh.yaml"), "connectTimeout: 3\n").unwrap();
    let output = run(&["--emit", "envoy"]);
    assert_eq!(output.status.code(), FINDINGS);
    assert!(text(&output.stderr).contains("mesh.yaml:1:17"), "{}", text(&output.stderr));
    fs::remove_file(directory.path().join("mesh.yaml")).unwrap();
    assert_eq!(run(&["--emit", "envoy"]).status.code(), UNREADABLE);
}

#[test]
fn no_address_is_taken_twice() {
    let good = with_input(GOOD);
    let message = |arguments: &[&str]| {
        let output =
            config_gen(good.path(), &[&["generate", "-f", "in.yaml", "-o", "out"], arguments].concat());
        assert_eq!(output.status.code(), USAGE, "{arguments:?}");
        text(&output.stderr)
    };
    assert_eq!(
        message(&["--listen", "80=127.0.0.1:1000", "--listen", "81=127.0.0.1:1000"]),
        "error: `--listen 80` and `--listen 81` have the same address 127.0.0.1:1000; give one of them another port\n"
    );
    assert_eq!(
        message(&["--transparent", "127.0.0.1:1000", "--admin", "127.0.0.1:1000"]),
        "error: `--transparent` and `--admin` have the same address 127.0.0.1:1000; give one of them another port\n"
    );
    assert!(message(&["--listen", "80=127.0.0.1:9901"]).contains("`--listen 80` and `--admin`"));
    assert!(
        message(&["--transparent", "127.0.0.1:1", "--transparent", "127.0.0.2:1"])
            .contains("once for IPv4 and once for IPv6")
    );
    let output = config_gen(
        good.path(),
        &["generate", "-f", "in.yaml", "-o", "out", "--listen", "80=127.0.0.1:0", "--listen", "80=[::1]:0"],
    );
    assert_eq!(output.status.code(), DONE, "one port, two addresses: {}", text(&output.stderr));
}

#[test]
fn rules_for_nftables_come_with_the_transparent_listener() {
    let good = with_input(GOOD);
    let run =
        |arguments: &[&str]| config_gen(good.path(), &[&["generate", "-f", "in.yaml"], arguments].concat());
    assert_eq!(run(&["-o", "out"]).status.code(), DONE);
    assert!(!good.path().join("out/portolan.nft").exists());
    assert_eq!(run(&["-o", "out", "--transparent", "127.0.0.1:15001"]).status.code(), DONE);
    let written = fs::read_to_string(good.path().join("out/portolan.nft")).unwrap();
    assert!(written.contains("meta mark 0x706f return") && written.contains("redirect to :15001"));
    let bootstrap = fs::read_to_string(good.path().join("out/envoy.yaml")).unwrap();
    assert!(bootstrap.contains("SO_MARK") && bootstrap.contains("int_value: 28783"), "the same mark");
    assert!(!bootstrap.contains("outbound_80\n"), "who names a way in means that one alone");

    let alone = run(&["--emit", "nftables", "--transparent", "127.0.0.1:15001", "--proxy-uid", "101"]);
    assert!(text(&alone.stdout).contains("meta skuid 101 return"), "{}", text(&alone.stderr));
    let nowhere = run(&["--emit", "nftables"]);
    assert_eq!(nowhere.status.code(), USAGE);
    assert!(text(&nowhere.stderr).contains("say where with `--transparent ADDRESS:PORT`"));
}

//! Where things stand: the repository, Envoy's binaries, the module.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The root of the repository: `PORTOLAN_ROOT`, or the nearest directory above
/// the running program or the working directory with a workspace `Cargo.toml`.
///
/// It is looked for at run time, so that no path of the build is in a binary.
pub fn root() -> Result<PathBuf> {
    if let Some(root) = from_env("PORTOLAN_ROOT") {
        return Ok(root);
    }
    let places = [env::current_dir().ok(), env::current_exe().ok()];
    places
        .iter()
        .flatten()
        .flat_map(|place| place.ancestors())
        .find(|directory| is_workspace(directory))
        .map(Path::to_path_buf)
        .context("no workspace Cargo.toml above this program: set PORTOLAN_ROOT")
}

/// Envoy's binary of a version such as `1.40.0`:
/// `<root>/.tools/envoy/<version>/envoy`, or in `PORTOLAN_ENVOY_DIR` instead of
/// `<root>/.tools/envoy`.
pub fn envoy_binary(version: &str) -> Result<PathBuf> {
    existing(&envoy_directory()?.join(version).join("envoy"), "`make tools` brings it")
}

/// The versions of Envoy at hand, the oldest first.
pub fn envoy_versions() -> Result<Vec<String>> {
    let directory = envoy_directory()?;
    let mut versions = Vec::new();
    if let Ok(entries) = fs::read_dir(&directory) {
        for entry in entries.flatten() {
            if entry.path().join("envoy").is_file() {
                versions.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    if versions.is_empty() {
        bail!("no Envoy in {}: `make tools` brings it", directory.display());
    }
    versions.sort_by_key(|version| version_key(version));
    Ok(versions)
}

/// Node, with which a test speaks as an ordinary client: `<root>/.tools/node/<version>/node`.
pub fn node() -> Result<PathBuf> {
    let directory = root()?.join(".tools/node");
    let versions = fs::read_dir(&directory).into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("node")).filter(|path| path.is_file()).max();
    newest.with_context(|| format!("no Node in {}: `make tools` brings it", directory.display()))
}

/// The module that Envoy loads: `<root>/portolan.wasm`, or `PORTOLAN_MODULE`.
pub fn module() -> Result<PathBuf> {
    let path = match from_env("PORTOLAN_MODULE") {
        Some(path) => path,
        None => root()?.join("portolan.wasm"),
    };
    existing(&path, "`make wasm` builds it")
}

/// The `config-gen` binary of the same build as the running program
/// (`<target>/<profile>/config-gen`), or `PORTOLAN_CONFIG_GEN`.
pub fn config_gen() -> Result<PathBuf> {
    if let Some(path) = from_env("PORTOLAN_CONFIG_GEN") {
        return existing(&path, "PORTOLAN_CONFIG_GEN says so");
    }
    let program = env::current_exe().context("where is this program?")?;
    // Tests and benchmarks stand in `deps`, examples in `examples`.
    let mut directory = program.parent().unwrap_or(Path::new(".")).to_path_buf();
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory.pop();
    }
    let name = format!("config-gen{}", env::consts::EXE_SUFFIX);
    existing(&directory.join(name), "`cargo build -p portolan-config-gen` builds it")
}

fn envoy_directory() -> Result<PathBuf> {
    match from_env("PORTOLAN_ENVOY_DIR") {
        Some(directory) => Ok(directory),
        None => Ok(root()?.join(".tools").join("envoy")),
    }
}

fn from_env(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn is_workspace(directory: &Path) -> bool {
    fs::read_to_string(directory.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
}

fn existing(path: &Path, hint: &str) -> Result<PathBuf> {
    if path.is_file() {
        // A child may be started in another directory.
        return path.canonicalize().with_context(|| format!("{}", path.display()));
    }
    bail!("{} is missing: {hint}", path.display())
}

/// Numbers compare as numbers: 1.9 is older than 1.10.
fn version_key(version: &str) -> Vec<u64> {
    version.split(['.', '-']).map(|part| part.parse().unwrap_or(0)).collect()
}

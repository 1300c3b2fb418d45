//! `config-gen version`: what fits together.

use std::fs;
use std::path::{Path, PathBuf};

use portolan_engine::config::VERSION;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::arguments::{Version, VersionFormat};
use super::{Status, complain, print_or_complain};

/// The versions of Envoy that everything is tested with, the oldest one that is supported first.
const ENVOY: [&str; 2] = ["1.36.4", "1.40.0"];

/// The first bytes of every WebAssembly module.
const MAGIC: &[u8] = b"\0asm";

/// Where the module is looked for.
const MODULE: &str = "portolan.wasm";

pub(super) fn run(arguments: &Version) -> Status {
    let beside = || Path::new(MODULE).is_file().then(|| PathBuf::from(MODULE));
    let module = match arguments.module.clone().or_else(beside).map(|path| Module::read(&path)).transpose() {
        Ok(module) => module,
        Err(message) => {
            complain(&message);
            return Status::Unreadable;
        }
    };
    print_or_complain(&match arguments.output {
        VersionFormat::Text => text(module.as_ref()),
        VersionFormat::Json => format!("{:#}\n", data(module.as_ref())),
    })
}

/// The filter module, as far as Envoy's configuration names it.
struct Module {
    path: String,
    bytes: usize,
    /// In hexadecimal digits, as `--wasm-sha256` takes it.
    sha256: String,
}

impl Module {
    fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let content = fs::read(path).map_err(|error| format!("could not read the file `{name}`: {error}"))?;
        if !content.starts_with(MAGIC) {
            return Err(format!("`{name}` is no WebAssembly module; `make wasm` builds one"));
        }
        let digest = Sha256::digest(&content);
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: name, bytes: content.len(), sha256 })
    }
}

fn text(module: Option<&Module>) -> String {
    let module = match module {
        Some(Module { path, bytes, sha256 }) => format!("{path}, {bytes} bytes\nsha256: {sha256}"),
        None => format!("none here; `--module FILE` names one, such as {MODULE}"),
    };
    format!(
        "config-gen: {}\nplugin config: version {VERSION}\nEnvoy: {} (tested with, the first is the oldest supported)\nmodule: {module}\n",
        env!("CARGO_PKG_VERSION"),
        ENVOY.join(", ")
    )
}

fn data(module: Option<&Module>) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pluginConfigVersion": VERSION,
        "envoyVersions": ENVOY,
        "module": module.map(|module| json!({
            "path": module.path,
            "bytes": module.bytes,
            "sha256": module.sha256,
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_envoy_are_those_that_the_tests_install() {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools");
        let names = fs::read_dir(tools).unwrap().map(|entry| entry.unwrap().file_name());
        let version = |name: &str| Some(name.strip_prefix("envoy-")?.strip_suffix(".txt")?.to_owned());
        let mut versions: Vec<String> = names.filter_map(|name| version(&name.to_string_lossy())).collect();
        versions.sort();
        assert_eq!(versions, ENVOY);
    }
}

//! What stands in the repository is what `config-gen` writes today, Envoy accepts it, and the
//! docker image runs the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::envoy::{base_arguments, validate};
use portolan_e2e::process::run;
use portolan_e2e::{Scratch, places};

/// All files below `directory`, by their relative path.
fn files(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory)?.to_string_lossy().into_owned();
                found.insert(name, fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found)
}

#[test]
fn envoy_yaml_and_the_examples_are_what_config_gen_writes() -> Result<()> {
    let root = places::root()?;
    let scratch = Scratch::new()?;
    let script = root.join("tools/generate.sh");
    let mut command = Command::new(script);
    command.arg(scratch.path()).env("CONFIG_GEN", places::config_gen()?);
    let finished = run(&mut command, Duration::from_secs(60))?;
    ensure!(finished.success(), "tools/generate.sh failed: {finished}");
    let written = files(scratch.path())?;
    ensure!(written.len() >= 10, "only {:?} were written", written.keys());
    for (name, expected) in &written {
        let actual = fs::read_to_string(root.join(name)).unwrap_or_default();
        ensure!(
            actual == *expected,
            "{name} is not what config-gen writes: run `make generate` and look at the change"
        );
    }
    // Nor is anything left over from an earlier one.
    for folder in ["envoy.d", "examples/weather/generated", "examples/webserver/generated"] {
        for name in files(&root.join(folder))?.keys() {
            ensure!(
                written.contains_key(&format!("{folder}/{name}")),
                "{folder}/{name} is not written any more"
            );
        }
    }
    Ok(())
}

#[test]
fn every_supported_version_of_envoy_is_tested() -> Result<()> {
    let mut supported = Vec::new();
    for entry in fs::read_dir(places::root()?.join("tools"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("envoy-").and_then(|rest| rest.strip_suffix(".txt"));
        supported.extend(version.map(str::to_owned));
    }
    let tested = places::envoy_versions()?;
    for version in &supported {
        ensure!(tested.contains(version), "Envoy {version} is not installed: run `make tools`");
    }
    ensure!(supported.len() >= 2, "{supported:?}");
    Ok(())
}

#[test]
fn envoy_accepts_what_stands_in_the_repository() -> Result<()> {
    let root = places::root()?;
    for version in places::envoy_versions()? {
        let binary = places::envoy_binary(&version)?;
        for directory in
            [root.clone(), root.join("examples/weather/generated"), root.join("examples/webserver/generated")]
        {
            validate(&binary, &directory.join("envoy.yaml"), &directory)?;
        }
    }
    Ok(())
}

#[test]
fn the_docker_image_has_all_it_names_and_runs_the_same_command() -> Result<()> {
    let root = places::root()?;
    let mut command = Command::new("python3");
    command.arg(root.join("tools/check-docker.py")).arg("--").args(base_arguments("envoy.yaml", "warning"));
    let finished = run(command.current_dir(&root), Duration::from_secs(60))?;
    ensure!(finished.success(), "{finished}");
    println!("{}", finished.stdout);
    // The demo runs the image's version of Envoy.
    let dockerfile = fs::read_to_string(root.join("deploy/docker/Dockerfile"))?;
    let makefile = fs::read_to_string(root.join("Makefile"))?;
    let version =
        makefile.lines().find_map(|line| line.strip_prefix("ENVOY_VERSION ?= ")).context("no version")?;
    ensure!(
        dockerfile.contains(&format!("envoyproxy/envoy:v{version}")),
        "the image has not Envoy {version}"
    );
    Ok(())
}

//! Files that are written by half, and disks that are full.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::config_gen::config_gen;
use portolan_e2e::examples::{GITHUB_TEXT, StandIns};
use portolan_e2e::process::{self, Finished, poll};
use portolan_e2e::{Portolan, Scratch, places, raw};

use crate::newest;

const PLUGIN_CONFIG: &str = "envoy.d/ecds/portolan.json";

fn serves(portolan: &Portolan) -> Result<()> {
    let response = raw::get_plain(portolan.http()?, "webserver", "/")?;
    ensure!(response.text() == GITHUB_TEXT, "{} {}", response.status, response.text());
    Ok(())
}

/// How often Envoy has looked at the file and taken nothing from it.
fn refused(portolan: &Portolan) -> Result<u64> {
    let stats = portolan.envoy.stats()?;
    let refused = |name: &str| {
        name.starts_with("extension_config_discovery.")
            && (name.ends_with("update_rejected") || name.ends_with("update_failure"))
    };
    Ok(stats.iter().filter(|(name, _)| refused(name)).map(|(_, value)| value).sum())
}

#[test]
fn a_plugin_config_that_is_half_written_changes_nothing() -> Result<()> {
    let standins = StandIns::start()?;
    let portolan = standins.setup(&newest()?)?.start()?;
    serves(&portolan)?;
    let whole = fs::read_to_string(portolan.output().join(PLUGIN_CONFIG))?;
    let parts = [0, 1, whole.len() / 10, whole.len() / 2, whole.len() - 10, whole.len() - 3];
    for end in parts {
        let before = refused(&portolan)?;
        portolan.replace(PLUGIN_CONFIG, &whole[..end])?;
        let noticed = poll(Duration::from_secs(5), || (refused(&portolan).ok()? > before).then_some(()));
        noticed.with_context(|| format!("{end} of {} bytes weren't refused", whole.len()))?;
        serves(&portolan).with_context(|| format!("with {end} of {} bytes", whole.len()))?;
    }
    // The whole one is taken again.
    portolan.replace(PLUGIN_CONFIG, whole.replace("\\\"webserver\\\"", "\\\"other\\\""))?;
    let taken =
        || raw::get_plain(portolan.http().ok()?, "other", "/").ok().filter(|r| r.text() == GITHUB_TEXT);
    poll(Duration::from_secs(5), taken).context("the whole one isn't in force")?;
    Ok(())
}

#[test]
fn an_envoy_that_starts_with_half_a_plugin_config_serves_nothing() -> Result<()> {
    let standins = StandIns::start()?;
    let setup = standins.setup(&newest()?)?;
    setup.generate_changed(PLUGIN_CONFIG, |whole| Ok(whole[..whole.len() / 2].to_owned()))?;
    let portolan = setup.start_as_generated()?;
    let response = raw::get_plain(portolan.http()?, "webserver", "/")?;
    ensure!((500..504).contains(&response.status), "{}", response.status);
    ensure!(standins.github.connections() == 0);
    Ok(())
}

/// All files below a directory.
fn contents(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            match path.is_dir() {
                true => open.push(path),
                false => drop(found.insert(path.to_string_lossy().into_owned(), fs::read(&path)?)),
            }
        }
    }
    Ok(found)
}

/// Something with files in it.
fn generated(files: &Scratch) -> Result<PathBuf> {
    let output = files.path().join("out");
    let generate =
        ["generate", "-f", "examples/weather/istio", "-o", &output.to_string_lossy()].map(str::to_owned);
    let finished = config_gen(generate)?;
    ensure!(finished.success(), "{finished}");
    Ok(output)
}

/// Runs `generate` within another program, which gets the command as `"$@"`.
fn generate_within(program: &[&str], shell: &str, output: &Path) -> Result<Finished> {
    let (name, arguments) = program.split_first().context("no program")?;
    let mut command = Command::new(name);
    command.args(arguments).args(["bash", "-c", shell, "bash"]).arg(places::config_gen()?);
    command
        .args(["generate", "-f", "examples/webserver/istio", "-f", "examples/weather/istio", "-o"])
        .arg(output)
        .current_dir(places::root()?);
    process::run(&mut command, Duration::from_secs(60))
}

/// It says which file couldn't be written, and why.
fn assert_told(finished: &Finished, reason: &str) -> Result<()> {
    ensure!(finished.code() == Some(2), "{finished}");
    ensure!(finished.stderr.contains("can't write `") && finished.stderr.contains("/out/"), "{finished}");
    ensure!(finished.stderr.contains(reason), "{finished}");
    Ok(())
}

#[test]
fn files_that_may_not_be_so_large_leave_the_old_ones() -> Result<()> {
    let files = Scratch::new()?;
    let output = generated(&files)?;
    let before = contents(&output)?;
    // Units of 1024 bytes; without the signal, which would end it.
    let finished = generate_within(&["env"], "trap '' XFSZ; ulimit -f 8; exec \"$@\"", &output)?;
    assert_told(&finished, "File too large")?;
    ensure!(contents(&output)? == before, "the files aren't what they were");
    Ok(())
}

#[test]
fn a_full_disk_leaves_the_old_files() -> Result<()> {
    const PAGE: usize = 4096;
    /// What nothing else ends with.
    const CHANGED: i32 = 99;
    let files = Scratch::new()?;
    let output = generated(&files)?;
    let size: usize = contents(&output)?.values().map(|file| file.len().div_ceil(PAGE) * PAGE).sum();
    // A disk of its own in place of the folder, with hardly any room but for the old files.
    let shell = format!(
        "cp -a {output} {copy} && mount -t tmpfs -o size={size} none {output} && cp -a {copy}/. {output} || exit 1
        \"$@\"; status=$?
        diff -r {copy} {output} >&2 || exit {CHANGED}
        exit $status",
        output = output.display(),
        copy = files.path().join("copy").display(),
        size = size + 2 * PAGE,
    );
    let finished = generate_within(&["unshare", "--map-root-user", "--mount"], &shell, &output)?;
    if finished.stderr.contains("unshare: ") || finished.stderr.contains("mount: ") {
        println!("skipped, since this process may mount nothing: {finished}");
        return Ok(());
    }
    ensure!(finished.code() != Some(CHANGED), "the files aren't what they were: {finished}");
    assert_told(&finished, "No space left on device")
}

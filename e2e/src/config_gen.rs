//! Running `config-gen` as a user does.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::places;
use crate::process::{Finished, run};

/// Generous: the largest configurations take it a few seconds in a debug build.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `config-gen` with these arguments in the root of the repository.
pub fn config_gen<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Finished> {
    config_gen_in(&places::root()?, arguments)
}

/// Runs `config-gen` with these arguments in a directory.
pub fn config_gen_in<S: AsRef<OsStr>>(
    directory: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Result<Finished> {
    let mut command = Command::new(places::config_gen()?);
    run(command.args(arguments).current_dir(directory), LIMIT)
}

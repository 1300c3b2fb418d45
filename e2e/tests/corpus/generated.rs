//! Running `config-gen` on a file until it generates something.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use portolan_e2e::config_gen::config_gen;

use crate::stand_ins::StandIns;

/// What `config-gen` made of a file.
pub(crate) enum Outcome {
    Generated(Generated),
    /// The codes of errors that no option accepts.
    InputErrors(Vec<String>),
}

/// Files that were written.
pub(crate) struct Generated {
    pub(crate) directory: PathBuf,
    /// Options that messages offered, and that were taken.
    pub(crate) offers: BTreeSet<Vec<String>>,
}

/// Generates from `file`; what messages offer as a way out is taken, and a listener for each port.
pub(crate) fn generate(file: &Path, options: &[String], output: &Path) -> Result<Outcome> {
    let mut listeners: BTreeSet<Vec<String>> = BTreeSet::new();
    let mut offers: BTreeSet<Vec<String>> = BTreeSet::new();
    loop {
        let mut arguments: Vec<String> = ["generate", "--admin", "127.0.0.1:0"].map(str::to_owned).to_vec();
        arguments.extend(["-f".to_owned(), file.to_string_lossy().into_owned()]);
        arguments.extend(["-o".to_owned(), output.to_string_lossy().into_owned()]);
        arguments.extend(options.iter().cloned());
        arguments.extend(listeners.iter().chain(&offers).flatten().cloned());
        let finished = config_gen(&arguments)?;
        let (more_listeners, more_offers) = offered(&finished.stderr);
        let before = listeners.len() + offers.len();
        listeners.extend(more_listeners);
        if !finished.success() {
            offers.extend(more_offers);
        }
        match finished.code() {
            // Anything but findings is a fault of ours.
            Some(0..=2) => {}
            _ => bail!("{}: {finished}", file.display()),
        }
        if listeners.len() + offers.len() == before {
            return Ok(if finished.success() {
                Outcome::Generated(Generated { directory: output.to_owned(), offers })
            } else {
                Outcome::InputErrors(error_codes(&finished.stderr))
            });
        }
    }
}

/// Options that stand in messages: listeners, and others.
fn offered(messages: &str) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let (mut listeners, mut others) = (Vec::new(), Vec::new());
    for offer in messages.split('`').filter(|text| text.starts_with("--")) {
        let words = || offer.split(' ').map(str::to_owned).collect();
        match offer.split_once(' ').map_or((offer, ""), |(name, value)| (name, value)) {
            // On a port that is free.
            ("--listen", value) => listeners.extend(
                value
                    .split_once('=')
                    .map(|(port, _)| vec!["--listen".to_owned(), format!("{port}=127.0.0.1:0")]),
            ),
            ("--accept" | "--accept-ignored", value) if !value.is_empty() => others.push(words()),
            ("--collapse-egress-gateway" | "--allow-unregistered-wildcards", _) => others.push(words()),
            _ => {}
        }
    }
    (listeners, others)
}

/// `error[code]: ...`
fn error_codes(messages: &str) -> Vec<String> {
    let errors = messages.lines().filter_map(|line| line.strip_prefix("error["));
    errors.filter_map(|line| Some(line.split_once(']')?.0.to_owned())).collect()
}

impl Generated {
    /// All that Envoy reads, as one text: what is equal in it needs to be tried once.
    pub(crate) fn content(&self) -> Result<String> {
        let mut paths = Vec::new();
        walk(&self.directory, &mut paths)?;
        paths.sort();
        let mut all = String::new();
        for path in paths {
            let name = path.strip_prefix(&self.directory)?.to_string_lossy().into_owned();
            if name == "envoy.yaml" || name.starts_with("envoy.d/") {
                all += &name;
                all += &std::fs::read_to_string(&path)?;
            }
        }
        Ok(all)
    }

    /// Has the files name certificates and keys that are there.
    pub(crate) fn put_stand_ins(&self, stand_ins: &StandIns) -> Result<()> {
        let mut paths = Vec::new();
        walk(&self.directory, &mut paths)?;
        for path in paths {
            let text = std::fs::read_to_string(&path)?;
            let changed = stand_ins.replace(&text);
            std::fs::write(&path, changed).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

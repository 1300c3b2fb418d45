//! Writing files so that all of them are there, or none has changed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::emit::File;

/// Writes `files` below `directory`: first all of them aside, then each renamed to its place.
/// A failure while writing leaves what was there. What holds the same already isn't touched, so that nobody
/// who watches it reads it again.
pub(super) fn all(directory: &Path, files: &[File]) -> anyhow::Result<()> {
    let mut aside = Aside(Vec::new());
    for file in files {
        let target = directory.join(&file.path);
        if fs::read(&target).is_ok_and(|content| content == file.content.as_bytes()) {
            continue;
        }
        let parent = target.parent().unwrap_or(directory);
        fs::create_dir_all(parent)
            .with_context(|| format!("can't create directory `{}`", parent.display()))?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = target.with_file_name(name);
        aside.0.push((temporary.clone(), target));
        fs::write(&temporary, &file.content)
            .with_context(|| format!("can't write `{}`", temporary.display()))?;
    }
    aside.place()
}

/// Files that are not in their place yet; they go with it.
struct Aside(Vec<(PathBuf, PathBuf)>);

impl Aside {
    fn place(mut self) -> anyhow::Result<()> {
        for (temporary, target) in &self.0 {
            fs::rename(temporary, target).with_context(|| format!("can't write `{}`", target.display()))?;
        }
        self.0.clear();
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for (temporary, _) in &self.0 {
            let _ = fs::remove_file(temporary);
        }
    }
}

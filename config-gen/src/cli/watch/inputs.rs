//! When the input has changed, and rests.
//!
//! Files are looked at again and again, by length and time of change. That works for every editor and file
//! system, also where the system tells nobody of changes (network file systems, mounts of containers) or of
//! a link instead of the file (ConfigMaps); a thousand files take some milliseconds of a second.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::input::files;

/// How often files are looked at, and where that takes more than a twentieth of the time, how often at least.
const INTERVAL: Duration = Duration::from_millis(50);
const LONG_INTERVAL: Duration = Duration::from_millis(500);

/// How long files have to stay as they are: an editor may be about to write the rest.
const REST: Duration = Duration::from_millis(100);

/// How long that is waited for. Files that never rest are read as they are.
const PATIENCE: Duration = Duration::from_secs(2);

/// Files and folders.
pub(super) struct Inputs {
    named: Vec<PathBuf>,
    seen: Option<Snapshot>,
}

/// What tells a change without reading anything. A file that can't be looked at has no stamp; a folder that
/// can't be listed has no files, but a message.
#[derive(PartialEq, Eq)]
struct Snapshot {
    files: Vec<(PathBuf, Option<Stamp>)>,
    trouble: Option<String>,
}

/// Length and time of the last change.
type Stamp = (u64, Option<SystemTime>);

impl Inputs {
    /// Nothing of it is seen yet.
    pub(super) fn new(named: Vec<PathBuf>) -> Self {
        Self { named, seen: None }
    }

    /// Has the next wait end at once.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    /// Waits until something is otherwise than after the last wait, and rests.
    pub(super) fn wait_for_change(&mut self) {
        let mut candidate: Option<(Snapshot, Instant)> = None;
        let mut unrest: Option<Instant> = None;
        loop {
            let began = Instant::now();
            let now = self.look();
            let took = began.elapsed();
            if self.seen.as_ref() == Some(&now) {
                (candidate, unrest) = (None, None);
            } else {
                let first = *unrest.get_or_insert(began);
                let since = match candidate.take() {
                    Some((known, since)) if known == now => since,
                    _ => began,
                };
                if since.elapsed() >= REST || first.elapsed() >= PATIENCE {
                    self.seen = Some(now);
                    return;
                }
                candidate = Some((now, since));
            }
            let rest =
                if candidate.is_some() { INTERVAL } else { (took * 20).clamp(INTERVAL, LONG_INTERVAL) };
            thread::sleep(rest);
        }
    }

    fn look(&self) -> Snapshot {
        let stamp = |path: PathBuf| {
            let stamp = fs::metadata(&path).ok().map(|data| (data.len(), data.modified().ok()));
            (path, stamp)
        };
        match files::paths(&self.named) {
            Ok(paths) => Snapshot { files: paths.into_iter().map(stamp).collect(), trouble: None },
            Err(error) => Snapshot { files: Vec::new(), trouble: Some(error.to_string()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a").unwrap();
        let mut inputs = Inputs::new(vec![folder.path().to_owned()]);
        inputs.wait_for_change();
        let before = inputs.look();
        let writer = thread::spawn({
            let file = file.clone();
            // Never at rest for long enough, until the last one.
            move || {
                for text in ["", "b", "bb", "bbb"] {
                    fs::write(&file, text).unwrap();
                    thread::sleep(Duration::from_millis(20));
                }
            }
        });
        inputs.wait_for_change();
        writer.join().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "bbb");
        assert!(inputs.seen.as_ref() == Some(&inputs.look()) && before != inputs.look());
        // A new file, and one that goes.
        fs::write(folder.path().join("b.yml"), "").unwrap();
        inputs.wait_for_change();
        fs::remove_file(&file).unwrap();
        inputs.wait_for_change();
        fs::remove_file(folder.path().join("b.yml")).unwrap();
        inputs.wait_for_change();
        assert!(inputs.look().trouble.is_some_and(|message| message.contains("holds no `.yaml`")));
    }
}

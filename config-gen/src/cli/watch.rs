//! `generate --watch`: keeps the files of a running Envoy in step with the input.

mod admin;
mod inputs;
mod summary;
mod transition;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::arguments::Generate;
use super::{Status, Told, complain, generate, write};
use crate::emit::{File, Output};
use admin::{Admin, Answer};
use inputs::Inputs;
use transition::{Files, Step};

/// Between two steps where Envoy can't be asked.
const PAUSE: Duration = Duration::from_secs(2);

/// Until another attempt where files can't be written.
const RETRY: Duration = Duration::from_secs(5);

/// Goes on until it is ended from outside.
pub(super) fn run(arguments: &Generate, outputs: &[Output], directory: &Path) -> Status {
    let named = arguments.watch_admin.or_else(|| arguments.generation.options().envoy.admin);
    let mut admin = named.filter(|address| address.port() != 0).map(Admin::new);
    match &admin {
        Some(admin) => eprintln!("watching; Envoy is asked at {}", admin.address()),
        None => eprintln!(
            "watching; Envoy isn't asked, but given {PAUSE:?} for each step: `--watch-admin` says where its admin interface is"
        ),
    }
    let inputs = arguments.files.iter().chain(&arguments.mesh_config);
    let mut inputs = Inputs::new(inputs.cloned().collect());
    let mut told = Told::default();
    loop {
        inputs.wait_for_change();
        let began = Instant::now();
        let Ok(files) = generate::files(arguments, outputs, &mut told) else {
            eprintln!("what was written before stays in force");
            continue;
        };
        match bring_about(&files, directory, admin.as_mut()) {
            Ok(Some(change)) => tell(&format!("{} after {} ms", change, began.elapsed().as_millis())),
            Ok(None) => {}
            Err(error) => {
                complain(&format!("{error:#}; what is in force stays, and the next attempt is in {RETRY:?}"));
                thread::sleep(RETRY);
                inputs.forget();
            }
        }
    }
}

/// Writes what differs, and says what that was; none: Envoy refused it, which is told.
fn bring_about(
    files: &[File],
    directory: &Path,
    admin: Option<&mut Admin>,
) -> anyhow::Result<Option<String>> {
    let after: Files = files.iter().map(|file| (file.path.clone(), file.content.clone())).collect();
    let before = read(directory, &after)?;
    if before == after {
        return Ok(Some("nothing differs for Envoy; looked at".to_owned()));
    }
    let bootstrap = Output::Envoy.path();
    if !before.contains_key(bootstrap) {
        // Nobody can have read any of them.
        write::all(directory, files)?;
        return Ok(Some(format!("written for an Envoy that starts with `{bootstrap}`;")));
    }
    let outcome = go_through(&transition::steps(&before, &after), directory, admin)?;
    if outcome == Outcome::Refused {
        return Ok(None);
    }
    // What Envoy isn't told of: it comes last, when it is true.
    write::all(directory, files)?;
    for (path, way) in [(bootstrap, "restart Envoy"), (Output::Nftables.path(), "load it with `nft -f`")] {
        if before.get(path) != after.get(path) {
            eprintln!("warning: `{path}` has changed, which nobody watches: {way}");
        }
    }
    let how = if outcome == Outcome::InForce { "in force" } else { "written, not acknowledged," };
    Ok(Some(format!("{}; {how}", summary::of(&before, &after))))
}

/// The files of these names as they stand.
fn read(directory: &Path, names: &Files) -> anyhow::Result<Files> {
    let mut found = Files::new();
    for path in names.keys() {
        let file = directory.join(path);
        match fs::read_to_string(&file) {
            Ok(content) => drop(found.insert(path.clone(), content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("can't read `{}`", file.display())),
        }
    }
    Ok(found)
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Envoy says that it works with all of it.
    InForce,
    /// The files are there.
    Written,
    /// What was there before is there again.
    Refused,
}

/// Takes the steps, each when the one before is in force. Where Envoy refuses one, all of them are taken back.
fn go_through(steps: &[Step], directory: &Path, admin: Option<&mut Admin>) -> anyhow::Result<Outcome> {
    let admin = admin.and_then(|admin| match admin.begin() {
        Ok(()) => Some(admin),
        Err(error) => {
            eprintln!(
                "warning: Envoy's admin interface at {} doesn't answer ({error}): each step is given {PAUSE:?}",
                admin.address()
            );
            None
        }
    });
    let mut outcome = if admin.is_some() { Outcome::InForce } else { Outcome::Written };
    for (done, step) in steps.iter().enumerate() {
        step.write(directory)?;
        match (&admin, done + 1 < steps.len()) {
            (Some(admin), _) => match admin.wait_for(step) {
                Answer::InForce => {}
                Answer::Late(why) => {
                    eprintln!("warning: {why}; going on");
                    outcome = Outcome::Written;
                }
                Answer::Refused => {
                    complain(&format!(
                        "Envoy refuses `{}`, and its log says why; what was in force before is written again",
                        step.path
                    ));
                    steps.iter().take(done + 1).rev().try_for_each(|step| step.take_back(directory))?;
                    return Ok(Outcome::Refused);
                }
            },
            (None, true) => thread::sleep(PAUSE),
            (None, false) => {}
        }
    }
    Ok(outcome)
}

/// A line for those who watch; they may have left.
fn tell(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

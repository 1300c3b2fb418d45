//! Resources to a plan, with their findings told: what commands share that look at a plan.

use std::path::PathBuf;

use super::arguments::Reading;
use super::{Status, UNREADABLE, read_resources};
use crate::diagnostic::{Diagnostics, Severity};
use crate::input::Read;
use crate::options::Options;
use crate::plan::Plan;
use crate::ports;

/// Resources, and what is to be made of them.
pub(super) struct Unplanned {
    pub(super) read: Read,
    pub(super) options: Options,
    keep_going: bool,
    has_errors: bool,
}

/// A plan, and what it was made from.
pub(super) struct Planned {
    pub(super) options: Options,
    pub(super) plan: Plan,
    has_errors: bool,
}

impl Planned {
    /// Reads files, and tells their errors.
    pub(super) fn read(files: &[PathBuf], reading: &Reading) -> Result<Unplanned, Status> {
        let (read, mesh) = read_resources(files, reading.mesh_config.as_deref(), &reading.meaning)?;
        let options = mesh.options(reading.meaning.options(reading.profile), &read);
        let mut unplanned = Unplanned { read, options, keep_going: reading.keep_going, has_errors: false };
        let found = unplanned.read.diagnostics.clone();
        unplanned.tell(&found)?;
        Ok(unplanned)
    }

    /// How the program ends that used it.
    pub(super) fn status(&self) -> Status {
        if self.has_errors { Status::Findings } else { Status::Done }
    }
}

impl Unplanned {
    /// Plans for listeners on `ports`, and tells the errors that this finds.
    pub(super) fn plan(mut self, ports: impl IntoIterator<Item = u16>) -> Result<Planned, Status> {
        ports::listen(&mut self.options, ports);
        let mut found = Diagnostics::new();
        let plan = Plan::of(&self.read.resources(), &self.options, &mut found);
        let mut located = Diagnostics::new();
        located.extend(found.into_iter().map(|diagnostic| self.read.locate(diagnostic)));
        self.tell(&located)?;
        let Self { options, has_errors, .. } = self;
        Ok(Planned { options, plan, has_errors })
    }

    /// Warnings are for `generate`; here they would hide the answer.
    fn tell(&mut self, found: &Diagnostics) -> Result<(), Status> {
        let mut errors = Diagnostics::new();
        errors.extend(found.iter().filter(|it| it.severity == Severity::Error).cloned());
        if errors.is_empty() {
            return Ok(());
        }
        eprint!("{}", errors.render(&self.read.sources));
        if errors.iter().any(|error| UNREADABLE.contains(&error.code)) {
            return Err(Status::Unreadable);
        }
        if !self.keep_going {
            return Err(Status::Findings);
        }
        self.has_errors = true;
        eprintln!("the answer leaves out what is wrong here");
        Ok(())
    }
}

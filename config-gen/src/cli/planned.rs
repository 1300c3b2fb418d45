//! Resources to a plan, with their errors told: what commands share that look at a plan.

use std::path::PathBuf;

use super::arguments::Reading;
use super::{Status, UNREADABLE, complain, read_texts};
use crate::diagnostic::{Diagnostics, Severity};
use crate::options::Options;
use crate::plan::Plan;
use crate::ports;
use crate::texts::{self, Texts};

/// Resources, and what is to be made of them.
pub(super) struct Unplanned {
    pub(super) texts: Texts,
    pub(super) options: Options,
    keep_going: bool,
}

/// A plan, and what it was made from.
pub(super) struct Planned {
    pub(super) texts: Texts,
    pub(super) options: Options,
    pub(super) plan: Plan,
    has_errors: bool,
}

impl Planned {
    /// Reads files.
    pub(super) fn read(files: &[PathBuf], reading: &Reading) -> Result<Unplanned, Status> {
        let texts = read_texts(files, reading.mesh_config.as_deref(), &reading.meaning)?;
        let options = reading.meaning.options(reading.profile);
        Ok(Unplanned { texts, options, keep_going: reading.keep_going })
    }

    /// How the program ends that used it.
    pub(super) fn status(&self) -> Status {
        if self.has_errors { Status::Findings } else { Status::Done }
    }
}

impl Unplanned {
    /// Plans for listeners on `ports`, and tells the errors. Warnings are for `validate`; here they would hide the
    /// answer.
    pub(super) fn plan(mut self, ports: impl IntoIterator<Item = u16>) -> Result<Planned, Status> {
        ports::listen(&mut self.options, ports);
        let Self { texts, options, keep_going } = self;
        let texts::Planned { options, plan, findings } =
            if keep_going { texts.plan_in_spite_of_errors(options) } else { texts.plan(options) };
        let mut errors = Diagnostics::new();
        errors.extend(findings.into_iter().filter(|it| it.severity == Severity::Error));
        eprint!("{}", errors.render(&texts.read.sources));
        if errors.iter().any(|error| UNREADABLE.contains(&error.code)) {
            return Err(Status::Unreadable);
        }
        match plan {
            Some(plan) if errors.is_empty() || keep_going => {
                if !errors.is_empty() {
                    complain("the answer leaves out what is wrong here");
                }
                Ok(Planned { texts, options, plan, has_errors: !errors.is_empty() })
            }
            _ => Err(Status::Findings),
        }
    }
}

//! `config-gen diff`: what two sets of resources do otherwise, or two profiles with one set.

use std::path::PathBuf;
use std::slice;

use super::arguments::{Comparison, Diff, Reading};
use super::planned::{Planned, Unplanned};
use super::{Status, complain, print};
use crate::diff::{self, Settings, Side};
use crate::options::Profile;
use crate::ports;

pub(super) fn run(arguments: &Diff) -> Status {
    // As of diff(1): that something differs is 1, so an error is another number.
    compare(arguments).unwrap_or(Status::Unreadable)
}

fn compare(arguments: &Diff) -> Result<Status, Status> {
    let reading = &arguments.reading;
    let read = |path: &PathBuf, profile| {
        Planned::read(slice::from_ref(path), &Reading { profile, ..reading.clone() })
    };
    let path = |path: &PathBuf| path.display().to_string();
    let (names, before, after) = match &arguments.after {
        Some(after) => (
            (path(&arguments.before), path(after)),
            read(&arguments.before, reading.profile)?,
            read(after, reading.profile)?,
        ),
        None => (
            (format!("profile {}", Profile::Istio), format!("profile {}", Profile::Standalone)),
            read(&arguments.before, Profile::Istio)?,
            read(&arguments.before, Profile::Standalone)?,
        ),
    };
    let of = |side: &Unplanned| ports::of(&side.texts.read.resources(), &side.options);
    let ports: Vec<u16> = of(&before).union(&of(&after)).copied().collect();
    let before = before.plan(ports.iter().copied())?;
    let after = after.plan(ports)?;
    let settings =
        Settings { most_requests: arguments.max_requests, between_profiles: arguments.after.is_none() };
    let diff = diff::compare(side(&before), side(&after), settings).map_err(|error| {
        complain(&format!("plugin config: {error}"));
        Status::Unreadable
    })?;
    let names = (names.0.as_str(), names.1.as_str());
    print(&match arguments.format {
        Comparison::Text => diff::report_text(&diff, names, arguments.max_changes),
        Comparison::Markdown => diff::report_markdown(&diff, names, arguments.max_changes),
        Comparison::Json => format!("{:#}\n", diff::report_data(&diff, names)),
    })?;
    Ok(if diff.is_same() { Status::Done } else { Status::Findings })
}

fn side(planned: &Planned) -> Side<'_> {
    Side { plan: &planned.plan, options: &planned.options, sources: &planned.texts.read.sources }
}

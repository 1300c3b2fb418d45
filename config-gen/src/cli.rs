//! The command line: arguments to calls to exit status.

mod arguments;
mod explain;
mod test;
mod validate;
mod write;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::diagnostic::{Diagnostics, Severity};
use crate::emit;
use crate::input::{self, Read};
use crate::mesh_config::{self, MeshConfig};
use crate::plan::Plan;
use crate::report;
use crate::source::Sources;
use crate::typed::Meaning;
use arguments::{Arguments, Command, Generate};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Done.
    Done = 0,
    /// The input has errors.
    Findings = 1,
    /// Input can't be read, or output can't be written.
    Unreadable = 2,
    /// The arguments make no sense.
    Usage = 64,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Codes of findings that mean that a text could not be parsed at all.
const UNREADABLE: [&str; 5] =
    ["invalid-yaml", "unrendered-template", "file-too-large", "nested-too-deeply", "too-many-aliases"];

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(Arguments { command: Command::Generate(generate) }) => run(&generate).into(),
        Ok(Arguments { command: Command::Explain(arguments) }) => explain::run(&arguments).into(),
        Ok(Arguments { command: Command::Test(arguments) }) => test::run(&arguments).into(),
        Ok(Arguments { command: Command::Validate(arguments) }) => validate::run(&arguments).into(),
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let status = if error.use_stderr() { Status::Usage } else { Status::Done };
            let _ = error.print();
            status.into()
        }
    }
}

fn run(arguments: &Generate) -> Status {
    let outputs = match arguments.outputs() {
        Ok(outputs) => outputs,
        Err(message) => {
            complain(&message);
            return Status::Usage;
        }
    };
    let read = read_resources(&arguments.files, arguments.mesh_config.as_deref(), &arguments.meaning);
    let (read, mesh) = match read {
        Ok(read) => read,
        Err(status) => return status,
    };
    let mut options = mesh.options(arguments.options(), &read);
    options.mesh_outputs = outputs.iter().any(|output| output.is_for_mesh());
    options.envoy.sidecar = outputs.iter().all(|output| output.is_for_mesh());
    let unreadable = read.diagnostics.iter().any(|diagnostic| UNREADABLE.contains(&diagnostic.code));
    let mut diagnostics = read.diagnostics.clone();
    let plan = (!diagnostics.has_errors()).then(|| {
        let mut found = Diagnostics::new();
        let mut plan = Plan::of(&read.resources(), &options, &mut found);
        if let Some(mesh) = &mut plan.mesh {
            mesh.findings = mesh.findings.drain(..).map(|finding| read.locate(finding)).collect();
            if arguments.names_mesh() {
                diagnostics.extend(mesh.findings.iter().cloned());
                diagnostics.extend(emit::check_mesh(&arguments.mesh(), &options));
            }
        }
        diagnostics.extend(found.into_iter().map(|diagnostic| read.locate(diagnostic)));
        plan
    });
    talk(&mut diagnostics, &read.sources, read.ignored_metadata_fields);
    if let Some(file) = &arguments.report {
        eprintln!("{}", report::summary(&read));
        let json = format!("{:#}\n", report::json(&read, &diagnostics, options.profile));
        // It may belong into the directory of the outputs, which isn't there yet.
        let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| std::fs::write(file, json)) {
            complain(&format!("can't write `{}`: {error}", file.display()));
            return Status::Unreadable;
        }
    }
    if diagnostics.has_errors() {
        let but = if arguments.report.is_some() { " but the report" } else { "" };
        eprintln!("nothing{but} was written");
    }
    let plan = match plan {
        Some(plan) if !diagnostics.has_errors() => plan,
        _ if unreadable => return Status::Unreadable,
        _ => return Status::Findings,
    };
    let mesh = arguments.mesh();
    let files = outputs.iter().map(|output| output.render(&plan, &options, &mesh));
    let result = files.collect::<anyhow::Result<Vec<_>>>().map(|files| files.concat());
    let result = result.and_then(|files| match &arguments.output {
        Some(directory) => write::all(directory, &files),
        None => {
            let mut stdout = std::io::stdout().lock();
            files.iter().try_for_each(|file| Ok(stdout.write_all(file.content.as_bytes())?))
        }
    });
    match result {
        Ok(()) => Status::Done,
        Err(error) => {
            complain(&format!("{error:#}"));
            Status::Unreadable
        }
    }
}

/// Prints the findings and what they come to.
fn talk(diagnostics: &mut Diagnostics, sources: &Sources, ignored_metadata_fields: usize) {
    diagnostics.sort();
    if !diagnostics.is_empty() {
        eprint!("{}", diagnostics.render(sources));
    }
    if ignored_metadata_fields > 0 {
        eprintln!(
            "note: {ignored_metadata_fields} metadata and status fields that have no effect were left out"
        );
    }
    let counts: Vec<String> = [Severity::Error, Severity::Warning]
        .into_iter()
        .map(|severity| (diagnostics.count(severity), severity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, severity)| format!("{count} {severity}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if !counts.is_empty() {
        eprintln!("{}", counts.join(", "));
    }
}

/// Reads the resources, and what a MeshConfig makes of them.
fn read_resources(
    files: &[PathBuf],
    mesh_config: Option<&Path>,
    meaning: &Meaning,
) -> Result<(Read, MeshConfig), Status> {
    let sources = read_sources(files)?;
    let mut read = input::read(sources, &meaning.read_options());
    let mut mesh = MeshConfig::default();
    if let Some(path) = mesh_config {
        let found = read_sources(&[path.to_owned()])?;
        for file in found.files() {
            mesh = mesh_config::read(found.name(file), found.text(file), &mut read);
        }
    }
    mesh.apply(&mut read);
    Ok((read, mesh))
}

/// Reads the files that were named, or says which one can't be read, and why.
fn read_sources(files: &[PathBuf]) -> Result<Sources, Status> {
    input::files::collect(files).map_err(|error| {
        complain(&match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        });
        Status::Unreadable
    })
}

/// Writes data to standard output. Who stops reading early has what they wanted.
fn print(data: &str) -> Result<(), Status> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(data.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            complain(&format!("can't write to standard output: {error}"));
            Err(Status::Unreadable)
        }
        _ => Ok(()),
    }
}

fn complain(message: &str) {
    eprintln!("error: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        assert_eq!(ExitCode::from(Status::Usage), ExitCode::from(64));
    }
}

//! The command line: arguments to calls to exit status.

mod arguments;
mod diff;
mod explain;
mod generate;
mod graph;
mod man;
mod planned;
mod ready;
mod suggest;
mod test;
mod validate;
mod version;
mod watch;
mod write;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::Shell;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::input;
use crate::source::Sources;
use crate::texts::Texts;
use crate::typed::Meaning;
use arguments::{Arguments, Command};

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
        Ok(Arguments { command: Command::Generate(arguments) }) => generate::run(*arguments).into(),
        Ok(Arguments { command: Command::Explain(arguments) }) => explain::run(&arguments).into(),
        Ok(Arguments { command: Command::Test(arguments) }) => test::run(&arguments).into(),
        Ok(Arguments { command: Command::Validate(arguments) }) => validate::run(&arguments).into(),
        Ok(Arguments { command: Command::Diff(arguments) }) => diff::run(&arguments).into(),
        Ok(Arguments { command: Command::Graph(arguments) }) => graph::run(&arguments).into(),
        Ok(Arguments { command: Command::Suggest(arguments) }) => suggest::run(&arguments).into(),
        Ok(Arguments { command: Command::Ready(arguments) }) => ready::run(&arguments).into(),
        Ok(Arguments { command: Command::Schema }) => print_or_complain(&schema()).into(),
        Ok(Arguments { command: Command::Version(arguments) }) => version::run(&arguments).into(),
        Ok(Arguments { command: Command::Completions(arguments) }) => {
            print_or_complain(&completions(arguments.shell)).into()
        }
        Ok(Arguments { command: Command::Man(arguments) }) => man::run(&arguments).into(),
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let status = if error.use_stderr() { Status::Usage } else { Status::Done };
            let _ = error.print();
            status.into()
        }
    }
}

/// The plugin config's.
fn schema() -> String {
    format!("{:#}\n", portolan_engine::Config::schema())
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "config-gen", &mut script);
    // clap_complete 4.6 names bash's commands in two ways where the program's name has a hyphen, and
    // then offers nothing for them.
    String::from_utf8_lossy(&script).replace("config__subcmd__gen", "config__gen")
}

/// Prints the findings and what they come to.
fn talk(diagnostics: &mut Diagnostics, sources: &Sources, ignored_metadata_fields: usize, told: &mut Told) {
    diagnostics.sort();
    let new = told.new_of(diagnostics);
    if !new.is_empty() {
        eprint!("{}", new.render(sources));
    }
    if std::mem::replace(&mut told.ignored, ignored_metadata_fields) < ignored_metadata_fields {
        eprintln!(
            "note: {ignored_metadata_fields} metadata and status fields that have no effect were left out"
        );
    }
    let counts: Vec<String> = [Severity::Error, Severity::Warning]
        .into_iter()
        .map(|severity| (new.count(severity), severity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, severity)| format!("{count} {severity}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if !counts.is_empty() {
        eprintln!("{}", counts.join(", "));
    }
}

/// What was found the time before, where the same input is read again and again.
#[derive(Default)]
struct Told {
    findings: HashSet<Finding>,
    ignored: usize,
}

/// Code, message, resource and field: a finding is the same when its line has moved.
type Finding = (&'static str, String, Option<String>, Option<String>);

impl Told {
    /// What hasn't been told; errors are told each time, since nothing comes of the input.
    fn new_of(&mut self, diagnostics: &Diagnostics) -> Diagnostics {
        let finding = |one: &Diagnostic| -> Finding {
            (one.code, one.message.clone(), one.resource.clone(), one.field.clone())
        };
        let is_new =
            |one: &&Diagnostic| one.severity == Severity::Error || !self.findings.contains(&finding(one));
        let new = diagnostics.iter().filter(is_new).cloned().collect();
        self.findings = diagnostics.iter().map(finding).collect();
        new
    }
}

/// Reads the resources, and what a MeshConfig makes of them.
fn read_texts(files: &[PathBuf], mesh_config: Option<&Path>, meaning: &Meaning) -> Result<Texts, Status> {
    let resources = read_sources(files)?;
    let mesh_configs = mesh_config.map(|path| read_sources(&[path.to_owned()])).transpose()?;
    let mesh_configs = mesh_configs
        .iter()
        .flat_map(|sources| sources.files().map(|file| (sources.name(file), sources.text(file))));
    Ok(Texts::read(resources, mesh_configs, &meaning.read_options()))
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

fn print_or_complain(data: &str) -> Status {
    print(data).err().unwrap_or(Status::Done)
}

fn complain(message: &str) {
    eprintln!("error: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
        assert_eq!(ExitCode::from(Status::Usage), ExitCode::from(64));
    }

    /// Each command's help shows commands that could be typed so.
    #[test]
    fn help_has_examples_that_are_right() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            let mut examples = 0;
            let typed = help.lines().filter_map(|line| line.trim().strip_prefix("config-gen "));
            for line in typed {
                // What the shell does with the output is not ours.
                let end = line.find([';', '|', '>', '&']).unwrap_or(line.len());
                let words = crate::explain::shell_words(&line[..end]).unwrap();
                let words = std::iter::once("config-gen".to_owned()).chain(words);
                if let Err(error) = Arguments::try_parse_from(words) {
                    panic!("an example of {name}: {line}\n{error}");
                }
                examples += usize::from(line.starts_with(name));
            }
            assert!(help.starts_with("Example") && examples > 0, "{name} has no example:\n{help}");
        }
    }
}

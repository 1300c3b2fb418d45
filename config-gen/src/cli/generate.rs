//! `config-gen generate`.

use std::io::Write as _;

use super::arguments::Generate;
use super::{Status, Told, UNREADABLE, complain, read_texts, talk, watch, write};
use crate::emit::{File, Output};
use crate::report;
use crate::texts::Planned;

pub(super) fn run(mut arguments: Generate) -> Status {
    arguments.generation.envoy.dynamic_resources |= arguments.watch;
    let outputs = match arguments.outputs() {
        Ok(outputs) => outputs,
        Err(message) => {
            complain(&message);
            return Status::Usage;
        }
    };
    if let (true, Some(directory)) = (arguments.watch, &arguments.output) {
        return watch::run(&arguments, &outputs, directory);
    }
    let result = files(&arguments, &outputs, &mut Told::default()).map(|files| match &arguments.output {
        Some(directory) => write::all(directory, &files),
        None => {
            let mut stdout = std::io::stdout().lock();
            files.iter().try_for_each(|file| Ok(stdout.write_all(file.content.as_bytes())?))
        }
    });
    match result {
        Ok(Ok(())) => Status::Done,
        Ok(Err(error)) => {
            complain(&format!("{error:#}"));
            Status::Unreadable
        }
        Err(status) => status,
    }
}

/// Reads the input, tells what is found in it and isn't in `told`, and makes the files unless it has errors.
/// The report is written either way.
pub(super) fn files(arguments: &Generate, outputs: &[Output], told: &mut Told) -> Result<Vec<File>, Status> {
    let generation = &arguments.generation;
    let texts = read_texts(&arguments.files, arguments.mesh_config.as_deref(), &generation.meaning)?;
    let read = &texts.read;
    let unreadable = read.diagnostics.iter().any(|diagnostic| UNREADABLE.contains(&diagnostic.code));
    let Planned { options, plan, findings: mut diagnostics } = generation.plan(&texts, outputs);
    talk(&mut diagnostics, &read.sources, read.ignored_metadata_fields, told);
    if let Some(file) = &arguments.report {
        eprintln!("{}", report::summary(read));
        let json = format!("{:#}\n", report::json(read, &diagnostics, options.profile));
        // It may belong into the directory of the outputs, which isn't there yet.
        let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| std::fs::write(file, json)) {
            complain(&format!("can't write `{}`: {error}", file.display()));
            return Err(Status::Unreadable);
        }
    }
    if diagnostics.has_errors() {
        let but = if arguments.report.is_some() { " but the report" } else { "" };
        eprintln!("nothing{but} was written");
    }
    let plan = match plan {
        Some(plan) if !diagnostics.has_errors() => plan,
        _ if unreadable => return Err(Status::Unreadable),
        _ => return Err(Status::Findings),
    };
    generation.render(&plan, &options, outputs).map_err(|error| {
        complain(&format!("{error:#}"));
        Status::Unreadable
    })
}

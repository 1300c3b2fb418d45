//! `config-gen man`: manual pages, made from what the arguments say of themselves.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::arguments::{self, Arguments};
use super::write;
use super::{Status, complain, print_or_complain};
use crate::emit::File;

pub(super) fn run(arguments: &arguments::Man) -> Status {
    let written = match &arguments.output {
        None => return print_or_complain(&page(command(), "config-gen").content),
        Some(directory) => all(directory),
    };
    match written {
        Ok(()) => Status::Done,
        Err(error) => {
            complain(&format!("{error:#}"));
            Status::Unreadable
        }
    }
}

fn command() -> Command {
    let mut command = Arguments::command();
    // Fills in what commands have in common.
    command.build();
    command
}

/// Writes the page of the program and those of its commands: `config-gen-explain.1`.
fn all(directory: &Path) -> anyhow::Result<()> {
    let program = command();
    let commands = program.get_subcommands().filter(|command| command.get_name() != "help");
    let mut pages: Vec<File> = commands
        .map(|command| page(command.clone(), &format!("config-gen-{}", command.get_name())))
        .collect();
    pages.push(page(program, "config-gen"));
    fs::create_dir_all(directory)
        .with_context(|| format!("can't create directory `{}`", directory.display()))?;
    write::all(directory, &pages)
}

fn page(command: Command, name: &str) -> File {
    let mut content = Vec::new();
    // `config-gen explain` is what is typed, `config-gen-explain` what the page is called.
    let command = command.display_name(name.to_owned());
    let man = Man::new(command).title(name.to_uppercase()).manual("Portolan");
    // Writing into memory can't fail.
    let _ = man.render(&mut content);
    File { path: format!("{name}.1"), content: String::from_utf8_lossy(&content).into_owned() }
}

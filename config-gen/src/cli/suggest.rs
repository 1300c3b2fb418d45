//! `config-gen suggest`: what an access log says the registry lacks, as ServiceEntries.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::arguments::Suggest;
use super::{Status, complain, print_or_complain};
use crate::options::EnvoyOptions;
use crate::suggest::Suggestion;

/// Longest line that is looked at, in bytes; Envoy's own are far below.
const LONGEST_LINE: u64 = 1 << 20;

pub(super) fn run(arguments: &Suggest) -> Status {
    let envoy = EnvoyOptions { allow_upstream: arguments.allow_upstream.clone(), ..EnvoyOptions::default() };
    let mut suggestion = Suggestion::new(arguments.max_hosts);
    for path in &arguments.logs {
        if let Err(error) = read(path, |line| suggestion.add(line, &envoy)) {
            complain(&format!("could not read the file `{}`: {error}", path.display()));
            return Status::Unreadable;
        }
    }
    eprintln!("{}", suggestion.summary());
    print_or_complain(&suggestion.yaml())
}

/// Line by line, since a log may be larger than the memory.
fn read(path: &Path, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut reader: Box<dyn BufRead> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(path)?)),
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        each(String::from_utf8_lossy(&line).trim_end());
    }
}

//! What can be typed.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) const HELP: &str = "\
Compares the CPU time per request of Envoy with our filter, with Envoy's own routes that do the
same, and without either.

Usage: bench [OPTIONS]

  --rounds NUMBER     Rounds, each of which measures every row [default: 7]
  --requests NUMBER   Requests for each row in each round [default: 40000]
  --hosts NUMBER      Hosts in the registry [default: 1000]
  --rules NUMBER      Rules of each host; each request matches any one of them [default: 1]
  --envoy VERSION     Version of Envoy, such as 1.40.0 [default: the newest that is installed]
  --json FILE         Add the results to FILE, as one line of JSON
  --help              Print this

Exit status: 0 the budget is met, 1 it is exceeded, 2 there is no result
";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// How many rounds are counted; the warm-up is one more.
    pub(crate) rounds: usize,
    /// How many requests each row gets in a round.
    pub(crate) requests: u64,
    /// How many hosts are in the registry.
    pub(crate) hosts: usize,
    /// How many rules each host has.
    pub(crate) rules: usize,
    /// Envoy's version; none: the newest at hand.
    pub(crate) envoy: Option<String>,
    /// File for machine-readable results.
    pub(crate) json: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Run(Options),
    Help,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 7, requests: 40_000, hosts: 1000, rules: 1, envoy: None, json: None }
    }
}

/// Understands `--name value` and `--name=value`.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if matches!(&*argument, "--help" | "-h") {
            return Ok(Command::Help);
        }
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (&*argument, None),
        };
        let mut value = || {
            let value = inline.clone().or_else(|| arguments.next()).filter(|value| !value.is_empty());
            value.with_context(|| format!("`{name}` needs a value"))
        };
        match name {
            "--rounds" => options.rounds = positive(name, &value()?)?,
            "--requests" => options.requests = positive(name, &value()?)?,
            "--hosts" => options.hosts = positive(name, &value()?)?,
            "--rules" => options.rules = positive(name, &value()?)?,
            "--envoy" => options.envoy = Some(value()?),
            "--json" => options.json = Some(value()?.into()),
            _ => bail!("there is no option `{name}`"),
        }
    }
    Ok(Command::Run(options))
}

fn positive<T: FromStr + PartialOrd + From<u8>>(name: &str, text: &str) -> Result<T> {
    let number = text.parse::<T>().ok().with_context(|| format!("`{name}` is no number: `{text}`"))?;
    ensure!(number >= T::from(1), "`{name}` must be at least 1");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_have_defaults_and_two_forms() {
        assert_eq!(parsed("").unwrap(), Command::Run(Options::default()));
        let expected = Options {
            rounds: 3,
            hosts: 10,
            envoy: Some("1.36.4".to_owned()),
            json: Some("out.json".into()),
            ..Options::default()
        };
        let line = "--rounds 3 --hosts=10 --envoy 1.36.4 --json=out.json";
        assert_eq!(parsed(line).unwrap(), Command::Run(expected));
        assert_eq!(parsed("--rounds 3 --help").unwrap(), Command::Help);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--rounds", "--rounds=", "--rounds 0", "--requests many", "--round 3", "3"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}

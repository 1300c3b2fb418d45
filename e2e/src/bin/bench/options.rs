//! What can be typed.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) const HELP: &str = "\
Compares the CPU time per request of Envoy with our filter, with Envoy's own routes that do the
same, with Lua, and without either: many hosts, many rules in one host, large bodies. And the latency
that the filter adds, and what many services take.

Usage: bench [OPTIONS]

  --table NAME        `hosts`, `rules`, `bodies`, `latency`, `scale`, `clusters` or `all` of them
                      [default: all]
  --quick             Few rounds and requests: shows that it works, and nothing else
  --rounds NUMBER     Rounds, each of which measures every row [default: 7]
  --requests NUMBER   hosts: requests for each row in each round [default: 40000]
  --hosts NUMBER      hosts: hosts in the registry [default: 1000, then 100000]
  --rules NUMBER      hosts: rules of each host; each request matches any one of them [default: 1]
  --slice MS          rules: CPU time of Envoy for each cell in each round, about [default: 150]
  --forward           rules: requests are forwarded, instead of answered by Envoy itself
  --envoy VERSION     Version of Envoy, such as 1.40.0 [default: the newest that is installed]
  --json FILE         Add the results to FILE, as one line of JSON for each table
  --plot FILE         Draw the budgets and how much of them was used: an SVG file
  --help              Print this

Exit status: 0 the budget is met, 1 it is exceeded, 2 there is no result
";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Which tables.
    pub(crate) tables: Vec<Table>,
    /// How many rounds are counted; the warm-up is one more.
    pub(crate) rounds: usize,
    /// How many requests each row of the table `hosts` gets in a round.
    pub(crate) requests: u64,
    /// How many hosts are in the registry; one after the other.
    pub(crate) hosts: Vec<usize>,
    /// How many rules each host has.
    pub(crate) rules: usize,
    /// How much CPU time of Envoy a cell of the table `rules` is worth in a round, in milliseconds.
    pub(crate) slice: u64,
    /// Whether the requests of the table `rules` are forwarded to the upstream.
    pub(crate) forward: bool,
    /// Envoy's version; none: the newest at hand.
    pub(crate) envoy: Option<String>,
    /// File for machine-readable results.
    pub(crate) json: Option<PathBuf>,
    /// File for the picture.
    pub(crate) plot: Option<PathBuf>,
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Hosts,
    Rules,
    Bodies,
    Latency,
    Scale,
    Clusters,
}

impl Table {
    const ALL: [(&str, Self); 6] = [
        ("hosts", Self::Hosts),
        ("rules", Self::Rules),
        ("bodies", Self::Bodies),
        ("latency", Self::Latency),
        ("scale", Self::Scale),
        ("clusters", Self::Clusters),
    ];
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Run(Options),
    Help,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tables: Table::ALL.map(|(_, table)| table).to_vec(),
            rounds: 7,
            requests: 40_000,
            hosts: vec![1000, 100_000],
            rules: 1,
            slice: 150,
            forward: false,
            envoy: None,
            json: None,
            plot: None,
        }
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
        if argument == "--quick" {
            (options.rounds, options.requests, options.slice) = (2, 4000, 20);
            continue;
        }
        if argument == "--forward" {
            options.forward = true;
            continue;
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
            "--table" => {
                let value = value()?;
                if value != "all" {
                    let table = Table::ALL.into_iter().find(|(name, _)| *name == value);
                    options.tables = vec![table.with_context(|| format!("there is no table `{value}`"))?.1];
                }
            }
            "--slice" => options.slice = positive(name, &value()?)?,
            "--rounds" => options.rounds = positive(name, &value()?)?,
            "--requests" => options.requests = positive(name, &value()?)?,
            "--hosts" => options.hosts = vec![positive(name, &value()?)?],
            "--rules" => options.rules = positive(name, &value()?)?,
            "--envoy" => options.envoy = Some(value()?),
            "--json" => options.json = Some(value()?.into()),
            "--plot" => options.plot = Some(value()?.into()),
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
            hosts: vec![10],
            envoy: Some("1.36.4".to_owned()),
            json: Some("out.json".into()),
            ..Options::default()
        };
        let line = "--rounds 3 --hosts=10 --envoy 1.36.4 --json=out.json";
        assert_eq!(parsed(line).unwrap(), Command::Run(expected));
        let Command::Run(quick) = parsed("--table rules --quick --rounds 3").unwrap() else { panic!() };
        assert_eq!(quick.tables, [Table::Rules]);
        assert_eq!((quick.rounds, quick.slice), (3, 20));
        assert_eq!(parsed("--rounds 3 --help").unwrap(), Command::Help);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--rounds", "--rounds=", "--rounds 0", "--requests many", "--round 3", "3", "--table x"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}

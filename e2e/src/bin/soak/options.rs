//! What can be typed.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) const HELP: &str = "\
Sends mixed traffic through one Envoy with the filter for a long time, while the plugin config
changes. No request may fail, and Envoy's memory and file descriptors have to stay what they are.

Usage: soak [OPTIONS]

  --duration TIME     How long, such as 30m or 40s [default: 30m]
  --rate NUMBER       Requests a second, of all sorts together [default: 100]
  --envoy VERSION     Version of Envoy, such as 1.40.0 [default: the newest that is installed]
  --help              Print this

Exit status: 0 all was well, 1 something failed or grew, 2 there is no result
";

/// How to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    pub(crate) duration: Duration,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Envoy's version; none: the newest at hand.
    pub(crate) envoy: Option<String>,
}

/// `None` asks for help.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options { duration: Duration::from_secs(30 * 60), rate: 100.0, envoy: None };
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        if matches!(&*name, "--help" | "-h") {
            return Ok(None);
        }
        let mut value = || arguments.next().with_context(|| format!("`{name}` needs a value"));
        match &*name {
            "--duration" => options.duration = duration(&value()?)?,
            "--rate" => options.rate = value()?.parse().context("`--rate` is a number")?,
            "--envoy" => options.envoy = Some(value()?),
            _ => bail!("there is no option `{name}`"),
        }
    }
    ensure!((1.0..=10_000.0).contains(&options.rate), "`--rate` is from 1 to 10000");
    ensure!(options.duration >= Duration::from_secs(10), "`--duration` is 10s at least");
    Ok(Some(options))
}

fn duration(text: &str) -> Result<Duration> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => bail!("`{text}` is no time such as 30m or 40s"),
    };
    let number: u64 = number.parse().with_context(|| format!("`{text}` is no time such as 30m or 40s"))?;
    Ok(Duration::from_secs(number * factor))
}

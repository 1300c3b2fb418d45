//! Reads a page of Prometheus' text format as strictly as `promtool check metrics` does, and more so: each line has
//! to be what the format knows, and no series may stand there twice.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

/// Labels with their values.
pub type Labels = BTreeMap<String, String>;

/// All that a page says.
#[derive(Debug, Default)]
pub struct Page {
    /// By the names that `# TYPE` says, such as `counter`.
    pub kinds: BTreeMap<String, String>,
    series: BTreeMap<String, BTreeMap<Labels, f64>>,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// The first line that isn't of the format, or that contradicts another one.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
        let mut page = Self::default();
        let mut family = None;
        let mut ended = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# TYPE ") {
                let (name, kind) = comment.split_once(' ').with_context(|| format!("no type: {line}"))?;
                let known = ["counter", "gauge", "histogram", "summary", "untyped"];
                ensure!(is_name(name) && known.contains(&kind), "{line}");
                ensure!(page.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
                ended.extend(family.replace(name.to_owned()));
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (name, labels, value) = sample(line).with_context(|| format!("not of the format: {line}"))?;
            let of = family.as_deref().with_context(|| format!("without a type: {line}"))?;
            let is_part = match page.kinds.get(of).map(String::as_str) {
                Some("histogram") => {
                    ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{of}{end}"))
                }
                _ => name == of,
            };
            ensure!(is_part && !ended.contains(of), "out of place below {of}: {line}");
            let before = page.series.entry(name).or_default().insert(labels, value);
            ensure!(before.is_none(), "twice: {line}");
        }
        page.check()?;
        Ok(page)
    }

    /// What holds for counters and histograms.
    fn check(&self) -> Result<()> {
        for (name, kind) in &self.kinds {
            match kind.as_str() {
                "counter" => {
                    for (labels, value) in self.all(name) {
                        ensure!(*value >= 0.0, "{name}{labels:?} is {value}");
                    }
                }
                "histogram" => self.check_histogram(name).with_context(|| format!("the histogram {name}"))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_histogram(&self, name: &str) -> Result<()> {
        let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (labels, value) in self.all(&format!("{name}_bucket")) {
            let mut rest = labels.clone();
            let bound = number(&rest.remove("le").context("a bucket without le")?)?;
            buckets.entry(rest).or_default().push((bound, *value));
        }
        for (labels, mut steps) in buckets {
            steps.sort_by(|one, other| one.0.total_cmp(&other.0));
            ensure!(steps.is_sorted_by(|one, other| one.1 <= other.1), "buckets of {labels:?} fall");
            let (last, all) = steps.last().copied().context("no buckets")?;
            let count = self.value_of(&format!("{name}_count"), &labels);
            ensure!(last == f64::INFINITY && Some(all) == count, "{labels:?}: {all} in all, {count:?}");
            ensure!(self.value_of(&format!("{name}_sum"), &labels).is_some(), "{labels:?} has no sum");
        }
        Ok(())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = (&Labels, &f64)> {
        self.series.get(name).into_iter().flatten()
    }

    fn value_of(&self, name: &str, labels: &Labels) -> Option<f64> {
        self.series.get(name)?.get(labels).copied()
    }

    /// The value of the one series with exactly these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.value_of(name, &labels.collect())
    }

    /// The names of all samples, those of buckets included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The names of the labels of a metric's samples, if there are any samples.
    #[must_use]
    pub fn labels(&self, name: &str) -> Option<BTreeSet<&str>> {
        let series = self.series.get(name)?;
        Some(series.keys().flat_map(BTreeMap::keys).map(String::as_str).collect())
    }

    /// How many series there are.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series.values().map(BTreeMap::len).sum()
    }
}

/// Whether it can be the name of a metric. A label's has no colon.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || b"_:".contains(&byte));
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
}

/// A line such as `name{label="value"} 1`.
fn sample(line: &str) -> Result<(String, Labels, f64)> {
    let end = line.find(['{', ' ']).context("no value")?;
    let (name, rest) = line.split_at(end);
    ensure!(is_name(name), "the name");
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.strip_prefix(' ').context("no blank before the value")?;
    Ok((name.to_owned(), labels, number(value)?))
}

/// What stands behind `{`, and what follows the `}`.
fn labels(mut rest: &str) -> Result<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once("=\"").context("a label without a value")?;
        ensure!(is_name(name) && !name.contains(':'), "the label {name}");
        let (value, after) = quoted(after)?;
        ensure!(labels.insert(name.to_owned(), value).is_none(), "the label {name} twice");
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.starts_with('}') => after,
            None => bail!("no comma between labels"),
        };
    }
}

/// A value up to its quote, and what follows.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some(escaped @ ('\\' | '"')) => value.push(escaped),
                _ => bail!("an escape that isn't known"),
            },
            other => value.push(other),
        }
    }
    bail!("a value without an end")
}

fn number(text: &str) -> Result<f64> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ => text.parse().with_context(|| format!("no number: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read() {
        let text = "# TYPE a counter\na{b=\"c\\\"d\",e=\"\"} 1\na{} 2\n\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\n\
                    h_bucket{le=\"+Inf\"} 2\nh_sum 3.5\nh_count 2\n";
        let page = Page::parse(text).unwrap();
        assert_eq!(page.value("a", &[("b", "c\"d"), ("e", "")]), Some(1.0));
        assert_eq!((page.value("a", &[]), page.series()), (Some(2.0), 6));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for bad in [
            "a 1\n",
            "# TYPE a counter\na 1",
            "# TYPE a counter\na 1\na 1\n",
            "# TYPE a counter\na -1\n",
            "# TYPE a counter\nb 1\n",
            "# TYPE a counter\na{b=\"c} 1\n",
            "# TYPE a counter\na{b-c=\"\"} 1\n",
            "# TYPE a counter\na one\n",
            "# TYPE a number\n",
            "# TYPE a counter\n# TYPE b counter\n# TYPE a counter\n",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
        ] {
            assert!(Page::parse(bad).is_err(), "{bad}");
        }
    }
}

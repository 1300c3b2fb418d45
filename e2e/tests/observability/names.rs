//! Whether names of metrics, labels and fields that stand in a file are there.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::places;
use portolan_e2e::prometheus::Page;
use portolan_engine::Reason;
use serde_json::Value;

fn read(path: &str) -> Result<String> {
    fs::read_to_string(places::root()?.join(path)).with_context(|| path.to_owned())
}

/// Every query of a Grafana dashboard.
pub(super) fn check_dashboard(path: &str, pages: &[Page]) -> Result<()> {
    let dashboard: Value = serde_json::from_str(&read(path)?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut queries: Vec<&str> = queries.filter_map(|target| target["expr"].as_str()).collect();
    let variables = dashboard["templating"]["list"].as_array().into_iter().flatten();
    queries.extend(
        variables.filter_map(|variable| variable["query"].as_str()).filter(|query| query.contains('(')),
    );
    ensure!(queries.len() > 10, "only {} queries", queries.len());
    let mut ids = BTreeSet::new();
    for panel in panels {
        ensure!(ids.insert(panel["id"].as_u64()), "two panels with the id {}", panel["id"]);
        let needs_words = panel["type"] != "row";
        ensure!(!needs_words || panel["description"].is_string(), "no description: {}", panel["title"]);
    }
    queries.iter().try_for_each(|query| check_query(query, pages).with_context(|| format!("{path}: {query}")))
}

/// Every alert of a file of rules.
pub(super) fn check_rules(path: &str, pages: &[Page]) -> Result<()> {
    let rules: Value = serde_saphyr::from_str(&read(path)?)?;
    let groups = rules["groups"].as_array().context("no groups")?;
    let rules: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()).collect();
    ensure!(!rules.is_empty(), "no rules");
    for rule in rules {
        let query = rule["expr"].as_str().context("a rule without a query")?;
        for text in ["summary", "description"] {
            ensure!(rule["annotations"][text].is_string(), "{} has no {text}", rule["alert"]);
        }
        check_query(query, pages).with_context(|| format!("{path}: {query}"))?;
    }
    Ok(())
}

/// Every metric of ours is told, and everything told is there.
pub(super) fn check_document(path: &str, pages: &[Page]) -> Result<()> {
    let text = read(path)?;
    let told: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    for page in pages {
        for name in page.names().filter(|name| name.starts_with("portolan_")) {
            ensure!(told.contains(name), "{path} doesn't tell of {name}");
        }
    }
    for reason in Reason::ALL {
        ensure!(told.contains(reason.as_str()), "{path} doesn't tell of the reason {}", reason.as_str());
    }
    let labels: BTreeSet<&str> =
        pages.iter().flat_map(|page| page.names().filter_map(|name| page.labels(name)).flatten()).collect();
    let speaks_of_metrics = |text: &str| text.contains("portolan_") || text.contains("envoy_");
    for query in told.into_iter().filter(|text| speaks_of_metrics(text) && !labels.contains(text)) {
        check_query(query, pages).with_context(|| format!("{path}: {query}"))?;
    }
    Ok(())
}

/// The fields of a line of the access log are those that the documentation's table has for this sort.
pub(super) fn check_fields(sort: &str, line: &Value) -> Result<()> {
    let text = read("docs/observability.md")?;
    let table =
        text.split("\n#").find(|section| section.trim_start_matches(['#', ' ']).starts_with("Access log"));
    let rows = table.context("no section on the access log")?.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let is_meant = cells.get(2)?.split(", ").any(|told| told == sort);
        is_meant.then(|| cells.get(1).map(|cell| cell.trim_matches('`').to_owned())).flatten()
    });
    let told: BTreeSet<String> = rows.collect();
    let seen: BTreeSet<String> = line.as_object().context("no object")?.keys().cloned().collect();
    ensure!(told == seen, "{sort}: told {told:?}, but the line has {seen:?}");
    Ok(())
}

/// Names of metrics stand outside of braces and lists of labels; in these, names of labels do.
fn check_query(query: &str, pages: &[Page]) -> Result<()> {
    let mut metrics = BTreeSet::new();
    let mut labels = BTreeSet::new();
    let mut rest = query;
    let mut in_list = 0_usize;
    let mut last = "";
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if length > 0 {
            let (word, after) = rest.split_at(length);
            if in_list > 0 {
                labels.insert(word);
            } else if word.starts_with("envoy_") || word.starts_with("portolan_") {
                metrics.insert(word);
            }
            (last, rest) = (word, after);
            continue;
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            // What a label is compared with.
            '"' => rest = rest.split_once('"').context("no end of a text")?.1,
            // How long, such as `[5m]`.
            '[' => rest = rest.split_once(']').context("no end of a range")?.1,
            '{' => in_list += 1,
            '(' if in_list > 0 || ["by", "without", "on", "ignoring"].contains(&last) => in_list += 1,
            '}' => in_list -= 1,
            ')' => in_list = in_list.saturating_sub(1),
            // `label_values(metric, label)`
            ',' if in_list == 0 && query.starts_with("label_values(") => in_list += 1,
            _ => {}
        }
        last = if first == ' ' { last } else { "" };
    }
    ensure!(!metrics.is_empty(), "no metric");
    let mut known: BTreeSet<&str> = ["instance", "job", "le"].into();
    for metric in &metrics {
        let found: Vec<BTreeSet<&str>> = pages.iter().filter_map(|page| page.labels(metric)).collect();
        ensure!(!found.is_empty(), "there is no {metric}; {}", near(metric, pages));
        known.extend(found.into_iter().flatten());
    }
    for label in labels {
        ensure!(known.contains(label), "no label {label}, only {known:?}");
    }
    Ok(())
}

/// What there is instead.
fn near(metric: &str, pages: &[Page]) -> String {
    let start: String = metric.split('_').take(2).collect::<Vec<_>>().join("_");
    let names: BTreeSet<&str> =
        pages.iter().flat_map(Page::names).filter(|name| name.starts_with(&start)).collect();
    format!("there are {names:?}")
}

//! What the generator says of resources and writes for them.

use std::fmt;

use serde_json::Value;

use super::Mismatch;
use crate::diagnostic::{Diagnostic, Severity};

/// A finding, as the report has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// The code.
    pub code: String,
    /// The sentence.
    pub message: String,
    /// The resource, the path of the field, and the row of the specification.
    pub about: [Option<String>; 3],
    /// The line in the case file.
    pub line: Option<u32>,
}

/// What is expected of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFinding {
    /// The code, or a part of the sentence.
    pub text: Option<String>,
    /// As [`Finding::about`].
    pub about: [Option<String>; 3],
}

/// What is expected of the generator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedOutput {
    /// All errors; none: there is none.
    pub errors: Vec<WantedFinding>,
    /// Warnings and notes among others; empty lists: there are none at all.
    pub others: Vec<(Severity, Vec<WantedFinding>)>,
    /// Names of clusters, and parts of what they are for Envoy; none: there is no such cluster.
    pub clusters: Vec<(String, Option<Value>)>,
}

/// What [`Finding::about`] is called in case files and in the report of `config-gen generate`.
pub(super) const ABOUT: [(&str, &str); 3] = [("resource", "resource"), ("field", "path"), ("rule", "spec")];

impl Finding {
    pub(super) fn of(one: &Diagnostic) -> Self {
        Self {
            severity: one.severity.to_string(),
            code: one.code.to_owned(),
            message: one.message.clone(),
            about: [one.resource.clone(), one.field.clone(), one.rule.map(str::to_owned)],
            line: one.span.map(|span| span.line),
        }
    }

    /// Out of the report of `config-gen generate`.
    pub fn of_report(report: &Value) -> Vec<Self> {
        let findings = report["findings"].as_array().into_iter().flatten();
        let finding = |one: &Value| {
            let text = |name: &str| one[name].as_str().map(str::to_owned);
            Self {
                severity: text("severity").unwrap_or_default(),
                code: text("code").unwrap_or_default(),
                message: text("message").unwrap_or_default(),
                about: ABOUT.map(|(_, name)| text(name)),
                line: one["line"].as_u64().and_then(|line| line.try_into().ok()),
            }
        };
        findings.map(finding).collect()
    }

    /// Whether nothing is generated for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error.to_string()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        for ((name, _), about) in ABOUT.iter().zip(&self.about) {
            if let Some(about) = about {
                write!(f, "; {name}: {about}")?;
            }
        }
        Ok(())
    }
}

impl WantedFinding {
    fn is(&self, finding: &Finding) -> bool {
        let text = self.text.as_ref();
        text.is_none_or(|text| finding.code == *text || finding.message.contains(text))
            && self
                .about
                .iter()
                .zip(&finding.about)
                .all(|(wanted, about)| wanted.is_none() || wanted == about)
    }
}

impl fmt::Display for WantedFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = ABOUT.iter().zip(&self.about);
        let about = about.filter_map(|((name, _), about)| Some(format!("{name}: {}", about.as_ref()?)));
        let parts: Vec<String> = self.text.iter().cloned().chain(about).collect();
        f.write_str(&parts.join("; "))
    }
}

impl WantedOutput {
    /// What of it doesn't hold for what was found and written.
    pub fn compare(&self, findings: &[Finding], cluster: impl Fn(&str) -> Option<Value>) -> Vec<Mismatch> {
        let mut out = Vec::new();
        for (severity, wanted) in self
            .others
            .iter()
            .map(|(severity, wanted)| (*severity, wanted))
            .chain([(Severity::Error, &self.errors)])
        {
            let name = severity.to_string();
            let found: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == name).collect();
            for one in wanted.iter().filter(|one| !found.iter().any(|finding| one.is(finding))) {
                let all: Vec<String> = found.iter().map(ToString::to_string).collect();
                out.push(Mismatch::new(
                    &name,
                    one,
                    &if all.is_empty() { "none".to_owned() } else { all.join("\n    ") },
                ));
            }
            // Errors are all named, and where none is, there is none.
            if severity == Severity::Error || wanted.is_empty() {
                for finding in found.iter().filter(|finding| !wanted.iter().any(|one| one.is(finding))) {
                    out.push(Mismatch::new(&name, &"none such", finding));
                }
            }
        }
        for (name, wanted) in &self.clusters {
            let field = format!("clusters.{name}");
            match (wanted, cluster(name)) {
                (None, None) => {}
                (None, Some(_)) => out.push(Mismatch::new(&field, &"no such cluster", &"one")),
                (Some(_), None) => out.push(Mismatch::new(&field, &"a cluster", &"none")),
                (Some(wanted), Some(got)) => differences(wanted, &got, &field, &mut out),
            }
        }
        out
    }
}

impl fmt::Display for WantedOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.errors.is_empty() { "a configuration" } else { "errors" })
    }
}

/// Compares a part of a protobuf message as JSON. Null stands for what isn't there; what has its
/// default may be left out.
fn differences(wanted: &Value, got: &Value, at: &str, out: &mut Vec<Mismatch>) {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            for (name, wanted) in wanted {
                differences(wanted, got.get(name).unwrap_or(&Value::Null), &format!("{at}.{name}"), out);
            }
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => {
            for (index, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                differences(wanted, got, &format!("{at}[{index}]"), out);
            }
        }
        _ if plain(wanted) == plain(got) => {}
        _ => out.push(Mismatch::new(at, wanted, got)),
    }
}

/// `lb_policy` where Envoy says nothing of it.
const DEFAULT_LB_POLICY: &str = "ROUND_ROBIN";

/// A value as text: 64-bit numbers are strings in JSON, and `10.000s` is `10s`.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null | Value::Bool(false) => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        Value::String(text) if text == DEFAULT_LB_POLICY => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let seconds = text.strip_suffix('s').and_then(|number| number.parse::<f64>().ok());
    match seconds {
        Some(seconds) => format!("{seconds}s"),
        None if text == "0" => String::new(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn findings_are_named_or_none() {
        let finding = |severity: &str, code: &str| Finding {
            severity: severity.to_owned(),
            code: code.to_owned(),
            message: format!("something is {code}"),
            about: [Some("Kind a/b".to_owned()), None, None],
            line: None,
        };
        let found = [finding("error", "bad"), finding("warning", "odd")];
        let text = |text: &str| WantedFinding { text: Some(text.to_owned()), about: [const { None }; 3] };
        let about =
            |resource: &str| WantedFinding { text: None, about: [Some(resource.to_owned()), None, None] };
        let bad = "error[bad]: something is bad; resource: Kind a/b";
        let odd = "warning[odd]: something is odd; resource: Kind a/b";
        for (errors, warnings, mismatches) in [
            (vec![text("bad")], vec![text("odd")], vec![]),
            (vec![about("Kind a/b")], vec![text("thing is odd")], vec![]),
            (vec![], vec![text("odd")], vec![format!("error: expected none such, got {bad}")]),
            (vec![text("bad")], vec![], vec![format!("warning: expected none such, got {odd}")]),
            (
                vec![text("bad"), text("worse")],
                vec![text("odd")],
                vec![format!("error: expected worse, got {bad}")],
            ),
            (
                vec![about("Kind a/c")],
                vec![text("odd")],
                vec![
                    format!("error: expected resource: Kind a/c, got {bad}"),
                    format!("error: expected none such, got {bad}"),
                ],
            ),
        ] {
            let others = vec![(Severity::Warning, warnings)];
            let wanted = WantedOutput { errors, others, clusters: Vec::new() };
            let out = wanted.compare(&found, |_| None);
            assert_eq!(out.iter().map(ToString::to_string).collect::<Vec<_>>(), mismatches);
        }
        let here = |name: &str| (name == "here").then(|| json!({"name": "here"}));
        let cluster = |name: &str, wanted| WantedOutput {
            clusters: vec![(name.to_owned(), wanted)],
            ..WantedOutput::default()
        };
        for (wanted, holds) in [
            (cluster("here", Some(json!({}))), true),
            (cluster("here", None), false),
            (cluster("gone", None), true),
            (cluster("gone", Some(json!({}))), false),
        ] {
            assert_eq!(wanted.compare(&[], here).is_empty(), holds, "{wanted:?}");
        }
    }

    #[test]
    fn messages_are_compared_by_parts() {
        let got = json!({"a": "1", "b": [{"c": "0.100s", "d": 1}], "e": {"f": 2}});
        for (wanted, expected) in [
            (json!({"a": 1, "b": [{"c": "0.1s"}], "e": {}, "x": null, "y": 0, "z": false}), vec![]),
            (json!({"a": 2}), vec!["x.a: expected 2, got \"1\""]),
            (json!({"b": []}), vec!["x.b: expected [], got [{\"c\":\"0.100s\",\"d\":1}]"]),
            (json!({"b": [{"c": "1s"}]}), vec!["x.b[0].c: expected \"1s\", got \"0.100s\""]),
            (
                json!({"e": {"f": null, "g": {}}}),
                vec!["x.e.f: expected null, got 2", "x.e.g: expected {}, got null"],
            ),
        ] {
            let mut out = Vec::new();
            differences(&wanted, &got, "x", &mut out);
            assert_eq!(out.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        }
    }
}

//! The calls, from typed arguments to data.

use config_gen::analysis;
use config_gen::diagnostic::{Diagnostics, Severity};
use config_gen::explain;
use config_gen::report;
use config_gen::source::Sources;
use config_gen::texts::Texts;
use serde_json::{Value, json};

use crate::findings;
use crate::options::{Question, Settings, Text};

/// What is wrong with the texts, or likely not what was meant: more than generating comes upon.
///
/// # Errors
///
/// The options don't go together.
pub fn validate(texts: &[Text], settings: &Settings) -> Result<Value, String> {
    let generation = settings.generation();
    generation.outputs(true)?;
    let suppressions = settings.suppressions()?;
    let Texts { read, mesh } = settings.read(texts);
    let options = mesh.options(generation.options(), &read);
    let analysis = analysis::run(&read, &options, &suppressions);
    let mut answer = found(&analysis.findings, &read.sources, texts);
    answer["suppressed"] = json!(analysis.suppressed);
    Ok(answer)
}

/// The files that the texts come to; none where they have errors.
///
/// # Errors
///
/// The options don't go together, or an output can't be made.
pub fn generate(texts: &[Text], settings: &Settings) -> Result<Value, String> {
    let generation = settings.generation();
    let outputs = generation.outputs(true)?;
    let read = settings.read(texts);
    let planned = generation.plan(&read, &outputs);
    let files = match planned.sound() {
        Some(plan) => {
            let files = generation.render(plan, &planned.options, &outputs);
            files.map_err(|error| format!("{error:#}"))?
        }
        None => Vec::new(),
    };
    let mut answer = found(&planned.findings, &read.read.sources, texts);
    answer["files"] =
        files.into_iter().map(|file| json!({"path": file.path, "content": file.content})).collect();
    if settings.report {
        answer["report"] = report::json(&read.read, &planned.findings, planned.options.profile);
    }
    Ok(answer)
}

/// What becomes of each request, and why; nothing where the texts have errors, unless the settings say to
/// keep going.
///
/// # Errors
///
/// The options don't go together.
pub fn explain(texts: &[Text], questions: Vec<Question>, settings: &Settings) -> Result<Value, String> {
    let generation = settings.generation();
    generation.outputs(true)?;
    let read = settings.read(texts);
    let questions: Vec<_> = questions.into_iter().map(Question::asked).collect();
    let asked: Vec<_> = questions.iter().filter_map(|asked| asked.as_ref().ok()).cloned().collect();
    let options = |profile| config_gen::options::Options { profile, ..generation.options() };
    let answered = settings.inquiry().answers(&read, options, &asked);
    let answered = answered.map_err(|error| format!("plugin config: {error}"))?;
    let sources = &read.read.sources;
    let mut answers = answered.answers.map(Vec::into_iter);
    let mut told = Vec::new();
    for asked in &questions {
        told.push(match (asked, &mut answers) {
            (Err(message), _) => json!({"error": message}),
            (Ok(asked), Some(answers)) => {
                let answers = answers.next().unwrap_or_default();
                let mut report = explain::report_data(asked, &answers, sources);
                report["text"] = json!(explain::report_text(asked, &answers, sources));
                report
            }
            (Ok(_), None) => Value::Null,
        });
    }
    let mut answer = found(&answered.findings, sources, texts);
    answer["answers"] = Value::Array(told);
    Ok(answer)
}

/// What this is.
pub fn version() -> Value {
    json!({"version": env!("CARGO_PKG_VERSION")})
}

fn found(findings: &Diagnostics, sources: &Sources, texts: &[Text]) -> Value {
    let mut answer = json!({"findings": findings::json(findings, sources, texts)});
    for (name, severity) in
        [("errors", Severity::Error), ("warnings", Severity::Warning), ("notes", Severity::Note)]
    {
        answer[name] = json!(findings.count(severity));
    }
    answer
}

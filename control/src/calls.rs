//! The calls, from typed arguments to data.

use config_gen::analysis;
use config_gen::diagnostic::{Diagnostics, Severity};
use config_gen::diff::Side;
use config_gen::explain;
use config_gen::graph::Graph;
use config_gen::options::{Options, Profile};
use config_gen::report;
use config_gen::source::Sources;
use config_gen::texts::{Planned, Texts};
use config_gen::{diff, ports};
use serde_json::{Value, json};

use crate::findings;
use crate::options::{Picture, Question, Settings, Text};

/// Changes that a comparison for people shows.
const MOST_CHANGES: usize = 50;

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
    let options = |profile| Options { profile, ..generation.options() };
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

/// Hosts, rules and destinations as a picture; none where the texts have errors, unless the settings say to
/// keep going.
///
/// # Errors
///
/// The options don't go together.
pub fn graph(texts: &[Text], settings: &Settings) -> Result<Value, String> {
    let generation = settings.generation();
    generation.outputs(true)?;
    let read = settings.read(texts);
    let options = generation.options();
    let ports = ports::of(&read.read.resources(), &options);
    let planned = settings.plan(&read, options, ports);
    let mut answer = found(&planned.findings, &read.read.sources, texts);
    let graph = settings.usable(&planned).map(|plan| Graph::of(plan, &planned.options));
    answer["picture"] = json!(graph.map(|graph| match settings.format {
        Picture::Svg => graph.svg(),
        Picture::Dot => graph.dot(),
        Picture::Mermaid => graph.mermaid(),
    }));
    Ok(answer)
}

/// What two sets of texts do otherwise, or one set in profile istio and in profile standalone; nothing
/// where one of them has errors, unless the settings say to keep going.
///
/// # Errors
///
/// The options don't go together.
pub fn diff(before: &[Text], after: Option<&[Text]>, settings: &Settings) -> Result<Value, String> {
    let generation = settings.generation();
    generation.outputs(true)?;
    let profiles = match after {
        Some(_) => [generation.profile; 2],
        None => [Profile::Istio, Profile::Standalone],
    };
    let names = match after {
        Some(_) => ("before", "after"),
        None => ("profile istio", "profile standalone"),
    };
    let sets = [before, after.unwrap_or(before)];
    let read = sets.map(|texts| settings.read(texts));
    let options = profiles.map(|profile| Options { profile, ..generation.options() });
    let [one, other] = [0, 1].map(|side: usize| ports::of(&read[side].read.resources(), &options[side]));
    let ports: Vec<u16> = one.union(&other).copied().collect();
    let [first, second] = options;
    let planned = [
        settings.plan(&read[0], first, ports.iter().copied()),
        settings.plan(&read[1], second, ports.iter().copied()),
    ];
    let side = |index: usize| {
        let Planned { options, .. } = &planned[index];
        let plan = settings.usable(&planned[index])?;
        Some(Side { plan, options, sources: &read[index].read.sources })
    };
    let findings = |index: usize| found(&planned[index].findings, &read[index].read.sources, sets[index]);
    let mut answer = json!({"before": findings(0), "after": findings(1), "diff": null, "markdown": null});
    if let (Some(before), Some(after)) = (side(0), side(1)) {
        let comparison = diff::Settings { between_profiles: names.0 != "before", ..settings.comparison() };
        let compared = diff::compare(before, after, comparison);
        let compared = compared.map_err(|error| format!("plugin config: {error}"))?;
        answer["diff"] = diff::report_data(&compared, names);
        answer["markdown"] = json!(diff::report_markdown(&compared, names, MOST_CHANGES));
    }
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

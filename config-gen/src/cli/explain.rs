//! `config-gen explain`: requests as typed, and why each is decided as it is.

mod requests;

use std::fs;
use std::path::Path;

use portolan_engine::Config;
use serde_json::Value;

use super::arguments::{Explain, Format};
use super::{Status, UNREADABLE, complain, print, read_texts};
use crate::diagnostic::{Diagnostics, Severity};
use crate::emit;
use crate::explain::{self, Answer, Asked, Explainer, Inquiry, Typed};
use crate::source::Sources;

/// What is asked, and where that stands, in a file of requests.
struct Question {
    asked: Asked,
    place: Option<(String, u32)>,
}

pub(super) fn run(arguments: &Explain) -> Status {
    let questions = match &arguments.requests {
        Some(file) => requests::read(file),
        None => asked(arguments).map(|asked| vec![Question { asked, place: None }]).map_err(|message| {
            complain(&message);
            Status::Usage
        }),
    };
    let answered = questions.and_then(|questions| {
        let answered = match &arguments.plugin_config {
            Some(file) => Answered {
                answers: from_plugin_config(file, arguments.draw, &questions)?,
                sources: Sources::new(),
                in_spite_of_errors: false,
            },
            None => from_resources(arguments, &questions)?,
        };
        Ok((questions, answered))
    });
    let (questions, Answered { answers, sources, in_spite_of_errors }) = match answered {
        Ok(answered) => answered,
        Err(status) => return status,
    };
    let told: Vec<(&Question, &[Answer])> = questions.iter().zip(answers.iter().map(Vec::as_slice)).collect();
    let data = match arguments.output {
        Format::Text => text(&told, &sources),
        Format::Json => format!("{:#}\n", data(&told, &sources, arguments.requests.is_some())),
        Format::Yaml => match emit::yaml("", &data(&told, &sources, arguments.requests.is_some())) {
            Ok(yaml) => yaml,
            Err(error) => {
                complain(&format!("{error:#}"));
                return Status::Unreadable;
            }
        },
    };
    let done = if in_spite_of_errors { Status::Findings } else { Status::Done };
    print(&data).err().unwrap_or(done)
}

/// What came of the questions.
struct Answered {
    /// To each question those of all profiles.
    answers: Vec<Vec<Answer>>,
    sources: Sources,
    /// Some fields are left out.
    in_spite_of_errors: bool,
}

fn text(told: &[(&Question, &[Answer])], sources: &Sources) -> String {
    let reports = told.iter().map(|(question, answers)| {
        let report = explain::report_text(&question.asked, answers, sources);
        match &question.place {
            Some((file, line)) => format!("{file}:{line}: {report}"),
            None => report,
        }
    });
    // A profile's answer is set apart by one empty line.
    reports.collect::<Vec<_>>().join("\n\n")
}

/// One report, or a list of them where a file was asked about.
fn data(told: &[(&Question, &[Answer])], sources: &Sources, as_list: bool) -> Value {
    let report = |(question, answers): &(&Question, &[Answer])| {
        let mut report = explain::report_data(&question.asked, answers, sources);
        if let Some((file, line)) = &question.place {
            report["request"]["file"] = file.as_str().into();
            report["request"]["line"] = (*line).into();
        }
        report
    };
    match told {
        [one] if !as_list => report(one),
        told => told.iter().map(report).collect(),
    }
}

fn from_plugin_config(
    file: &Path,
    draw: Option<u64>,
    questions: &[Question],
) -> Result<Vec<Vec<Answer>>, Status> {
    let path = file.display();
    let json = fs::read(file).map_err(|error| {
        complain(&format!("could not read the file `{path}`: {error}"));
        Status::Unreadable
    })?;
    let refused = |error| {
        complain(&format!("{path}: {error}"));
        Status::Unreadable
    };
    let explainer =
        Config::from_json(&json).and_then(|config| Explainer::new(config, None, draw)).map_err(refused)?;
    let answer = |question: &Question| match &question.asked {
        Asked::Http(request) => {
            let explanation = explainer.explain(request).map_err(refused)?;
            Ok(vec![Answer::Http(Box::new(explanation))])
        }
        Asked::Tls { .. } | Asked::Tcp { .. } => {
            complain("a plugin config says nothing of TLS and TCP; name the resources with `-f`");
            Err(Status::Usage)
        }
    };
    questions.iter().map(answer).collect()
}

/// What the profile that was asked for says to each question, and then the other one.
fn from_resources(arguments: &Explain, questions: &[Question]) -> Result<Answered, Status> {
    let texts = read_texts(&arguments.files, arguments.mesh_config.as_deref(), &arguments.meaning)?;
    let inquiry = Inquiry {
        profile: arguments.profile,
        keep_going: arguments.keep_going,
        draw: arguments.draw,
        ..Inquiry::default()
    };
    let options = |profile| {
        let mut options = arguments.meaning.options(profile);
        options.envoy.allow_upstream.clone_from(&arguments.allow_upstream);
        options
    };
    let asked: Vec<Asked> = questions.iter().map(|question| question.asked.clone()).collect();
    let answered = inquiry.answers(&texts, options, &asked).map_err(|error| {
        complain(&format!("plugin config: {error}"));
        Status::Findings
    })?;
    let errors = errors_of(&answered.findings);
    eprint!("{}", errors.render(&texts.read.sources));
    if errors.iter().any(|error| UNREADABLE.contains(&error.code)) {
        return Err(Status::Unreadable);
    }
    let answers = answered.answers.ok_or(Status::Findings)?;
    if !errors.is_empty() {
        eprintln!("the decision leaves out what is wrong here");
    }
    Ok(Answered { answers, sources: texts.read.sources, in_spite_of_errors: !errors.is_empty() })
}

fn errors_of(found: &Diagnostics) -> Diagnostics {
    let mut errors = Diagnostics::new();
    errors.extend(found.iter().filter(|finding| finding.severity == Severity::Error).cloned());
    errors
}

/// What the arguments ask.
fn asked(arguments: &Explain) -> Result<Asked, String> {
    let typed = Typed {
        url: arguments.url.clone(),
        method: arguments.method.clone(),
        headers: arguments.headers.clone(),
        port: arguments.port,
    };
    match &arguments.curl {
        Some(command) => typed.with_curl(command)?.asked(),
        None => typed.asked(),
    }
}

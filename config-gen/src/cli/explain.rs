//! `config-gen explain`: requests as typed, and why each is decided as it is.

mod curl;
mod requests;
mod typed;

use std::fs;
use std::path::Path;

use portolan_engine::{Config, ConfigError};
use serde_json::Value;

use super::arguments::{Explain, Format};
use super::{Status, UNREADABLE, complain, print, read_resources};
use crate::cases::Request;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::emit;
use crate::explain::{self, Answer, Asked, Explainer};
use crate::options::{Listen, Options, Profile};
use crate::plan::Plan;
use crate::resource::Resources;
use crate::source::Sources;

/// What is asked, and where that stands, in a file of requests.
struct Question {
    asked: Asked,
    place: Option<(String, u32)>,
}

pub(super) fn run(arguments: &Explain) -> Status {
    let questions = match &arguments.requests {
        Some(file) => requests::read(file),
        None => {
            typed::asked(arguments).map(|asked| vec![Question { asked, place: None }]).map_err(|message| {
                complain(&message);
                Status::Usage
            })
        }
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
    let (read, mesh) =
        read_resources(&arguments.files, arguments.mesh_config.as_deref(), &arguments.meaning)?;
    let mut in_spite_of_errors = false;
    let mut tell = |errors: &Diagnostics| {
        eprint!("{}", errors.render(&read.sources));
        if errors.iter().any(|error| UNREADABLE.contains(&error.code)) {
            return Err(Status::Unreadable);
        }
        if !arguments.keep_going {
            return Err(Status::Findings);
        }
        in_spite_of_errors = true;
        eprintln!("the decision leaves out what is wrong here");
        Ok(())
    };
    let errors = errors_of(&read.diagnostics);
    if !errors.is_empty() {
        tell(&errors)?;
    }
    let other = match arguments.profile {
        Profile::Standalone => Profile::Istio,
        Profile::Istio => Profile::Standalone,
    };
    let mut answers: Vec<Vec<Answer>> = questions.iter().map(|_| Vec::new()).collect();
    for profile in [arguments.profile, other] {
        let options = mesh.options(options(arguments, profile, questions), &read);
        let mut found = Diagnostics::new();
        let plan = Plan::of(&read.resources(), &options, &mut found);
        let mut errors = Diagnostics::new();
        errors.extend(errors_of(&found).into_iter().map(|diagnostic| read.locate(diagnostic)));
        if !errors.is_empty() && profile == arguments.profile {
            tell(&errors)?;
        } else if !errors.is_empty() && !arguments.keep_going {
            let errors: Vec<Diagnostic> = errors.into_iter().collect();
            answers.iter_mut().for_each(|list| list.push(Answer::Errors(profile, errors.clone())));
            continue;
        }
        let input = Planned { plan: &plan, options: &options, resources: read.resources(), found: &found };
        let explained = input.answers(questions, arguments.draw).map_err(|error| {
            complain(&format!("plugin config: {error}"));
            Status::Findings
        })?;
        answers.iter_mut().zip(explained).for_each(|(list, answer)| list.push(answer));
    }
    Ok(Answered { answers, sources: read.sources, in_spite_of_errors })
}

fn errors_of(found: &Diagnostics) -> Diagnostics {
    let mut errors = Diagnostics::new();
    errors.extend(found.iter().filter(|finding| finding.severity == Severity::Error).cloned());
    errors
}

/// What the resources came to in one profile.
struct Planned<'a> {
    plan: &'a Plan,
    options: &'a Options,
    resources: Resources<'a>,
    /// The findings of the plan.
    found: &'a Diagnostics,
}

impl Planned<'_> {
    /// One to each question.
    fn answers(&self, questions: &[Question], draw: Option<u64>) -> Result<Vec<Answer>, ConfigError> {
        let Self { plan, options, resources, found } = self;
        let explainer = Explainer::new(plan.proxy_config(options), Some((plan, options)), draw)?;
        let answer = |question: &Question| {
            Ok(match &question.asked {
                Asked::Http(request) => {
                    let host = String::from_utf8_lossy(&request.authority);
                    if let Some(chain) = explain::explain_untold(plan, options, &host, request.port) {
                        return Ok(Answer::Connection(options.profile, chain));
                    }
                    let mut explanation = explainer.explain(request)?;
                    explanation.add_bypassed(request.port, resources, found, options);
                    Answer::Http(Box::new(explanation))
                }
                Asked::Tls { host, port, request } => {
                    if let Some(number) = explain::terminated(plan, host, *port) {
                        let request = Request { port: number, by_tls: true, ..(**request).clone() };
                        return Ok(Answer::Http(Box::new(explainer.explain(&request)?)));
                    }
                    Answer::Connection(options.profile, explain::explain_tls(plan, options, host, *port))
                }
                Asked::Tcp { target, port } => {
                    Answer::Connection(options.profile, explain::explain_tcp(plan, options, target, *port))
                }
            })
        };
        questions.iter().map(answer).collect()
    }
}

/// The options as typed, with a listener for each port that is asked about.
fn options(arguments: &Explain, profile: Profile, questions: &[Question]) -> Options {
    let mut options = arguments.meaning.options(profile);
    options.envoy.allow_upstream.clone_from(&arguments.allow_upstream);
    let connects =
        |question: &Question| matches!(&question.asked, Asked::Http(request) if request.method == "CONNECT");
    if questions.iter().any(connects) {
        options.envoy.explicit_proxy = Some(([127, 0, 0, 1], 0).into());
    }
    for port in questions.iter().filter(|question| !connects(question)).map(|question| question.asked.port())
    {
        if options.envoy.listeners.iter().all(|listener| listener.port != port) {
            options.envoy.listeners.push(Listen { port, address: ([127, 0, 0, 1], 0).into() });
        }
    }
    options
}

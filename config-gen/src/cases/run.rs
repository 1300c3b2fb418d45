//! Cases natively: the engine as a library, with the config that the generator makes.

use std::path::PathBuf;

use portolan_engine::{Decision, Engine, NoTrace, Request as EngineRequest, Trace};

use super::outcome::{Report, Seen};
use super::{CaseFile, EngineKind, Request};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::input;
use crate::mesh_config::MeshConfig;
use crate::options::{Options, Profile};
use crate::plan::Plan;

/// What the resources of a case file come to in one profile.
#[derive(Debug)]
pub struct Prepared {
    /// The options in force.
    pub options: Options,
    /// What they came to.
    pub plan: Plan,
    engine: Engine,
}

/// Reads and plans the resources of `file`.
///
/// # Errors
///
/// What is wrong with them, ready to print.
pub fn prepare(file: &CaseFile, profile: Profile) -> Result<Prepared, String> {
    let files: &[PathBuf] = &file.files;
    let mut sources = input::files::collect(files).map_err(|error| error.to_string())?;
    if let Some(resources) = &file.resources {
        sources.add(file.path.clone(), resources.clone());
    }
    let read = input::read(sources, &file.read_options());
    let options = MeshConfig::default().options(file.options(profile), &read);
    let fail = |errors: Diagnostics| match errors.is_empty() {
        true => Ok(()),
        false => Err(errors.render(&read.sources)),
    };
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    let mut errors = Diagnostics::new();
    errors.extend(read.diagnostics.iter().filter(|diagnostic| is_error(diagnostic)).cloned());
    fail(errors)?;
    let mut found = Diagnostics::new();
    let plan = Plan::of(&read.resources(), &options, &mut found);
    let mut errors = Diagnostics::new();
    errors.extend(found.into_iter().filter(is_error).map(|diagnostic| read.locate(diagnostic)));
    fail(errors)?;
    let engine =
        Engine::new(plan.proxy_config(&options)).map_err(|error| format!("plugin config: {error}"))?;
    Ok(Prepared { options, plan, engine })
}

impl Prepared {
    /// What becomes of `request`, and which route decided that.
    pub fn decide(&self, request: &Request) -> (Seen, String) {
        decide(&self.engine, request, &mut NoTrace)
    }
}

/// What `engine` makes of `request`, and which route decided that. The steps go to `trace`.
fn decide<T: Trace>(engine: &Engine, request: &Request, trace: &mut T) -> (Seen, String) {
    // In the order in which Envoy hands them over.
    let mut headers: Vec<(&[u8], &[u8])> = vec![
        (b":authority", &request.authority),
        (b":path", &request.path),
        (b":method", request.method.as_bytes()),
        (b":scheme", b"http"),
    ];
    headers.extend(request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())));
    let view = EngineRequest {
        listener_port: request.port,
        method: request.method.as_bytes(),
        scheme: b"http",
        authority: &request.authority,
        path: &request.path,
        headers: &headers,
        // Nothing that a test can expect is drawn.
        random: 0,
    };
    match engine.decide(&view, trace) {
        Decision::Forward(forward) => {
            let dials = forward.dial.map(|(host, port)| format!("{}:{port}", host.escape_ascii()));
            let seen = Seen::Forwarded {
                cluster: forward.cluster.map(str::to_owned),
                authority: forward
                    .authority
                    .map_or(request.authority.clone(), |text| text.as_bytes().to_vec()),
                path: forward.path.unwrap_or_else(|| request.path.clone()),
                dials,
                status: None,
                headers: None,
            };
            (seen, format!("decided by: {}", forward.route))
        }
        Decision::Respond(reply) => {
            let why = format!("answered: {}", reply.details);
            let reason = reply.cause.as_str().to_owned();
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            (Seen::Answered { status: reply.status, reason, body }, why)
        }
        Decision::Pass => {
            let reason = "left alone, as in mode `mesh`".to_owned();
            (Seen::Answered { status: 0, reason, body: String::new() }, String::new())
        }
    }
}

/// Runs all tests that can be run natively.
pub fn run(files: &[CaseFile]) -> Report {
    let engine = EngineKind::Native;
    let mut report = Report::new(engine, files);
    for file in files {
        for &profile in &file.profiles {
            let mut tests = file.selected(engine, profile).peekable();
            if tests.peek().is_none() {
                continue;
            }
            match prepare(file, profile) {
                Ok(prepared) => {
                    for (test, expect) in tests {
                        let (seen, why) = prepared.decide(&test.request);
                        report.add(file, profile, test, &expect.compare(&test.request, &seen), &why);
                    }
                }
                Err(why) => report.add_unusable(file, profile, &why),
            }
        }
    }
    report
}

//! `config-gen validate`: findings in several forms.

use std::io::IsTerminal as _;

use super::arguments::{Color, Validate};
use super::{Status, UNREADABLE, complain, print, read_texts};
use crate::analysis;
use crate::analysis::messages::{self, Message};
use crate::analysis::report::{Format, Report};
use crate::schema::suggest::nearest;
use crate::texts::Texts;

pub(super) fn run(arguments: &Validate) -> Status {
    if let Some(code) = &arguments.explain {
        return explain(code);
    }
    let texts = read_texts(&arguments.files, arguments.mesh_config.as_deref(), &arguments.meaning);
    let Texts { read, mesh } = match texts {
        Ok(texts) => texts,
        Err(status) => return status,
    };
    let options = mesh.options(arguments.meaning.options(arguments.profile), &read);
    let analysis = analysis::run(&read, &options, &arguments.suppress);
    let report = Report::new(&analysis, &read.sources, &options);
    let colour = arguments.format == Format::Text && has_colours(arguments.color);
    if let Err(status) = print(&report.render(arguments.format, colour)) {
        return status;
    }
    eprintln!("{}", report.summary());
    if analysis.findings.iter().any(|finding| UNREADABLE.contains(&finding.code)) {
        return Status::Unreadable;
    }
    // Errors come first in the order of severities.
    if analysis.findings.iter().any(|finding| finding.severity <= arguments.fail_on) {
        Status::Findings
    } else {
        Status::Done
    }
}

/// See <https://no-color.org>.
fn has_colours(color: Color) -> bool {
    let refused = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !refused() && std::io::stdout().is_terminal(),
    }
}

fn explain(code: &str) -> Status {
    let found =
        messages::find(code).or_else(|| messages::all().find(|message| message.istio.contains(&code)));
    let Some(message) = found else {
        let meant = nearest(code, messages::all().map(|message| message.code));
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        complain(&format!("there is no code `{code}`{meant}"));
        return Status::Usage;
    };
    match print(&about(message)) {
        Ok(()) => Status::Done,
        Err(status) => status,
    }
}

fn about(message: &Message) -> String {
    let Message { code, severity, title, why, way_out, istio } = message;
    let istio = if istio.is_empty() { String::new() } else { format!(" (Istio: {})", istio.join(", ")) };
    format!(
        "{severity}[{code}]: {title}{istio}\n\n{why}\n\nWay out: {way_out}.\nExamples: docs/{}\n",
        message.page()
    )
}

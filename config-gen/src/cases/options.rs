//! The options of `config-gen generate` that a case file may give.

use clap::Parser;

use crate::typed::Meaning;

#[derive(Debug, Clone, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub(super) struct CaseOptions {
    #[command(flatten)]
    pub(super) meaning: Meaning,
}

impl CaseOptions {
    /// Reads options as typed; what is wrong is one line.
    pub(super) fn parse_list(list: &[String]) -> Result<Self, String> {
        Self::try_parse_from(list).map_err(|error| {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        })
    }
}

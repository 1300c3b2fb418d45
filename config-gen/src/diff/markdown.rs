//! A comparison for a comment on a pull request.

use std::fmt::Write as _;

use super::text::{NAMED, summary};
use super::{Diff, Setting};

/// The comparison as Markdown, as [`report_text`](super::report_text) has it.
///
/// What comes from resources stands in code blocks only, whose lines begin with a sign or a blank, so
/// that no name can end one.
pub fn report(diff: &Diff, names: (&str, &str), most: usize) -> String {
    let mut out = format!("### Behaviour: {}\n", summary(diff));
    if diff.is_same() {
        return out;
    }
    // Writing to a string can't fail.
    let _ = writeln!(out, "\n```diff\n- {}\n+ {}\n```", line(names.0), line(names.1));
    if !diff.changes.is_empty() {
        out.push_str("\n#### Requests\n\n```diff\n");
        for (index, change) in diff.changes.iter().take(most).enumerate() {
            let Some((first, others)) = change.requests.split_first() else { continue };
            if index > 0 {
                out.push('\n');
            }
            let _ = writeln!(out, "  {}", line(&first.asked));
            settings(&first.facts, &mut out);
            for (sign, decided) in [('-', &change.decided.0), ('+', &change.decided.1)] {
                if let Some(decided) = decided {
                    let _ = writeln!(out, "{sign}     because {}", line(decided));
                }
            }
            for other in others.iter().take(NAMED) {
                let _ = writeln!(out, "  also {}", line(&other.asked));
            }
            if others.len() > NAMED {
                let _ = writeln!(out, "  and {} more", others.len() - NAMED);
            }
        }
        out.push_str("```\n");
        left_out(diff.changes.len(), most, &mut out);
    }
    if !diff.settings.is_empty() {
        out.push_str("\n#### Clusters and connections\n\n```diff\n");
        for change in diff.settings.iter().take(most) {
            let _ = writeln!(out, "  {}", line(&change.name));
            settings(&change.settings, &mut out);
        }
        out.push_str("```\n");
        left_out(diff.settings.len(), most, &mut out);
    }
    out
}

fn left_out(number: usize, most: usize, out: &mut String) {
    if number > most {
        let _ = writeln!(out, "\n{} more are not shown.", number - most);
    }
}

fn settings(settings: &[Setting], out: &mut String) {
    for Setting { what, before, after } in settings {
        for (sign, value) in [('-', before), ('+', after)] {
            if let Some(value) = value {
                let _ = writeln!(out, "{sign}   {what}: {}", line(value));
            }
        }
    }
}

/// One line, whatever it holds.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

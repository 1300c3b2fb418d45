//! A comparison for a person.

use std::fmt::Write as _;

use super::{Change, Diff, Setting};

/// How many other requests of a change are named.
pub(super) const NAMED: usize = 5;

/// The comparison in lines. At most `most` changes are shown, of requests and of settings each; what is
/// left out is counted. `names` are those of the sides.
pub fn report(diff: &Diff, names: (&str, &str), most: usize) -> String {
    let mut out = String::new();
    // Writing to a string can't fail.
    if !diff.is_same() {
        let _ = writeln!(out, "- {}\n+ {}\n", names.0, names.1);
    }
    for change in diff.changes.iter().take(most) {
        let _ = writeln!(out, "{}\n", of_change(change));
    }
    if diff.changes.len() > most {
        let _ = writeln!(out, "{} more changes of requests are not shown\n", diff.changes.len() - most);
    }
    for change in diff.settings.iter().take(most) {
        let _ = writeln!(out, "{}\n{}", change.name, settings(&change.settings));
    }
    if diff.settings.len() > most {
        let _ = writeln!(out, "{} more changes of settings are not shown\n", diff.settings.len() - most);
    }
    let _ = writeln!(out, "{}", summary(diff));
    out
}

/// All in one sentence.
pub(super) fn summary(diff: &Diff) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let left_out = match diff.left_out {
        0 => String::new(),
        number => format!(" ({number} more were left out)"),
    };
    if diff.is_same() {
        return format!("the same, by {}{left_out}", count(diff.compared, "request"));
    }
    let settings = match diff.settings.len() {
        0 => String::new(),
        1 => "; 1 cluster or connection is set up otherwise".to_owned(),
        number => format!("; {number} clusters or connections are set up otherwise"),
    };
    format!(
        "{} of {}{left_out} come to something else, in {}{settings}",
        diff.changed(),
        count(diff.compared, "request"),
        count(diff.changes.len(), "way"),
    )
}

fn of_change(change: &Change) -> String {
    let mut out = String::new();
    let Some((first, others)) = change.requests.split_first() else { return out };
    let _ = writeln!(out, "{}", first.asked);
    out.push_str(&settings(&first.facts));
    for (sign, decided) in [('-', &change.decided.0), ('+', &change.decided.1)] {
        if let Some(decided) = decided {
            let _ = writeln!(out, "  {sign} because {decided}");
        }
    }
    for other in others.iter().take(NAMED) {
        let _ = writeln!(out, "  also {}", other.asked);
    }
    if others.len() > NAMED {
        let _ = writeln!(out, "  and {} more", others.len() - NAMED);
    }
    out.truncate(out.trim_end().len());
    out
}

fn settings(settings: &[Setting]) -> String {
    let mut out = String::new();
    for Setting { what, before, after } in settings {
        for (sign, value) in [('-', before), ('+', after)] {
            if let Some(value) = value {
                let _ = writeln!(out, "  {sign} {what}: {value}");
            }
        }
    }
    out
}

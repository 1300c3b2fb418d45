//! A file of requests: a YAML list, each entry in the form that a case file has, or a line with a
//! URL or a curl command; or such lines alone.

use std::path::PathBuf;

use super::super::{Status, complain, read_sources};
use super::Question;
use crate::cases::{self, Listed};
use crate::explain::{Asked, Typed};
use crate::source::Sources;

/// Reads the requests of `file`; what is wrong is told.
pub(super) fn read(file: &PathBuf) -> Result<Vec<Question>, Status> {
    let sources = read_sources(std::slice::from_ref(file))?;
    let first = sources.files().next();
    let (name, text) = first.map(|file| (sources.name(file), sources.text(file))).unwrap_or_default();
    let found = if is_lines(text) { lines(text) } else { list(&sources)? };
    let mut questions = Vec::new();
    let mut wrong = false;
    for (line, asked) in found {
        match asked {
            Ok(asked) => questions.push(Question { asked, place: Some((name.to_owned(), line)) }),
            Err(message) => {
                complain(&format!("{name}:{line}: {message}"));
                wrong = true;
            }
        }
    }
    if questions.is_empty() && !wrong {
        complain(&format!("`{name}` holds no request"));
        wrong = true;
    }
    if wrong { Err(Status::Unreadable) } else { Ok(questions) }
}

type Found = Vec<(u32, Result<Asked, String>)>;

/// Whether the text is no YAML list: its first line that says something is a command or a URL.
fn is_lines(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        line.starts_with("curl ")
            || ["http", "https", "tcp", "connect"]
                .iter()
                .any(|scheme| line.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")))
    })
}

/// One request on each line; a backslash at its end joins the next one.
fn lines(text: &str) -> Found {
    let mut found = Vec::new();
    let mut joined = String::new();
    let mut start = 1;
    for (number, line) in (1..).zip(text.lines()) {
        if joined.is_empty() {
            start = number;
            if line.trim().is_empty() || line.trim().starts_with('#') {
                continue;
            }
        }
        joined.push_str(line.trim_start());
        if let Some(more) = joined.strip_suffix('\\') {
            joined = format!("{more} ");
            continue;
        }
        found.push((start, asked(joined.trim())));
        joined.clear();
    }
    if !joined.is_empty() {
        found.push((start, asked(joined.trim())));
    }
    found
}

fn asked(line: &str) -> Result<Asked, String> {
    Typed::from_line(line)?.asked()
}

fn list(sources: &Sources) -> Result<Found, Status> {
    let (listed, diagnostics) = cases::requests(sources);
    if !diagnostics.is_empty() {
        eprint!("{}", diagnostics.render(sources));
    }
    if diagnostics.has_errors() {
        return Err(Status::Unreadable);
    }
    let read = |(line, listed)| {
        let asked = match listed {
            Listed::Request(request) => Ok(Asked::Http(request)),
            Listed::Line(line) => asked(line.trim()),
            Listed::Connection { url, port } => Typed { url: Some(url), port, ..Typed::default() }.asked(),
        };
        (line, asked)
    };
    Ok(listed.into_iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "# of today\n\ncurl -X PUT \\\n  http://a/\nhttps://b/\nftp://c\n";
        assert!(is_lines(text) && !is_lines("# x\n- http://a/\n"));
        let found = lines(text);
        let places: Vec<u32> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(places, [3, 5, 6]);
        assert!(matches!(&found[0].1, Ok(Asked::Http(request)) if request.method == "PUT"));
        assert!(matches!(&found[1].1, Ok(Asked::Tls { port: 443, .. })));
        assert!(found[2].1.is_err());
    }
}

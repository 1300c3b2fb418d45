//! The files of the command line. Nothing else in the library touches the file
//! system.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::source::Sources;

/// What a file of standard input is called in messages.
const STDIN: &str = "<stdin>";

/// Why the input could not be read. This says nothing about what stands in it:
/// the exit status is 2, not that of a finding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("could not {action} `{path}`")]
    Io {
        /// What was attempted, as "read the file".
        action: &'static str,
        /// The path as the user gave it.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is no text.
    #[error("could not read `{path}` as text: it is not UTF-8 from byte {position} on")]
    NotUtf8 {
        /// The path as the user gave it.
        path: String,
        /// The first byte that doesn't belong.
        position: usize,
    },
    /// A folder without any file to read.
    #[error("the folder `{path}` holds no `.yaml`, `.yml` or `.json` file")]
    Empty {
        /// The path as the user gave it.
        path: String,
    },
}

/// Reads what `-f` names: a file; a folder with everything in it, at any
/// depth, that ends in `.yaml`, `.yml` or `.json`, in the order of the paths;
/// or `-` for standard input. A file that is named twice is read once.
///
/// # Errors
///
/// The first file that can't be read.
pub fn collect(arguments: &[PathBuf]) -> Result<Sources, FileError> {
    let mut sources = Sources::new();
    for path in paths(arguments)? {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(|source| FileError::Io {
                action: "read from",
                path: STDIN.to_owned(),
                source,
            })?;
            sources.add(STDIN, text(STDIN, bytes)?);
        } else {
            let bytes = fs::read(&path).map_err(io_error("read the file", &path))?;
            let name = path.display().to_string();
            sources.add(name.clone(), text(&name, bytes)?);
        }
    }
    Ok(sources)
}

/// The files that `-f` names, once each, in the order in which [`collect`] reads them.
///
/// # Errors
///
/// The first folder that can't be listed, or holds no such file.
pub fn paths(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, FileError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut known: HashSet<PathBuf> = HashSet::new();
    for argument in arguments {
        let found = if argument.as_os_str() == "-" || !argument.is_dir() {
            vec![argument.clone()]
        } else {
            folder(argument)?
        };
        for path in found {
            if known.insert(path.clone()) {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    walk(path, &mut found)?;
    if found.is_empty() {
        return Err(FileError::Empty { path: path.display().to_string() });
    }
    found.sort();
    Ok(found)
}

/// Links to folders are not followed, so there is no endless loop.
fn walk(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), FileError> {
    for entry in fs::read_dir(path).map_err(io_error("list the folder", path))? {
        let entry = entry.map_err(io_error("list the folder", path))?;
        let kind = entry.file_type().map_err(io_error("look at", &entry.path()))?;
        let path = entry.path();
        if kind.is_dir() {
            walk(&path, found)?;
        } else if wanted(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn wanted(path: &Path) -> bool {
    path.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| matches!(ending, "yaml" | "yml" | "json"))
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(bytes).map_err(|error| FileError::NotUtf8 {
        path: name.to_owned(),
        position: error.utf8_error().valid_up_to(),
    })
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError + use<> {
    let path = path.display().to_string();
    move |source| FileError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("portolan-files-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("b/c")).unwrap();
        path
    }

    #[test]
    fn a_folder_is_read_in_order_and_in_depth() {
        let folder = scratch("order");
        for name in ["z.yaml", "a.yml", "b/c/m.json", "notes.txt"] {
            fs::write(folder.join(name), "a: b").unwrap();
        }
        let sources = collect(&[folder.join("z.yaml"), folder.clone()]).unwrap();
        let names: Vec<String> = sources
            .files()
            .map(|file| Path::new(sources.name(file)).strip_prefix(&folder).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["z.yaml", "a.yml", "b/c/m.json"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = scratch("errors");
        let message = |path: &str| collect(&[folder.join(path)]).unwrap_err().to_string();
        assert!(message("missing.yaml").starts_with("could not read the file `"));
        fs::write(folder.join("binary.yaml"), [b'a', 0xff]).unwrap();
        assert!(message("binary.yaml").ends_with("it is not UTF-8 from byte 1 on"));
        assert!(message("b").contains("holds no `.yaml`"));
        fs::remove_dir_all(folder).unwrap();
    }
}

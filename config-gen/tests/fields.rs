//! Every row of the table of fields is shown by a test, and `docs/fields.md` names it.
//!
//! A test is found by what it does, not by what it says:
//!
//! - A translated or approximated field: a case of `testdata/` of which a test fails once the field
//!   is gone (or has another value, for the row of an enum's value). Where cases can't tell, the
//!   resources in `tests/fields`: what is generated from them differs.
//! - An ignored field: it stands in `tests/fields`, and nothing differs.
//! - A refused field: its error stands in the texts of `tests/input`.
//!
//! What none of this can show has a function by its name, below. A row without any fails. To write the document again, run
//!
//! ```text
//! UPDATE=1 cargo test -p portolan-config-gen --test fields
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use config_gen::cases::{self, CaseFile};
use config_gen::diagnostic::{Diagnostics, Severity};
use config_gen::emit::{Output, WasmPluginOptions};
use config_gen::input::{Read, ReadOptions, files, read};
use config_gen::mesh_config::{self, MeshConfig};
use config_gen::options::{Options, Profile};
use config_gen::plan::Plan;
use config_gen::schema::rows::{MESH_CONFIG_KIND, Row, rows};
use config_gen::schema::{FieldUse, Support, markdown};
use config_gen::source::Sources;

/// Rows of which nothing shows in what is written: the kind, the field, a file, and the function in
/// it that tests what becomes of them.
const NAMED: &[(&str, &str, &str, &str)] =
    &[("Service", "spec.selector", "config-gen/tests/registry.rs", "a_kubernetes_service_has_short_names")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A text, and what becomes of its fields.
struct Text {
    /// From the root of the repository.
    path: String,
    text: String,
    uses: Vec<FieldUse>,
}

/// A text that can be changed, and looked at for what that does.
trait Subject {
    fn text(&self) -> &Text;

    /// What comes of the text as it is.
    fn before(&self) -> &str;

    /// What comes of another text; `None` if it is no YAML.
    fn outcome(&self, text: &str) -> Option<String>;
}

/// Whether the outcome depends on the field, or on the value of the row.
fn depends_on(subject: &dyn Subject, row: &Row) -> bool {
    let Text { text, uses, .. } = subject.text();
    // An enum's default is the same as no value.
    let mut values = row.alternatives.clone();
    values.extend(row.choice.is_none().then_some("null"));
    let before = subject.before();
    values.iter().any(|value| {
        let changed = replaced(text, uses, row, value);
        changed.is_some_and(|changed| subject.outcome(&changed).is_some_and(|after| after != before))
    })
}

/// The text with another value for the row's field everywhere; `None` if it isn't there.
fn replaced(text: &str, uses: &[FieldUse], row: &Row, value: &str) -> Option<String> {
    let mut places: Vec<(usize, usize)> = uses
        .iter()
        .filter(|one| !matches!(one.support, Support::Refused(_)) && row.covers(one))
        .map(|one| (one.span.start as usize, one.span.end as usize))
        .filter(|(start, end)| {
            row.choice.is_none_or(|choice| choice == text[*start..*end].trim_matches(['"', '\'']))
        })
        .collect();
    // A place inside another one goes with it.
    places.sort_by_key(|(start, end)| (*start, usize::MAX - end));
    let mut reached = 0;
    places.retain(|(start, end)| {
        let outer = *start >= reached;
        reached = reached.max(*end);
        outer
    });
    // From the end, so that the places before stay where they are.
    let mut changed = text.to_owned();
    for (start, end) in places.iter().rev() {
        changed.replace_range(*start..*end, value);
    }
    (!places.is_empty()).then_some(changed)
}

fn parse(path: &str, text: &str, options: &ReadOptions) -> Option<Read> {
    let mut sources = Sources::new();
    sources.add(path, text);
    let read = read(sources, options);
    (!read.diagnostics.iter().any(|finding| finding.code == "invalid-yaml")).then_some(read)
}

/// A case of `testdata/`: what the tests come to that have these resources, of a file or of one of
/// its tests.
struct Case {
    text: Text,
    /// With these tests alone.
    file: CaseFile,
    setup: usize,
}

const PASSED: &str = "passed";

impl Subject for Case {
    fn text(&self) -> &Text {
        &self.text
    }

    fn before(&self) -> &str {
        PASSED
    }

    fn outcome(&self, text: &str) -> Option<String> {
        let mut file = self.file.clone();
        let setup = file.setups.get_mut(self.setup)?;
        parse(&self.text.path, text, &setup.read_options())?;
        text.clone_into(setup.resources.last_mut()?);
        Some(if cases::run(&[file]).failures.is_empty() { PASSED } else { "failed" }.to_owned())
    }
}

/// The cases that have their resources with them.
fn all_cases() -> Vec<Case> {
    let sources = files::collect(&[root().join("testdata")]).unwrap();
    let (files, _) = cases::load(&sources);
    let setups = files.iter().flat_map(|file| (0..file.setups.len()).map(move |setup| (file, setup)));
    setups
        .filter_map(|(file, setup)| {
            let of = &file.setups[setup];
            let text = of.resources.last()?.clone();
            let path = relative(Path::new(&file.path));
            let uses = parse(&path, &text, &of.read_options())?.field_uses;
            let mut file = file.clone();
            file.tests.retain(|test| test.setup == setup);
            (!file.tests.is_empty()).then_some(Case { text: Text { path, text, uses }, file, setup })
        })
        .collect()
}

/// Resources of `tests/fields`: what is generated from them, in both profiles.
struct Generated {
    text: Text,
    /// Resources beside a MeshConfig.
    resources: Option<String>,
    before: String,
}

impl Subject for Generated {
    fn text(&self) -> &Text {
        &self.text
    }

    fn before(&self) -> &str {
        &self.before
    }

    fn outcome(&self, text: &str) -> Option<String> {
        let (read, mesh) = self.read(text)?;
        let mut out = String::new();
        for profile in [Profile::Standalone, Profile::Istio] {
            let options = mesh.options(Options { profile, ..Options::default() }, &read);
            let mut found = read.diagnostics.clone();
            if !found.has_errors() {
                let mut more = Diagnostics::new();
                let plan = Plan::of(&read.resources(), &options, &mut more);
                found.extend(more);
                for output in Output::ALL {
                    out += &output.render(&plan, &options, &WasmPluginOptions::default()).unwrap().content;
                }
            }
            for error in found.iter().filter(|finding| finding.severity == Severity::Error) {
                out += &format!("{}\n", error.message);
            }
        }
        Some(out)
    }
}

impl Generated {
    fn read(&self, text: &str) -> Option<(Read, MeshConfig)> {
        let Some(resources) = &self.resources else {
            return Some((parse(&self.text.path, text, &ReadOptions::default())?, MeshConfig::default()));
        };
        let mut read = parse("resources", resources, &ReadOptions::default())?;
        let mesh = mesh_config::read(&self.text.path, text, &mut read);
        mesh.apply(&mut read);
        Some((read, mesh))
    }
}

fn folder(name: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    paths.sort();
    paths.into_iter().map(|path| (relative(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn is_mesh_config(path: &str) -> bool {
    path.contains("/mesh-config") && !path.ends_with("-resources.yaml")
}

fn all_generated() -> Vec<Generated> {
    let files = folder("fields");
    let resources = files.iter().find(|(path, _)| path.ends_with("/mesh-config-resources.yaml"));
    let resources = resources.map(|(_, text)| text.clone());
    files
        .into_iter()
        .map(|(path, text)| {
            let resources = resources.clone().filter(|_| is_mesh_config(&path));
            let text = Text { path, text, uses: Vec::new() };
            let mut one = Generated { text, resources, before: String::new() };
            let (read, _) = one.read(&one.text.text).unwrap();
            assert!(!read.diagnostics.has_errors(), "{}", read.diagnostics.render(&read.sources));
            one.text.uses = read.field_uses;
            if one.resources.is_some() {
                one.text.uses.retain(|one| &*one.resource == MESH_CONFIG_KIND);
            }
            one.before = one.outcome(&one.text.text).unwrap();
            one
        })
        .collect()
}

/// The files of `tests/input` with the refused fields that they show.
fn all_refusals() -> Vec<Text> {
    folder("input")
        .into_iter()
        .map(|(path, text)| {
            let mut uses = Vec::new();
            let read = if is_mesh_config(&path) {
                let mut read = Read::default();
                mesh_config::read(&path, &text, &mut read);
                Some(read)
            } else {
                parse(&path, &text, &ReadOptions::default())
            };
            if let Some(read) = read {
                uses = read.field_uses;
                let told = |one: &FieldUse| {
                    let mut errors = read.diagnostics.iter();
                    errors.any(|error| {
                        error.resource.as_deref() == Some(&*one.resource)
                            && error.field.as_deref() == Some(&one.field)
                    })
                };
                uses.retain(|one| matches!(one.support, Support::Refused(_)) && told(one));
            }
            Text { path, text, uses }
        })
        .collect()
}

fn relative(path: &Path) -> String {
    path.canonicalize().unwrap().strip_prefix(root()).unwrap().display().to_string()
}

struct Tests {
    cases: Vec<Case>,
    generated: Vec<Generated>,
    refusals: Vec<Text>,
    /// The document as it is: a case that is named there and still shows the row stays.
    document: String,
}

impl Tests {
    /// The path of a test that shows the row.
    fn of(&self, row: &Row) -> Option<String> {
        let uses = |text: &Text| text.uses.iter().any(|one| row.covers(one));
        match row.support {
            Support::Refused(_) => {
                let shows = |text: &&Text| replaced_value_is_there(text, row);
                self.refusals.iter().find(shows).map(|text| text.path.clone())
            }
            Support::Ignored(_) => {
                let mut with = self.generated.iter().filter(|one| uses(&one.text)).peekable();
                let first = with.peek()?.text.path.clone();
                with.all(|one| !depends_on(one, row)).then_some(first)
            }
            Support::Translated | Support::Approximated(_) => {
                let mut cases: Vec<&Case> = self.cases.iter().filter(|case| uses(&case.text)).collect();
                cases.sort_by_key(|case| self.rank(case, row));
                let case = cases.into_iter().find(|case| depends_on(*case, row)).map(|case| &case.text);
                let generated = || self.generated.iter().find(|one| uses(&one.text) && depends_on(*one, row));
                let found = case.or_else(|| generated().map(|one| &one.text)).map(|text| text.path.clone());
                found.or_else(|| named(row))
            }
        }
    }

    /// First the case that the document names, then those that name the row's ID, then small ones.
    fn rank(&self, case: &Case, row: &Row) -> (bool, bool, usize) {
        let value = row.choice.map_or(String::new(), |choice| format!(": {choice}"));
        let start = format!("| {} | `{}{value}` |", row.kind, row.path);
        let line = self.document.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
        let named = line.contains(&format!("]({})", link(&case.text.path)));
        let cited = case.file.tests.iter().any(|test| test.rules.iter().any(|rule| rule.id == row.rule));
        (!named, !cited, case.text.uses.len())
    }
}

/// The function that [`NAMED`] has for the row, if it is there.
fn named(row: &Row) -> Option<String> {
    let (_, _, file, function) = NAMED
        .iter()
        .find(|(kind, path, ..)| row.choice.is_none() && (*kind, *path) == (row.kind, &row.path))?;
    let text = fs::read_to_string(root().join(file)).unwrap();
    text.contains(&format!("#[test]\nfn {function}()")).then(|| format!("{file}::{function}"))
}

/// For the row of a value, that the text has this value.
fn replaced_value_is_there(text: &Text, row: &Row) -> bool {
    text.uses.iter().any(|one| {
        let written = text.text.get(one.span.start as usize..one.span.end as usize).unwrap_or_default();
        row.covers(one) && row.choice.is_none_or(|choice| choice == written)
    })
}

/// From the folder of the document.
fn link(path: &str) -> String {
    format!("../{path}")
}

#[test]
fn every_field_has_its_test() {
    let path = root().join("docs/fields.md");
    let document = fs::read_to_string(&path).unwrap_or_default();
    let tests = Tests {
        cases: all_cases(),
        generated: all_generated(),
        refusals: all_refusals(),
        document: document.clone(),
    };
    let mut without = Vec::new();
    let found: Vec<Option<String>> = rows().iter().map(|row| tests.of(row)).collect();
    for (row, test) in rows().iter().zip(&found) {
        if test.is_none() {
            without.push(format!("{} {} {:?}: {}", row.kind, row.path, row.choice, row.support.name()));
        }
    }
    assert!(without.is_empty(), "{} rows have no test:\n{}", without.len(), without.join("\n"));
    let rows = rows();
    let wanted = markdown::fields(|row| {
        let index = rows.iter().position(|other| other == row).unwrap();
        let path = found[index].as_deref().unwrap();
        let name = path.trim_start_matches("testdata/").trim_start_matches("config-gen/");
        let file = path.split("::").next().unwrap();
        format!("[{name}]({})", link(file))
    });
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(document == wanted, "docs/fields.md is out of step; refresh it with UPDATE=1");
    }
}

//! Configuration found in the wild, and whether Istio would take it.
//!
//! The environment variable `PORTOLAN_CORPUS` names a folder of YAML files with a `README.md`. Its
//! table says of each file, in the last column, whether Istio accepts it: the schema with its CEL
//! rules, and the webhook (sections 6.0 to 6.4 of the specification). Nothing of the corpus is part
//! of this project, so without the folder the test is skipped, and says so. To see every verdict:
//!
//! ```text
//! PORTOLAN_CORPUS=DIR cargo test -p portolan-config-gen --test corpus -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config_gen::diagnostic::{Diagnostic, Diagnostics, Severity};
use config_gen::emit::{MeshOptions, Output};
use config_gen::input::{Read, ReadOptions, read};
use config_gen::options::{Options, Profile};
use config_gen::plan::Plan;
use config_gen::report;
use config_gen::source::Sources;

/// No file may take longer, even in a debug build on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Kinds of which the fields are read; the others are left out or refused as a whole.
const READ_KINDS: [&str; 5] =
    ["ServiceEntry", "VirtualService", "DestinationRule", "WorkloadEntry", "Sidecar"];

/// Where the verdicts may differ: the file, the object (empty: the file as a whole), and the reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "github/dPlatform__anthos-service-mesh-samples__docs__mtls-egress-ingress__client__httpbin-client__virtualservice-destinationrule-from-egressgateway.yaml.tmpl.yaml",
        "",
        "its placeholders are plain words in capitals, which nothing tells from text; they are \
         reported as no host names, with their places",
    ),
    (
        "github/maistra__maistra-test-tool__pkg__tests__tasks__migration__testdata__federation__east__serviceentry-httpbin-a.yaml",
        "warning httpbin-west-mesh-imports",
        NETWORK,
    ),
    (
        "github/maistra__maistra-test-tool__pkg__tests__tasks__migration__testdata__federation__east__serviceentry-httpbin-b.yaml",
        "warning httpbin-cluster-local-west-mesh",
        NETWORK,
    ),
    (
        "github/redhat-scholars__istio-tutorial__istiofiles__destination-rule-recommendation_cb_policy_pool_ejection.yaml",
        "",
        EMPTY_POOL,
    ),
    (
        "github/redhat-scholars__istio-tutorial__istiofiles__destination-rule-recommendation_cb_policy_pool_ejection.yaml",
        "DestinationRule recommendation",
        EMPTY_POOL,
    ),
    (
        "istio-api/tests__testdata__workloadgroup-invalid__part1.yaml",
        "",
        "a WorkloadGroup is left out with a note, and its fields are not read",
    ),
    (
        "istio-docs/blog__2018__egress-mongo__index.md__6.yaml",
        "DestinationRule egressgateway-for-mongo",
        "a shell variable in `sni` is text to Istio; here it is an error, since no server has that name",
    ),
];

const NETWORK: &str = "an endpoint with a network and no address (VAL-SE-24): the network is refused by \
                       choice, and a warning beside the error would say nothing more";

const EMPTY_POOL: &str = "the table takes a pool of `http: {}` and `tcp: {}` for empty (VAL-DR-05); an empty \
                          object is there in protobuf, and the webhook counts it";

/// What Istio makes of a file, or of an object in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It is taken. Here it may be refused by choice.
    Accepted,
    /// Nothing is wrong but a field that doesn't exist: refused under strict validation only
    /// (VAL-CRD-01).
    UnknownField,
    /// The schema or the webhook refuses it.
    Refused,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::UnknownField => "unknown field",
            Self::Refused => "refused",
        })
    }
}

/// Kind and name.
type Object = (String, String);

/// What the table says of a file.
#[derive(Debug)]
enum Expected {
    /// A verdict on the file and its objects.
    Judged(Judgement),
    /// It has to be reported by an error with this code.
    Reported(&'static str),
}

/// A verdict on a file, and on its objects as far as they aren't accepted.
#[derive(Debug)]
struct Judgement {
    file: Verdict,
    objects: BTreeMap<Object, Verdict>,
    /// How many more are refused, which the table doesn't name.
    unnamed: usize,
    /// Names of objects that are warned about.
    warned: BTreeSet<String>,
}

/// A row of the table.
struct Row {
    path: String,
    /// How many objects of kinds that are read.
    objects: usize,
    expected: Expected,
}

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("PORTOLAN_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    if folder.is_none() {
        println!("skipped: PORTOLAN_CORPUS does not name a folder of Istio configuration");
    }
    folder
}

fn rows(folder: &Path) -> Vec<Row> {
    let text = fs::read_to_string(folder.join("README.md")).unwrap();
    let cells = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let path = *cells.first()?;
        (cells.len() == 7 && folder.join(path).is_file()).then_some(cells)
    });
    cells
        .map(|cells| Row {
            path: cells[0].to_owned(),
            objects: count(cells[3]),
            expected: expected(cells[6], cells[3]),
        })
        .collect()
}

/// `ServiceEntry x2, Gateway` has two objects of kinds that are read.
fn count(kinds: &str) -> usize {
    let counts = kinds.split(", ").map(|kind| {
        let (kind, count) = kind.split_once(" x").unwrap_or((kind, "1"));
        if READ_KINDS.contains(&kind) { count.parse().unwrap() } else { 0 }
    });
    counts.sum()
}

/// Reads a cell such as "1 valid; 2 invalid (Kind `name`: why / Kind `other`: why); warns `name`: why".
fn expected(cell: &str, kinds: &str) -> Expected {
    if cell.starts_with("template") {
        return Expected::Reported("unrendered-template");
    }
    if cell.starts_with("unsupported") {
        return Expected::Reported("retired-kind");
    }
    let warnings = cell.split_once("warns ").map_or("", |(_, warnings)| warnings);
    let mut judgement = Judgement {
        file: Verdict::Accepted,
        objects: BTreeMap::new(),
        unnamed: 0,
        warned: warnings.split('`').nth(1).into_iter().map(str::to_owned).collect(),
    };
    for (words, verdict) in
        [(" invalid (", Verdict::Refused), (" with unknown field (", Verdict::UnknownField)]
    {
        let Some((before, list)) = cell.split_once(words) else { continue };
        judgement.file = judgement.file.max(verdict);
        let mut left: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
        for item in list.split(" / ") {
            let mut parts = item.split('`');
            let (Some(kind), Some(name)) = (parts.next().map(str::trim), parts.next()) else { continue };
            // A list of unknown fields names no kind. Where the file has several, the fields tell.
            let kind = match kind {
                "" if kinds.contains("DestinationRule") && item.contains("trafficPolicy") => {
                    "DestinationRule"
                }
                "" => "VirtualService",
                kind => kind,
            };
            if !kind.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                continue;
            }
            left -= 1;
            if READ_KINDS.contains(&kind) {
                let name = if name == "None" { "?" } else { name };
                judgement.objects.insert((kind.to_owned(), name.to_owned()), verdict);
            }
        }
        judgement.unnamed += left;
    }
    Expected::Judged(judgement)
}

/// What we say of an input that was read.
fn judge(read: &Read) -> Judgement {
    let mut judgement =
        Judgement { file: Verdict::Accepted, objects: BTreeMap::new(), unnamed: 0, warned: BTreeSet::new() };
    for finding in &read.diagnostics {
        let object = object(finding).filter(|(kind, _)| READ_KINDS.contains(&kind.as_str()));
        if finding.severity == Severity::Warning {
            judgement.warned.extend(object.map(|(_, name)| name));
            continue;
        }
        let verdict = match finding.code {
            _ if finding.severity == Severity::Note || finding.refused_by_choice() => continue,
            "unknown-field" => Verdict::UnknownField,
            _ => Verdict::Refused,
        };
        judgement.file = judgement.file.max(verdict);
        if let Some(object) = object {
            let before = judgement.objects.entry(object).or_insert(verdict);
            *before = verdict.max(*before);
        }
    }
    judgement
}

/// Kind and name of what an error is about.
fn object(error: &Diagnostic) -> Option<(String, String)> {
    let (kind, name) = error.resource.as_deref()?.split_once(' ')?;
    Some((kind.to_owned(), name.split_once('/')?.1.to_owned()))
}

/// All that `generate --report` does, and whether the report has a line for every field.
fn generate(path: &str, text: &str) -> Read {
    let wasm = &MeshOptions {
        url: String::new(),
        sha256: None,
        selector: BTreeMap::new(),
        ..MeshOptions::default()
    };
    let mut sources = Sources::new();
    sources.add(path, text);
    let read = read(sources, &ReadOptions::default());
    for finding in &read.diagnostics {
        assert!(finding.span.is_some(), "{}", finding.render(&read.sources));
    }
    let missing = report::missing(&read);
    assert!(missing.is_empty(), "the report has no line for {}", missing.join(", "));
    for profile in [Profile::Standalone, Profile::Istio] {
        let options = Options { profile, ..Options::default() };
        let mut found = Diagnostics::new();
        let plan = Plan::of(&read.resources(), &options, &mut found);
        found.render(&read.sources);
        if !read.diagnostics.has_errors() && !found.has_errors() {
            for output in Output::DEFAULT {
                output.render(&plan, &options, wasm).unwrap();
            }
        }
    }
    read
}

/// Where we differ from the table: an object, or the empty text for the file, and how.
fn differences(expected: &Expected, read: &Read) -> Vec<(String, String)> {
    let theirs = match expected {
        Expected::Judged(theirs) => theirs,
        Expected::Reported(code) if read.diagnostics.iter().any(|finding| finding.code == *code) => {
            return Vec::new();
        }
        Expected::Reported(code) => return vec![(String::new(), format!("there is no `{code}`"))],
    };
    let ours = judge(read);
    let mut found = Vec::new();
    if ours.file != theirs.file {
        found.push((String::new(), format!("{} in the table, {} by us", theirs.file, ours.file)));
    }
    let mut unnamed = theirs.unnamed;
    let objects: BTreeSet<_> = ours.objects.keys().chain(theirs.objects.keys()).collect();
    for object in objects {
        let verdict = |judgement: &Judgement| *judgement.objects.get(object).unwrap_or(&Verdict::Accepted);
        let (theirs, ours) = (verdict(theirs), verdict(&ours));
        if theirs == Verdict::Accepted && unnamed > 0 {
            unnamed -= 1;
        } else if theirs != ours {
            let (kind, name) = object;
            found.push((format!("{kind} {name}"), format!("{theirs} in the table, {ours} by us")));
        }
    }
    for name in theirs.warned.difference(&ours.warned) {
        found.push((format!("warning {name}"), "the table has a warning".to_owned()));
    }
    found
}

#[test]
fn verdicts_agree() {
    let Some(folder) = corpus() else { return };
    let rows = rows(&folder);
    let (mut files, mut objects, mut slowest) = (0, 0, Duration::ZERO);
    let (mut differing_files, mut differing_objects) = (0, 0);
    let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut by_choice: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for row in &rows {
        let text = fs::read_to_string(folder.join(&row.path)).unwrap();
        let start = Instant::now();
        let Ok(read) = catch_unwind(AssertUnwindSafe(|| generate(&row.path, &text))) else {
            wrong.push(format!("{}: panicked", row.path));
            continue;
        };
        slowest = slowest.max(start.elapsed());
        if start.elapsed() > TIME_LIMIT {
            wrong.push(format!("{}: took {:?}", row.path, start.elapsed()));
        }
        files += 1;
        objects += row.objects;
        *verdicts.entry(judge(&read).file).or_default() += 1;
        for error in read.diagnostics.iter().filter(|error| error.refused_by_choice()) {
            let what = format!("{} {}", error.rule.unwrap_or("-"), error.message);
            by_choice.entry(what).or_default().insert(&row.path);
        }
        for (object, difference) in differences(&row.expected, &read) {
            *(if object.is_empty() { &mut differing_files } else { &mut differing_objects }) += 1;
            let known = DIFFERENCES.iter().find(|(path, name, _)| *path == row.path && *name == object);
            println!("{} {object}\n  {difference}", row.path);
            match known {
                Some(entry) => {
                    used.insert(entry);
                    println!("  {}", entry.2);
                }
                None => wrong.push(format!(
                    "{} {object}: {difference}\n{}",
                    row.path,
                    read.diagnostics.render(&read.sources)
                )),
            }
        }
    }
    println!("\nrefused by choice:");
    for (what, files) in &by_choice {
        println!("{:4} files: {what}", files.len());
    }
    println!("\nverdicts of ours: {verdicts:?}; the slowest file took {slowest:?}");
    let share = |differing: usize, all: usize| 100.0 * (all - differing) as f64 / all as f64;
    println!(
        "files: {files}, of them {differing_files} differ: {:.1} % agree",
        share(differing_files, files)
    );
    println!(
        "objects: {objects}, of them {differing_objects} differ: {:.1} % agree",
        share(differing_objects, objects)
    );
    wrong.extend(
        DIFFERENCES
            .iter()
            .filter(|entry| !used.contains(entry))
            .map(|(path, object, _)| format!("{path} {object}: there is no such difference any more")),
    );
    assert!(wrong.is_empty(), "{} findings\n{}", wrong.len(), wrong.join("\n"));
    assert!(files > 0 && objects > 0, "the table of {} was not understood", folder.display());
    assert!(share(differing_files, files) >= 95.0 && share(differing_objects, objects) >= 95.0);
}

/// Every file is in the table, and none is missing.
#[test]
fn the_table_is_complete() {
    let Some(folder) = corpus() else { return };
    let listed: BTreeSet<PathBuf> = rows(&folder).iter().map(|row| folder.join(&row.path)).collect();
    let found = config_gen::input::files::collect(&[folder]).unwrap();
    for file in found.files() {
        assert!(listed.contains(Path::new(found.name(file))), "{}", found.name(file));
    }
    assert_eq!(found.files().count(), listed.len());
}

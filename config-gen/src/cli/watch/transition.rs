//! From one set of files to another, so that what Envoy has at any moment fits together.
//!
//! What the filter names has to be there before it does, and has to stay until it doesn't: clusters, routes and
//! listeners come before the filter's config, in this order, and go after it, in reverse. So each of these
//! files is written twice where something goes: first with the new and the old, and in the end with the new
//! alone. Whatever step comes last, an Envoy that starts then finds files that fit together, too.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::Value;

use crate::cli::write;
use crate::emit::{File, Output, discovery};

/// Content by path below the output directory.
pub(super) type Files = BTreeMap<String, String>;

/// A file that takes the place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Below the output directory.
    pub(super) path: String,
    /// What is written.
    content: String,
    /// What is there; none: nothing.
    before: Option<String>,
}

/// What comes before the filter's config, in this order. Secrets need none: a cluster is added after them,
/// and those that nobody asks for any more do no harm.
const FIRST: [Output; 4] = [Output::Sds, Output::Cds, Output::Rds, Output::Lds];

/// The filter's config, and what comes after it.
const LAST: [Output; 4] = [Output::Ecds, Output::Lds, Output::Rds, Output::Cds];

/// The steps in their order; files that Envoy doesn't discover have none.
pub(super) fn steps(before: &Files, after: &Files) -> Vec<Step> {
    let files = |outputs: &[Output]| -> Vec<(&String, &String)> {
        outputs.iter().flat_map(|output| of(*output, after)).collect()
    };
    let first = files(&FIRST).into_iter().map(|(path, new)| (path, with_what_goes(new, before.get(path))));
    let last = files(&LAST).into_iter().map(|(path, new)| (path, new.clone()));
    let mut now = before.clone();
    let mut steps = Vec::new();
    for (path, content) in first.chain(last) {
        let there = now.insert(path.clone(), content.clone());
        if there.as_ref() != Some(&content) {
            steps.push(Step { path: path.clone(), content, before: there });
        }
    }
    steps
}

/// The files of an output.
fn of(output: Output, files: &Files) -> impl Iterator<Item = (&String, &String)> {
    files.iter().filter(move |(path, _)| path.starts_with(output.path()))
}

/// The new response, and those resources of the old one beside it that it has no more. What can't be read as a
/// response was no config of Envoy's, so that nothing of it is missed.
fn with_what_goes(new: &str, old: Option<&String>) -> String {
    let old = old.filter(|old| *old != new).and_then(|old| resources(old));
    let (Some(mut resources), Some(old)) = (resources(new), old) else { return new.to_owned() };
    let mut goes = add_missing(&mut resources, &old, None);
    // Routes are in a virtual host. The last ones take what no other has.
    for resource in &mut resources {
        let other = old.iter().find(|other| other["name"] == resource["name"]);
        let routes = resource.pointer_mut(ROUTES).and_then(Value::as_array_mut);
        let others = other.and_then(|other| other.pointer(ROUTES)).and_then(Value::as_array);
        if let (Some(routes), Some(others)) = (routes, others) {
            let end = routes.iter().position(|route| route.get("direct_response").is_some());
            goes |= add_missing(routes, others, end);
        }
    }
    match discovery::response(&resources) {
        Ok(both) if goes => both,
        _ => new.to_owned(),
    }
}

/// The routes of a route configuration.
const ROUTES: &str = "/virtual_hosts/0/routes";

/// Puts those of `old` whose names `new` doesn't have at a place of it, or at its end. Whether there are any.
fn add_missing(new: &mut Vec<Value>, old: &[Value], place: Option<usize>) -> bool {
    let names: HashSet<&str> = new.iter().filter_map(|one| one["name"].as_str()).collect();
    let missing = old.iter().filter(|one| one["name"].as_str().is_some_and(|name| !names.contains(name)));
    let missing: Vec<Value> = missing.cloned().collect();
    let goes = !missing.is_empty();
    let place = place.unwrap_or(new.len());
    new.splice(place..place, missing);
    goes
}

/// The resources of a response.
pub(super) fn resources(response: &str) -> Option<Vec<Value>> {
    let mut response: Value = serde_json::from_str(response).ok()?;
    serde_json::from_value(response.get_mut("resources")?.take()).ok()
}

impl Step {
    /// Puts the file in its place.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        write::all(directory, &[File { path: self.path.clone(), content: self.content.clone() }])
    }

    /// Puts back what was there.
    pub(super) fn take_back(&self, directory: &Path) -> anyhow::Result<()> {
        let Some(before) = &self.before else { return Ok(()) };
        write::all(directory, &[File { path: self.path.clone(), content: before.clone() }])
    }

    /// Whether Envoy reads this file already, and so can say when it has read it again.
    pub(super) fn is_watched(&self) -> bool {
        self.before.is_some()
    }

    /// Which output the file belongs to.
    pub(super) fn output(&self) -> Option<Output> {
        let outputs = [Output::Cds, Output::Rds, Output::Lds, Output::Ecds];
        outputs.into_iter().find(|output| self.path.starts_with(output.path()))
    }

    /// Its version, as Envoy tells it.
    pub(super) fn version(&self) -> Option<String> {
        let response: Value = serde_json::from_str(&self.content).ok()?;
        Some(response["version_info"].as_str()?.to_owned())
    }

    /// The name of its first resource.
    pub(super) fn name(&self) -> Option<String> {
        Some(resources(&self.content)?.first()?["name"].as_str()?.to_owned())
    }

    /// The names of resources that are new or otherwise than before.
    pub(super) fn changed(&self) -> HashSet<String> {
        self.changed_where(|_| true)
    }

    /// Those of them that are as wanted.
    pub(super) fn changed_where(&self, is_wanted: impl Fn(&Value) -> bool) -> HashSet<String> {
        let old: HashSet<String> = self
            .before
            .as_deref()
            .and_then(resources)
            .into_iter()
            .flatten()
            .map(|one| one.to_string())
            .collect();
        let new = resources(&self.content).into_iter().flatten();
        let changed = new.filter(|one| is_wanted(one) && !old.contains(&one.to_string()));
        changed.filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn response(names: &[&str]) -> String {
        discovery::response(&names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()).unwrap()
    }

    fn routes(names: &[&str]) -> String {
        let last = json!({"name": "undecided", "direct_response": {}});
        let routes: Vec<Value> = names.iter().map(|name| json!({"name": name})).chain([last]).collect();
        discovery::response(&[json!({"name": "outbound", "virtual_hosts": [{"routes": routes}]})]).unwrap()
    }

    fn files(clusters: &[&str], profiles: &[&str], config: &str) -> Files {
        let file = |path: &str, content| (path.to_owned(), content);
        BTreeMap::from([
            file("envoy.d/cds/clusters.json", response(clusters)),
            file("envoy.d/ecds/portolan.json", response(&[config])),
            file("envoy.d/lds/listeners.json", response(&["outbound_80"])),
            file("envoy.d/rds/outbound/routes.json", routes(profiles)),
            file("envoy.yaml", "a".to_owned()),
        ])
    }

    fn seen(steps: &[Step]) -> Vec<(String, String)> {
        steps
            .iter()
            .map(|step| {
                let mut names = Vec::new();
                for one in resources(&step.content).unwrap() {
                    let routes = one.pointer(ROUTES).and_then(Value::as_array).cloned();
                    let all = routes.unwrap_or_else(|| vec![one]);
                    names.extend(all.iter().map(|one| one["name"].as_str().unwrap().to_owned()));
                }
                let folder = step.path.split('/').nth(1).unwrap();
                (folder.to_owned(), names.join(" "))
            })
            .collect()
    }

    fn expected(steps: &[(&str, &str)]) -> Vec<(String, String)> {
        steps.iter().map(|(folder, names)| ((*folder).to_owned(), (*names).to_owned())).collect()
    }

    #[test]
    fn what_comes_is_there_before_its_name_and_what_goes_after() {
        let before = files(&["a", "b"], &["default", "x"], "1");
        let after = files(&["b", "c"], &["default", "y"], "2");
        let steps = steps(&before, &after);
        assert_eq!(
            seen(&steps),
            expected(&[
                ("cds", "b c a"),
                ("rds", "default y x undecided"),
                ("ecds", "2"),
                ("rds", "default y undecided"),
                ("cds", "b c"),
            ])
        );
        // Each step begins where the last one of the file has ended, and the last one is what was asked for.
        assert_eq!(steps[4].before.as_ref(), Some(&steps[0].content));
        assert_eq!(steps[4].content, after["envoy.d/cds/clusters.json"]);
        assert_eq!(steps[0].changed(), HashSet::from(["c".to_owned()]));
    }

    #[test]
    fn nothing_is_written_that_is_there() {
        let before = files(&["a"], &["default"], "1");
        assert!(steps(&before, &before).is_empty());
        let more = steps(&before, &files(&["a", "b"], &["default"], "2"));
        assert_eq!(seen(&more), expected(&[("cds", "a b"), ("ecds", "2")]));
        let less = steps(&files(&["a", "b"], &["default"], "1"), &files(&["a"], &["default"], "1"));
        assert_eq!(seen(&less), expected(&[("cds", "a")]));
    }

    /// From every set to every other one: a cluster, route or listener that the filter may name is there.
    #[test]
    fn at_every_step_all_that_is_named_is_there() {
        let sets: Vec<Files> = (0..8u32)
            .map(|bits| {
                let has = |bit: u32| bits & (1 << bit) != 0;
                let names: Vec<&str> = ["a", "b", "c"]
                    .into_iter()
                    .zip(0..)
                    .filter(|(_, bit)| has(*bit))
                    .map(|(n, _)| n)
                    .collect();
                files(&names, &names, &names.join(","))
            })
            .collect();
        let named = |files: &Files, path: &str| {
            let text = &files[path];
            ["a", "b", "c"]
                .into_iter()
                .filter(|name| text.contains(&format!("\"{name}\"")))
                .collect::<HashSet<_>>()
        };
        for before in &sets {
            for after in &sets {
                let mut now = before.clone();
                for step in steps(before, after) {
                    now.insert(step.path, step.content);
                    let config = resources(&now["envoy.d/ecds/portolan.json"]).unwrap();
                    let config = config[0]["name"].as_str().unwrap();
                    for path in ["envoy.d/cds/clusters.json", "envoy.d/rds/outbound/routes.json"] {
                        let there = named(&now, path);
                        assert!(config.split(',').all(|name| name.is_empty() || there.contains(name)));
                    }
                }
                assert_eq!(&now, after);
            }
        }
    }
}

//! Comparisons: that every change of behaviour shows, and nothing else.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use config_gen::cases;
use config_gen::diagnostic::Diagnostics;
use config_gen::diff::{self, Diff, Settings, Side};
use config_gen::emit::{MeshOptions, Output};
use config_gen::input::{self, Read, ReadOptions, files};
use config_gen::options::{EnvoyOptions, Options, Profile};
use config_gen::plan::Plan;
use config_gen::ports;
use config_gen::source::Sources;
use portolan_engine::Config;

/// A set of resources, read; none where they have errors.
fn read(yaml: &str) -> Option<Read> {
    let mut sources = Sources::new();
    sources.add("rules.yaml", yaml);
    let read = input::read(sources, &ReadOptions::default());
    (!read.diagnostics.has_errors()).then_some(read)
}

fn plan(read: &Read, mut options: Options, all_ports: &[u16]) -> Option<(Plan, Options)> {
    ports::listen(&mut options, all_ports.iter().copied());
    let mut found = Diagnostics::new();
    let plan = Plan::of(&read.resources(), &options, &mut found);
    (!found.has_errors()).then_some((plan, options))
}

/// What is between two texts with these options, and whether the same is generated.
fn compare_in(before: &str, after: &str, options: [Options; 2], settings: Settings) -> Option<(Diff, bool)> {
    let (one, other) = (read(before)?, read(after)?);
    let ports: Vec<u16> = ports::of(&one.resources(), &options[0])
        .union(&ports::of(&other.resources(), &options[1]))
        .copied()
        .collect();
    let [first, second] = options;
    let (plan, options) = plan(&one, first, &ports)?;
    let (other_plan, other_options) = self::plan(&other, second, &ports)?;
    let generated_alike = plugin_config(&plan, &options) == plugin_config(&other_plan, &other_options)
        && bootstrap(&plan, &options) == bootstrap(&other_plan, &other_options);
    let before = Side { plan: &plan, options: &options, sources: &one.sources };
    let after = Side { plan: &other_plan, options: &other_options, sources: &other.sources };
    Some((diff::compare(before, after, settings).unwrap(), generated_alike))
}

fn in_profiles(profiles: [Profile; 2]) -> [Options; 2] {
    profiles.map(|profile| Options { profile, ..Options::default() })
}

fn compare(before: &str, after: &str) -> Diff {
    compare_in(before, after, in_profiles([Profile::Standalone; 2]), Settings::default())
        .expect("sets without errors")
        .0
}

/// What the filter gets, without names that only logs show.
fn plugin_config(plan: &Plan, options: &Options) -> Config {
    let mut config = plan.proxy_config(options);
    for host in &mut config.virtual_hosts {
        host.name.clear();
        host.routes.iter_mut().for_each(|route| route.name.clear());
    }
    // Which comes first makes no difference.
    config
        .virtual_hosts
        .sort_by(|one, other| (&one.domains, &one.ports).cmp(&(&other.domains, &other.ports)));
    config
}

/// What Envoy gets, without names that only logs and statistics show.
fn bootstrap(plan: &Plan, options: &Options) -> String {
    let content = Output::Envoy.render(plan, options, &MeshOptions::default()).unwrap().remove(0).content;
    let shown_only =
        ["name: tls ", "name: tcp ", "decision: ", "external: ", "istio:", "metadata:", "filter_metadata:"];
    let is_shown = |line: &&str| {
        let line = line.trim_start_matches([' ', '-']);
        shown_only.iter().any(|start| line.starts_with(start))
    };
    content.lines().filter(|line| !is_shown(line)).collect::<Vec<_>>().join("\n")
}

fn actions() -> String {
    include_str!("commands/actions.yaml").to_owned()
}

/// `what: before -> after`, of the first request of each change.
fn told(diff: &Diff) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let facts = diff.changes.iter().flat_map(|change| &change.requests[0].facts);
    facts.map(|fact| format!("{}: {} -> {}", fact.what, text(&fact.before), text(&fact.after))).collect()
}

#[test]
fn the_same_is_the_same() {
    let yaml = actions();
    assert!(compare(&yaml, &yaml).is_same());
    // Other names and places, another order of documents, comments.
    let moved = format!("# moved\n\n{}", yaml.replace("name: canary", "name: kanarienvogel"));
    let mut documents: Vec<&str> = moved.split("---\n").collect();
    documents.reverse();
    let diff = compare(&yaml, &documents.join("\n---\n"));
    assert!(diff.is_same(), "{diff:#?}");
    assert!(diff.compared > 50);
}

#[test]
fn what_changed_is_told() {
    for (from, to, wanted) in [
        ("timeout: 2s", "timeout: 3s", "timeout: 2s -> 3s"),
        (
            "weight: 25",
            "weight: 30",
            "destinations: outbound|80||shop.example.com (25 %), outbound|80||next.example.com (75 %) -> outbound|80||shop.example.com (28.57 %), outbound|80||next.example.com (71.43 %)",
        ),
        ("attempts: 3", "attempts: 4", "retries: 3,"),
        (
            "redirectCode: 302",
            "redirectCode: 307",
            "decision: redirected to http://shop.example.com/new/ (302) -> redirected to http://shop.example.com/new/ (307)",
        ),
        ("value: 12.5", "value: 13", "mirrored to: "),
        ("Disallow: /", "Disallow: /x", "body: "),
        ("x-canary: \"1\"", "x-canary: \"2\"", "request headers: "),
        ("x-served-by: canary", "x-served-by: other", "response headers: "),
        ("httpStatus: 418", "httpStatus: 420", "decision: answered 418"),
        ("fixedDelay: 1.5s", "fixedDelay: 2.5s", "delayed by: 1.5s -> 2.5s"),
        ("maxAge: 24h", "maxAge: 25h", "headers: access-control-allow-origin: "),
        ("web.example\"", "web.example.org\"", ""),
        ("exact: /robots.txt", "exact: /robots.tx", "decision: "),
        ("user=jason.*", "user=jasmin.*", "timeout: 2s -> none"),
    ] {
        let yaml = actions();
        assert!(yaml.contains(from), "{from}");
        let diff = compare(&yaml, &yaml.replacen(from, to, 1));
        let told = told(&diff);
        assert!(told.iter().any(|it| it.starts_with(wanted)), "{from} -> {to}: {told:#?}");
    }
}

#[test]
fn a_group_has_all_requests_of_a_change() {
    let yaml = actions();
    let diff = compare(&yaml, &yaml.replace("redirectCode: 302", "redirectCode: 307"));
    let [change] = diff.changes.as_slice() else { panic!("{diff:#?}") };
    assert!(change.requests.len() >= 4, "{change:#?}");
    assert_eq!(diff.changed(), change.requests.len());
    let (before, after) = &change.decided;
    assert_eq!(before.as_deref(), Some("old of VirtualService default/shop (rules.yaml:37)"));
    assert_eq!(before, after);
}

#[test]
fn what_no_request_shows_is_told_of_clusters() {
    let rule = |policy: &str| {
        format!(
            "{}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: next}}\nspec:\n  host: next.example.com\n  trafficPolicy: {policy}\n",
            actions()
        )
    };
    let before = rule("{loadBalancer: {simple: RANDOM}}");
    for (policy, wanted) in [
        ("{loadBalancer: {simple: ROUND_ROBIN}}", "lb_policy: RANDOM -> ROUND_ROBIN"),
        (
            "{loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {connectTimeout: 1s}}}",
            "connect_timeout: 10s -> 1s",
        ),
        (
            "{loadBalancer: {simple: RANDOM}, outlierDetection: {consecutive5xxErrors: 3}}",
            "outlier_detection.consecutive_5xx:  -> 3",
        ),
        (
            "{loadBalancer: {simple: RANDOM}, tls: {mode: SIMPLE, sni: a.example}}",
            "TLS: none -> originated, for the server name a.example, verified by the usual authorities",
        ),
    ] {
        let diff = compare(&before, &rule(policy));
        let all: Vec<String> = diff
            .settings
            .iter()
            .flat_map(|change| &change.settings)
            .map(|it| {
                format!(
                    "{}: {} -> {}",
                    it.what,
                    it.before.clone().unwrap_or_default(),
                    it.after.clone().unwrap_or_default()
                )
            })
            .collect();
        assert!(all.iter().any(|it| it == wanted), "{policy}: {all:#?}");
        let names: Vec<&str> = diff.settings.iter().map(|change| change.name.as_str()).collect();
        assert!(names.iter().all(|name| name.ends_with("next.example.com")), "{names:?}");
    }
}

#[test]
fn requests_are_bounded_and_what_is_left_out_is_counted() {
    let yaml = actions();
    let settings = Settings { most_requests: 7, ..Settings::default() };
    let (diff, _) = compare_in(&yaml, &yaml, in_profiles([Profile::Standalone; 2]), settings).unwrap();
    assert_eq!(diff.compared, 7);
    assert!(diff.left_out > 50);
    assert!(diff::report_text(&diff, ("a", "b"), 9).contains("more were left out"));
}

#[test]
fn profiles_differ_in_what_the_rules_mean_by_themselves() {
    let yaml = include_str!("commands/webserver.yaml");
    let settings = Settings { between_profiles: true, ..Settings::default() };
    let options = in_profiles([Profile::Istio, Profile::Standalone]);
    let (diff, _) = compare_in(yaml, yaml, options, settings).unwrap();
    let told = told(&diff);
    assert!(told.iter().any(|it| it.contains("PassthroughCluster -> answered 502")), "{told:#?}");
    assert!(!told.iter().any(|it| it.contains("x-envoy-original")), "{told:#?}");
}

/// Names in rules may hold what Markdown has a meaning for.
#[test]
fn markdown_stays_in_its_blocks() {
    let rule = |body: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [web]\n  http:\n  - name: {body}\n    directResponse: {{status: 200, body: {{string: {body}}}}}\n"
        )
    };
    let hostile = r#""```\n<script>\n# x\n```""#;
    let diff = compare(&rule("plain"), &rule(hostile));
    let markdown = diff::report_markdown(&diff, ("a\n```\n<b>", "b"), 50);
    let fences = markdown
        .lines()
        .filter(|line| line.trim_start_matches(' ').starts_with("```") && !line.starts_with("  "));
    assert_eq!(fences.count() % 2, 0, "{markdown}");
    let mut inside = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside {
            assert!(line.is_empty() || line.starts_with([' ', '+', '-']), "{line}");
        } else {
            assert!(!line.contains('<'), "{line}");
        }
    }
}

/// Fields that change what is generated, and nothing that happens: the resource, the field, and why.
const WITHOUT_EFFECT: [(&str, &str, &str); 15] = [
    ("VirtualService default/all", "spec.http[0].match[0].scheme.exact", "plaintext is `http`"),
    ("VirtualService default/http", "spec.http[0].match[0].scheme.exact", "plaintext is `http`"),
    ("VirtualService default/authority", "spec.http[0].match[0].scheme.exact", "plaintext is `http`"),
    (
        "VirtualService default/pseudo-authority",
        "spec.http[0].match[0].headers[\":scheme\"].exact",
        "plaintext is `http`",
    ),
    ("VirtualService default/regex-any-case", "spec.http[0].match[0].ignoreUriCase", "not of a regex"),
    ("VirtualService default/empty-prefix", "spec.http[0].match[0].uri.prefix", "all paths have it"),
    ("VirtualService default/a", "spec.http[4].rewrite.uri", "what is replaced is the same"),
    ("VirtualService default/a", "spec.http[5].rewrite.uri", "what is replaced is the same"),
    (
        "VirtualService default/a",
        "spec.http[4].route[0].headers.request.set",
        "the route's host comes before",
    ),
    ("VirtualService default/f", "spec.http[2].match[0].sourceNamespace", "the rule before takes all"),
    ("VirtualService default/root", "spec.http[5].match[0].headers.h.exact", "the other entry takes them"),
    ("VirtualService default/both", "spec.http[0].match[0].headers.i.exact", "the other entry takes them"),
    ("VirtualService default/a", "spec.http[0].match[0].uri.regex", "the rule before takes all"),
    ("VirtualService default/b", "spec.http[0].match[0].uri.prefix", "the rule before takes all"),
    ("VirtualService default/b", "spec.http[1].match[0].uri.prefix", "the rule before takes all"),
];

/// Of each field of the cases: what is generated differs without it, if and only if the comparison
/// finds something.
#[test]
fn every_field_that_counts_shows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    let sources = files::collect(&[folder]).unwrap();
    let (cases, _) = cases::load(&sources);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut seen = Seen::default();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some((setup, yaml)) = case.setups.first().and_then(|it| Some((it, it.resources.first()?)))
            {
                seen.add(&case.path, yaml, &setup.options(Profile::Standalone));
            }
        }
        seen
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |count: fn(&Seen) -> usize| seen.iter().map(count).sum::<usize>();
    let missed: Vec<&String> = seen.iter().flat_map(|seen| &seen.missed).collect();
    let (fields, shown) = (sum(|seen| seen.fields), sum(|seen| seen.shown));
    println!("{fields} fields taken away, {shown} of them shown, {} otherwise than expected", missed.len());
    assert!(fields > 1000);
    assert!(missed.is_empty(), "{missed:#?}");
}

/// What came of taking fields away.
#[derive(Default)]
struct Seen {
    fields: usize,
    shown: usize,
    missed: Vec<String>,
}

impl Seen {
    fn add(&mut self, path: &str, yaml: &str, options: &Options) {
        let Some(whole) = read(yaml) else { return };
        // Nobody asks for tunnels.
        let envoy = EnvoyOptions { explicit_proxy: None, ..options.envoy.clone() };
        let options = Options { envoy, ..options.clone() };
        for field in &whole.field_uses {
            let (start, end) = (field.span.start as usize, field.span.end as usize);
            let without = format!("{}null{}", &yaml[..start], &yaml[end..]);
            let options = [options.clone(), options.clone()];
            let compared = compare_in(yaml, &without, options, Settings::default());
            // Fields that are needed leave an error.
            let Some((diff, generated_alike)) = compared else { continue };
            self.fields += 1;
            self.shown += usize::from(!diff.is_same());
            let is_known = WITHOUT_EFFECT
                .iter()
                .any(|(resource, known, _)| *field.resource == **resource && field.field == *known);
            if diff.is_same() != generated_alike && !(diff.is_same() && is_known) {
                let (resource, field) = (&field.resource, &field.field);
                self.missed.push(format!("{path} {resource} {field}: generated alike: {generated_alike}"));
            }
        }
    }
}

//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::analysis::Suppression;
use crate::analysis::report::Format as ReportFormat;
use crate::diagnostic::Severity;
use crate::emit::Output;
use crate::options::{Cidr, ClusterStats, Clusters, DnsFamily, OutboundPolicy, Profile};
use crate::resource::service_entry::Location;
use crate::typed::{Generation, Meaning};

/// Turns Istio ServiceEntry, VirtualService and DestinationRule YAML into configuration for
/// stock Envoy.
#[derive(Debug, Parser)]
#[command(name = "config-gen", version, styles = Styles::plain(), after_help = EXIT_STATUS)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 done, 1 the input has errors, 2 input that can't be read or output that can't be
written, 64 wrong usage";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the plugin config, an Envoy configuration and a WasmPlugin
    #[command(after_help = EXAMPLES)]
    Generate(Box<Generate>),
    /// Run case files: requests, and what is to become of them
    #[command(after_help = TEST_EXAMPLE)]
    Test(Test),
    /// Say what is wrong with the resources, or likely not meant
    #[command(visible_alias = "analyze", after_help = VALIDATE_EXAMPLES)]
    Validate(Box<Validate>),
    /// Say what becomes of a request, and why
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Box<Explain>),
    /// Show what two sets of resources do otherwise, or two profiles with one set
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(Box<Diff>),
    /// Draw hosts, rules and destinations
    #[command(after_help = GRAPH_EXAMPLES)]
    Graph(Box<Graph>),
    /// Print ServiceEntries for what an access log reports as missing
    #[command(after_help = SUGGEST_EXAMPLES)]
    Suggest(Suggest),
    /// Say whether the filter decides on a listener: for start-up and health checks
    #[command(after_help = READY_EXAMPLES)]
    Ready(Ready),
    /// Print the JSON Schema of the plugin config
    #[command(after_help = SCHEMA_EXAMPLE)]
    Schema,
    /// Say which versions these are, and the digest of the module
    #[command(after_help = VERSION_EXAMPLES)]
    Version(Version),
    /// Print the completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Write the manual pages
    #[command(after_help = MAN_EXAMPLES)]
    Man(Man),
}

const EXAMPLES: &str = "\
Examples:
  config-gen generate -f examples/webserver -o out
  (cd out && cp ../portolan.wasm . && envoy -c envoy.yaml)

  config-gen generate -f rules/ -o out --watch

  kubectl get serviceentries,virtualservices,destinationrules -A -o yaml |
    config-gen generate -f - --emit plugin-config";

const TEST_EXAMPLE: &str = r#"Example, tests/webserver.yaml:
  name: webserver is a file on GitHub
  profiles: [standalone]
  files: [../examples/webserver/istio]
  tests:
  - name: the path is replaced
    request: {url: "http://webserver/any?thing"}
    expect:
      cluster: "outbound|443||raw.githubusercontent.com"
      authority: raw.githubusercontent.com
      path: /mcasperson/NodejsProxy/master/externalservice1.txt?thing

  config-gen test tests/webserver.yaml

Exit status: 0 all tests passed, 1 some failed, 2 files that can't be read, 64 wrong usage"#;

const VALIDATE_EXAMPLES: &str = "\
Examples:
  config-gen validate -f rules/
  kubectl get serviceentries,virtualservices,destinationrules,gateways,services -A -o yaml |
    config-gen validate -f - --profile istio --client-namespace shop
  config-gen validate -f rules/ --fail-on warning --suppress 'foreign-host=VirtualService/web.*'
  config-gen validate -f rules/ --format sarif >findings.sarif
  config-gen validate --explain foreign-host

A resource's annotation `galley.istio.io/analyze-suppress: CODE,CODE` leaves findings on it out.

Exit status: 0 nothing as grave as --fail-on, 1 something is, 2 input that can't be read, 64 wrong
usage";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  config-gen explain -f examples/webserver/istio http://webserver/any
  config-gen explain -f examples/weather/istio https://wttr.in/
  config-gen explain -f rules.yaml --curl \"curl -X POST -H 'x-user: a' http://webserver/admin\"
  config-gen explain -f rules.yaml --requests requests.yaml -o json
  config-gen explain --plugin-config out/plugin-config.json http://webserver/any

Exit status: 0 whatever the decision, 1 the resources have errors (also with --keep-going), 2 input
that can't be read, 64 wrong usage";

const DIFF_EXAMPLES: &str = "\
Examples:
  config-gen diff old.yaml new.yaml
  config-gen diff main/istio istio --format markdown > comment.md
  config-gen diff istio --profiles

Exit status: 0 both do the same, 1 they don't, 2 input that can't be read or has errors, 64 wrong usage";

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// File or directory of the set before
    pub(super) before: PathBuf,

    /// The same for the set after
    #[arg(required_unless_present = "profiles")]
    pub(super) after: Option<PathBuf>,

    /// Compare what the profiles istio and standalone make of one set
    #[arg(long, conflicts_with_all = ["after", "profile"])]
    pub(super) profiles: bool,

    /// Form of the answer on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Comparison,

    /// Most changes that are shown, of requests and of clusters each; JSON has all
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub(super) max_changes: usize,

    /// Most requests that are compared
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000)]
    pub(super) max_requests: usize,

    #[command(flatten)]
    pub(super) reading: Reading,
}

/// Form of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Text,
    Markdown,
    Json,
}

const GRAPH_EXAMPLES: &str = "\
Examples:
  config-gen graph -f examples/webserver/istio > rules.svg
  config-gen graph -f rules.yaml --format mermaid
  config-gen graph -f rules.yaml --format dot | dot -Tpng > rules.png

Exit status: 0 drawn, 1 the resources have errors (also with --keep-going), 2 input that can't be
read, 64 wrong usage";

#[derive(Debug, Args)]
pub(super) struct Graph {
    #[command(flatten)]
    pub(super) input: Input,

    /// Language of the picture on standard output
    #[arg(long, value_name = "FORMAT", default_value = "svg")]
    pub(super) format: Picture,
}

/// Resources, and how they are meant.
#[derive(Debug, Args)]
pub(super) struct Input {
    /// YAML or JSON file, directory (with all below it), or `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-", required = true)]
    pub(super) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) reading: Reading,
}

/// How resources are meant.
#[derive(Debug, Clone, Args)]
pub(super) struct Reading {
    /// MeshConfig, or Istio's ConfigMap that holds one in data.mesh
    #[arg(long, value_name = "FILE")]
    pub(super) mesh_config: Option<PathBuf>,

    /// Go on where the resources have errors, without the fields that these name
    #[arg(long)]
    pub(super) keep_going: bool,

    /// Whose reading counts where plain Envoy's users and Istio differ
    #[arg(long, default_value = "standalone")]
    pub(super) profile: Profile,

    #[command(flatten)]
    pub(super) meaning: Meaning,
}

/// Language of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picture {
    Dot,
    Mermaid,
    Svg,
}

const SUGGEST_EXAMPLES: &str = "\
Examples:
  config-gen generate -f istio -o out --outbound-policy report --access-log /var/log/envoy/access.log
  config-gen suggest /var/log/envoy/access.log > more.yaml
  config-gen suggest - --allow-upstream 10.0.0.0/8 < access.log

Exit status: 0 done, 2 a log that can't be read, 64 wrong usage";

#[derive(Debug, Args)]
pub(super) struct Suggest {
    /// Access logs as `generate` has Envoy write them, with the outbound policy `report`; `-` is
    /// standard input. Lines of other forms are passed over
    #[arg(value_name = "ACCESS_LOG|-", required = true)]
    pub(super) logs: Vec<PathBuf>,

    /// Private addresses to which a suggested host may lead
    #[arg(long, value_name = "CIDR")]
    pub(super) allow_upstream: Vec<Cidr>,

    /// Most hosts that are suggested: clients choose the names
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub(super) max_hosts: usize,
}

const READY_EXAMPLES: &str = "\
Examples:
  config-gen ready
  config-gen ready --within 30 127.0.0.1:10080 && echo started

Any program can ask the same: `GET /` with the header `Host: ready.portolan.invalid` has the status 200
only where the filter answers.

Exit status: 0 ready, 1 not ready, 64 wrong usage";

#[derive(Debug, Args)]
pub(super) struct Ready {
    /// Listeners for HTTP, or an explicit proxy
    #[arg(value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10080")]
    pub(super) listeners: Vec<SocketAddr>,

    /// How many seconds to go on asking
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(super) within: u64,
}

const SCHEMA_EXAMPLE: &str = "\
Example, for editors that know JSON Schema:
  config-gen schema > plugin-config.schema.json";

const VERSION_EXAMPLES: &str = "\
Examples:
  config-gen version
  config-gen version --module out/portolan.wasm -o json

Exit status: 0 done, 2 a module that can't be read, 64 wrong usage";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  config-gen completions bash > ~/.local/share/bash-completion/completions/config-gen
  config-gen completions zsh > ~/.zfunc/_config-gen
  config-gen completions fish > ~/.config/fish/completions/config-gen.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  config-gen man > config-gen.1 && man ./config-gen.1
  config-gen man -o ~/.local/share/man/man1";

#[derive(Debug, Args)]
pub(super) struct Version {
    /// The filter module [default: portolan.wasm in this directory, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(super) module: Option<PathBuf>,

    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(super) output: VersionFormat,
}

/// Form of the answer on versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VersionFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Shell
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Directory for the pages of all commands; without it the page of config-gen goes to standard
    /// output
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// YAML or JSON file, directory (with all below it), or `-` for standard input
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE|DIR|-",
        required_unless_present = "plugin_config",
        conflicts_with = "plugin_config"
    )]
    pub(super) files: Vec<PathBuf>,

    /// A generated plugin config in place of the resources
    #[arg(long, value_name = "FILE")]
    pub(super) plugin_config: Option<PathBuf>,

    /// MeshConfig, or Istio's ConfigMap that holds one in data.mesh
    #[arg(long, value_name = "FILE", conflicts_with = "plugin_config")]
    pub(super) mesh_config: Option<PathBuf>,

    /// File of requests: a YAML list as in case files, or lines with URLs and curl commands
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["url", "curl", "method", "headers", "port"])]
    pub(super) requests: Option<PathBuf>,

    /// Random number of the request: it draws destinations and faults [default: faults only
    /// where they always happen, and the destination with the largest share]
    #[arg(long, value_name = "NUMBER")]
    pub(super) draw: Option<u64>,

    /// Private addresses that may be dialled for hosts outside the registry
    #[arg(long, value_name = "CIDR", conflicts_with = "plugin_config")]
    pub(super) allow_upstream: Vec<Cidr>,

    /// Method of the request [default: GET]
    #[arg(short = 'X', long)]
    pub(super) method: Option<String>,

    /// Header of the request; `host: ...` takes the place of the URL's host
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,

    /// Port of the listener [default: that of the URL]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,

    /// The request as a curl command, in one word
    #[arg(long, value_name = "COMMAND")]
    pub(super) curl: Option<String>,

    /// Decide also where the resources have errors, without the fields that these name
    #[arg(long, conflicts_with = "plugin_config")]
    pub(super) keep_going: bool,

    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(super) output: Format,

    /// Which profile is told first; the other one is told where it decides otherwise
    #[arg(long, default_value = "standalone", conflicts_with = "plugin_config")]
    pub(super) profile: Profile,

    #[command(flatten)]
    pub(super) meaning: Meaning,

    /// http: a request in plaintext; https: a TLS connection, by its server name;
    /// tcp://ADDRESS:PORT: any other; connect://HOST:PORT: CONNECT
    #[arg(required_unless_present_any = ["curl", "requests"])]
    pub(super) url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// YAML or JSON file, directory (with all below it), or `-` for standard input
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE|DIR|-",
        required_unless_present = "explain",
        conflicts_with = "explain"
    )]
    pub(super) files: Vec<PathBuf>,

    /// MeshConfig, or Istio's ConfigMap that holds one in data.mesh
    #[arg(long, value_name = "FILE")]
    pub(super) mesh_config: Option<PathBuf>,

    /// Whose reading counts where plain Envoy's users and Istio differ
    #[arg(long, default_value = "standalone")]
    pub(super) profile: Profile,

    /// Form of the findings on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: ReportFormat,

    /// Colours in the text; with auto on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,

    /// Findings to leave out; `*` stands for any text, codes are ours or Istio's
    #[arg(long, value_name = "CODE[=Kind/NAME.NAMESPACE]")]
    pub(super) suppress: Vec<Suppression>,

    /// How grave a finding has to be for exit status 1
    #[arg(long, value_name = "SEVERITY", default_value = "error")]
    pub(super) fail_on: Severity,

    /// Say what is known of a code, in place of looking at resources
    #[arg(long, value_name = "CODE")]
    pub(super) explain: Option<String>,

    #[command(flatten)]
    pub(super) meaning: Meaning,
}

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
    Yaml,
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Case files, and directories of them
    #[arg(value_name = "FILE|DIR", default_value = "tests")]
    pub(super) files: Vec<PathBuf>,

    /// Form of the report on standard output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(super) output: TestFormat,
}

/// Form of a report on tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TestFormat {
    Text,
    Json,
    Junit,
}

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// YAML or JSON file, directory (with all below it), or `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-", required = true)]
    pub(super) files: Vec<PathBuf>,

    /// Directory for the files; without it one output goes to standard output
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,

    /// File for a JSON report on every field of the input and all findings; written also where
    /// there are errors
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,

    /// MeshConfig, or Istio's ConfigMap that holds one in data.mesh
    #[arg(long, value_name = "FILE")]
    pub(super) mesh_config: Option<PathBuf>,

    /// Stay, and write the files again whenever the input changes, step by step as Envoy takes them.
    /// Implies --dynamic-resources
    #[arg(long, requires = "output", conflicts_with = "emit")]
    pub(super) watch: bool,

    /// With --watch: admin interface of the Envoy that reads the files [default: that of --admin]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "watch")]
    pub(super) watch_admin: Option<SocketAddr>,

    #[command(flatten)]
    pub(super) generation: Generation,
}

impl Generate {
    /// What is to be written, once each and in a fixed order.
    pub(super) fn outputs(&self) -> Result<Vec<Output>, String> {
        if self.watch && self.files.iter().any(|file| file.as_os_str() == "-") {
            return Err("standard input can't be watched: name files or directories with `-f`".to_owned());
        }
        let outputs = self.generation.outputs(self.output.is_some())?;
        match (&self.output, outputs.len()) {
            (None, 1) | (Some(_), _) => Ok(outputs),
            (None, _) => {
                Err("choose a directory with `-o DIR`, or one output with `--emit OUTPUT`".to_owned())
            }
        }
    }
}

/// Implements `ValueEnum` by a table of names.
macro_rules! value_enum {
    ($type:ty: $($name:literal $help:literal => $value:expr),+ $(,)?) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$($value),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                [$(($value, $name, $help)),+]
                    .into_iter()
                    .find(|(value, _, _)| value == self)
                    .map(|(_, name, help)| PossibleValue::new(name).help(help))
            }
        }
    };
}

value_enum!(ClusterStats:
    "auto" "each cluster by itself, but all together above 1 000" => ClusterStats::Auto,
    "each" "each cluster by itself" => ClusterStats::Each,
    "together" "all clusters of the registry together, as `outbound`" => ClusterStats::Together,
);
value_enum!(Profile:
    "standalone" "what a user of plain Envoy expects" => Profile::Standalone,
    "istio" "Istio's sidecar" => Profile::Istio,
);
value_enum!(OutboundPolicy:
    "registry-only" "refuse them" => OutboundPolicy::RegistryOnly,
    "allow-any" "pass them through" => OutboundPolicy::AllowAny,
    "report" "pass them through, and count and name them" => OutboundPolicy::Report,
);
value_enum!(Clusters:
    "auto" "from 100 on that differ in nothing but their host" => Clusters::Auto,
    "dedicated" "none: every service has its own" => Clusters::Dedicated,
    "shared" "all that differ in nothing but their host" => Clusters::Shared,
);
value_enum!(Location:
    "external" "MESH_EXTERNAL" => Location::MeshExternal,
    "internal" "MESH_INTERNAL" => Location::MeshInternal,
);
value_enum!(DnsFamily:
    "v4" "IPv4" => DnsFamily::V4Only,
    "v6" "IPv6" => DnsFamily::V6Only,
    "all" "both" => DnsFamily::All,
);
value_enum!(TestFormat:
    "text" "failures and the sum of all" => TestFormat::Text,
    "json" "every test" => TestFormat::Json,
    "junit" "JUnit's XML, for CI systems" => TestFormat::Junit,
);
value_enum!(ReportFormat:
    "text" "for a person, with the lines that are meant" => ReportFormat::Text,
    "json" "for programs" => ReportFormat::Json,
    "sarif" "SARIF 2.1.0, for code hosts" => ReportFormat::Sarif,
    "junit" "JUnit's XML, for CI systems" => ReportFormat::Junit,
    "github" "annotations of GitHub Actions" => ReportFormat::Github,
);
value_enum!(Severity:
    "error" "errors" => Severity::Error,
    "warning" "warnings and errors" => Severity::Warning,
    "note" "all findings" => Severity::Note,
);
value_enum!(Color:
    "auto" "on a terminal" => Color::Auto,
    "always" "always" => Color::Always,
    "never" "never" => Color::Never,
);
value_enum!(Comparison:
    "text" "for a person" => Comparison::Text,
    "markdown" "for a comment on a pull request" => Comparison::Markdown,
    "json" "for a program" => Comparison::Json,
);
value_enum!(Picture:
    "dot" "Graphviz" => Picture::Dot,
    "mermaid" "Mermaid, for Markdown" => Picture::Mermaid,
    "svg" "SVG, for browsers" => Picture::Svg,
);
value_enum!(VersionFormat:
    "text" "for a person" => VersionFormat::Text,
    "json" "for a program" => VersionFormat::Json,
);
value_enum!(Format:
    "text" "for a person" => Format::Text,
    "json" "with all routes that lost" => Format::Json,
    "yaml" "the same as YAML" => Format::Yaml,
);
value_enum!(Output:
    "plugin-config" "the filter's JSON config" => Output::PluginConfig,
    "ecds" "the file from which Envoy discovers the filter" => Output::Ecds,
    "cds" "the file from which it discovers clusters, with `--dynamic-resources`" => Output::Cds,
    "rds" "the files from which it discovers routes, with `--dynamic-resources`" => Output::Rds,
    "lds" "the file from which it discovers listeners, with `--dynamic-resources`" => Output::Lds,
    "sds" "the files from which Envoy discovers certificates" => Output::Sds,
    "envoy" "Envoy's bootstrap" => Output::Envoy,
    "nftables" "the rules that redirect connections to `--transparent`" => Output::Nftables,
    "wasmplugin" "the resource for an Istio mesh" => Output::WasmPlugin,
    "trafficextension" "the same for Istio 1.30 and newer, in its place" => Output::TrafficExtension,
    "envoyextensionpolicy" "the resource for Envoy Gateway" => Output::EnvoyExtensionPolicy,
);

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    fn has_the_same_names<T: ValueEnum + DeserializeOwned + PartialEq + std::fmt::Debug>() {
        for value in T::value_variants() {
            let name = value.to_possible_value().unwrap();
            assert_eq!(&serde_json::from_value::<T>(name.get_name().into()).unwrap(), value);
        }
    }

    /// An option has the same values wherever it is given.
    #[test]
    fn values_have_the_same_names_in_objects() {
        has_the_same_names::<Profile>();
        has_the_same_names::<OutboundPolicy>();
        has_the_same_names::<Clusters>();
        has_the_same_names::<Location>();
        has_the_same_names::<DnsFamily>();
        has_the_same_names::<Output>();
    }
}

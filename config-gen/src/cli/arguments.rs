//! What can be typed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::analysis::Suppression;
use crate::analysis::report::Format as ReportFormat;
use crate::diagnostic::Severity;
use crate::emit::{MeshOptions, Output};
use crate::options::{
    Cidr, Clusters, DnsFamily, EnvoyOptions, Listen, Options, OutboundPolicy, OwnConnections, Profile,
    UpstreamPort,
};
use crate::resource::service_entry::Location;
use crate::resource::validate::wasm_plugin;
use crate::typed::{Meaning, key_value};

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
}

const EXAMPLES: &str = "\
Examples:
  config-gen generate -f examples/webserver -o out
  (cd out && cp ../portolan.wasm . && envoy -c envoy.yaml)

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

    /// What to write [default with -o: plugin-config, ecds, envoy, wasmplugin]
    #[arg(long, value_name = "OUTPUT")]
    emit: Vec<Output>,

    /// File for a JSON report on every field of the input and all findings; written also where
    /// there are errors
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,

    /// Whose reading counts where plain Envoy's users and Istio differ
    #[arg(long, default_value = "standalone")]
    profile: Profile,

    #[command(flatten)]
    pub(super) meaning: Meaning,

    /// MeshConfig, or Istio's ConfigMap that holds one in data.mesh
    #[arg(long, value_name = "FILE")]
    pub(super) mesh_config: Option<PathBuf>,

    #[command(flatten)]
    envoy: Envoy,

    #[command(flatten)]
    wasm_plugin: WasmPlugin,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Envoy")]
struct Envoy {
    /// Listener: the port that clients mean, and where Envoy listens [default: 80=127.0.0.1:10080 and
    /// 443=127.0.0.1:10443; none beside another way in]
    #[arg(long, value_name = "PORT=ADDRESS:PORT")]
    listen: Vec<Listen>,

    /// Explicit proxy for HTTP_PROXY and HTTPS_PROXY: clients name the port in each request
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "gateway")]
    explicit_proxy: Option<SocketAddr>,

    /// Listener for connections that the kernel redirects; the port that clients mean is that of
    /// their original destination. With -o, rules for nftables are written, too. Once for each
    /// family of addresses
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address_with_port, conflicts_with = "gateway")]
    transparent: Vec<SocketAddr>,

    /// Mark of Envoy's own connections, which are not redirected; Envoy needs the capability
    /// NET_ADMIN to set it [default: 28783]
    #[arg(long, value_name = "NUMBER", requires = "transparent",
          value_parser = clap::value_parser!(u32).range(1..))]
    proxy_mark: Option<u32>,

    /// User that Envoy runs as, in place of a mark: no connection of that user is redirected
    #[arg(long, value_name = "UID", requires = "transparent", conflicts_with = "proxy_mark")]
    proxy_uid: Option<u32>,

    /// Admin interface, or `off`
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9901", value_parser = or_off::<SocketAddr>)]
    admin: OrOff<SocketAddr>,

    /// DNS server to ask [default: those of the system]
    #[arg(long, value_name = "ADDRESS:PORT")]
    dns_resolver: Vec<SocketAddr>,

    /// Which addresses to ask for
    #[arg(long, value_name = "FAMILY", default_value = "v4")]
    dns_family: DnsFamily,

    /// PEM file with the authorities that upstream certificates are checked against
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca_bundle: String,

    /// The filter module, as Envoy finds it
    #[arg(long, value_name = "FILE", default_value = "portolan.wasm")]
    module: String,

    /// Directory of the generated files, as Envoy finds it [default: its working directory]
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    files_root: String,

    /// Port to dial in place of the registry's
    #[arg(long, value_name = "[HOST:]PORT=PORT")]
    upstream_port: Vec<UpstreamPort>,

    /// Private addresses that may be dialled for hosts outside the registry
    #[arg(long, value_name = "CIDR")]
    allow_upstream: Vec<Cidr>,

    /// File for access logs, or `off`
    #[arg(long, value_name = "FILE", default_value = "/dev/stdout", value_parser = or_off::<String>)]
    access_log: OrOff<String>,

    /// Most client connections at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000)]
    max_connections: u32,

    /// Give requests an `x-request-id` [default: false; profile istio: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    request_id: Option<bool>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "WasmPlugin, TrafficExtension, EnvoyExtensionPolicy")]
struct WasmPlugin {
    /// Where proxies find the module: oci, http, https or file
    #[arg(long, value_name = "URL", default_value = "file:///etc/portolan/portolan.wasm", value_parser = wasm_url)]
    wasm_url: String,

    /// Digest of the module
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    wasm_sha256: Option<String>,

    /// Labels of the workloads [default: all of the namespace]
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = key_value)]
    selector: Vec<(String, String)>,

    /// Gateway of the Kubernetes Gateway API that an EnvoyExtensionPolicy is for
    #[arg(long, value_name = "NAME")]
    target_gateway: Option<String>,
}

/// A value, or the word `off`.
#[derive(Debug, Clone)]
enum OrOff<T> {
    Value(T),
    Off,
}

impl<T: Clone> OrOff<T> {
    fn value(&self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Off => None,
        }
    }
}

fn or_off<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<OrOff<T>, String> {
    if text == "off" {
        return Ok(OrOff::Off);
    }
    text.parse().map(OrOff::Value).map_err(|error: T::Err| error.to_string())
}

/// The rules that redirect to it have to name the port.
fn address_with_port(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err("the port must not be 0, since rules for nftables name it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn sha256(text: &str) -> Result<String, &'static str> {
    wasm_plugin::sha256(text).map(|()| text.to_owned())
}

/// VAL-CRD-24
fn wasm_url(text: &str) -> Result<String, &'static str> {
    wasm_plugin::module_url(text).map(|()| text.to_owned())
}

impl Envoy {
    /// Who names a way in means that one alone.
    fn listeners(&self) -> Vec<Listen> {
        if self.listen.is_empty() && self.explicit_proxy.is_none() && self.transparent.is_empty() {
            return EnvoyOptions::default().listeners;
        }
        self.listen.clone()
    }

    /// Addresses that can't be had twice, or not together.
    fn check_addresses(&self) -> Result<(), String> {
        let listen =
            self.listeners().into_iter().map(|listen| (format!("--listen {}", listen.port), listen.address));
        let transparent = self.transparent.iter().map(|address| ("--transparent".to_owned(), *address));
        let proxy = self.explicit_proxy.map(|address| ("--explicit-proxy".to_owned(), address));
        let admin = self.admin.value().map(|address| ("--admin".to_owned(), address));
        let mut known: Vec<(String, SocketAddr)> = Vec::new();
        for (option, address) in listen.chain(proxy).chain(transparent).chain(admin) {
            // Port 0 is a free one, each time another.
            if let Some((other, _)) = known.iter().find(|(_, known)| *known == address && address.port() != 0)
            {
                return Err(format!(
                    "`{other}` and `{option}` have the same address {address}; give one of them another port"
                ));
            }
            known.push((option, address));
        }
        let of_family = |v4: bool| self.transparent.iter().filter(|address| address.is_ipv4() == v4).count();
        if of_family(true) <= 1 && of_family(false) <= 1 {
            return Ok(());
        }
        Err("`--transparent` can be given once for IPv4 and once for IPv6: connections of a family are redirected to one address".to_owned())
    }
}

impl Generate {
    /// What is to be written, once each and in a fixed order.
    pub(super) fn outputs(&self) -> Result<Vec<Output>, String> {
        self.envoy.check_addresses()?;
        let is_transparent = !self.envoy.transparent.is_empty();
        let mut outputs = if self.emit.is_empty() && self.output.is_some() {
            Output::DEFAULT
                .into_iter()
                .filter(|output| *output != Output::Nftables || is_transparent)
                .collect()
        } else {
            self.emit.clone()
        };
        if outputs.contains(&Output::Nftables) && !is_transparent {
            return Err(
                "rules for nftables redirect to a listener: say where with `--transparent ADDRESS:PORT`"
                    .to_owned(),
            );
        }
        if self.meaning.options(self.profile).gateway.is_some() {
            if self.names_mesh() {
                return Err(
                    "`--gateway` sets up an Envoy of its own; a mesh's gateways keep their routes".to_owned()
                );
            }
            outputs.retain(|output| !output.is_for_mesh());
        }
        outputs.sort_unstable();
        outputs.dedup();
        match (&self.output, outputs.len()) {
            (None, 1) | (Some(_), _) => Ok(outputs),
            (None, _) => {
                Err("choose a directory with `-o DIR`, or one output with `--emit OUTPUT`".to_owned())
            }
        }
    }

    pub(super) fn options(&self) -> Options {
        let envoy = &self.envoy;
        Options {
            envoy: EnvoyOptions {
                listeners: envoy.listeners(),
                explicit_proxy: envoy.explicit_proxy,
                transparent: envoy.transparent.clone(),
                own_connections: match (envoy.proxy_uid, envoy.proxy_mark) {
                    (Some(user), _) => OwnConnections::User(user),
                    (None, Some(mark)) => OwnConnections::Mark(mark),
                    (None, None) => OwnConnections::default(),
                },
                sidecar: false,
                admin: envoy.admin.value(),
                dns_resolvers: envoy.dns_resolver.clone(),
                dns_family: envoy.dns_family,
                connect_timeout: EnvoyOptions::default().connect_timeout,
                dns_refresh_rate: EnvoyOptions::default().dns_refresh_rate,
                ca_bundle: envoy.ca_bundle.clone(),
                tls_defaults: EnvoyOptions::default().tls_defaults,
                module: envoy.module.clone(),
                files_root: envoy.files_root.clone(),
                upstream_ports: envoy.upstream_port.clone(),
                allow_upstream: envoy.allow_upstream.clone(),
                access_log: envoy.access_log.value(),
                max_connections: envoy.max_connections,
                request_id: envoy.request_id,
            },
            ..self.meaning.options(self.profile)
        }
    }

    /// Whether something for a mesh is asked for by name, so that one wants to know what can't be done there.
    pub(super) fn names_mesh(&self) -> bool {
        self.emit.iter().any(|output| output.is_for_mesh())
    }

    pub(super) fn mesh(&self) -> MeshOptions {
        MeshOptions {
            url: self.wasm_plugin.wasm_url.clone(),
            sha256: self.wasm_plugin.wasm_sha256.clone(),
            selector: BTreeMap::from_iter(self.wasm_plugin.selector.iter().cloned()),
            target_gateway: self.wasm_plugin.target_gateway.clone(),
            namespace: self.meaning.namespace.clone(),
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

value_enum!(Profile:
    "standalone" "what a user of plain Envoy expects" => Profile::Standalone,
    "istio" "Istio's sidecar" => Profile::Istio,
);
value_enum!(OutboundPolicy:
    "registry-only" "refuse them" => OutboundPolicy::RegistryOnly,
    "allow-any" "pass them through" => OutboundPolicy::AllowAny,
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
value_enum!(Format:
    "text" "for a person" => Format::Text,
    "json" "with all routes that lost" => Format::Json,
    "yaml" "the same as YAML" => Format::Yaml,
);
value_enum!(Output:
    "plugin-config" "the filter's JSON config" => Output::PluginConfig,
    "ecds" "the file from which Envoy discovers the filter" => Output::Ecds,
    "sds" "the files from which Envoy discovers certificates" => Output::Sds,
    "envoy" "Envoy's bootstrap" => Output::Envoy,
    "nftables" "the rules that redirect connections to `--transparent`" => Output::Nftables,
    "wasmplugin" "the resource for an Istio mesh" => Output::WasmPlugin,
    "trafficextension" "the same for Istio 1.30 and newer, in its place" => Output::TrafficExtension,
    "envoyextensionpolicy" "the resource for Envoy Gateway" => Output::EnvoyExtensionPolicy,
);

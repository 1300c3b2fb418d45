//! How Envoy is set up.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::text;
use crate::options::{Cidr, ClusterStats, DnsFamily, EnvoyOptions, Listen, OwnConnections, UpstreamPort};

/// How Envoy is set up, as typed.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args), command(next_help_heading = "Envoy"))]
#[serde(rename_all = "camelCase", default)]
pub struct Envoy {
    /// Listener: the port that clients mean, and where Envoy listens [default: 80=127.0.0.1:10080 and
    /// 443=127.0.0.1:10443; none beside another way in]
    #[cfg_attr(feature = "cli", arg(long, value_name = "PORT=ADDRESS:PORT"))]
    #[serde(deserialize_with = "text::list")]
    pub listen: Vec<Listen>,

    /// Explicit proxy for HTTP_PROXY and HTTPS_PROXY: clients name the port in each request
    #[cfg_attr(feature = "cli", arg(long, value_name = "ADDRESS:PORT", conflicts_with = "gateway"))]
    pub explicit_proxy: Option<SocketAddr>,

    /// Listener for connections that the kernel redirects; the port that clients mean is that of
    /// their original destination. With -o, rules for nftables are written, too. Once for each
    /// family of addresses
    #[cfg_attr(feature = "cli", arg(long, value_name = "ADDRESS:PORT", value_parser = address_with_port, conflicts_with = "gateway"))]
    #[serde(deserialize_with = "transparent")]
    pub transparent: Vec<SocketAddr>,

    /// Mark of Envoy's own connections, which are not redirected; Envoy needs the capability
    /// NET_ADMIN to set it [default: 28783]
    #[cfg_attr(feature = "cli", arg(long, value_name = "NUMBER", requires = "transparent",
          value_parser = clap::value_parser!(u32).range(1..)))]
    pub proxy_mark: Option<u32>,

    /// User that Envoy runs as, in place of a mark: no connection of that user is redirected
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "UID", requires = "transparent", conflicts_with = "proxy_mark")
    )]
    pub proxy_uid: Option<u32>,

    /// Admin interface, or `off`
    #[cfg_attr(feature = "cli", arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9901"))]
    #[serde(deserialize_with = "text::one")]
    pub admin: OrOff<SocketAddr>,

    /// DNS server to ask [default: those of the system]
    #[cfg_attr(feature = "cli", arg(long, value_name = "ADDRESS:PORT"))]
    pub dns_resolver: Vec<SocketAddr>,

    /// Which addresses to ask for
    #[cfg_attr(feature = "cli", arg(long, value_name = "FAMILY", default_value = "v4"))]
    pub dns_family: DnsFamily,

    /// PEM file with the authorities that upstream certificates are checked against
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")
    )]
    pub ca_bundle: String,

    /// The filter module, as Envoy finds it
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE", default_value = "portolan.wasm"))]
    pub module: String,

    /// Allow the module only those calls of Envoy that this version of it makes; Envoy 1.40 warns that the
    /// field for this is deprecated
    #[cfg_attr(feature = "cli", arg(long))]
    pub restrict_capabilities: bool,

    /// Directory of the generated files, as Envoy finds it [default: its working directory]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "DIR", default_value = "", hide_default_value = true)
    )]
    pub files_root: String,

    /// Clusters, routes and listeners in files that Envoy watches, in place of the bootstrap
    #[cfg_attr(feature = "cli", arg(long))]
    pub dynamic_resources: bool,

    /// Port to dial in place of the registry's
    #[cfg_attr(feature = "cli", arg(long, value_name = "[HOST:]PORT=PORT"))]
    #[serde(deserialize_with = "text::list")]
    pub upstream_port: Vec<UpstreamPort>,

    /// Private addresses that names may lead to all the same, in profile istio for hosts outside the registry only
    #[cfg_attr(feature = "cli", arg(long, value_name = "CIDR"))]
    #[serde(deserialize_with = "text::list")]
    pub allow_upstream: Vec<Cidr>,

    /// File for access logs, or `off`
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE", default_value = "/dev/stdout"))]
    #[serde(deserialize_with = "text::one")]
    pub access_log: OrOff<String>,

    /// Most client connections at a time
    #[cfg_attr(feature = "cli", arg(long, value_name = "NUMBER", default_value_t = 50_000))]
    pub max_connections: u32,

    /// Give requests an `x-request-id` [default: false; profile istio: true]
    #[cfg_attr(feature = "cli", arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true"))]
    pub request_id: Option<bool>,

    /// Whose statistics Envoy counts by themselves: those of 10 000 clusters are more than a million
    #[cfg_attr(feature = "cli", arg(long, value_name = "WHICH", default_value = "auto"))]
    pub cluster_stats: ClusterStats,
}

impl Default for Envoy {
    fn default() -> Self {
        let options = EnvoyOptions::default();
        Self {
            listen: Vec::new(),
            explicit_proxy: options.explicit_proxy,
            transparent: options.transparent,
            proxy_mark: None,
            proxy_uid: None,
            admin: options.admin.map_or(OrOff::Off, OrOff::Value),
            dns_resolver: options.dns_resolvers,
            dns_family: options.dns_family,
            ca_bundle: options.ca_bundle,
            module: options.module,
            restrict_capabilities: options.restrict_capabilities,
            files_root: options.files_root,
            dynamic_resources: options.dynamic_resources,
            upstream_port: options.upstream_ports,
            allow_upstream: options.allow_upstream,
            access_log: options.access_log.map_or(OrOff::Off, OrOff::Value),
            max_connections: options.max_connections,
            request_id: options.request_id,
            cluster_stats: options.cluster_stats,
        }
    }
}

/// A value, or the word `off`.
#[derive(Debug, Clone)]
pub enum OrOff<T> {
    /// The value.
    Value(T),
    /// The word.
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

impl<T: FromStr<Err: Display>> FromStr for OrOff<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::Value).map_err(|error: T::Err| error.to_string())
    }
}

/// The rules that redirect to it have to name the port.
fn address_with_port(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err("the port must not be 0, since rules for nftables name it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn transparent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| address_with_port(text).map_err(serde::de::Error::custom)).collect()
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
    pub(super) fn check_addresses(&self) -> Result<(), String> {
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

    /// The settings that this comes to.
    pub fn options(&self) -> EnvoyOptions {
        EnvoyOptions {
            listeners: self.listeners(),
            explicit_proxy: self.explicit_proxy,
            transparent: self.transparent.clone(),
            own_connections: match (self.proxy_uid, self.proxy_mark) {
                (Some(user), _) => OwnConnections::User(user),
                (None, Some(mark)) => OwnConnections::Mark(mark),
                (None, None) => OwnConnections::default(),
            },
            admin: self.admin.value(),
            dns_resolvers: self.dns_resolver.clone(),
            dns_family: self.dns_family,
            ca_bundle: self.ca_bundle.clone(),
            module: self.module.clone(),
            restrict_capabilities: self.restrict_capabilities,
            files_root: self.files_root.clone(),
            dynamic_resources: self.dynamic_resources,
            upstream_ports: self.upstream_port.clone(),
            allow_upstream: self.allow_upstream.clone(),
            access_log: self.access_log.value(),
            max_connections: self.max_connections,
            request_id: self.request_id,
            cluster_stats: self.cluster_stats,
            ..EnvoyOptions::default()
        }
    }
}

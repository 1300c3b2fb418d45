//! What Portolan's tests, demo and benchmark stand on: real Envoy with the
//! real module, a real DNS server and real TLS upstreams, all on loopback.
//!
//! The API is blocking, so that a test is a plain `#[test]` function. Every
//! part is stopped when it is dropped; do not keep one in a `static`, which is
//! never dropped. Every port is chosen at run time, and every wait has an end.
//!
//! ```no_run
//! use std::net::Ipv4Addr;
//! use std::time::Duration;
//!
//! use portolan_e2e::upstream::virtual_hosts;
//! use portolan_e2e::{Ca, Curl, DnsServer, Envoy, EnvoyOptions, Scratch, Upstream, places, raw};
//!
//! # fn main() -> anyhow::Result<()> {
//! let ca = Ca::new()?;
//! let github = Upstream::builder()
//!     .name("github")
//!     .tls(ca.issue(&["raw.githubusercontent.com"])?)
//!     .handler(virtual_hosts(&[("raw.githubusercontent.com", &[("/README.md", "hello")])]))
//!     .start()?;
//! let dns = DnsServer::start(&[("raw.githubusercontent.com", Ipv4Addr::LOCALHOST)])?;
//! let scratch = Scratch::new()?;
//! ca.write_bundle(scratch.path().join("ca.pem"))?;
//! let yaml = format!("# uses {} and {}", dns.addr(), github.addr().port());
//! let config = scratch.write("envoy.yaml", yaml)?;
//! let envoy = Envoy::start(&EnvoyOptions::new(places::envoy_binary("1.40.0")?, config))?;
//! let front = envoy.listener_addr("front")?;
//!
//! let bytes: &[u8] = b"\xe9";
//! let response = raw::get(front, "github", "/README.md", &[("x-any", bytes)])?;
//! assert_eq!((response.status, response.text().as_str()), (200, "hello"));
//! assert_eq!(github.requests()[0].sni.as_deref(), Some("raw.githubusercontent.com"));
//! let answer = Curl::new("http://github/").connect_to("github:80", front).shown().run()?;
//! assert_eq!(answer.status, 404);
//! envoy.wait_stat("http.front.downstream_rq_4xx", |n| n == 1, Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```

pub mod ca;
pub mod config_gen;
pub mod curl;
pub mod dns;
pub mod envoy;
pub mod examples;
pub mod http2;
pub mod load;
pub mod mesh;
pub mod mixed;
pub mod network;
pub mod places;
pub mod portolan;
pub mod process;
pub mod prometheus;
pub mod raw;
pub mod scratch;
pub mod tls_client;
pub mod upstream;
pub mod usage;
pub mod watch;
pub mod websocket;

mod background;
mod tls;
mod versions;

pub use ca::{Ca, Identity};
pub use curl::Curl;
pub use dns::DnsServer;
pub use envoy::{AdminAddress, Envoy, EnvoyOptions};
pub use portolan::{Portolan, Setup};
pub use scratch::Scratch;
pub use upstream::{Reply, SeenRequest, Upstream};
pub use versions::each_version;
pub use watch::Watch;

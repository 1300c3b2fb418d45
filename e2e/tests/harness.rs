//! The library of this crate, with real Envoy and without the module.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portolan_e2e::load::Load;
use portolan_e2e::raw::{self, Head, Response};
use portolan_e2e::upstream::virtual_hosts;
use portolan_e2e::{Ca, Curl, DnsServer, Envoy, EnvoyOptions, Reply, Scratch, Upstream};
use portolan_e2e::{envoy, places, process};
use serde_json::Value;

const HOST: &str = "api.weather.test";

/// A listener on port 0 in front of one TLS service, found through DNS and
/// verified against `ca.pem` beside the configuration.
fn configuration(dns: SocketAddr, upstream: SocketAddr) -> String {
    let (dns_port, port) = (dns.port(), upstream.port());
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
  - name: front
    address: {{ socket_address: {{ address: 0.0.0.0, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: weather }} }}]
  clusters:
  - name: weather
    type: STRICT_DNS
    dns_lookup_family: V4_ONLY
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{{ socket_address: {{ address: 127.0.0.1, port_value: {dns_port} }} }}]
        dns_resolver_options: {{ no_default_search_domain: true }}
    load_assignment:
      cluster_name: weather
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {HOST}, port_value: {port} }} }} }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        upstream_http_protocol_options: {{ auto_sni: true, auto_san_validation: true }}
        explicit_http_config: {{ http_protocol_options: {{}} }}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          validation_context: {{ trusted_ca: {{ filename: ca.pem }} }}
"#
    )
}

/// Starts Envoy in `scratch`, which gets the configuration and the CA.
fn start(version: &str, scratch: &Scratch, ca: &Ca, dns: &DnsServer, upstream: &Upstream) -> Envoy {
    ca.write_bundle(scratch.path().join("ca.pem")).unwrap();
    let config = scratch.write("envoy.yaml", configuration(dns.addr(), upstream.addr())).unwrap();
    let binary = places::envoy_binary(version).unwrap();
    envoy::validate(&binary, &config, scratch.path()).unwrap();
    Envoy::start(&EnvoyOptions::new(binary, config)).unwrap()
}

fn newest() -> String {
    places::envoy_versions().unwrap().pop().unwrap()
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn every_envoy_proxies_to_a_tls_upstream_found_in_dns() {
    for version in places::envoy_versions().unwrap() {
        let ca = Ca::new().unwrap();
        let dns = DnsServer::start(&[(HOST, Ipv4Addr::LOCALHOST)]).unwrap();
        let upstream = Upstream::builder().name("weather").tls(ca.issue(&[HOST]).unwrap()).start().unwrap();
        let scratch = Scratch::new().unwrap();
        let mut envoy = start(&version, &scratch, &ca, &dns, &upstream);
        assert_eq!(envoy::version(&places::envoy_binary(&version).unwrap()).unwrap(), version);

        let front = envoy.listener_addr("front").unwrap();
        let value: &[u8] = b"caf\xe9 \x80\xff";
        let response = raw::get(front, HOST, "/points/1?x=%20", &[("X-Bytes", value)]).unwrap();
        assert_eq!(response.status, 200, "{version}: {}", response.text());
        let echo: Value = response.json().unwrap();
        assert_eq!(echo["upstream"], "weather");
        assert_eq!(echo["sni"], HOST);
        assert_eq!(echo["path"], "/points/1?x=%20");

        let seen = upstream.requests();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].host, HOST);
        assert_eq!(seen[0].sni.as_deref(), Some(HOST));
        assert_eq!(seen[0].version, "HTTP/1.1");
        assert_eq!(seen[0].header_bytes("x-bytes"), Some(value));
        assert_eq!(upstream.connections(), 1);
        assert_eq!(dns.queries().first().map(String::as_str), Some(HOST));

        assert_eq!(envoy.stat("http.front.downstream_rq_2xx").unwrap(), 1);
        assert_eq!(envoy.stats().unwrap()["cluster.weather.ssl.handshake"], 1);
        assert_eq!(envoy.stat("no.such.stat").unwrap(), 0);
        assert!(envoy.wait_stat("no.such.stat", |n| n > 0, Duration::from_millis(50)).is_err());
        assert!(envoy.is_running());
        assert!(envoy.cpu_time().unwrap() > Duration::from_millis(1));
        assert!(envoy.rss().unwrap() > 10 << 20);
        assert!(envoy.log().contains("starting main dispatch loop"));

        let pid = envoy.pid();
        assert!(exists(pid));
        drop(envoy);
        assert!(!exists(pid), "{version} is still there");
    }
}

#[test]
fn a_name_that_does_not_exist_is_503_until_it_does() {
    let ca = Ca::new().unwrap();
    let dns = DnsServer::start(&[]).unwrap();
    let upstream = Upstream::builder().tls(ca.issue(&[HOST]).unwrap()).start().unwrap();
    let scratch = Scratch::new().unwrap();
    let envoy = start(&newest(), &scratch, &ca, &dns, &upstream);
    let front = envoy.listener_addr("front").unwrap();
    assert_eq!(raw::get_plain(front, HOST, "/").unwrap().status, 503);
    assert_eq!(upstream.connections(), 0);

    dns.set(HOST, Ipv4Addr::LOCALHOST);
    let limit = Duration::from_secs(20);
    envoy.wait_stat("cluster.weather.membership_total", |total| total == 1, limit).unwrap();
    assert_eq!(raw::get_plain(front, HOST, "/").unwrap().status, 200);
}

#[test]
fn a_certificate_of_another_ca_is_503() {
    let ca = Ca::new().unwrap();
    let dns = DnsServer::start(&[(HOST, Ipv4Addr::LOCALHOST)]).unwrap();
    let stranger = Ca::new().unwrap().issue(&[HOST]).unwrap();
    let upstream = Upstream::builder().tls(stranger).start().unwrap();
    let scratch = Scratch::new().unwrap();
    let envoy = start(&newest(), &scratch, &ca, &dns, &upstream);
    let front = envoy.listener_addr("front").unwrap();
    assert_eq!(raw::get_plain(front, HOST, "/").unwrap().status, 503);
    assert!(envoy.stat("cluster.weather.ssl.fail_verify_error").unwrap() > 0);
    assert_eq!(upstream.handshakes().first(), Some(&Some(HOST.to_owned())));
    assert!(upstream.requests().is_empty());
}

#[test]
fn two_envoys_run_at_once() {
    let ca = Ca::new().unwrap();
    let dns = DnsServer::start(&[(HOST, Ipv4Addr::LOCALHOST)]).unwrap();
    let upstream = Upstream::builder().tls(ca.issue(&[HOST]).unwrap()).start().unwrap();
    let scratches = [Scratch::new().unwrap(), Scratch::new().unwrap()];
    let envoys = scratches.each_ref().map(|scratch| start(&newest(), scratch, &ca, &dns, &upstream));
    let fronts = envoys.each_ref().map(|envoy| envoy.listener_addr("front").unwrap());
    assert_ne!(fronts[0], fronts[1]);
    for front in fronts {
        assert_eq!(raw::get_plain(front, HOST, "/").unwrap().status, 200);
    }
}

#[test]
fn an_envoy_that_does_not_start_says_why() {
    let scratch = Scratch::new().unwrap();
    let config = scratch.write("envoy.yaml", "admin: { addresss: nowhere }\n").unwrap();
    let binary = places::envoy_binary(&newest()).unwrap();
    let error = envoy::validate(&binary, &config, scratch.path()).unwrap_err().to_string();
    assert!(error.contains("addresss"), "{error}");
    let error = Envoy::start(&EnvoyOptions::new(&binary, config)).unwrap_err().to_string();
    assert!(error.contains("ended before it was ready"), "{error}");
    assert!(error.contains("addresss"), "{error}");
    let error = places::envoy_binary("0.0.1").unwrap_err().to_string();
    assert!(error.contains("make tools"), "{error}");
}

#[test]
fn an_envoy_that_is_never_ready_is_given_up() {
    let scratch = Scratch::new().unwrap();
    // Without an admin section there is no admin address to ask.
    let config = scratch.write("envoy.yaml", "static_resources: {}\n").unwrap();
    let mut options = EnvoyOptions::new(places::envoy_binary(&newest()).unwrap(), config);
    options.ready_within = Duration::from_secs(3);
    let error = Envoy::start(&options).unwrap_err().to_string();
    assert!(error.contains("was not ready"), "{error}");
}

#[test]
fn tls_by_server_name() {
    let (ca, other) = (Ca::new().unwrap(), Ca::new().unwrap());
    let scratch = Scratch::new().unwrap();
    let bundle = scratch.path().join("ca.pem");
    ca.write_bundle(&bundle).unwrap();
    let upstream = Upstream::builder()
        .tls(ca.issue(&["raw.github.test"]).unwrap())
        .tls(ca.issue(&["*.wild.test"]).unwrap())
        .tls(ca.issue_expired(&["old.test"]).unwrap())
        .tls(other.issue(&["other.test"]).unwrap())
        .handler(virtual_hosts(&[
            ("raw.github.test", &[("/a", "the file a")]),
            ("en.wild.test", &[("/", "wild"), ("/b", "wild b")]),
        ]))
        .start()
        .unwrap();
    let get = |url: &str| Curl::new(url).connect_to("", upstream.addr()).cacert(&bundle).run().unwrap();
    let answer = get("https://raw.github.test/a?query");
    assert_eq!((answer.exit_code, answer.status, answer.verify_result), (0, 200, 0));
    assert_eq!(answer.text(), "the file a");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(get("https://en.wild.test/b").text(), "wild b");
    assert_eq!(get("https://en.wild.test/c").status, 404);
    let versions: Vec<_> = upstream.requests().into_iter().map(|seen| seen.version).collect();
    assert_eq!(versions, ["HTTP/2.0"; 3]);

    upstream.clear();
    // 60: the peer's certificate does not verify. 35: the handshake failed.
    for (url, exit_code) in
        [("https://old.test/", 60), ("https://other.test/", 60), ("https://unknown.test/", 35)]
    {
        let answer = get(url);
        assert_eq!((answer.exit_code, answer.status), (exit_code, 0), "{}", answer.error);
    }
    assert_ne!(get("https://other.test/").verify_result, 0);
    assert!(upstream.requests().is_empty());
    assert!(upstream.handshakes().contains(&Some("unknown.test".to_owned())));
    assert_eq!(upstream.connections(), 4);
}

#[test]
fn a_client_certificate_may_be_demanded() {
    let ca = Ca::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let bundle = scratch.path().join("ca.pem");
    ca.write_bundle(&bundle).unwrap();
    let upstream = Upstream::builder()
        .tls_for_any_name(ca.issue(&["mutual.test"]).unwrap())
        .alpn(&["http/1.1"])
        .require_client_certificate(&ca)
        .start()
        .unwrap();
    let (certificate, key) = ca.issue(&["client.test"]).unwrap().write(scratch.path(), "client").unwrap();
    let curl = Curl::new("https://mutual.test/").connect_to("", upstream.addr()).cacert(&bundle);
    assert_ne!(curl.run().unwrap().exit_code, 0);
    let answer = curl.arg("--cert").arg(certificate).arg("--key").arg(key).run().unwrap();
    assert_eq!((answer.exit_code, answer.status), (0, 200), "{}", answer.error);
    assert_eq!(upstream.requests()[0].version, "HTTP/1.1");
}

#[test]
fn curl_shows_what_it_runs() {
    let upstream = Upstream::builder().start().unwrap();
    let address = upstream.addr();
    let curl = Curl::new("http://a.test/x?y=it's")
        .connect_to("a.test:80", address)
        .header("X-A", "b c")
        .header("X-Empty", "");
    assert_eq!(
        curl.command_line(),
        format!(
            "curl --max-time 20 --connect-to a.test:80:{address} --header 'X-A: b c' \
             --header 'X-Empty;' 'http://a.test/x?y=it'\\''s'"
        )
    );
    let answer = curl.run().unwrap();
    assert_eq!((answer.exit_code, answer.status), (0, 200), "{}", answer.error);
    let seen = &upstream.requests()[0];
    assert_eq!((seen.host.as_str(), seen.tls), ("a.test", false));
    assert_eq!(seen.header("x-empty").as_deref(), Some(""));
}

#[test]
fn raw_bytes_arrive_as_they_are() {
    let upstream = Upstream::builder().start().unwrap();
    let value: Vec<u8> = (0x80..=0xff).collect();
    let head = Head::new("POST", "/a?b").header("Host", "one.test").header("Host", "");
    let response = raw::request(upstream.addr(), &head.header("X", &value).body("abc")).unwrap();
    assert_eq!(response.status, 200);
    let seen = &upstream.requests()[0];
    let hosts = seen.headers.iter().filter(|(name, _)| name == "host").count();
    assert_eq!((hosts, &seen.body[..]), (2, b"abc".as_slice()));
    assert_eq!(seen.header_bytes("x"), Some(&value[..]));

    // Two requests in one go.
    let two = [
        Head::new("HEAD", "/1").header("Host", "x").finish(),
        Head::new("GET", "/2").header("Host", "x").header("Connection", "close").finish(),
    ];
    let limit = Duration::from_secs(5);
    let bytes = raw::exchange_to_end(upstream.addr(), &two.concat(), limit).unwrap();
    assert_eq!(bytes.windows(12).filter(|w| w == b"HTTP/1.1 200").count(), 2);
}

#[test]
fn a_handler_may_be_slow_or_hang_up() {
    let upstream = Upstream::builder()
        .handler(|request| match request.path.as_str() {
            "/slow" => Reply::new(503, "slow").after(Duration::from_millis(200)),
            "/gone" => Reply::hang_up(),
            _ => Reply::new(201, "made").header("x-bytes", b"\xff"),
        })
        .start()
        .unwrap();
    let address = upstream.addr();
    let response = raw::get_plain(address, "x", "/").unwrap();
    assert_eq!((response.status, response.text().as_str()), (201, "made"));
    assert!(response.headers.contains(&(b"x-bytes".to_vec(), b"\xff".to_vec())));
    let began = Instant::now();
    assert_eq!(raw::get_plain(address, "x", "/slow").unwrap().status, 503);
    assert!(began.elapsed() >= Duration::from_millis(200));
    let gone = Head::new("GET", "/gone").header("Host", "x").finish();
    assert_eq!(raw::exchange(address, &gone).unwrap(), b"");
    drop(upstream);
    assert!(TcpStream::connect(address).is_err(), "the port is still open");
}

#[test]
fn a_load_counts() {
    let upstream = Upstream::builder().quiet().start().unwrap();
    let load = Load::new(upstream.addr(), &[("a.test", "/"), ("b.test", "/x")], 2_000);
    let outcome = load.run().unwrap();
    assert_eq!((outcome.responses, outcome.not_2xx, outcome.errors), (2_000, 0, 0));
    assert!(outcome.rate() > 0.0 && outcome.latency(0.5) <= outcome.latency(0.99));
    assert!(upstream.requests().is_empty());
    assert_eq!(upstream.connections(), 8);

    let upstream = Upstream::builder()
        .handler(|request| match request.path.as_str() {
            "/gone" => Reply::hang_up(),
            _ => Reply::new(404, vec![b'x'; 200_000]),
        })
        .start()
        .unwrap();
    let load = Load::new(upstream.addr(), &[("a.test", "/gone"), ("b.test", "/x")], 20);
    let outcome = load.run().unwrap();
    assert_eq!((outcome.responses, outcome.not_2xx, outcome.errors), (10, 10, 10));
    assert_eq!(outcome.first_error.as_deref(), Some("the connection was closed"));
}

#[test]
fn a_program_has_bounded_time() {
    let began = Instant::now();
    let error = process::run(Command::new("sleep").arg("60"), Duration::from_millis(100));
    assert!(error.unwrap_err().to_string().contains("sleep still ran"));
    assert!(began.elapsed() < Duration::from_secs(10));
    let finished = process::run(
        Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]),
        Duration::from_secs(10),
    );
    let finished = finished.unwrap();
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(finished.code(), Some(3));
}

#[test]
fn a_silent_peer_is_given_up() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let result = raw::exchange_to_end(address, b"hello", Duration::from_millis(100));
    assert!(result.is_err());
    assert!(Response::parse(b"", true, false).unwrap().is_none());
}

#[test]
fn a_program_that_ignores_sigterm_is_killed() {
    let ignoring = "trap '' TERM; echo; exec sleep 60";
    let mut child = Command::new("sh").args(["-c", ignoring]).stdout(Stdio::piped()).spawn().unwrap();
    // The line says that the signal is ignored from now on.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let status = process::stop(&mut child, Duration::from_millis(200)).unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!(!exists(child.id()));
}

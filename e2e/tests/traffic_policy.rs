//! What DestinationRules do, in a real Envoy: which endpoint gets a request, how many may be under way,
//! and what becomes of endpoints that fail (spec sections 5.1 to 5.5).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::upstream::UpstreamBuilder;
use portolan_e2e::{DnsServer, Portolan, Reply, Setup, Upstream, each_version, raw};

const LIMIT: Duration = Duration::from_secs(30);

/// Three endpoints of one service, which say who they are, fail and take their time as asked.
struct Service {
    portolan: Portolan,
    upstreams: Vec<Upstream>,
}

/// `x-fail: NAME STATUS` has NAME answer that, `x-delay: NAME MS` has it wait.
fn upstream(name: &'static str) -> UpstreamBuilder {
    Upstream::builder().name(name).handler(move |request| {
        let own = |header: &str| -> Option<u64> {
            let text = request.header(header)?;
            text.strip_prefix(name)?.trim().parse().ok()
        };
        let status = own("x-fail").and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
        Reply::new(status, name).after(Duration::from_millis(own("x-delay").unwrap_or(0)))
    })
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Service {
    /// `web.example.com` with these endpoints of `a`, `b` and `c`, a DestinationRule with `rule` and
    /// further documents.
    fn start(version: &str, endpoints: &[&str], rule: &str, more: &str) -> Result<Self> {
        Self::start_with(version, endpoints, rule, more, |setup| setup)
    }

    fn start_with(
        version: &str,
        endpoints: &[&str],
        rule: &str,
        more: &str,
        change: impl Fn(Setup) -> Setup,
    ) -> Result<Self> {
        let upstreams = NAMES.into_iter().map(|name| upstream(name).start()).collect::<Result<Vec<_>>>()?;
        let list: Vec<String> = endpoints
            .iter()
            .zip(&upstreams)
            .map(|(settings, upstream)| {
                let comma = if settings.is_empty() { "" } else { ", " };
                format!(
                    "{{address: 127.0.0.1, ports: {{http: {}}}{comma}{settings}}}",
                    upstream.addr().port()
                )
            })
            .collect();
        let input = format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web}}
spec:
  hosts: [web.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec: {{host: web.example.com, {rule}}}
{more}",
            list.join(", ")
        );
        let setup = Setup::new(version)?.option("--listen", "80=127.0.0.1:0").yaml(&input)?;
        Ok(Self { portolan: change(setup).start()?, upstreams })
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<raw::Response> {
        raw::get(self.portolan.http()?, "web.example.com", path, headers)
    }

    /// Which endpoint answers.
    fn who(&self, path: &str, headers: &[(&str, &str)]) -> Result<String> {
        let response = self.get(path, headers)?;
        ensure!(response.status == 200, "{}: {}", response.status, response.text());
        Ok(response.text())
    }

    /// How many of so many requests each endpoint gets.
    fn shares(&self, requests: usize) -> Result<BTreeMap<String, usize>> {
        let mut shares = BTreeMap::new();
        for _ in 0..requests {
            *shares.entry(self.who("/", &[])?).or_default() += 1;
        }
        Ok(shares)
    }

    /// A counter or gauge of the service's cluster.
    fn stat(&self, name: &str) -> Result<u64> {
        self.portolan.envoy.stat(&format!("cluster.outbound|80||web_example_com.{name}"))
    }

    fn wait_stat(&self, name: &str, wanted: impl Fn(u64) -> bool) -> Result<u64> {
        let name = format!("cluster.outbound|80||web_example_com.{name}");
        self.portolan.envoy.wait_stat(&name, wanted, LIMIT)
    }

    /// Requests at the same time; the statuses, sorted.
    fn at_once(&self, requests: usize, headers: &'static [(&'static str, &'static str)]) -> Result<Vec<u16>> {
        let address = self.portolan.http()?;
        let send = move || raw::get(address, "web.example.com", "/", headers).map(|got| got.status);
        let threads: Vec<_> = (0..requests).map(|_| thread::spawn(send)).collect();
        let mut statuses = Vec::new();
        for thread in threads {
            statuses.push(thread.join().ok().context("a request's thread panicked")??);
        }
        statuses.sort_unstable();
        Ok(statuses)
    }

    /// Waits until such requests are answered so: workers learn of ejections a little later than the
    /// counters.
    fn until(&self, wanted: (u16, &str)) -> Result<()> {
        let begin = Instant::now();
        loop {
            let response = self.get("/", &[])?;
            let text = if response.status == 200 { response.text() } else { String::new() };
            if (response.status, text.as_str()) == wanted {
                return Ok(());
            }
            ensure!(begin.elapsed() < LIMIT, "still {} {text}", response.status);
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn flags(&self, wanted: &str) -> Result<()> {
        self.portolan.access_log_line(|line| line["response_flags"] == wanted)?;
        Ok(())
    }
}

#[test]
fn round_robin_takes_one_after_the_other() -> Result<()> {
    each_version(|version| {
        let rule = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}";
        let service = Service::start(version, &["", "", ""], rule, "")?;
        let order = (0..9).map(|_| service.who("/", &[])).collect::<Result<Vec<_>>>()?;
        let (first, rest) = order.split_at(3);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{order:?} (DR-LB-03)");
        assert_eq!([first, first].concat(), rest, "{order:?}");
        Ok(())
    })
}

#[test]
fn random_spreads_without_an_order() -> Result<()> {
    each_version(|version| {
        let rule = "trafficPolicy: {loadBalancer: {simple: RANDOM}}";
        let service = Service::start(version, &["", "", ""], rule, "")?;
        let order = (0..120).map(|_| service.who("/", &[])).collect::<Result<Vec<_>>>()?;
        for name in NAMES {
            let share = order.iter().filter(|who| *who == name).count();
            assert!((15..75).contains(&share), "{name} gets {share} of 120 (DR-LB-03)");
        }
        // One after the other there would be none.
        assert!(order.windows(2).any(|two| two[0] == two[1]), "{order:?}");
        Ok(())
    })
}

#[test]
fn least_request_avoids_the_busy_one() -> Result<()> {
    each_version(|version| {
        let service =
            Service::start(version, &["", ""], "trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}", "")?;
        let address = service.portolan.http()?;
        // Until one is at `a`.
        let busy: Vec<_> = (0..12)
            .map(|_| {
                let headers = [("x-delay", "a 8000")];
                thread::spawn(move || raw::get(address, "web.example.com", "/busy", &headers))
            })
            .collect();
        service.wait_stat("upstream_rq_active", |active| active >= 1)?;
        thread::sleep(Duration::from_millis(300));
        let shares = service.shares(100)?;
        let to_busy = shares.get("a").copied().unwrap_or(0);
        // Two are drawn, with repetition: it gets what is drawn twice, a quarter (DR-LB-01).
        assert!(to_busy < 40, "{shares:?}");
        for thread in busy {
            thread.join().ok().context("a request's thread panicked")??;
        }
        Ok(())
    })
}

/// For each of some users, that the same endpoint answers twice; and that not one has all of them.
fn sticks(service: &Service, request: impl Fn(&Service, &str) -> Result<String>) -> Result<()> {
    let mut answering = BTreeSet::new();
    for user in (0..24).map(|number| format!("user-{number}")) {
        let who = request(service, &user)?;
        for _ in 0..3 {
            assert_eq!(request(service, &user)?, who, "{user}");
        }
        answering.insert(who);
    }
    assert!(answering.len() > 1, "{answering:?}");
    Ok(())
}

const TO_SUBSETS: &str = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web.example.com]
  http:
  - {match: [{uri: {prefix: /v1}}], route: [{destination: {host: web.example.com, subset: v1}}]}
  - {match: [{uri: {prefix: /v2}}], route: [{destination: {host: web.example.com, subset: v2}}]}
  - route: [{destination: {host: web.example.com}}]
";

#[test]
fn a_header_or_query_parameter_chooses_the_endpoint() -> Result<()> {
    each_version(|version| {
        let by_header = |service: &Service, user: &str| service.who("/", &[("x-user", user)]);
        for (hash, more) in [
            ("httpHeaderName: x-user", ""),
            ("httpHeaderName: x-user, ringHash: {minimumRingSize: 4096}", TO_SUBSETS),
            ("httpHeaderName: x-user, maglev: {tableSize: 1009}", ""),
        ] {
            let rule = format!(
                "trafficPolicy: {{loadBalancer: {{consistentHash: {{{hash}}}}}}}, subsets: [{{name: v1}}, {{name: v2}}]"
            );
            let service = Service::start(version, &["", "", ""], &rule, more)?;
            // DR-LB-05, DR-LB-08, DR-LB-09
            sticks(&service, by_header)?;
        }
        let rule = "trafficPolicy: {loadBalancer: {consistentHash: {httpQueryParameterName: user}}}";
        let service = Service::start(version, &["", "", ""], rule, "")?;
        // DR-LB-07
        sticks(&service, |service, user| service.who(&format!("/?a=b&user={user}"), &[]))
    })
}

#[test]
fn a_cookie_or_the_client_chooses_the_endpoint() -> Result<()> {
    each_version(|version| {
        let cookie = "trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: user, path: /a, ttl: 1h, attributes: [{name: SameSite, value: Lax}]}}}}";
        let service = Service::start(version, &["", "", ""], cookie, "")?;
        sticks(&service, |service, user| service.who("/", &[("cookie", &format!("x=y; user={user}"))]))?;
        // A client without one is given one (DR-LB-06).
        let first = service.get("/", &[])?;
        let given = first.header("set-cookie").context("no cookie is given")?;
        for part in ["user=", "Max-Age=3600", "Path=/a", "SameSite=Lax"] {
            assert!(given.contains(part), "{part}: {given}");
        }
        let value = given.split(';').next().unwrap_or_default();
        for _ in 0..5 {
            let again = service.get("/", &[("cookie", value)])?;
            assert_eq!((again.text(), again.header("set-cookie")), (first.text(), None));
        }

        let without_ttl = "trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: user}}}}";
        let service = Service::start(version, &["", "", ""], without_ttl, "")?;
        assert_eq!(service.get("/", &[])?.header("set-cookie"), None);

        let by_client = "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}";
        let service = Service::start(version, &["", "", ""], by_client, "")?;
        // DR-LB-07
        assert_eq!(service.shares(12)?.len(), 1);
        Ok(())
    })
}

#[test]
fn a_subset_is_reached_by_its_labels() -> Result<()> {
    each_version(|version| {
        let rule = "subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]";
        let endpoints = ["labels: {version: v1}", "labels: {version: v2}", "labels: {version: v2}"];
        let service = Service::start(version, &endpoints, rule, TO_SUBSETS)?;
        // DR-10, VS-ROUTE-07
        for _ in 0..10 {
            assert_eq!(service.who("/v1", &[])?, "a");
            assert_ne!(service.who("/v2", &[])?, "a");
        }
        assert_eq!(service.shares(60)?.len(), 3);
        Ok(())
    })
}

#[test]
fn new_endpoints_warm_up() -> Result<()> {
    each_version(|version| {
        let first = upstream("a").address(Ipv4Addr::new(127, 0, 0, 1)).start()?;
        let second = upstream("b").address(Ipv4Addr::new(127, 0, 0, 2)).port(first.addr().port()).start()?;
        let addresses = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
        let dns = DnsServer::start(&[("web.example.com", addresses[0])])?;
        let input = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web.example.com, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 10s}}}}
";
        let portolan = Setup::new(version)?
            .option("--listen", "80=127.0.0.1:0")
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", first.addr().port()))
            .yaml(input)?
            .start()?;
        // The first has no part in it any more.
        thread::sleep(Duration::from_secs(11));
        dns.set_all("web.example.com", &addresses);
        let name = "cluster.outbound|80||web_example_com.membership_total";
        portolan.envoy.wait_stat(name, |members| members == 2, LIMIT)?;
        first.clear();
        for _ in 0..60 {
            assert_eq!(raw::get_plain(portolan.http()?, "web.example.com", "/")?.status, 200);
        }
        // A tenth of the other's share at first (DR-LB-11), not half of all.
        let share = second.requests().len();
        assert!(share < 20, "the new one gets {share} of 60");
        Ok(())
    })
}

#[test]
fn localities_have_shares_and_take_over() -> Result<()> {
    each_version(|version| {
        let endpoints = ["locality: eu/a", "locality: eu/b", "locality: us/a"];
        let here = |setup: Setup| setup.option("--client-locality", "eu/a");
        let rule = "trafficPolicy: {loadBalancer: {simple: RANDOM, localityLbSetting: {distribute: [{from: eu/a, to: {eu/a: 80, us: 20}}]}}}";
        let service = Service::start_with(version, &endpoints, rule, "", here)?;
        let shares = service.shares(200)?;
        let (near, far) = (shares.get("a").copied().unwrap_or(0), shares.get("c").copied().unwrap_or(0));
        // DR-LB-12: 160 and 40, within five standard deviations.
        assert!(near + far == 200 && (131..190).contains(&near), "{shares:?}");

        let rule = "trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: eu, to: us}]}}, \
             outlierDetection: {consecutive5xxErrors: 1, interval: 100ms, baseEjectionTime: 1h, maxEjectionPercent: 100}}";
        let service = Service::start_with(version, &endpoints, rule, "", here)?;
        for (failing, next, out) in [("a", "b", 1), ("b", "c", 2)] {
            service.until((200, failing))?;
            assert_eq!(service.shares(10)?, BTreeMap::from([(failing.to_owned(), 10)]), "the nearest alone");
            assert_eq!(service.get("/", &[("x-fail", &format!("{failing} 500"))])?.status, 500);
            service.wait_stat("outlier_detection.ejections_active", |active| active == out)?;
            service.until((200, next))?;
        }
        Ok(())
    })
}

#[test]
fn endpoints_that_fail_are_out_for_a_while() -> Result<()> {
    each_version(|version| {
        let rule = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, \
             outlierDetection: {consecutive5xxErrors: 3, interval: 200ms, baseEjectionTime: 8s, maxEjectionPercent: 100}}";
        let service = Service::start(version, &["", ""], rule, "")?;
        for _ in 0..8 {
            service.get("/", &[("x-fail", "a 503")])?;
        }
        // DR-OD-03
        assert_eq!(service.wait_stat("outlier_detection.ejections_active", |active| active == 1)?, 1);
        service.until((200, "b"))?;
        assert_eq!(service.shares(6)?, BTreeMap::from([("b".to_owned(), 6)]));
        // With none left it is 503, as panic routing is off (DR-OD-07).
        for _ in 0..4 {
            service.get("/", &[("x-fail", "b 503")])?;
        }
        service.wait_stat("outlier_detection.ejections_active", |active| active == 2)?;
        service.until((503, ""))?;
        service.flags("UH")?;
        // DR-OD-05: back again.
        service.wait_stat("outlier_detection.ejections_active", |active| active == 0)?;
        service.until((200, "a"))?;
        service.until((200, "b"))?;
        Ok(())
    })
}

#[test]
fn what_counts_as_a_failure() -> Result<()> {
    each_version(|version| {
        let calm = "interval: 200ms, baseEjectionTime: 1h, maxEjectionPercent: 100";
        for (settings, status, ejects) in [
            ("consecutiveGatewayErrors: 2, consecutive5xxErrors: 0", 500, false),
            ("consecutiveGatewayErrors: 2, consecutive5xxErrors: 0", 502, true),
            ("consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [429]", 503, false),
            ("consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [429]", 429, true),
        ] {
            let rule = format!("trafficPolicy: {{outlierDetection: {{{settings}, {calm}}}}}");
            let service = Service::start(version, &[""], &rule, "")?;
            for _ in 0..6 {
                service.get("/", &[("x-fail", &format!("a {status}"))])?;
            }
            // DR-OD-04, DR-OD-10
            let active = service.stat("outlier_detection.ejections_active")?;
            assert_eq!(active == 1, ejects, "{settings}: {status}");
        }
        Ok(())
    })
}

#[test]
fn requests_above_the_limits_are_refused() -> Result<()> {
    each_version(|version| {
        const SLOW: &[(&str, &str)] = &[("x-delay", "a 1500")];
        let rule =
            "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";
        let service = Service::start(version, &[""], rule, "")?;
        let address = service.portolan.http()?;
        let first =
            thread::spawn(move || raw::get(address, "web.example.com", "/", &[("x-delay", "a 5000")]));
        service.wait_stat("upstream_rq_active", |active| active == 1)?;
        // One is served, one waits, the others overflow (DR-CP-01, DR-CP-06).
        assert_eq!(service.at_once(4, SLOW)?, [200, 503, 503, 503]);
        assert_eq!(first.join().ok().context("a request's thread panicked")??.status, 200);
        service.flags("UO")?;
        assert_eq!(service.stat("upstream_rq_pending_overflow")?, 3);
        assert_eq!(service.upstreams[0].connections(), 1);

        let rule = "trafficPolicy: {connectionPool: {http: {http2MaxRequests: 2}}}";
        let service = Service::start(version, &[""], rule, "")?;
        assert_eq!(service.at_once(4, SLOW)?, [200, 200, 503, 503]);
        service.flags("UO")?;

        let service = Service::start(version, &[""], "trafficPolicy: {loadBalancer: {simple: RANDOM}}", "")?;
        assert_eq!(service.at_once(6, SLOW)?, [200; 6], "without limits (DEF-11)");
        Ok(())
    })
}

#[test]
fn connections_have_their_time() -> Result<()> {
    each_version(|version| {
        for (pool, connections) in [
            ("http: {maxRequestsPerConnection: 1}", 3),
            ("http: {idleTimeout: 300ms}", 3),
            ("tcp: {idleTimeout: 300ms}", 3),
            ("tcp: {idleTimeout: 300ms}, http: {idleTimeout: 1h}", 1),
            ("tcp: {maxConnectionDuration: 300ms}", 3),
            ("tcp: {tcpKeepalive: {probes: 3, time: 1s, interval: 1s}}", 1),
        ] {
            let rule = format!("trafficPolicy: {{connectionPool: {{{pool}}}}}");
            let service = Service::start(version, &[""], &rule, "")?;
            for _ in 0..3 {
                assert_eq!(service.who("/", &[])?, "a");
                thread::sleep(Duration::from_millis(700));
            }
            // DR-CP-03, DR-CP-04, DR-CP-05, DR-CP-07
            assert_eq!(service.upstreams[0].connections(), connections, "{pool}");
        }
        Ok(())
    })
}

/// A port that takes no connection: its queue is full, and nobody accepts.
struct Deaf {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Deaf {
    fn new() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut waiting = Vec::new();
        let mut missed = 0;
        // The kernel drops what comes on top.
        while missed < 2 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
                Ok(stream) => waiting.push(stream),
                Err(_) => missed += 1,
            }
            ensure!(waiting.len() < 10_000, "the queue has no end");
        }
        Ok(Self { address, _listener: listener, _waiting: waiting })
    }
}

#[test]
fn connecting_has_its_time() -> Result<()> {
    each_version(|version| {
        let deaf = Deaf::new()?;
        let input = format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web}}
spec:
  hosts: [web.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec: {{host: web.example.com, trafficPolicy: {{connectionPool: {{tcp: {{connectTimeout: 400ms}}}}}}}}
",
            deaf.address.port()
        );
        let portolan = Setup::new(version)?.option("--listen", "80=127.0.0.1:0").yaml(&input)?.start()?;
        let begin = Instant::now();
        let response = raw::get_plain(portolan.http()?, "web.example.com", "/")?;
        // Two more attempts, with some time between them (DEF-06); without a limit it is ten seconds each.
        assert_eq!(response.status, 503);
        assert!(
            (Duration::from_millis(1100)..Duration::from_secs(8)).contains(&begin.elapsed()),
            "{:?}",
            begin.elapsed()
        );
        let failures =
            portolan.envoy.stat("cluster.outbound|80||web_example_com.upstream_cx_connect_timeout")?;
        assert_eq!(failures, 3, "DR-CP-02");
        Ok(())
    })
}

/// What is sent to a server before an answer.
fn first_bytes(version: &str, protocol: &str) -> Result<(Vec<u8>, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> Result<Vec<u8>> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.windows(4).any(|four| four == b"GET ") || !seen.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut buffer)?;
            ensure!(length > 0, "the connection ends");
            seen.extend(buffer.iter().take(length));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        Ok(seen)
    });
    let input = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web}}
spec:
  hosts: [web.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec: {{host: web.example.com, trafficPolicy: {{proxyProtocol: {{version: {protocol}}}}}}}
",
        address.port()
    );
    let portolan = Setup::new(version)?.option("--listen", "80=127.0.0.1:0").yaml(&input)?.start()?;
    let front = portolan.http()?;
    let response = raw::get_plain(front, "web.example.com", "/")?;
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    Ok((server.join().ok().context("the server panicked")??, front))
}

#[test]
fn endpoints_learn_the_client_by_the_proxy_protocol() -> Result<()> {
    each_version(|version| {
        // DR-PP-01
        let (seen, front) = first_bytes(version, "V1")?;
        let text = String::from_utf8_lossy(&seen);
        let line = text.lines().next().unwrap_or_default();
        assert!(line.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{line}");
        assert!(line.ends_with(&format!(" {}", front.port())), "{line}");

        let (seen, front) = first_bytes(version, "V2")?;
        assert!(seen.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"), "{seen:?}");
        assert_eq!(seen.get(26..28), Some(front.port().to_be_bytes().as_slice()));
        Ok(())
    })
}

#[test]
fn retries_have_a_budget() -> Result<()> {
    const RETRIES: &str = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web.example.com]
  http: [{retries: {attempts: 2, retryOn: 5xx, backoff: 10ms}, route: [{destination: {host: web.example.com}}]}]
";
    each_version(|version| {
        for (policy, attempts, overflow) in [
            ("retryBudget: {percent: 0, minRetryConcurrency: 0}", 1, 1),
            ("retryBudget: {percent: 100, minRetryConcurrency: 1}", 3, 0),
            ("loadBalancer: {simple: RANDOM}", 3, 0),
        ] {
            let rule = format!("trafficPolicy: {{{policy}}}");
            let service = Service::start(version, &[""], &rule, RETRIES)?;
            assert_eq!(service.get("/", &[("x-fail", "a 503")])?.status, 503);
            // DR-CP-11
            assert_eq!(service.upstreams[0].requests().len(), attempts, "{policy}");
            assert_eq!(service.stat("upstream_rq_retry_overflow")?, overflow, "{policy}");
        }
        Ok(())
    })
}

#[test]
fn http_2_is_spoken_where_it_is_asked_for() -> Result<()> {
    each_version(|version| {
        for (http, spoken) in [
            ("h2UpgradePolicy: UPGRADE", "HTTP/2.0"),
            (
                "h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 5, http2KeepAlive: {interval: 1s, timeout: 1s}",
                "HTTP/2.0",
            ),
            ("h2UpgradePolicy: DO_NOT_UPGRADE", "HTTP/1.1"),
            ("useClientProtocol: true", "HTTP/1.1"),
        ] {
            let rule = format!("trafficPolicy: {{connectionPool: {{http: {{{http}}}}}}}");
            let service = Service::start(version, &[""], &rule, "")?;
            assert_eq!(service.who("/", &[])?, "a");
            // DR-CP-09, DR-CP-10
            assert_eq!(service.upstreams[0].requests()[0].version, spoken, "{http}");
        }
        Ok(())
    })
}

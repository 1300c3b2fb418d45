//! Operators in header values (VS-HDR-09, GAP-07) beside Envoy's own, in one Envoy: generated routes
//! get Envoy's operations with the same formats.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::raw::{self, Head};
use portolan_e2e::upstream::{Reply, echo};
use portolan_e2e::{DnsServer, Portolan, Setup, Upstream, places};
use serde_json::{Value, json};

const ON_BOTH: [&str; 24] = [
    "%REQ(y)%",
    "%REQ(Y)%",
    "%REQ(nope)%",
    "%REQ(nope?y)%",
    "%REQ(y?nope)%",
    "%REQ(empty?y)%",
    "%REQ(empty)%",
    "%REQ(y):2%",
    "%REQ(nope?y):1%",
    "%REQ(y):99%",
    "%REQ(several)%",
    "%REQ(:path)%",
    "%REQ(:authority)%",
    "%REQ(host)%",
    "%REQ(:method)% %REQ(:scheme)%",
    "a%REQ(nope)%b",
    "%REQ(bytes)%",
    "%PROTOCOL%",
    "%DOWNSTREAM_REMOTE_ADDRESS%",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_REMOTE_PORT%",
    "%DOWNSTREAM_LOCAL_ADDRESS%",
    "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_LOCAL_PORT%",
    "%START_TIME%",
    "100%% %PROTOCOL%%REQ(y)%",
];

const ON_RESPONSE: [&str; 8] = [
    "%RESP(several)%",
    "%RESP(nope?several):2%",
    "%RESP(nope)%",
    "%RESP(:status)%",
    "%RESP(x-up)%",
    "%RESPONSE_CODE%",
    "%UPSTREAM_HOST%",
    "%UPSTREAM_CLUSTER_RAW%",
];

/// As Envoy's own header operations.
fn native(formats: &[&str]) -> Value {
    let add = |(index, format)| {
        let header = json!({"key": format!("native-{index}"), "value": format});
        json!({"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
    };
    formats.iter().enumerate().map(add).collect()
}

/// As a VirtualService's.
fn ours(formats: &[&str]) -> Value {
    let values = formats.iter().enumerate();
    json!({"set": values.map(|(index, format)| (format!("ours-{index}"), json!(format))).collect::<serde_json::Map<_, _>>()})
}

/// For each format what Envoy wrote, and what the filter did.
fn compare<'f>(
    what: &str,
    formats: &[&'f str],
    header: impl Fn(&str) -> Option<Vec<u8>>,
) -> Vec<(&'f str, Option<String>)> {
    let mut written = Vec::new();
    for (index, format) in formats.iter().enumerate() {
        let text = |value: Option<Vec<u8>>| value.map(|value| value.escape_ascii().to_string());
        let (native, ours) =
            (text(header(&format!("native-{index}"))), text(header(&format!("ours-{index}"))));
        assert_eq!(ours, native, "{what}: {format}");
        written.push((*format, native));
    }
    written
}

/// A port where nobody listens.
fn closed_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn start(version: &str, dns: &DnsServer, upstream: &Upstream, on_response: &[&str]) -> Result<Portolan> {
    let mut setup = Setup::with_listeners(version)?
        .option("--dns-resolver", dns.addr().to_string())
        .option("--accept", "unknown-destination")
        .option("--upstream-port", format!("a.example.com:80={}", upstream.addr().port()))
        .option("--upstream-port", format!("dead.example.com:80={}", closed_port()?));
    for host in ["a.example.com", "dead.example.com"] {
        setup = setup.yaml(&format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host}}}
spec: {{hosts: [{host}], location: MESH_EXTERNAL, resolution: DNS, ports: [{{number: 80, name: http, protocol: HTTP}}]}}
"
        ))?;
    }
    let headers = json!({"request": ours(&ON_BOTH), "response": ours(on_response)});
    let to = |host: &str| json!([{"destination": {"host": host}}]);
    let all = json!({"value": 100});
    let http = json!([
        {"match": [{"uri": {"prefix": "/dead"}}], "route": to("dead.example.com"), "headers": headers},
        {"match": [{"uri": {"prefix": "/none"}}], "route": to("none.example.com"), "headers": headers},
        {"match": [{"uri": {"prefix": "/slow"}}], "route": to("a.example.com"), "timeout": "0.3s", "headers": headers},
        {"match": [{"uri": {"prefix": "/abort"}}], "route": to("a.example.com"), "headers": headers,
         "fault": {"abort": {"httpStatus": 500, "percentage": all}}},
        {"match": [{"uri": {"prefix": "/direct"}}], "directResponse": {"status": 418, "body": {"string": "tea"}}, "headers": {"response": headers["response"]}},
        {"match": [{"uri": {"prefix": "/redirect"}}], "redirect": {"uri": "/x"}, "headers": {"response": headers["response"]}},
        {"match": [{"uri": {"prefix": "/remove"}}], "route": to("a.example.com"), "timeout": "0.3s",
         "headers": {"response": {"remove": ["content-type", "x-up"]}}},
        {"route": to("a.example.com"), "headers": headers},
    ]);
    let service = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v"},
        "spec": {"hosts": ["v"], "http": http},
    });
    let setup = setup.yaml(&service.to_string())?;
    setup.generate_changed("envoy.yaml", |yaml| {
        let place = "              request_headers_to_remove:\n";
        ensure!(yaml.contains(place), "no virtual host in {yaml}");
        let added = format!(
            "              request_headers_to_add: {}\n              response_headers_to_add: {}\n{place}",
            native(&ON_BOTH),
            native(on_response),
        );
        Ok(yaml.replace(place, &added))
    })?;
    setup.start_as_generated()
}

#[test]
fn values_are_those_of_envoys_own_formatter() -> Result<()> {
    let on_response = [ON_BOTH.as_slice(), &ON_RESPONSE].concat();
    for version in places::envoy_versions()? {
        println!("Envoy {version}");
        let dns =
            DnsServer::start(&["a.example.com", "dead.example.com"].map(|host| (host, Ipv4Addr::LOCALHOST)))?;
        let echo = echo();
        let upstream = Upstream::builder()
            .handler(move |request| {
                let reply = match request.path.contains("slow") {
                    true => Reply::new(200, "slow").after(Duration::from_secs(1)),
                    false => echo(request),
                };
                reply.header("several", "one").header("several", "two").header("x-up", b"caf\xe9")
            })
            .start()?;
        let portolan = start(&version, &dns, &upstream, &on_response)?;
        let ask = |path: &str| {
            let head = Head::new("GET", path).header("host", "v:80").header("y", "why").header("empty", "");
            let head = head.header("several", "s1").header("several", "s2").header("bytes", b"\xff\x80");
            raw::request(portolan.http()?, &head.finish())
        };
        for (path, status) in [("/x?y=1", 200), ("/dead", 503), ("/none", 503), ("/slow", 504)] {
            let response = ask(path)?;
            assert_eq!(response.status, status, "{path}");
            let header = |name: &str| {
                let line =
                    response.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
                line.map(|(_, value)| value.clone())
            };
            let written = compare(path, &on_response, header);
            if status == 200 {
                let missing: Vec<_> = written.iter().filter(|(_, value)| value.is_none()).collect();
                assert_eq!(missing.len(), 4, "only what is not there is left out: {missing:?}");
            }
        }
        // The filter's own answers, which Envoy's operations don't reach: what they make of those of
        // its direct responses, redirects and fault filter.
        for (path, status, cluster) in [
            ("/abort", "500", Some("outbound|80||a.example.com")),
            ("/direct", "418", None),
            ("/redirect", "301", None),
        ] {
            let response = ask(path)?;
            for (format, expected) in [
                ("%REQ(y):2%", Some("wh")),
                ("%REQ(:path)%", Some(path)),
                ("%PROTOCOL%", Some("HTTP/1.1")),
                ("%RESP(:status)%", Some(status)),
                ("%RESP(x-up)%", None),
                ("%RESPONSE_CODE%", Some("0")),
                ("%UPSTREAM_HOST%", None),
                ("%UPSTREAM_CLUSTER_RAW%", cluster),
            ] {
                let index =
                    on_response.iter().position(|known| *known == format).context("no such format")?;
                assert_eq!(response.header(&format!("ours-{index}")).as_deref(), expected, "{path} {format}");
            }
        }
        let seen = upstream.requests();
        let seen = seen.first().context("no request")?;
        compare("request", &ON_BOTH, |name| seen.header_bytes(name).map(<[u8]>::to_vec));
        // What Envoy sets after the route's changes stays: the content type of its own answers.
        assert_eq!(ask("/remove")?.header("content-type"), None);
        assert_eq!(ask("/remove")?.header("x-up"), None);
        let late = ask("/remove/slow")?;
        assert_eq!((late.status, late.header("content-type").as_deref()), (504, Some("text/plain")));
    }
    Ok(())
}

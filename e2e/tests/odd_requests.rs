//! Requests that a browser wouldn't send: none of them may end the VM.

use anyhow::Result;
use portolan_e2e::examples::{GITHUB_TEXT, StandIns};
use portolan_e2e::raw::{self, Head};
use portolan_e2e::{Portolan, places};

/// Runs `test` for both profiles on every version.
fn everywhere(test: impl Fn(&Portolan, &str) -> Result<()>) -> Result<()> {
    for version in places::envoy_versions()? {
        for profile in ["standalone", "istio"] {
            println!("Envoy {version}, profile {profile}");
            let standins = StandIns::start()?;
            let setup = standins.setup(&version)?.option("--profile", profile);
            let portolan = setup.option("--outbound-policy", "registry-only").start()?;
            test(&portolan, profile)?;
            // The VM is alive, and no other was needed.
            assert_eq!(raw::get_plain(portolan.http()?, FULL_NAME, "/")?.text(), GITHUB_TEXT);
            assert!(!portolan.envoy.log().contains("panicked"), "{}", portolan.envoy.log());
            assert_eq!(portolan.envoy.stat("wasm.portolan.vm_reload_success")?, 0);
        }
    }
    Ok(())
}

/// Known in both profiles (VH-06).
const FULL_NAME: &str = "webserver.default.svc.cluster.local";

fn status(portolan: &Portolan, host_lines: &[&[u8]], headers: &[(&str, &[u8])]) -> Result<u16> {
    let mut head = Head::new("GET", "/");
    for host in host_lines {
        head = head.header("host", host);
    }
    for (name, value) in headers {
        head = head.header(name, value);
    }
    Ok(raw::request(portolan.http()?, &head.header("connection", "close").finish())?.status)
}

#[test]
fn any_byte_in_a_header() -> Result<()> {
    everywhere(|portolan, _| {
        for byte in 0x80..=0xff_u8 {
            assert_eq!(
                status(portolan, &[FULL_NAME.as_bytes()], &[("x-odd", &[b'a', byte])])?,
                200,
                "{byte:#x}"
            );
        }
        let invalid = b"\xc3\x28\xa0\xff".as_slice();
        assert_eq!(status(portolan, &[FULL_NAME.as_bytes()], &[("cookie", invalid), ("x-odd", b"")])?, 200);
        // In the host Envoy itself refuses them.
        assert_eq!(status(portolan, &[b"web\xffserver"], &[])?, 400);
        Ok(())
    })
}

#[test]
fn hosts_in_odd_forms() -> Result<()> {
    everywhere(|portolan, profile| {
        // The short name of an unregistered host is known in profile standalone only.
        let short = if profile == "standalone" { 200 } else { 502 };
        let long: Vec<u8> = vec![b'a'; 300];
        for (host, expected, rule) in [
            (b"".as_slice(), 502, "OTP-03"),
            (b"WEBSERVER:80", short, "VH-02, VH-03"),
            (b"webserver", short, "VH-06"),
            (b"webserver.", short, "VH-06"),
            (b"webserver.:8080", short, "VH-02"),
            (b"WebServer.Default.Svc.Cluster.Local:1", 200, "VH-02, VH-03"),
            (b"webserver.default.svc.cluster.local.", short, "VH-06"),
            (b"webserver:", short, "VH-02"),
            (b"webserver:abc", short, "VH-02"),
            (b"[::1]:80", 502, "VH-04"),
            (b"::1", 502, "VH-07"),
            (b"127.0.0.1", 502, "OTP-03"),
            (b"*", 502, "VH-05"),
            (b"webserver%2e", 502, "VH-04"),
            (&long, 502, "OTP-03"),
        ] {
            let name = String::from_utf8_lossy(host).into_owned();
            assert_eq!(status(portolan, &[host], &[])?, expected, "{name} ({rule})");
        }
        assert_eq!(status(portolan, &[b"a.example.com", b"b.example.com"], &[])?, 400, "two Host lines");
        assert_eq!(
            status(portolan, &[FULL_NAME.as_bytes(), FULL_NAME.as_bytes()], &[])?,
            400,
            "two Host lines"
        );
        assert_eq!(status(portolan, &[], &[])?, 400, "no Host line");
        assert_eq!(portolan.counter("refused.invalid_authority")?, 2);
        Ok(())
    })
}

#[test]
fn what_an_unknown_host_is_told_can_do_no_harm() -> Result<()> {
    everywhere(|portolan, profile| {
        let hosts: [&[u8]; 3] = [b"a;b", b"x'onclick=alert(1)", &[b'a'; 8000]];
        for host in hosts {
            let head = Head::new("GET", "/").header("host", host).header("connection", "close");
            let response = raw::request(portolan.http()?, &head.finish())?;
            if profile == "istio" {
                assert_eq!((response.status, response.text().as_str()), (502, ""), "OTP-03");
                continue;
            }
            assert_eq!(response.header("content-type").as_deref(), Some("text/plain"));
            assert!(response.body.len() < 600, "{}", response.body.len());
            let host = response.text();
            let host = host.split(' ').next().unwrap_or_default();
            assert!(!host.contains(['<', '>', ';', '\'']), "{host}");
        }
        Ok(())
    })
}

//! TLS towards upstreams (spec section 5.6), with real ones that look at what they are shown.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::poll;
use portolan_e2e::raw::{self, Response};
use portolan_e2e::upstream::UpstreamBuilder;
use portolan_e2e::{Ca, DnsServer, Identity, Portolan, Reply, Scratch, Setup, Upstream, each_version};

/// An Envoy that originates TLS for the hosts of some rules, and the upstream behind all of them.
struct World {
    portolan: Portolan,
    upstream: Upstream,
    _dns: DnsServer,
}

impl World {
    /// `rules` are hosts with what their DestinationRule says of TLS.
    fn start(
        version: &str,
        upstream: UpstreamBuilder,
        rules: &[(&str, &str)],
        change: impl FnOnce(Setup) -> Result<Setup>,
    ) -> Result<Self> {
        // Each request has a connection, and so a handshake, of its own.
        let upstream = upstream.handler(|_| Reply::new(200, "ok").header("connection", "close")).start()?;
        let records: Vec<_> = rules.iter().map(|(host, _)| (*host, Ipv4Addr::LOCALHOST)).collect();
        let dns = DnsServer::start(&records)?;
        let documents = rules.iter().enumerate().map(|(number, (host, tls))| {
            format!(
                "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: e{number}}}
spec:
  hosts: [{host}]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{{number: 80, name: http, protocol: HTTP}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: r{number}}}
spec:
  host: {host}
  trafficPolicy:
    tls: {tls}
"
            )
        });
        let setup = Setup::with_listeners(version)?
            .yaml(&documents.collect::<Vec<_>>().join("---"))?
            .option("--dns-resolver", dns.addr().to_string())
            .option("--upstream-port", format!("80={}", upstream.addr().port()));
        Ok(Self { portolan: change(setup)?.start()?, upstream, _dns: dns })
    }

    fn get(&self, host: &str) -> Result<Response> {
        raw::get_plain(self.portolan.http()?, host, "/")
    }

    /// Why a request to `host` didn't reach its upstream, in Envoy's words.
    fn refused(&self, host: &str) -> Result<String> {
        self.upstream.clear();
        let response = self.get(host)?;
        ensure!(response.status == 503, "{host}: {} {}", response.status, response.text());
        ensure!(self.upstream.requests().is_empty(), "{host} reached its upstream");
        let line = self.portolan.access_log_line(|line| line["authority"] == host)?;
        Ok(line["upstream_failure"].as_str().unwrap_or_default().to_owned())
    }

    fn accepted(&self, host: &str) -> Result<()> {
        let response = self.get(host)?;
        ensure!(response.status == 200, "{host}: {} {}", response.status, response.text());
        Ok(())
    }

    /// Waits until requests to `host` are answered with `status`: a file was changed.
    fn becomes(&self, host: &str, status: u16) -> Result<()> {
        poll(Duration::from_secs(5), || (self.get(host).ok()?.status == status).then_some(()))
            .with_context(|| format!("{host} is never answered with {status}"))
    }

    /// Waits until `identity` is what the upstream is shown.
    fn presents(&self, host: &str, identity: &Identity) -> Result<()> {
        poll(Duration::from_secs(5), || {
            self.upstream.clear();
            self.get(host).ok()?;
            let seen = self.upstream.requests().pop()?.client_certificate?;
            (seen == identity.certificate_der()).then_some(())
        })
        .with_context(|| format!("{host} is never shown the certificate for {:?}", identity.names()))
    }
}

fn unchanged(setup: Setup) -> Result<Setup> {
    Ok(setup)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Writes a CA's bundle, and says where.
fn bundle(scratch: &Scratch, name: &str, ca: &Ca) -> Result<String> {
    Ok(text(&scratch.write(name, ca.bundle_pem())?))
}

/// What `mode: MUTUAL` says with these files.
fn mutual(directory: &Path, stem: &str, ca: &str) -> String {
    let directory = directory.display();
    format!(
        "{{mode: MUTUAL, clientCertificate: {directory}/{stem}.crt, privateKey: {directory}/{stem}.key, \
         caCertificates: {ca}}}"
    )
}

#[test]
fn certificates_are_verified() -> Result<()> {
    each_version(|version| {
        let (ca, stranger, scratch) = (Ca::new()?, Ca::new()?, Scratch::new()?);
        let upstream = Upstream::builder()
            .tls(ca.issue(&["good.example.com"])?)
            .tls(ca.issue_expired(&["expired.example.com"])?)
            .tls(stranger.issue(&["stranger.example.com"])?)
            .tls_for_any_name(ca.issue(&["another.example.com"])?);
        let own =
            format!("{{mode: SIMPLE, caCertificates: {}}}", bundle(&scratch, "stranger.pem", &stranger)?);
        let system = bundle(&scratch, "system.pem", &ca)?;
        let simple = "{mode: SIMPLE}";
        let world = World::start(
            version,
            upstream,
            &[
                ("good.example.com", simple),
                ("expired.example.com", simple),
                ("wrong.example.com", simple),
                ("stranger.example.com", simple),
                // DR-TLS-11: any of them, in place of the host.
                (
                    "named.example.com",
                    "{mode: SIMPLE, subjectAltNames: [x.example.com, another.example.com]}",
                ),
                ("misnamed.example.com", "{mode: SIMPLE, subjectAltNames: [x.example.com]}"),
                // DR-TLS-14: with an SNI and without names nobody looks at the name.
                ("fixed.example.com", "{mode: SIMPLE, sni: any.example.com}"),
                // DR-TLS-10: in place of the system's.
                ("another.example.com", &own),
                // DR-TLS-15
                ("unverified.example.com", "{mode: SIMPLE, insecureSkipVerify: true}"),
            ],
            |setup| Ok(setup.option("--ca-bundle", system)),
        )?;
        for host in ["good", "named", "fixed", "unverified"] {
            world.accepted(&format!("{host}.example.com"))?;
        }
        for host in ["expired", "wrong", "stranger", "misnamed", "another"] {
            let why = world.refused(&format!("{host}.example.com"))?;
            assert!(why.contains("CERTIFICATE_VERIFY_FAILED"), "{host}: {why}");
        }
        Ok(())
    })
}

#[test]
fn a_client_certificate_is_presented() -> Result<()> {
    each_version(|version| {
        let (ca, stranger, scratch) = (Ca::new()?, Ca::new()?, Scratch::new()?);
        let client = ca.issue(&["client"])?;
        client.write(scratch.path(), "client")?;
        stranger.issue(&["client"])?.write(scratch.path(), "stranger")?;
        let bundle = bundle(&scratch, "ca.pem", &ca)?;
        let upstream = Upstream::builder().tls(ca.issue(&["*.example.com"])?).require_client_certificate(&ca);
        let world = World::start(
            version,
            upstream,
            &[
                ("mutual.example.com", &mutual(scratch.path(), "client", &bundle)),
                ("again.example.com", &mutual(scratch.path(), "client", &bundle)),
                ("stranger.example.com", &mutual(scratch.path(), "stranger", &bundle)),
                ("none.example.com", &format!("{{mode: SIMPLE, caCertificates: {bundle}}}")),
            ],
            unchanged,
        )?;
        for host in ["mutual.example.com", "again.example.com"] {
            world.presents(host, &client)?;
        }
        for host in ["stranger.example.com", "none.example.com"] {
            world.refused(host)?;
            assert!(world.upstream.connections() > 0, "{host}: it is the upstream that refuses");
        }
        // Two certificates and one bundle, however many clusters there are.
        let secrets = fs::read_dir(world.portolan.output().join("envoy.d/sds"))?.count();
        assert_eq!(secrets, 3);
        Ok(())
    })
}

/// A directory as Kubernetes mounts a secret: files are links into `..data`, which is a link to the
/// directory that holds them.
fn mount(directory: &Path, generation: &str, identity: &Identity, ca: &Ca) -> Result<()> {
    let data = directory.join(format!("..{generation}"));
    fs::create_dir_all(&data)?;
    fs::write(data.join("tls.crt"), identity.certificate_pem())?;
    fs::write(data.join("tls.key"), identity.key_pem())?;
    ca.write_bundle(data.join("ca.crt"))?;
    let aside = directory.join("..data_tmp");
    symlink(format!("..{generation}"), &aside)?;
    fs::rename(&aside, directory.join("..data"))?;
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        if !directory.join(file).exists() {
            symlink(format!("..data/{file}"), directory.join(file))?;
        }
    }
    Ok(())
}

#[test]
fn renewed_client_certificates_are_noticed() -> Result<()> {
    each_version(|version| {
        let (ca, scratch) = (Ca::new()?, Scratch::new()?);
        let [first, second, third] = [ca.issue(&["first"])?, ca.issue(&["second"])?, ca.issue(&["third"])?];
        let secret = scratch.path().join("secret");
        mount(&secret, "1", &first, &ca)?;
        let (certificates, keys) = (scratch.path().join("certificates"), scratch.path().join("keys"));
        for directory in [&certificates, &keys] {
            fs::create_dir_all(directory)?;
            first.write(directory, "client")?;
        }
        let bundle = bundle(&scratch, "ca.pem", &ca)?;
        let upstream = Upstream::builder().tls(ca.issue(&["*.example.com"])?).require_client_certificate(&ca);
        let apart = format!(
            "{{mode: MUTUAL, clientCertificate: {}/client.crt, privateKey: {}/client.key, caCertificates: {bundle}}}",
            certificates.display(),
            keys.display()
        );
        let world = World::start(
            version,
            upstream,
            &[
                ("secret.example.com", "{mode: MUTUAL, credentialName: client}"),
                ("files.example.com", &apart),
            ],
            |setup| Ok(setup.option("--credential", format!("client={}", secret.display()))),
        )?;
        world.presents("secret.example.com", &first)?;
        world.presents("files.example.com", &first)?;

        mount(&secret, "2", &second, &ca)?;
        world.presents("secret.example.com", &second)?;
        mount(&secret, "3", &third, &ca)?;
        world.presents("secret.example.com", &third)?;

        // Files in directories of their own, one after the other: with the certificate alone, whose key
        // isn't there yet, Envoy keeps what it has.
        for next in [&second, &third] {
            replace(&certificates.join("client.crt"), next.certificate_pem())?;
            std::thread::sleep(Duration::from_millis(300));
            world.accepted("files.example.com")?;
            replace(&keys.join("client.key"), next.key_pem())?;
            world.presents("files.example.com", next)?;
        }
        Ok(())
    })
}

/// Writes aside, then renames.
fn replace(path: &Path, content: &str) -> Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, content)?;
    fs::rename(&aside, path).with_context(|| text(path))
}

#[test]
fn new_authorities_and_revocations_are_noticed() -> Result<()> {
    each_version(|version| {
        let (old, new, scratch) = (Ca::new()?, Ca::new()?, Scratch::new()?);
        let revoked = new.issue(&["revoked.example.com"])?;
        let authorities = bundle(&scratch, "ca.pem", &old)?;
        let crl = scratch.write("crl.pem", new.revoke(&[])?)?;
        let upstream = Upstream::builder()
            .tls(old.issue(&["old.example.com"])?)
            .tls(new.issue(&["new.example.com"])?)
            .tls(revoked.clone());
        let simple = format!("{{mode: SIMPLE, caCertificates: {authorities}}}");
        let with_crl = format!(
            "{{mode: SIMPLE, caCertificates: {}, caCrl: {}}}",
            bundle(&scratch, "new.pem", &new)?,
            crl.display()
        );
        let world = World::start(
            version,
            upstream,
            &[("old.example.com", &simple), ("new.example.com", &simple), ("revoked.example.com", &with_crl)],
            unchanged,
        )?;
        world.accepted("old.example.com")?;
        world.refused("new.example.com")?;
        replace(Path::new(&authorities), &new.bundle_pem())?;
        world.becomes("new.example.com", 200)?;
        world.refused("old.example.com")?;

        world.accepted("revoked.example.com")?;
        replace(&crl, &new.revoke(&[&revoked])?)?;
        world.becomes("revoked.example.com", 503)?;
        Ok(())
    })
}

#[test]
fn a_file_that_is_missing_concerns_its_hosts_only() -> Result<()> {
    each_version(|version| {
        let (ca, scratch) = (Ca::new()?, Scratch::new()?);
        let client = ca.issue(&["client"])?;
        let bundle = bundle(&scratch, "ca.pem", &ca)?;
        let late = scratch.path().join("late");
        fs::create_dir_all(&late)?;
        let upstream = Upstream::builder().tls(ca.issue(&["*.example.com"])?);
        let world = World::start(
            version,
            upstream,
            &[
                ("late.example.com", &mutual(&late, "client", &bundle)),
                ("other.example.com", &format!("{{mode: SIMPLE, caCertificates: {bundle}}}")),
            ],
            unchanged,
        )?;
        world.accepted("other.example.com")?;
        world.refused("late.example.com")?;
        replace(&late.join("client.key"), client.key_pem())?;
        replace(&late.join("client.crt"), client.certificate_pem())?;
        if version.starts_with("1.36.") {
            // It doesn't look again, but it doesn't end either.
            std::thread::sleep(Duration::from_millis(300));
            world.refused("late.example.com")?;
        } else {
            world.becomes("late.example.com", 200)?;
        }
        world.accepted("other.example.com")
    })
}

#[test]
fn each_rule_has_its_server_name() -> Result<()> {
    each_version(|version| {
        let (ca, scratch) = (Ca::new()?, Scratch::new()?);
        let bundle = bundle(&scratch, "ca.pem", &ca)?;
        let upstream = Upstream::builder().tls_for_any_name(ca.issue(&[
            "auto.example.com",
            "rewritten.example.com",
            "names.example.com",
            "127.0.0.1",
        ])?);
        let rewrite = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [rewriting.example.com]
  http:
  - rewrite: {authority: 'Rewritten.example.com:443'}
    route: [{destination: {host: rewriting.example.com}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: address}
spec:
  hosts: [address.example.com]
  http:
  - rewrite: {authority: 127.0.0.1}
    route: [{destination: {host: address.example.com}}]
";
        let simple = "{mode: SIMPLE}";
        let world = World::start(
            version,
            upstream,
            &[
                ("auto.example.com", simple),
                ("rewriting.example.com", simple),
                (
                    "fixed.example.com",
                    "{mode: SIMPLE, sni: s.example.com, subjectAltNames: [names.example.com]}",
                ),
                ("names.example.com", "{mode: SIMPLE, subjectAltNames: [auto.example.com]}"),
                ("address.example.com", simple),
            ],
            |setup| setup.option("--ca-bundle", &bundle).yaml(rewrite),
        )?;
        for (host, expected) in [
            ("auto.example.com", Some("auto.example.com")), // DR-TLS-08
            ("AUTO.example.com:80", Some("auto.example.com")),
            ("auto.example.com.", Some("auto.example.com")),
            ("rewriting.example.com", Some("rewritten.example.com")),
            ("fixed.example.com", Some("s.example.com")), // DR-TLS-07
            ("names.example.com", Some("names.example.com")),
            ("address.example.com", None),
        ] {
            world.upstream.clear();
            world.accepted(host)?;
            assert_eq!(world.upstream.handshakes(), [expected.map(str::to_owned)], "{host}");
        }
        Ok(())
    })
}

#[test]
fn upstreams_speak_1_2_or_1_3() -> Result<()> {
    each_version(|version| {
        let (ca, scratch) = (Ca::new()?, Scratch::new()?);
        let bundle = bundle(&scratch, "ca.pem", &ca)?;
        for spoken in ["1.2", "1.3"] {
            let upstream = Upstream::builder().tls(ca.issue(&["a.example.com"])?).tls_version(spoken);
            let rules = [("a.example.com", "{mode: SIMPLE}")];
            let world =
                World::start(version, upstream, &rules, |setup| Ok(setup.option("--ca-bundle", &bundle)))?;
            world.accepted("a.example.com").with_context(|| format!("TLS {spoken} (DR-TLS-06)"))?;
        }
        Ok(())
    })
}

#[test]
fn the_certificate_of_a_mesh_is_presented() -> Result<()> {
    each_version(|version| {
        let (ca, scratch) = (Ca::new()?, Scratch::new()?);
        let client = ca.issue(&["spiffe"])?;
        scratch.write("certs/cert-chain.pem", client.certificate_pem())?;
        scratch.write("certs/key.pem", client.key_pem())?;
        scratch.write("certs/root-cert.pem", ca.bundle_pem())?;
        let upstream = Upstream::builder()
            .tls_for_any_name(ca.issue(&["service"])?)
            .alpn(&["istio"])
            .require_client_certificate(&ca);
        let world = World::start(version, upstream, &[("a.example.com", "{mode: ISTIO_MUTUAL}")], |setup| {
            Ok(setup.option("--credential", format!("ISTIO_MUTUAL={}/certs", scratch.path().display())))
        })?;
        world.presents("a.example.com", &client)?;
        let names = world.upstream.handshakes();
        assert_eq!(names, [Some("outbound_.80_._.a.example.com".to_owned())], "DR-TLS-05");
        Ok(())
    })
}

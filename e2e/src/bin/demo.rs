//! `make demo`: both examples in a real Envoy. Nothing leaves this machine: a DNS server and
//! TLS upstreams with certificates of a throwaway CA stand for the real hosts.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use portolan_e2e::envoy::base_arguments;
use portolan_e2e::examples::{GITHUB, GITHUB_TEXT, StandIns, WEATHER, WEATHER_TEXT};
use portolan_e2e::{Curl, Portolan, places};

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    let version = match std::env::var("ENVOY_VERSION") {
        Ok(version) => version,
        Err(_) => places::envoy_versions()?.pop().unwrap_or_default(),
    };
    title("Stand-ins for the internet");
    let standins = StandIns::start()?;
    println!("DNS server          {}", standins.dns.addr());
    println!("{GITHUB}:443  {} (TLS, checks Host)", standins.github.addr());
    println!("{WEATHER}:443 {} (TLS)", standins.weather.addr());

    title("Istio YAML to Envoy configuration");
    let setup = standins.setup(&version)?.log_level("warning");
    println!("$ {}", setup.command_line());

    title("Envoy");
    let portolan = setup.start()?;
    println!("$ envoy {}", base_arguments("envoy.yaml", "warning").join(" "));
    println!("Envoy {version} is ready, process {}", portolan.envoy.pid());

    rewritten(&portolan)?;
    passed_through(&portolan, &standins)?;
    refused(&portolan)?;
    bypass_attempt(&portolan)?;
    counters(&portolan)?;

    if std::env::var_os("KEEP").is_some_and(|value| !value.is_empty() && value != "0") {
        keep(&portolan, &standins)?;
    } else {
        let pid = portolan.envoy.pid();
        drop(portolan);
        println!("\nEnvoy {pid} is stopped. `make demo KEEP=1` leaves it running.");
    }
    Ok(())
}

fn title(text: &str) {
    println!("\n== {text}");
}

/// The webserver example: authority and path rewritten, TLS originated and verified.
fn rewritten(portolan: &Portolan) -> Result<()> {
    title("webserver: rewritten, and TLS originated");
    let answer =
        Curl::new("http://webserver/anything").connect_to("webserver:80", portolan.http()?).shown().run()?;
    print!("{} {}", answer.status, answer.text());
    ensure!(answer.status == 200 && answer.text() == GITHUB_TEXT, "unexpected: {answer:?}");
    Ok(())
}

/// The weather example: TLS passes through, and the client verifies the certificate.
fn passed_through(portolan: &Portolan, standins: &StandIns) -> Result<()> {
    title("weather: TLS passed through by SNI, verified by the client");
    for (host, text) in [(WEATHER, Some(WEATHER_TEXT)), (GITHUB, None)] {
        let answer = Curl::new(&format!("https://{host}/"))
            .connect_to(&format!("{host}:443"), portolan.tls()?)
            .cacert(standins.ca_bundle())
            .shown()
            .run()?;
        println!("{} {}", answer.status, answer.text().trim_end());
        ensure!(answer.exit_code == 0, "no answer through TLS: {answer:?}");
        ensure!(text.is_none_or(|text| answer.text() == text), "unexpected: {answer:?}");
    }
    println!("(the second is the host of the first example, to which a client may speak TLS itself)");
    title("TLS to a host that is not in the registry: closed");
    let answer =
        Curl::new("https://example.com/").connect_to("example.com:443", portolan.tls()?).shown().run()?;
    println!("curl: {}", answer.error.trim());
    ensure!(answer.exit_code != 0, "an unknown host was reached: {answer:?}");
    Ok(())
}

fn refused(portolan: &Portolan) -> Result<()> {
    title("a host that is not in the registry: refused");
    let answer =
        Curl::new("http://example.com/").connect_to("example.com:80", portolan.http()?).shown().run()?;
    print!("{} {}", answer.status, answer.text());
    ensure!(answer.status == 502, "an unknown host was reached: {answer:?}");
    Ok(())
}

fn bypass_attempt(portolan: &Portolan) -> Result<()> {
    title("the same with headers that try to choose the cluster: stripped, counted, refused");
    let before = portolan.counter("forbidden_headers")?;
    let answer = Curl::new("http://example.com/")
        .connect_to("example.com:80", portolan.http()?)
        .header("x-portolan-cluster", &format!("outbound|443||{GITHUB}"))
        .header("x-portolan-route", "default")
        .header("x-envoy-retry-on", "5xx")
        .header("x-envoy-fault-abort-request", "200")
        .shown()
        .run()?;
    print!("{} {}", answer.status, answer.text());
    ensure!(answer.status == 502, "an unknown host was reached: {answer:?}");
    let stripped = portolan.counter("forbidden_headers")? - before;
    println!("{stripped} header lines reached the filter and were stripped there");
    ensure!(stripped > 0, "nothing was stripped");
    Ok(())
}

fn counters(portolan: &Portolan) -> Result<()> {
    title("counters");
    for (name, value) in portolan.envoy.stats()? {
        let ours = name.starts_with("wasmcustom.portolan.")
            || name.starts_with("tcp.tls_refused.downstream_cx_total");
        if ours && value > 0 {
            println!("{name}: {value}");
        }
    }
    Ok(())
}

/// Waits for Ctrl-C. The stand-ins live in this process.
fn keep(portolan: &Portolan, standins: &StandIns) -> Result<()> {
    title("Envoy stays up; try");
    let bundle = standins.ca_bundle();
    println!("curl --connect-to ::{} http://webserver/anything", portolan.http()?);
    println!("curl --connect-to ::{} http://example.com/", portolan.http()?);
    println!("curl --connect-to ::{} --cacert {} https://{WEATHER}/", portolan.tls()?, bundle.display());
    println!("curl http://{}/stats?filter=portolan", portolan.envoy.admin_addr());
    println!("Configuration: {}", portolan.output().display());
    println!("\nCtrl-C stops it.");
    portolan_e2e::process::wait_for_interrupt()
}

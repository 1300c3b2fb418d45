//! `config-gen generate --watch`: changes of the input come into force in a running Envoy, step by step.

#[path = "watch/load.rs"]
mod load;
#[path = "watch/world.rs"]
mod world;

use std::convert::identity;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::process::poll;
use portolan_e2e::{Scratch, each_version, places};

use world::{KeepAlive, LINE, World, rewrite, service};

const NOTHING: &str = "nothing differs for Envoy";

fn on_every_version(test: impl Fn(&World) -> Result<()>) -> Result<()> {
    each_version(|version| test(&World::start(version, identity)?))
}

#[test]
fn what_is_saved_comes_into_force() -> Result<()> {
    on_every_version(|world| {
        let watch = world.envoy.watch()?;
        assert!(watch.line(LINE)?.starts_with(NOTHING), "the same files are written again");
        let mut open = KeepAlive::connect(world.http()?)?;
        assert_eq!(open.path("a.example.com")?, "/1");

        // A rule: nothing but the filter's config.
        world.save("rules.yaml", &rewrite("a.example.com", "/2", ""))?;
        let line = watch.line(LINE)?;
        assert!(line.starts_with("changed VirtualService default/a.example.com; in force after "), "{line}");
        assert_eq!(open.path("a.example.com")?, "/2");

        // A service, with a cluster that the rule names at once.
        assert_eq!(open.get("b.example.com")?.status, 502);
        world.save("b.yaml", &service("b.example.com", "{number: 80, name: http, protocol: HTTP}"))?;
        let line = watch.line(LINE)?;
        assert!(
            line.starts_with("added ServiceEntry default/b.example.com, cluster outbound|80||b.example.com;"),
            "{line}"
        );
        assert_eq!(open.get("b.example.com")?.status, 200);

        // Another route profile (RDS), and the first delay there is.
        let more = "retries: {attempts: 3, backoff: 0.1s}, fault: {delay: {fixedDelay: 0.05s, percentage: {value: 100}}},";
        world.save("rules.yaml", &rewrite("a.example.com", "/3", more))?;
        let line = watch.line(LINE)?;
        assert!(line.contains("routes of outbound"), "{line}");
        let began = Instant::now();
        assert_eq!(open.path("a.example.com")?, "/3");
        assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());

        // A chain of a listener: other connections of it stay.
        assert!(world.tls("tls.example.com").is_err(), "not registered yet");
        world.save("tls.yaml", &service("tls.example.com", "{number: 443, name: tls, protocol: TLS}"))?;
        let line = watch.line(LINE)?;
        assert!(line.contains("listener outbound_443"), "{line}");
        let mut passed = world.tls("tls.example.com").context("TLS by SNI")?;
        world.save("tls2.yaml", &service("tls2.example.com", "{number: 443, name: tls, protocol: TLS}"))?;
        watch.line(LINE)?;
        world.tls("tls2.example.com").context("TLS by the second name")?;
        assert_eq!(passed.get("tls.example.com")?.status, 200);

        // What goes is gone, and the rest stays.
        world.remove("b.yaml")?;
        world.save("rules.yaml", &rewrite("a.example.com", "/4", ""))?;
        let line = watch.line(LINE)?;
        assert!(line.contains("removed ServiceEntry default/b.example.com"), "{line}");
        assert_eq!(open.get("b.example.com")?.status, 502);
        assert_eq!(open.path("a.example.com")?, "/4");
        assert_eq!(world.envoy.envoy.stat("listener_manager.lds.update_rejected")?, 0);
        assert_eq!(watch.complaints().matches("warning").count(), 0, "{}", watch.complaints());
        Ok(())
    })
}

#[test]
fn bad_input_changes_nothing() -> Result<()> {
    on_every_version(|world| {
        let watch = world.envoy.watch()?;
        watch.line(LINE)?;
        let before = world.files()?;
        let bad = rewrite("a.example.com", "/2", "timeout: soon,");
        world.save("rules.yaml", &bad)?;
        let said = watch.wait_for_complaint("what was written before stays in force", 0)?;
        let place = format!("{}:", world.input("rules.yaml").display());
        assert!(
            said.contains(&place)
                && said.contains("resource: VirtualService default/a.example.com")
                && said.contains("field: spec.http[0].timeout"),
            "{said}"
        );
        // Half a file, and none.
        world.save("rules.yaml", &bad[..bad.len() / 2])?;
        watch.wait_for_complaint("what was written before stays in force", 1)?;
        for name in ["rules.yaml", "services.yaml"] {
            world.remove(name)?;
        }
        watch.wait_for_complaint("holds no `.yaml`", 0)?;
        assert_eq!(world.files()?, before, "a file was touched");
        assert_eq!(KeepAlive::connect(world.http()?)?.path("a.example.com")?, "/1");
        world.save_services()?;
        world.save("rules.yaml", &rewrite("a.example.com", "/2", ""))?;
        // Between the two there is a state without rules.
        poll(LINE, || watch.line(LINE).ok().filter(|line| line.contains("in force")))
            .context("no recovery")?;
        let switched = poll(LINE, || {
            (KeepAlive::connect(world.http().ok()?).ok()?.path("a.example.com").ok()? == "/2").then_some(())
        });
        ensure!(switched.is_some(), "not in force: {}", watch.complaints());
        Ok(())
    })
}

/// Of what is found in the input, each change tells what is new.
#[test]
fn notes_are_told_once() -> Result<()> {
    let world = World::newest()?;
    let watch = world.envoy.watch()?;
    watch.line(LINE)?;
    let told = || watch.complaints().matches("note[server-speaks-first-unguarded]").count();
    let tcp = service("tcp.example.com", "{number: 5433, name: tcp, protocol: TCP}");
    world.save("tcp.yaml", &tcp)?;
    watch.line(LINE)?;
    assert_eq!(told(), 1, "{}", watch.complaints());
    world.save("rules.yaml", &rewrite("a.example.com", "/2", ""))?;
    watch.line(LINE)?;
    assert_eq!(told(), 1, "{}", watch.complaints());
    world.remove("tcp.yaml")?;
    watch.line(LINE)?;
    world.save("tcp.yaml", &tcp)?;
    watch.line(LINE)?;
    assert_eq!(told(), 2, "{}", watch.complaints());
    Ok(())
}

/// An editor that writes in place, in several goes: no state in between is read.
#[test]
fn files_are_read_when_they_rest() -> Result<()> {
    let world = World::newest()?;
    let watch = world.envoy.watch()?;
    watch.line(LINE)?;
    let text = rewrite("a.example.com", "/2", "");
    let mut file = fs::File::create(world.input("rules.yaml"))?;
    for part in text.as_bytes().chunks(text.len() / 8) {
        file.write_all(part)?;
        std::thread::sleep(Duration::from_millis(15));
    }
    assert!(watch.line(LINE)?.starts_with("changed VirtualService default/a.example.com;"));
    assert!(!watch.complaints().contains("error"), "{}", watch.complaints());
    Ok(())
}

/// A name that DNS doesn't answer for holds up nobody for long, and serves once there is an answer.
#[test]
fn a_cluster_without_an_address_is_told() -> Result<()> {
    on_every_version(|world| {
        let watch = world.envoy.watch()?;
        watch.line(LINE)?;
        world.dns.silent("b.example.com", true);
        world.save("b.yaml", &service("b.example.com", "{number: 80, name: http, protocol: HTTP}"))?;
        watch.line(LINE)?;
        let said = watch.complaints();
        assert!(said.contains("warning: cluster `outbound|80||b.example.com` has no address yet"), "{said}");
        // Others don't wait for it.
        world.save("rules.yaml", &rewrite("a.example.com", "/2", ""))?;
        watch.line(LINE)?;
        assert_eq!(watch.complaints().matches("no address").count(), 1, "{}", watch.complaints());
        let mut open = KeepAlive::connect(world.http()?)?;
        assert_eq!(open.path("a.example.com")?, "/2");
        assert_eq!(open.get("b.example.com")?.status, 503);
        world.dns.silent("b.example.com", false);
        let answered = poll(Duration::from_secs(30), || {
            (KeepAlive::connect(world.http().ok()?).ok()?.get("b.example.com").ok()?.status == 200)
                .then_some(())
        });
        ensure!(answered.is_some(), "it doesn't serve");
        // A name that doesn't exist is no other case.
        world.save("c.yaml", &service("c.example.org", "{number: 80, name: http, protocol: HTTP}"))?;
        watch.line(LINE)?;
        let said = watch.complaints();
        assert!(said.contains("warning: cluster `outbound|80||c.example.org` has no address yet"), "{said}");
        Ok(())
    })
}

/// The module is gone when the filter's config comes: Envoy refuses it.
#[test]
fn what_envoy_refuses_is_taken_back() -> Result<()> {
    each_version(|version| {
        let scratch = Scratch::new()?;
        let module = scratch.write("portolan.wasm", fs::read(places::module()?)?)?;
        let world = World::start(version, |setup| setup.module(&module))?;
        let watch = world.envoy.watch()?;
        watch.line(LINE)?;
        let before = world.files()?;
        fs::remove_file(&module)?;
        world.save("b.yaml", &service("b.example.com", "{number: 80, name: http, protocol: HTTP}"))?;
        watch.wait_for_complaint("Envoy refuses `envoy.d/ecds/portolan.json`", 0)?;
        let back = poll(LINE, || (world.contents().ok()? == contents(&before)).then_some(()));
        ensure!(back.is_some(), "what was there is not there again");
        assert_eq!(KeepAlive::connect(world.http()?)?.path("a.example.com")?, "/1");
        assert!(watch.is_quiet());
        fs::write(&module, fs::read(places::module()?)?)?;
        world.save("rules.yaml", &rewrite("a.example.com", "/2", ""))?;
        let line = watch.line(LINE)?;
        assert!(line.contains("added ServiceEntry default/b.example.com"), "{line}");
        assert_eq!(KeepAlive::connect(world.http()?)?.path("a.example.com")?, "/2");
        Ok(())
    })
}

/// The contents of files, without the times of their changes.
fn contents(files: &[(String, SystemTime, String)]) -> Vec<(String, String)> {
    files.iter().map(|(name, _, content)| (name.clone(), content.clone())).collect()
}

#[test]
fn an_envoy_that_cannot_be_asked_is_given_time() -> Result<()> {
    let world = World::newest()?;
    let watch = world.envoy.watch_at(([127, 0, 0, 1], 1).into())?;
    watch.line(LINE)?;
    world.save("b.yaml", &service("b.example.com", "{number: 80, name: http, protocol: HTTP}"))?;
    let began = Instant::now();
    watch.line(LINE)?;
    // Between clusters and the filter's config.
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(watch.complaints().contains("doesn't answer"), "{}", watch.complaints());
    let served = poll(LINE, || {
        (KeepAlive::connect(world.http().ok()?).ok()?.get("b.example.com").ok()?.status == 200).then_some(())
    });
    ensure!(served.is_some(), "not in force");
    Ok(())
}

/// Started before Envoy, it writes what Envoy starts with; started again, it touches nothing.
#[test]
fn it_starts_on_files_that_are_there_and_on_none() -> Result<()> {
    let world = World::newest()?;
    let files = world.files()?;
    let watch = world.envoy.watch()?;
    assert!(watch.line(LINE)?.starts_with(NOTHING));
    drop(watch);
    assert_eq!(world.files()?, files);
    fs::remove_dir_all(world.envoy.output())?;
    let watch = world.envoy.watch()?;
    let line = watch.line(LINE)?;
    assert!(line.starts_with("written for an Envoy that starts with `envoy.yaml`"), "{line}");
    assert_eq!(world.contents()?, contents(&files));
    Ok(())
}

#[test]
fn changes_under_load_lose_nothing() -> Result<()> {
    // About half a second each.
    let changes = match std::env::var("PORTOLAN_CHANGES") {
        Ok(number) => number.parse().context("PORTOLAN_CHANGES")?,
        Err(_) => 60,
    };
    let newest = places::envoy_versions()?.pop().unwrap_or_default();
    // Filter chains that are no more take memory for so long.
    let world = World::start(&newest, |setup| setup.drain_seconds(5))?;
    load::changes_under_load(&world, changes)
}

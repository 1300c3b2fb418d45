//! The catalogue of hostile input, `testdata/hostile/`, in Envoy: whatever is sent, no request reaches an
//! upstream that the registry doesn't allow, and none ends the VM. `make hostile` prints the counts.
//!
//! `CASES=authority` in the environment runs only the files whose path holds that text.

#[path = "hostile/catalogue.rs"]
mod catalogue;
#[path = "hostile/client.rs"]
mod client;
#[path = "hostile/http2.rs"]
mod http2;
#[path = "hostile/native.rs"]
mod native;
#[path = "hostile/upstream.rs"]
mod upstream;
#[path = "hostile/verdict.rs"]
mod verdict;
#[path = "hostile/world.rs"]
mod world;

use std::fmt;
use std::iter::Sum;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use portolan_e2e::process::poll;
use portolan_e2e::{Portolan, Setup, places};

use catalogue::{Case, Catalogue};
use native::Native;
use verdict::Verdict;
use world::World;

/// How long an upstream may take to note what arrived.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came of all cases.
#[derive(Debug, Default)]
struct Counts {
    cases: usize,
    allowed: usize,
    by_filter: usize,
    by_envoy: usize,
    closed: usize,
    tunnels: usize,
    by_generator: usize,
    asked_explain: usize,
    unregistered: usize,
    restarts: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cases; requests: {} reached the allowed upstream, {} refused by the filter, {} refused by \
             Envoy, {} closed, {} tunnels begun; {} configurations refused by the generator; explain agrees \
             on {}; unregistered upstream reached: {}, VM restarts: {}",
            self.cases,
            self.allowed,
            self.by_filter,
            self.by_envoy,
            self.closed,
            self.tunnels,
            self.by_generator,
            self.asked_explain,
            self.unregistered,
            self.restarts,
        )
    }
}

#[test]
fn no_request_gets_where_it_should_not() -> Result<()> {
    let versions = places::envoy_versions()?;
    let files = catalogue::load()?;
    let start = Instant::now();
    let work: Vec<_> =
        versions.iter().flat_map(|version| files.iter().map(move |file| (version, file))).collect();
    let next = AtomicUsize::new(0);
    // Most of the time is spent waiting for answers.
    let worker = || {
        let mut runs = Vec::new();
        while let Some((version, (name, text))) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            let oldest = versions.len() > 1 && versions.first() == Some(*version);
            let mut run = Run { version, oldest, counts: Counts::default(), failures: Vec::new() };
            if let Err(error) = run.file(name, text) {
                run.failures.push(format!("{error:#}"));
            }
            println!("hostile: Envoy {version}, {name}: {} cases", run.counts.cases);
            run.failures
                .iter_mut()
                .for_each(|failure| *failure = format!("Envoy {version}: {name}: {failure}"));
            runs.push(run);
        }
        runs
    };
    let runs: Vec<Run<'_>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    let mut failures: Vec<&String> = runs.iter().flat_map(|run| &run.failures).collect();
    failures.sort();
    for version in &versions {
        let of_version = runs.iter().filter(|run| run.version == version);
        println!("hostile: Envoy {version}: {}", of_version.map(|run| &run.counts).sum::<Counts>());
    }
    let total: Counts = runs.iter().map(|run| &run.counts).sum();
    println!("hostile: all, in {:.0} s: {total}", start.elapsed().as_secs_f64());
    ensure!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        Vec::from_iter(failures.iter().map(|it| it.as_str())).join("\n")
    );
    ensure!(total.unregistered == 0 && total.restarts == 0, "see the counts");
    Ok(())
}

/// How many files run at a time.
const WORKERS: usize = 4;

/// One file in one Envoy.
struct Run<'a> {
    version: &'a str,
    oldest: bool,
    counts: Counts,
    failures: Vec<String>,
}

impl Run<'_> {
    fn file(&mut self, name: &str, text: &str) -> Result<()> {
        let catalogue = catalogue::read(name, text, &[("ADMIN", 0), ("TRAP", 0), ("LISTENER", 0)])?;
        self.counts.cases += catalogue.cases.len();
        if let Some(report) = native::generated(&catalogue)? {
            self.counts.by_generator += report.runs();
            self.failures.extend(report.failures);
        }
        if catalogue.cases.iter().all(|case| case.resources.is_some()) {
            return Ok(());
        }
        let native = Native::of(&catalogue)?;
        let world = World::start(native.plan())?;
        let setup = self.setup(&catalogue, &world)?;
        let finished = setup.generate()?;
        ensure!(finished.success(), "config-gen generate failed: {finished}");
        world.write_certificates(native.plan(), &setup.output())?;
        let portolan = setup.start_as_generated()?;
        let first = *listeners(&catalogue).first().unwrap_or(&None);
        let ports = [
            ("ADMIN", portolan.envoy.admin_addr().port()),
            ("TRAP", world.trap.address.port()),
            ("LISTENER", listener(&portolan, first)?.port()),
        ];
        let catalogue = catalogue::read(name, text, &ports)?;
        let plain = catalogue.cases.first();
        let mut read = 0;
        let requests = catalogue.cases.iter().filter(|case| case.resources.is_none());
        for case in requests.chain(plain) {
            let verdict = self.case(&portolan, &world, case, first, &mut read);
            let mut verdict = verdict.unwrap_or_else(|error| Verdict::failed(format!("{error:#}")));
            verdict.explain(&native, case, case.to.or(first), self.oldest);
            self.counts.add(&verdict);
            self.failures.extend(verdict.problems.iter().map(|problem| format!("{}: {problem}", case.name)));
        }
        self.end(&portolan, &world, &catalogue)
    }

    fn setup(&self, catalogue: &Catalogue, world: &World) -> Result<Setup> {
        let mut setup = Setup::new(self.version)?.yaml(&catalogue.resources)?;
        for port in listeners(catalogue) {
            setup = match port {
                Some(port) => setup.option("--listen", format!("{port}=127.0.0.1:0")),
                None => setup.option("--explicit-proxy", "127.0.0.1:0"),
            };
        }
        for option in &catalogue.options {
            setup = setup.flag(option);
        }
        let guarded = catalogue.options.iter().any(|option| option == "allow-any");
        Ok(world.add_to(setup, guarded))
    }

    fn case(
        &self,
        portolan: &Portolan,
        world: &World,
        case: &Case,
        first: Option<u16>,
        read: &mut usize,
    ) -> Result<Verdict> {
        let outcomes = case.outcomes(self.oldest);
        for name in outcomes.iter().filter_map(|outcome| outcome.upstream.as_ref()) {
            world.check_name(name)?;
        }
        world.book.set_answer(case.answer.as_deref().map(catalogue::bytes).transpose()?);
        let address = listener(portolan, case.to.or(first))?;
        let t0 = Instant::now();
        let answers = client::send(address, case, outcomes)?;
        if t0.elapsed().as_millis() > 300 {
            println!("SLOW {} {:?}", case.name, t0.elapsed());
        }
        let wanted = outcomes.iter().filter(|outcome| outcome.upstream.is_some()).count();
        poll(PATIENCE, || (world.book.arrivals().len() >= wanted).then_some(()));
        if outcomes.iter().any(|outcome| outcome.begun.is_some()) {
            thread::sleep(Duration::from_millis(50));
        }
        let mut lines = Vec::new();
        poll(PATIENCE, || {
            let (new, end) = portolan.access_log_from(*read);
            *read = end;
            lines.extend(new);
            verdict::are_logged(outcomes, &lines).then_some(())
        });
        let arrivals = std::mem::take(&mut *world.book.arrivals());
        Ok(Verdict::of(outcomes, &answers, &arrivals, &lines))
    }

    /// Nothing has reached what it should not, and the VM is as it was.
    fn end(&mut self, portolan: &Portolan, world: &World, catalogue: &Catalogue) -> Result<()> {
        let late: Vec<_> = world.book.arrivals().drain(..).collect();
        self.failures.extend(late.iter().map(|arrival| format!("arrived late: {arrival:?}")));
        let strange = world.strange_questions();
        let asks = catalogue.options.iter().any(|option| option == "allow-any");
        if !strange.is_empty() && !asks {
            self.failures.push(format!("DNS was asked for {strange:?}"));
        }
        let lines = portolan.access_log();
        let elsewhere = lines.iter().filter_map(|line| line["upstream"].as_str());
        let elsewhere: Vec<&str> =
            elsewhere.filter(|at| !at.starts_with("envoy://") && world.at(at).is_none()).collect();
        self.counts.unregistered += world.trap.connections() + late.len();
        self.failures.extend(elsewhere.iter().map(|at| format!("Envoy dialled {at}")));
        let stats = portolan.envoy.stats()?;
        let reloads = stats.iter().filter(|(name, _)| name.contains(".vm_reload"));
        self.counts.restarts += reloads.map(|(_, count)| count).sum::<u64>();
        let log = portolan.envoy.log();
        for sign in ["panicked", "[critical]", "Function: proxy_"] {
            self.failures.extend(log.lines().filter(|line| line.contains(sign)).map(str::to_owned));
        }
        Ok(())
    }
}

/// In the order in which they come first; none is the explicit proxy.
fn listeners(catalogue: &Catalogue) -> Vec<Option<u16>> {
    match catalogue.ports.is_empty() {
        true => vec![None],
        false => catalogue.ports.iter().copied().map(Some).collect(),
    }
}

fn listener(portolan: &Portolan, port: Option<u16>) -> Result<std::net::SocketAddr> {
    match port {
        Some(port) => portolan.listener(port),
        None => portolan.envoy.listener_addr("explicit_proxy"),
    }
}

impl<'a> Sum<&'a Counts> for Counts {
    fn sum<I: Iterator<Item = &'a Counts>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, one| Self {
            cases: sum.cases + one.cases,
            allowed: sum.allowed + one.allowed,
            by_filter: sum.by_filter + one.by_filter,
            by_envoy: sum.by_envoy + one.by_envoy,
            closed: sum.closed + one.closed,
            tunnels: sum.tunnels + one.tunnels,
            by_generator: sum.by_generator + one.by_generator,
            asked_explain: sum.asked_explain + one.asked_explain,
            unregistered: sum.unregistered + one.unregistered,
            restarts: sum.restarts + one.restarts,
        })
    }
}

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        self.allowed += verdict.allowed;
        self.by_filter += verdict.by_filter;
        self.by_envoy += verdict.by_envoy;
        self.closed += verdict.closed;
        self.tunnels += verdict.tunnels;
        self.asked_explain += usize::from(verdict.explained);
        self.unregistered += verdict.elsewhere;
    }
}

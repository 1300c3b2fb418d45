//! What a process costs, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// The CPU time of a process so far, user and system, all threads.
///
/// From `/proc/PID/task/*/schedstat`: nanoseconds, the sum over the threads that
/// live now. That is right for Envoy, which keeps its threads until it ends, and
/// wrong for a program whose threads come and go. Where the kernel does not keep
/// it, from `/proc/PID/stat`: clock ticks, mostly of 10 ms.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    match cpu_time_of_threads(pid) {
        Some(time) if !time.is_zero() => Ok(time),
        _ => cpu_time_in_ticks(pid),
    }
}

/// The resident memory of a process, in bytes (`VmRSS`).
pub fn rss(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("no VmRSS in {path}"))? * 1024)
}

/// How many file descriptors a process has open.
pub fn file_descriptors(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/fd");
    let open = fs::read_dir(&path).with_context(|| format!("read {path}"))?;
    Ok(open.count() as u64)
}

fn cpu_time_of_threads(pid: u32) -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanoseconds))
}

fn cpu_time_in_ticks(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The name, in parentheses, may itself have spaces and parentheses. After
    // it, `utime` is field 14 of the whole and `stime` field 15.
    let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let [user, system] =
        [fields.get(11), fields.get(12)].map(|field| field.and_then(|ticks| ticks.parse::<u64>().ok()));
    let (Some(user), Some(system)) = (user, system) else {
        bail!("{path} has no CPU times");
    };
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?
        .and_then(|ticks| u64::try_from(ticks).ok())
        .context("the system does not say how long a clock tick is")?;
    Ok(Duration::from_millis((user + system) * 1000 / per_second))
}

//! Processor time: how much a container gets that wants all of it.
//!
//! Times are compared with each other and with the kernel's own count of throttled periods, never with what an idle
//! machine would give.

use super::{case, keyed, read, requires, start};
use crate::failure::{Failure, Verdict};
use crate::registry::Case;
use crate::{Container, Ctx, cgroup, ensure, ensure_eq};
use serde_json::json;
use std::thread::sleep;
use std::time::{Duration, Instant};

const BURN: &[&str] = &["burn", "1000"];
const STAT: (&str, &str) = ("cpu", "cpu.stat");
const PERIOD: f64 = 0.1;

pub fn cases() -> Vec<Case> {
    vec![
        case("cpu-quota-holds", &["RCPU-03"], quota),
        case("cpu-quota-lifted-and-lowered", &["RCPU-03", "UPD-01"], quota_changes).practice(),
        case("cpu-weight-divides", &["RCPU-01", "UPD-01"], weight),
        case("cpu-idle-steps-back", &["RCPU-01", "UPD-01"], idle).practice(),
        case("cpu-burst-is-granted", &["RCPU-03"], burst).practice(),
        case("cpuset-confines", &["RCPU-09", "UPD-01"], cpuset),
        case("pause-stops-the-clock", &["ST-05"], pause).practice(),
    ]
}

/// Seconds of processor time that the container has used.
fn used(c: &Container<'_>) -> Result<f64, Failure> {
    let text = read(c, ("cpuacct", "cpuacct.usage"), "cpu.stat")?;
    if cgroup::is_unified() {
        Ok(keyed(&text, "usage_usec") as f64 / 1e6)
    } else {
        Ok(text.parse::<f64>().unwrap_or(0.0) / 1e9)
    }
}

/// What a container did in a while.
struct Window {
    seconds: f64,
    used: f64,
    periods: u64,
    throttled: u64,
}

fn watch(c: &Container<'_>, time: Duration) -> Result<Window, Failure> {
    let counts = || -> Result<(u64, u64), Failure> {
        let text = read(c, STAT, "cpu.stat")?;
        Ok((keyed(&text, "nr_periods"), keyed(&text, "nr_throttled")))
    };
    let (begin, used_before, before) = (Instant::now(), used(c)?, counts()?);
    sleep(time);
    let (used_after, after) = (used(c)?, counts()?);
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Window {
        seconds,
        used: used_after - used_before,
        periods: after.0 - before.0,
        throttled: after.1 - before.1,
    })
}

fn wait_busy(ctx: &Ctx, c: &Container<'_>) -> Verdict {
    let busy = ctx.wait_for(Duration::from_secs(10), || used(c).unwrap_or(0.0) > 0.1);
    ensure!(busy, "the container does not use the processor");
    Ok(())
}

/// Within ten percent, and one period more for where the window begins and ends.
fn quota(ctx: &Ctx) -> Verdict {
    requires("cpu", "cpu")?;
    requires("cpuacct", "cpu")?;
    let c = start(ctx, json!({"cpu": {"quota": 30000, "period": 100_000}}), &[BURN])?;
    wait_busy(ctx, &c)?;
    let share = 0.3;
    for _ in 0..5 {
        let w = watch(&c, Duration::from_secs(3))?;
        let most = share * (w.seconds * 1.1 + PERIOD);
        ensure!(w.used <= most, "used {:.3} s in {:.3} s, want {most:.3} at most", w.used, w.seconds);
        // In a period without throttling the machine itself had no more to give.
        if w.throttled * 10 >= w.periods * 9 && w.periods > 0 {
            let least = share * (w.seconds * 0.9 - PERIOD);
            ensure!(w.used >= least, "used {:.3} s in {:.3} s, want {least:.3} at least", w.used, w.seconds);
            return Ok(());
        }
    }
    Err(Failure::skip("this machine is too busy to give a container 30 % of a processor"))
}

fn quota_changes(ctx: &Ctx) -> Verdict {
    requires("cpu", "cpu")?;
    requires("cpuacct", "cpu")?;
    let c = start(ctx, json!({"cpu": {"quota": 10000, "period": 100_000}}), &[BURN])?;
    wait_busy(ctx, &c)?;
    c.cmd(&["update", "--cpu-quota", "-1"]).ok()?;
    // A period that began before may still end throttled.
    sleep(Duration::from_millis(200));
    ensure_eq!(watch(&c, Duration::from_secs(1))?.throttled, 0, "throttled periods without a quota");
    wait_busy(ctx, &c)?;
    c.cmd(&["update", "--cpu-quota", "20000", "--cpu-period", "100000"]).ok()?;
    sleep(Duration::from_millis(200));
    let w = watch(&c, Duration::from_secs(3))?;
    let most = 0.2 * (w.seconds * 1.1 + PERIOD);
    ensure!(w.used <= most, "used {:.3} s in {:.3} s, want {most:.3} at most", w.used, w.seconds);
    Ok(())
}

/// Two containers that want all of one processor.
fn rivals<'c>(ctx: &'c Ctx, cpu: [serde_json::Value; 2]) -> Result<[Container<'c>; 2], Failure> {
    requires("cpu", "cpu")?;
    requires("cpuacct", "cpu")?;
    requires("cpuset", "cpuset")?;
    let [first, second] = cpu.map(|mut cpu| {
        cpu["cpus"] = json!("0");
        start(ctx, json!({"cpu": cpu}), &[BURN])
    });
    Ok([first?, second?])
}

/// How many times more the first got than the second.
fn ratio(both: &[Container<'_>; 2]) -> Result<f64, Failure> {
    let before = [used(&both[0])?, used(&both[1])?];
    sleep(Duration::from_secs(4));
    let got = [used(&both[0])? - before[0], used(&both[1])? - before[1]];
    Ok(got[0] / got[1].max(0.001))
}

fn weight(ctx: &Ctx) -> Verdict {
    let both = rivals(ctx, [json!({"shares": 2048}), json!({"shares": 512})])?;
    let weight = |c| -> Result<f64, Failure> {
        Ok(read(c, ("cpu", "cpu.shares"), "cpu.weight")?.parse().unwrap_or(0.0))
    };
    let near = |got: f64, want: f64| (want * 0.75..want * 1.25).contains(&got);
    let want = weight(&both[0])? / weight(&both[1])?;
    ensure!(want > 2.0, "the weights differ by a factor of {want:.2}");
    let got = ratio(&both)?;
    ensure!(near(got, want), "one got {got:.2} times as much as the other, want {want:.2}");
    both[0].cmd(&["update", "--cpu-share", "512"]).ok()?;
    let got = ratio(&both)?;
    ensure!(near(got, 1.0), "one got {got:.2} times as much as the other after the update");
    Ok(())
}

fn idle(ctx: &Ctx) -> Verdict {
    let both = rivals(ctx, [json!({"shares": 1024}), json!({"shares": 1024})])?;
    if read(&both[1], ("cpu", "cpu.idle"), "cpu.idle").is_err() {
        return Err(Failure::skip("no cpu.idle"));
    }
    both[1].cmd(&["update", "--cpu-idle", "1"]).ok()?;
    let got = ratio(&both)?;
    ensure!(got > 5.0, "the other got only {got:.2} times as much as the idle one");
    both[1].cmd(&["update", "--cpu-idle", "0"]).ok()?;
    let got = ratio(&both)?;
    ensure!(got < 2.0, "the other still gets {got:.2} times as much");
    Ok(())
}

/// What was not used in the periods before, may be used on top of the quota.
fn burst(ctx: &Ctx) -> Verdict {
    requires("cpu", "cpu")?;
    let (rest, work): (&[&str], &[&str]) = (&["sleep", "0.5"], &["burn", "0.3"]);
    let steps = [rest, work, rest, work, rest, work, &["sleep"]];
    let c = start(ctx, json!({"cpu": {"quota": 20000, "period": 100_000, "burst": 20000}}), &steps)?;
    ensure_eq!(read(&c, ("cpu", "cpu.cfs_burst_us"), "cpu.max.burst")?, "20000", "burst");
    let bursts = || keyed(&read(&c, STAT, "cpu.stat").unwrap_or_default(), "nr_bursts");
    if ctx.wait_for(Duration::from_secs(15), || bursts() > 0) {
        return Ok(());
    }
    let stat = read(&c, STAT, "cpu.stat")?;
    if keyed(&stat, "nr_throttled") == 0 {
        return Err(Failure::skip("the machine is too busy for anybody to use up a quota"));
    }
    Err(Failure::new(format!("no burst: {stat}")))
}

fn cpuset(ctx: &Ctx) -> Verdict {
    requires("cpuset", "cpuset")?;
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err(Failure::skip("one processor"));
    }
    let c = start(ctx, json!({"cpu": {"cpus": "1"}}), &[&["sleep"]])?;
    let allowed = || -> Result<String, Failure> {
        let status = c.proc_file("status")?;
        let line = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
        Ok(line.unwrap_or_default().trim().to_owned())
    };
    ensure_eq!(allowed()?, "1", "processors of init");
    c.cmd(&["update", "--cpuset-cpus", "0"]).ok()?;
    ensure_eq!(allowed()?, "0", "processors of init after the update");
    ensure_eq!(c.exec_facts(&[])?.status("Cpus_allowed_list"), "0", "processors of an exec");
    Ok(())
}

fn pause(ctx: &Ctx) -> Verdict {
    requires("cpuacct", "cpu")?;
    let c = start(ctx, json!({}), &[BURN])?;
    wait_busy(ctx, &c)?;
    c.cmd(&["pause"]).ok()?;
    let before = used(&c)?;
    sleep(Duration::from_millis(500));
    ensure_eq!(used(&c)?, before, "seconds used while paused");
    c.cmd(&["resume"]).ok()?;
    ensure!(ctx.wait_for(Duration::from_secs(10), || used(&c).unwrap_or(0.0) > before), "it does not go on");
    Ok(())
}

//! Many cycles, half of them interrupted at a random moment: nothing may be left.

use crate::failure::Verdict;
use crate::registry::Case;
use crate::{Container, Ctx, Failure, cgroup, ensure, leaks};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("stress/interrupted-cycles", &["LIF-13", "OPS-20"], cycles).practice().limit(600),
        Case::new("stress/parallel-runs", &["ST-04"], parallel).practice().limit(120),
        Case::new("stress/concurrent-deletes", &["OPS-17"], concurrent_deletes).practice(),
    ]
}

/// xorshift64: reproducible with the seed that a failure prints.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn cycles(ctx: &Ctx) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["sleep"]]);
    b.save()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = now.as_nanos() as u64 | 1;
    let mut random = Random(seed);
    let mut create = Duration::from_millis(20);
    for i in 0..ctx.settings.stress_cycles {
        let c = Container::new(ctx, &ctx.id());
        let outcome = if i % 2 == 0 {
            whole(ctx, &b, &c).map(|took| create = took)
        } else {
            // Up to a little longer than a create takes, so that every stage of it is hit.
            let after = Duration::from_micros(random.below(create.as_micros() as u64 * 5 / 4 + 1));
            interrupted(ctx, &b, &c, after)
        };
        outcome.map_err(|e| Failure::new(format!("cycle {i} (seed {seed}): {e}")))?;
    }
    Ok(())
}

/// Gives the time that create took.
fn whole(ctx: &Ctx, b: &crate::Bundle, c: &Container) -> Result<Duration, Failure> {
    let begin = Instant::now();
    ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).ok()?;
    let took = begin.elapsed();
    c.start()?;
    c.delete_force()?;
    gone(ctx, &c.id)?;
    Ok(took)
}

/// SIGKILL for the runtime while it creates, then `delete --force`.
fn interrupted(ctx: &Ctx, b: &crate::Bundle, c: &Container, after: Duration) -> Verdict {
    let running = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn()?;
    std::thread::sleep(after);
    running.kill()?;
    c.delete_force()?;
    gone(ctx, &c.id).map_err(|e| Failure::new(format!("killed after {after:?}: {e}")))
}

/// Nothing of the container exists a moment later.
fn gone(ctx: &Ctx, id: &str) -> Verdict {
    let me = std::process::id() as i32;
    let dead = ctx.wait_for(Duration::from_secs(3), || {
        crate::process::reap_orphans();
        leaks::descendants(me).is_empty()
    });
    ensure!(dead, "processes are left: {:?}", leaks::descendants(me));
    let state = leaks::state_left(&ctx.state_root());
    ensure!(state.is_empty(), "state is left: {state:?}");
    let groups = cgroup::find(id);
    ensure!(groups.is_empty(), "cgroups are left: {groups:?}");
    Ok(())
}

fn parallel(ctx: &Ctx) -> Verdict {
    let b = ctx.bundle()?;
    b.save()?;
    for _ in 0..4 {
        let running = (0..8)
            .map(|_| ctx.rt(["run", "-b"]).arg(&b.dir).arg(ctx.id()).spawn())
            .collect::<Result<Vec<_>, _>>()?;
        for r in running {
            r.finish()?.ok()?;
        }
    }
    Ok(())
}

/// Engines retry: several deletes of one container at the same time.
fn concurrent_deletes(ctx: &Ctx) -> Verdict {
    for _ in 0..5 {
        let c = ctx.sleeper()?;
        let running = (0..4).map(|_| c.cmd(&["delete", "--force"]).spawn()).collect::<Result<Vec<_>, _>>()?;
        let codes: Vec<i32> =
            running.into_iter().map(|r| r.finish().map(|o| o.code())).collect::<Result<_, _>>()?;
        ensure!(codes.contains(&0), "no delete succeeded: {codes:?}");
        // Whoever lost the race may have failed, but nothing may be stuck.
        c.delete_force()?;
        gone(ctx, &c.id)?;
    }
    Ok(())
}

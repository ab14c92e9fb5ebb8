//! Time namespaces whose clocks are set off.

use super::process::in_effect_or_refused;
use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Bundle, Ctx, Facts, Failure, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;

const DAY: u32 = 86_400;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("clocks/{name}"), clauses, body).needs(&[Need::Namespace("time")])
    };
    vec![
        case("uptime", &["TIM-01"], uptime),
        case("negative", &["TIM-01"], negative),
        case("in-a-user-namespace", &["TIM-01", "TIM-02"], user_namespace).needs(&[Need::UserNs]),
        case("with-a-joined-pid-namespace", &["TIM-01"], joined),
        case("exec", &["TIM-01", "NS-03"], exec),
        case("out-of-range-is-refused", &["TIM-01"], out_of_range).practice(),
    ]
}

fn bundle(ctx: &Ctx, offsets: Value) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.set("/linux/namespaces/-", json!({"type": "time"})).set("/linux/timeOffsets", offsets);
    Ok(b)
}

fn days(days: u32) -> Value {
    json!({"boottime": {"secs": days * DAY}})
}

/// Days of `/proc/uptime`.
fn whole_days(uptime: &str) -> Result<u32, Failure> {
    let seconds = uptime.split('.').next().and_then(|s| s.parse::<u32>().ok());
    Ok(seconds.ok_or_else(|| Failure::new(format!("/proc/uptime: {uptime:?}")))? / DAY)
}

fn host_days() -> Result<u32, Failure> {
    whole_days(&fs::read_to_string("/proc/uptime")?)
}

fn later_by_days(f: &Facts, days: u32) -> Verdict {
    let (inside, outside) = (whole_days(f.str("/text"))?, host_days()?);
    ensure!((days..=days + 1).contains(&(inside - outside)), "up for {inside} days, the host for {outside}");
    Ok(())
}

const UPTIME: &[&[&str]] = &[&["read", "/proc/uptime"]];

fn uptime(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, days(500))?;
    b.steps(UPTIME);
    in_effect_or_refused(ctx, &b, "time", |f| later_by_days(f, 500))
}

fn negative(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, json!({"monotonic": {"secs": -1, "nanosecs": 999_999_999}}))?;
    in_effect_or_refused(ctx, &b, "time", |f| {
        let first = f.str("/timens_offsets").lines().next().unwrap_or_default();
        let words: Vec<&str> = first.split_whitespace().collect();
        ensure_eq!(words, ["monotonic", "-1", "999999999"], "timens_offsets");
        Ok(())
    })
}

fn user_namespace(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, days(500))?;
    b.user_namespace(100_000)?.steps(UPTIME);
    in_effect_or_refused(ctx, &b, "time", |f| later_by_days(f, 500))
}

fn joined(ctx: &Ctx) -> Verdict {
    let other = ctx.sleeper()?;
    let mut b = bundle(ctx, days(500))?;
    b.without_namespace("pid");
    b.set("/linux/namespaces/-", json!({"type": "pid", "path": format!("/proc/{}/ns/pid", other.pid)}));
    b.steps(UPTIME);
    in_effect_or_refused(ctx, &b, "time", |f| later_by_days(f, 500))
}

fn exec(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, days(500))?;
    b.steps(&[&["sleep"]]);
    b.save()?;
    let c = crate::Container::new(ctx, &ctx.id());
    let out = ctx.rt(["run", "-d", "-b"]).arg(&b.dir).arg(&c.id).run()?;
    if out.code() != 0 {
        return out.refused(&["time"]).map(drop);
    }
    let out = c.exec(&[], UPTIME).ok()?;
    later_by_days(&Facts::lines(&out.stdout)?[0], 500)
}

/// Before the clock's beginning, and past what the kernel's clocks hold.
fn out_of_range(ctx: &Ctx) -> Verdict {
    for seconds in [-1_000_000_000_000_i64, i64::MAX] {
        let b = bundle(ctx, json!({"boottime": {"secs": seconds}}))?;
        ctx.refuses(&b, &["time"])?;
    }
    Ok(())
}

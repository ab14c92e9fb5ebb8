//! `linux.intelRdt`, on a stand-in for resctrl.

use crate::failure::Verdict;
use crate::registry::{Case, Deviation, Need};
use crate::resctrl::Resctrl;
use crate::{Bundle, Container, Ctx, Failure, ensure, ensure_eq};
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx, &Resctrl) -> Verdict| {
        let body = move |ctx: &Ctx| body(ctx, &Resctrl::mount(ctx)?);
        Case::new(format!("intel-rdt/{name}"), clauses, body).needs(&[Need::File("/dev/fuse")])
    };
    let mut cases = vec![
        case("own-class", &["RDT-01", "RDT-13", "RDT-17"], own_class),
        case("absent", &["RDT-03"], absent),
        case("named-class-is-made", &["RDT-04", "RDT-14", "RDT-18"], named_class),
        case("existing-class", &["RDT-15", "RDT-18"], existing_class),
        case("existing-class-without-schema", &["RDT-16"], existing_without_schema),
        case("root-class", &["RDT-05", "RDT-12"], root_class),
        case("order", &["RDT-09", "RDT-10", "RDT-11"], order),
        case("monitoring", &["RDT-19", "RDT-20"], monitoring),
        case("monitoring-in-a-named-class", &["RDT-19", "RDT-18"], monitoring_in_named),
        case("exec", &["RDT-01"], exec),
        case("failed-create", &["LIF-13"], failed_create).practice(),
        case("killed-create", &["LIF-13"], killed_create).practice(),
        case("update", &["UPD-01"], update).practice(),
        case("update-gives-a-class", &["UPD-01"], update_gives).practice(),
        case("update-all-or-nothing", &["UPD-01"], update_all_or_nothing).practice(),
        case("events", &["EVT-01"], events).practice().needs(&[Need::V1("memory")]),
    ];
    let refused: [(&'static str, &'static [&'static str], Value, &'static str); 9] = [
        ("no-such-class", &["RDT-16"], json!({"closID": "gold"}), "gold"),
        ("mismatch", &["RDT-15"], json!({"closID": "made", "l3CacheSchema": "L3:0=ff"}), "intelRdt"),
        ("schema-of-nothing", &["RDT-14"], json!({"l3CacheSchema": "L3:7=f"}), "unknown domain"),
        ("two-lines", &["RDT-06"], json!({"l3CacheSchema": "L3:0=f\nMB:0=20"}), "l3CacheSchema"),
        ("bandwidth-of-cache", &["RDT-07"], json!({"memBwSchema": "L3:0=f"}), "memBwSchema"),
        ("schemata-of-two-lines", &["RDT-08"], json!({"schemata": ["L3:0=f\nL3:1=f"]}), "schemata"),
        ("dots", &["RDT-21"], json!({"closID": "..", "l3CacheSchema": "L3:0=f"}), "closID"),
        ("slash", &["RDT-21"], json!({"closID": "a/b", "l3CacheSchema": "L3:0=f"}), "closID"),
        ("name-of-the-kernel", &["RDT-21"], json!({"closID": "info", "l3CacheSchema": "L3:0=f"}), "intelRdt"),
    ];
    cases.extend(refused.into_iter().map(|(name, clauses, rdt, word)| {
        let name = format!("intel-rdt/refused-{name}");
        let body = move |ctx: &Ctx| refused_with(ctx, &Resctrl::mount(ctx)?, &rdt, word);
        Case::new(name, clauses, body).needs(&[Need::File("/dev/fuse")])
    }));
    for case in &mut cases {
        for runtime in ["runc", "crun"] {
            let reason = "takes only a mount of the type resctrl, not a stand-in";
            case.deviations.push(Deviation { runtime, version: "1", reason });
        }
    }
    cases
}

fn bundle(ctx: &Ctx, rdt: Value) -> Result<Bundle, Failure> {
    let mut b = ctx.bundle()?;
    b.set("/linux/intelRdt", rdt).steps(&[&["sleep"]]);
    Ok(b)
}

/// A class that somebody else has made, with another schema than the default.
fn premade(name: &str) -> Verdict {
    std::fs::create_dir(format!("{}/{name}", crate::resctrl::ROOT))?;
    std::fs::write(format!("{}/{name}/schemata", crate::resctrl::ROOT), "L3:0=3\n")?;
    Ok(())
}

fn in_tasks(r: &Resctrl, group: &str, pid: i32) -> Verdict {
    let tasks = r.read(&format!("{group}/tasks"))?;
    ensure!(tasks.lines().any(|l| l == pid.to_string()), "{pid} is not in {group}: {tasks:?}");
    Ok(())
}

fn refused_with(ctx: &Ctx, r: &Resctrl, rdt: &Value, word: &str) -> Verdict {
    premade("made")?;
    ctx.refuses(&bundle(ctx, rdt.clone())?, &[word])?;
    ensure!(!r.tree().log.iter().any(|l| l.starts_with("rmdir made")), "removed what others made");
    ensure_eq!(r.read("made/schemata")?, "MB:0= 100;1= 100\n    L3:0=00003;1=fffff", "the other class");
    let left: Vec<String> = groups(r).into_iter().filter(|g| g != "made").collect();
    ensure!(left.is_empty(), "groups are left: {left:?}");
    Ok(())
}

/// The classes that there are besides the root.
fn groups(r: &Resctrl) -> Vec<String> {
    let made = |l: &String| l.strip_prefix("mkdir ").map(str::to_owned);
    let made: Vec<String> = r.tree().log.iter().filter_map(made).collect();
    made.into_iter().filter(|g| r.has(g)).collect()
}

fn own_class(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let c = ctx.start(&bundle(ctx, json!({"l3CacheSchema": "L3:0=f;1=ff"}))?)?;
    in_tasks(r, &c.id, c.pid)?;
    let want = "MB:0= 100;1= 100\n    L3:0=0000f;1=000ff";
    ensure_eq!(r.read(&format!("{}/schemata", c.id))?, want, "schemata");
    c.delete_force()?;
    ensure!(groups(r).is_empty(), "groups are left: {:?}", groups(r));
    Ok(())
}

fn absent(ctx: &Ctx, r: &Resctrl) -> Verdict {
    ctx.sleeper()?.delete_force()?;
    ensure!(r.tree().log.is_empty(), "resctrl was touched: {:?}", r.tree().log);
    Ok(())
}

fn named_class(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let c = ctx.start(&bundle(ctx, json!({"closID": "gold", "memBwSchema": "MB:0=20"}))?)?;
    in_tasks(r, "gold", c.pid)?;
    c.delete_force()?;
    ensure!(r.has("gold"), "a named class is not the container's to remove");
    ensure_eq!(r.read("gold/schemata")?, "MB:0=  20;1= 100\n    L3:0=fffff;1=fffff", "schemata");
    Ok(())
}

fn existing_class(ctx: &Ctx, r: &Resctrl) -> Verdict {
    premade("silver")?;
    let c = ctx.start(&bundle(ctx, json!({"closID": "silver", "l3CacheSchema": "L3:0=3"}))?)?;
    in_tasks(r, "silver", c.pid)?;
    c.delete_force()?;
    ensure!(r.has("silver"), "an existing class is not the container's to remove");
    let writes = r.tree().log.iter().filter(|l| l.starts_with("silver/schemata")).count();
    ensure_eq!(writes, 1, "writes to the schemata of an existing class, the first of which is this case's");
    Ok(())
}

fn existing_without_schema(ctx: &Ctx, r: &Resctrl) -> Verdict {
    premade("silver")?;
    let c = ctx.start(&bundle(ctx, json!({"closID": "silver"}))?)?;
    in_tasks(r, "silver", c.pid)
}

fn root_class(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let c = ctx.start(&bundle(ctx, json!({"closID": "/"}))?)?;
    ensure!(r.read("tasks")?.lines().any(|l| l == c.pid.to_string()), "not in the root group");
    c.delete_force()?;
    ensure!(!r.tree().log.iter().any(|l| l.contains("schemata")), "wrote schemata: {:?}", r.tree().log);
    Ok(())
}

fn order(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let rdt = json!({"schemata": ["L3:1=3", "MB:1=70"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f"});
    let c = ctx.start(&bundle(ctx, rdt)?)?;
    let log = r.tree().log.clone();
    let wanted = [
        format!("mkdir {}", c.id),
        format!("{}/schemata < L3:0=f\nMB:0=20\nL3:1=3\nMB:1=70", c.id),
        format!("{}/tasks < {}", c.id, c.pid),
    ];
    ensure_eq!(log, wanted, "what was done");
    Ok(())
}

fn monitoring(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let c = ctx.start(&bundle(ctx, json!({"enableMonitoring": true}))?)?;
    in_tasks(r, &c.id, c.pid)?;
    in_tasks(r, &format!("{0}/mon_groups/{0}", c.id), c.pid)?;
    c.delete_force()?;
    ensure!(groups(r).is_empty(), "groups are left: {:?}", groups(r));
    Ok(())
}

fn monitoring_in_named(ctx: &Ctx, r: &Resctrl) -> Verdict {
    premade("silver")?;
    let c = ctx.start(&bundle(ctx, json!({"closID": "silver", "enableMonitoring": true}))?)?;
    let group = format!("silver/mon_groups/{}", c.id);
    in_tasks(r, &group, c.pid)?;
    c.delete_force()?;
    ensure!(r.has("silver"), "an existing class is not the container's to remove");
    ensure!(!r.has(&group), "the group that counts is left");
    Ok(())
}

fn exec(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let c = ctx.start(&bundle(ctx, json!({"enableMonitoring": true}))?)?;
    let pid_file = ctx.scratch().join("exec.pid");
    let options = ["--detach", "--pid-file", &pid_file.to_string_lossy()];
    c.exec(&options, &[&["sleep"]]).ok()?;
    let pid = std::fs::read_to_string(&pid_file)?.parse().unwrap_or(0);
    in_tasks(r, &c.id, pid)?;
    in_tasks(r, &format!("{0}/mon_groups/{0}", c.id), pid)
}

/// Something later fails: what was made goes, what was there stays.
fn failed_create(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let mut b = bundle(ctx, json!({"closID": "gold", "memBwSchema": "MB:0=20", "enableMonitoring": true}))?;
    b.set("/process/args", json!(["/no/such/program"]));
    ctx.fails(&b)?;
    ensure!(groups(r).is_empty(), "groups are left: {:?}", groups(r));
    Ok(())
}

/// The runtime is killed while a hook runs; `delete --force` finds the groups.
fn killed_create(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let mut b = bundle(ctx, json!({"enableMonitoring": true}))?;
    let log = ctx.scratch().join("log");
    b.hook("prestart", ctx, &log, "here", &["sleep", "60"]).save()?;
    let c = Container::new(ctx, &ctx.id());
    let running = ctx.rt(["create", "-b"]).arg(&b.dir).arg(&c.id).spawn()?;
    let hook: Value = serde_json::from_str(ctx.wait_file(&log)?.trim())?;
    ensure!(r.has(&c.id), "no group by the time of hooks");
    running.kill()?;
    c.delete_force()?;
    crate::sys::kill(hook["pid"].as_i64().unwrap_or(0) as i32, libc::SIGKILL)?;
    ensure!(groups(r).is_empty(), "groups are left: {:?}", groups(r));
    Ok(())
}

fn update(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let c = ctx.start(&bundle(ctx, json!({"l3CacheSchema": "L3:0=f"}))?)?;
    c.cmd(&["update", "--l3-cache-schema", "L3:0=ff;1=f", "--mem-bw-schema=MB:1=30"]).ok()?;
    let file = format!("{}/schemata", c.id);
    ensure_eq!(r.read(&file)?, "MB:0= 100;1=  30\n    L3:0=000ff;1=0000f", "schemata");
    for (flag, value, word) in [
        ("--l3-cache-schema", "MB:0=20", "l3-cache-schema"),
        ("--mem-bw-schema", "MB:0=1", "invalid value"),
        ("--mem-bw-schema", "MB:0", "missing"),
    ] {
        c.cmd(&["update", flag, value]).run()?.refused(&[word])?;
    }
    ensure_eq!(r.read(&file)?, "MB:0= 100;1=  30\n    L3:0=000ff;1=0000f", "schemata after refusals");
    Ok(())
}

fn update_gives(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let mut b = ctx.bundle()?;
    b.steps(&[&["children", "2", "keep"], &["sleep"]]);
    let c = ctx.start(&b)?;
    c.lines(1)?;
    c.cmd(&["update", "--mem-bw-schema", "MB:0=1"]).run()?.refused(&["invalid value"])?;
    ensure!(groups(r).is_empty(), "groups are left: {:?}", groups(r));
    c.cmd(&["update", "--mem-bw-schema", "MB:0=30"]).ok()?;
    let out = c.cmd(&["ps", "--format", "json"]).ok()?;
    let pids: Vec<i32> = serde_json::from_str(&out.stdout)?;
    ensure_eq!(pids.len(), 3, "processes");
    pids.iter().try_for_each(|pid| in_tasks(r, &c.id, *pid))?;
    c.delete_force()?;
    ensure!(groups(r).is_empty(), "groups are left: {:?}", groups(r));
    Ok(())
}

fn update_all_or_nothing(ctx: &Ctx, r: &Resctrl) -> Verdict {
    let c = ctx.start(&bundle(ctx, json!({"l3CacheSchema": "L3:0=f"}))?)?;
    let args = ["update", "--l3-cache-schema", "L3:0=ff", "--cpuset-cpus", "4094"];
    c.cmd(&args).run()?.refused(&["cpus"])?;
    ensure_eq!(
        r.read(&format!("{}/schemata", c.id))?,
        "MB:0= 100;1= 100\n    L3:0=0000f;1=fffff",
        "schemata"
    );
    Ok(())
}

fn events(ctx: &Ctx, _r: &Resctrl) -> Verdict {
    let c = ctx.start(&bundle(ctx, json!({"l3CacheSchema": "L3:0=f", "enableMonitoring": true}))?)?;
    let event = c.cmd(&["events", "--stats"]).ok()?.json()?;
    let want = json!({
        "l3_cache_info": {"cbm_mask": "fffff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=fffff;1=fffff",
        "l3_cache_schema": "L3:0=0000f;1=fffff",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8},
        "mem_bw_schema_root": "MB:0= 100;1= 100",
        "mem_bw_schema": "MB:0= 100;1= 100",
        "mbm_stats": [
            {"mbm_total_bytes": 700, "mbm_local_bytes": 500}, {"mbm_total_bytes": 1400, "mbm_local_bytes": 1000}
        ],
        "cmt_stats": [{"llc_occupancy": 4096}, {"llc_occupancy": 8192}]
    });
    ensure_eq!(event["data"]["intel_rdt"], want, "intel_rdt");
    let plain = ctx.sleeper()?.cmd(&["events", "--stats"]).ok()?.json()?;
    ensure_eq!(plain["data"]["intel_rdt"], json!({}), "intel_rdt of a container without groups");
    Ok(())
}

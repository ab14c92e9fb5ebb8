//! Devices of the host that move into the container.

use crate::failure::Verdict;
use crate::net::{GLOBAL, LINK, address, devices, pair};
use crate::registry::Case;
use crate::{Bundle, Ctx, Failure, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;

const MTU: u32 = 1400;
const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";
/// The same as `/proc/net/if_inet6` has it.
const V6_IN_PROC: &str = "20010db8000000000000000000000001";

pub fn cases() -> Vec<Case> {
    let case = |name: &str, clauses, body: fn(&Ctx) -> Verdict| {
        Case::new(format!("net-device/{name}"), clauses, body)
    };
    vec![
        case("moved-and-renamed", &["NET-01", "NET-02", "NET-05", "NET-08"], moved),
        case("keeps-its-name", &["NET-02"], keeps_name),
        case("keeps-global-addresses", &["NET-06", "NET-07"], keeps_addresses),
        case("name-template", &["NET-04"], template),
        case("name-taken", &["NET-03", "LIF-13"], name_taken),
        case("two-of-one-name", &["NET-03"], two_of_one_name),
        case("into-a-joined-namespace", &["NET-01", "NET-10"], joined),
        case("stays-inside-at-delete", &["NET-10"], stays_inside),
        case("left-alone-after-create", &["NET-09"], left_alone),
        case("returned-when-create-fails", &["LIF-13"], returned),
        case("stays-where-it-is", &["NET-03"], immovable),
        case("without-a-network-namespace", &["NET-11"], without_namespace).practice(),
        case("in-the-runtime's-own-namespace", &["NET-11"], own_namespace).practice(),
    ]
}

/// A device `v0` with an address of either family, and a bundle that takes it along.
fn bundle(ctx: &Ctx, device: Value) -> Result<Bundle, Failure> {
    pair("v0", MTU)?;
    address("v0", V4, 24, GLOBAL)?;
    address("v0", V6, 64, GLOBAL)?;
    let mut b = ctx.bundle()?;
    b.set("/linux/netDevices", json!({"v0": device}));
    Ok(b)
}

fn is_here() -> Verdict {
    ensure!(devices()?.contains(&"v0".to_owned()), "v0 is gone: {:?}", devices()?);
    let routes = fs::read_to_string("/proc/thread-self/net/fib_trie")?;
    ensure!(routes.contains(V4), "v0 has lost {V4}: {routes}");
    let addresses = fs::read_to_string("/proc/thread-self/net/if_inet6")?;
    ensure!(addresses.contains(V6_IN_PROC), "v0 has lost {V6}: {addresses}");
    Ok(())
}

fn moved(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({"name": "eth7"}))?;
    let read = |file: &str| format!("/sys/class/net/eth7/{file}");
    let files = [read("mtu"), read("flags"), read("tx_queue_len")];
    b.steps(&[&["read", &files[0]], &["read", &files[1]], &["read", &files[2]], &["ls", "/sys/class/net"]]);
    let seen = ctx.run_steps(&b)?;
    ensure_eq!(seen[0].str("/text").trim(), MTU.to_string(), "mtu");
    let flags = u32::from_str_radix(seen[1].str("/text").trim().trim_start_matches("0x"), 16);
    ensure!(flags.is_ok_and(|flags| flags & 1 == 1), "not up: {:?}", seen[1]);
    ensure_eq!(seen[2].str("/text").trim(), "1000", "length of the queue");
    let names = seen[3].get("/names").as_array().cloned().unwrap_or_default();
    ensure!(!names.contains(&json!("v0")), "the old name is there too: {names:?}");
    Ok(())
}

fn keeps_name(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({}))?;
    b.steps(&[&["read", "/sys/class/net/v0/mtu"], &["sleep"]]);
    let c = ctx.start(&b)?;
    ensure_eq!(c.lines(1)?[0].str("/text").trim(), MTU.to_string(), "mtu");
    ensure!(!devices()?.contains(&"v0".to_owned()), "v0 is still outside");
    Ok(())
}

fn keeps_addresses(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({"name": "eth7"}))?;
    address("v0", "169.254.7.7", 16, LINK)?;
    b.steps(&[&["read", "/proc/net/fib_trie"], &["read", "/proc/net/if_inet6"]]);
    let seen = ctx.run_steps(&b)?;
    ensure!(seen[0].str("/text").contains(V4), "{V4} is lost: {}", seen[0].str("/text"));
    ensure!(!seen[0].str("/text").contains("169.254.7.7"), "an address of the link was taken along");
    ensure!(seen[1].str("/text").contains(V6_IN_PROC), "{V6} is lost: {}", seen[1].str("/text"));
    Ok(())
}

fn template(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({"name": "net%d"}))?;
    b.steps(&[&["ls", "/sys/class/net"]]);
    let seen = ctx.run_steps(&b)?;
    let names = seen[0].get("/names").as_array().cloned().unwrap_or_default();
    let numbered = |name: &Value| {
        let number = name.as_str().and_then(|name| name.strip_prefix("net"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    ensure!(names.iter().any(numbered), "the kernel has numbered no device: {names:?}");
    Ok(())
}

fn name_taken(ctx: &Ctx) -> Verdict {
    let b = bundle(ctx, json!({"name": "lo"}))?;
    ctx.refuses(&b, &["netDevices"])?;
    is_here()
}

fn two_of_one_name(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({"name": "eth7"}))?;
    b.set("/linux/netDevices/v0p", json!({"name": "eth7"}));
    ctx.refuses(&b, &["netDevices"])?;
    is_here()
}

/// The namespace is another container's, and outlives the one that brings the device.
fn joined(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({"name": "eth7"}))?;
    let other = ctx.sleeper()?;
    b.without_namespace("network");
    b.set("/linux/namespaces/-", json!({"type": "network", "path": format!("/proc/{}/ns/net", other.pid)}));
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    c.delete_force()?;
    let out = other.exec(&[], &[&["read", "/sys/class/net/eth7/mtu"]]).ok()?;
    ensure!(out.stdout.contains(&MTU.to_string()), "the device is not there: {}", out.stdout);
    ensure!(!devices()?.contains(&"v0".to_owned()), "v0 was moved out again");
    Ok(())
}

/// What is changed inside after `create` stays so, whatever the runtime is asked to do.
fn left_alone(ctx: &Ctx) -> Verdict {
    const OWN: &str = "1300";
    const FILE: &str = "sys/class/net/eth7/mtu";
    let mut b = bundle(ctx, json!({"name": "eth7"}))?;
    let mounts = b.config["mounts"].as_array_mut().into_iter().flatten();
    mounts.filter(|m| m["destination"] == "/sys").for_each(|m| m["options"] = json!(["nosuid"]));
    b.steps(&[&["sleep"]]);
    let c = ctx.create(&b)?;
    fs::write(format!("/proc/{}/root/{FILE}", c.pid), OWN)?;
    c.start()?;
    c.cmd(&["pause"]).ok()?;
    c.cmd(&["resume"]).ok()?;
    let out = c.exec(&[], &[&["read", &format!("/{FILE}")]]).ok()?;
    ensure!(out.stdout.contains(OWN), "the runtime has set the mtu again: {}", out.stdout);
    Ok(())
}

fn stays_inside(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({}))?;
    b.steps(&[&["sleep"]]);
    let c = ctx.start(&b)?;
    c.delete_force()?;
    ensure!(!devices()?.contains(&"v0".to_owned()), "v0 was moved out again");
    Ok(())
}

fn returned(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({"name": "eth7"}))?;
    b.set("/hooks/createRuntime", json!([{"path": "/bin/false"}]));
    ctx.fails(&b)?;
    is_here()
}

fn immovable(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({"name": "eth7"}))?;
    b.set("/linux/netDevices/lo", json!({"name": "lo7"}));
    ctx.refuses(&b, &["netDevices.lo", "lo"])?;
    is_here()
}

fn without_namespace(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({}))?;
    b.without_namespace("network");
    ctx.refuses(&b, &["netDevices"])?;
    is_here()
}

fn own_namespace(ctx: &Ctx) -> Verdict {
    let mut b = bundle(ctx, json!({"name": "eth7"}))?;
    b.without_namespace("network");
    let path = format!("/proc/{}/ns/net", std::process::id());
    b.set("/linux/namespaces/-", json!({"type": "network", "path": path}));
    ctx.refuses(&b, &["netDevices"])?;
    is_here()
}

//! `seccomp record`, which only corten has: the profile of a program lets that program run in a container.

use crate::failure::Verdict;
use crate::registry::{Case, Need};
use crate::{Ctx, Failure, ensure, ensure_eq};
use serde_json::{Value, json};
use std::fs;

const BUSYBOX: &str = "/bin/busybox";

/// Makes, writes, reads and lists with children; `$0` is busybox, `$1` a directory.
const SCRIPT: &str = "$0 mkdir $1/one && echo text > $1/one/file && read word < $1/one/file && \
                      echo $word | $0 cat && $0 ls $1/one";

pub fn cases() -> Vec<Case> {
    let needs = [Need::Root, Need::X86_64, Need::File(BUSYBOX)];
    vec![Case::new("seccomp-record/lets-the-program-run", &[], lets_it_run).practice().needs(&needs)]
}

fn lets_it_run(ctx: &Ctx) -> Verdict {
    if ctx.rt(["seccomp", "record", "--help"]).run()?.code() != 0 {
        return Err(Failure::skip("the runtime has no `seccomp record`"));
    }
    let (profile, directory) = (ctx.scratch().join("profile.json"), ctx.scratch().join("outside"));
    fs::create_dir(&directory)?;
    let record = ctx.rt(["seccomp", "record", "-o"]).arg(&profile).args(["--", BUSYBOX, "sh", "-c", SCRIPT]);
    let out = record.arg(BUSYBOX).arg(&directory).run()?;
    ensure_eq!((out.code(), out.stdout.as_str()), (0, "text\nfile\n"), "{out:?}");
    let mut profile: Value = serde_json::from_str(&fs::read_to_string(profile)?)?;

    let mut bundle = ctx.bundle()?;
    fs::copy(BUSYBOX, bundle.path("busybox"))?;
    bundle.writable();
    bundle.set("/process/args", json!(["/busybox", "sh", "-c", SCRIPT, "/busybox", "/tmp"]));
    bundle.set("/linux/seccomp", profile.clone());
    for no_new_privileges in [true, false] {
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let out = ctx.run(&bundle)?;
        ensure_eq!((out.code(), out.stdout.as_str()), (0, "text\nfile\n"), "{out:?}");
        fs::remove_dir_all(bundle.path("tmp/one"))?;
    }

    // What it is about: with one call less it does not.
    let names = profile["syscalls"][0]["names"].as_array_mut();
    let names = names.ok_or_else(|| Failure::new("no rule in the profile"))?;
    ensure!(names.is_sorted_by_key(|name| name.as_str()), "the names are in no order: {names:?}");
    names.retain(|name| name != "mkdir");
    bundle.set("/linux/seccomp", profile);
    let out = ctx.run(&bundle)?;
    ensure!(out.code() == 1 && out.stderr.contains("Operation not permitted"), "{out:?}");
    Ok(())
}

//! `exec`: join the namespaces and the cgroup of a running container, and start /bin/true there.

use std::ffi::CStr;

use crate::cgroup::Cgroup;
use crate::{Doing, Failure, run, sys};

const NAMESPACES: i32 = libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP;

/// Runs /bin/true beside process `pid`; the answer is its exit status.
pub fn exec(pid: &CStr, cgroup: &Cgroup) -> Result<i32, Failure> {
    let number = pid.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let pidfd = sys::pidfd_open(number).doing("open the container's process")?;
    cgroup.enter(0).doing("enter the cgroup")?;
    sys::setns(pidfd, NAMESPACES).doing("join the namespaces")?;
    let child = sys::clone3(0, None).doing("clone")?;
    if child == 0 {
        let failure = become_true();
        let text = format!("corten-bench-floor: {}: errno {}\n", failure.doing, failure.errno.0);
        let _ = sys::write(2, text.as_bytes());
        sys::exit(255);
    }
    Ok(sys::wait(child).doing("wait")?.0)
}

fn become_true() -> Failure {
    let credentials = || {
        sys::setsid().doing("setsid")?;
        run::drop_privileges()
    };
    match credentials() {
        Ok(()) => Failure { doing: "exec", errno: sys::exec(c"/bin/true", c"true") },
        Err(failure) => failure,
    }
}

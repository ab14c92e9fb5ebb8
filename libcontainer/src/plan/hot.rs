//! Mounts that are added to a running container, or removed from it → operations.

use corten_init::{Join, Op, Usher};

use super::{Arena, Builder, Compiled, Demand, Origin, Request, clean, clone_flags, is_root_outside, mounts};
use crate::config::NamespaceKind;
use crate::error::ConfigError;

/// What is done with the mounts of the request's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HotMounts {
    /// Make them.
    Add,
    /// Unmount what is at their destinations, last one first.
    Remove,
}

/// Compiles a process that joins the container, does this, and ends.
///
/// # Errors
///
/// As [`super::compile_create`] for mounts.
pub fn compile_mounts<'a>(
    arena: &'a Arena,
    r: &Request<'_>,
    what: HotMounts,
) -> Result<Compiled<'a>, ConfigError> {
    let mut b = Builder::new(arena);
    let spaces = &r.valid.namespaces;
    let kinds = clone_flags(spaces);
    let fd = b.demand(Demand::Container);
    let usher =
        (kinds != 0).then(|| Usher { joins: arena.slice(&[Join { fd, kinds }]), drops_groups: false });
    if spaces.has(NamespaceKind::User) {
        b.step(Op::BecomeRoot, "root of the user namespace");
    }
    b.step(Op::Conceal, "conceal");
    b.step(Op::PresentRoot, "root directory");
    match what {
        HotMounts::Add => mounts::lower_mounts(&mut b, r)?,
        HotMounts::Remove => remove_mounts(&mut b, r),
    }
    b.step(Op::Ready { gate: None }, "end");
    b.step(Op::End, "end");
    let protects = is_root_outside(r.host, spaces, r.valid.config.linux.as_ref());
    Ok(b.finish(usher, 0, &[], protects))
}

fn remove_mounts(b: &mut Builder<'_>, r: &Request<'_>) {
    for (index, mount) in r.valid.config.mounts.iter().enumerate().rev() {
        let target = b.arena.cstr(&clean(&mount.destination));
        let place = mount.destination.clone();
        b.push(Op::Unmount { target }, Origin::Mount { index, place, params: Vec::new() });
    }
}

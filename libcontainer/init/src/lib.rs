//! What runs in a new container between `clone3` and `execve`.
//!
//! The parent compiles a bundle into a [`Plan`]; this crate carries it out. A raw `clone3` skips libc's fork handlers,
//! so in a child of a multi-threaded program any lock, the allocator's above all, may be held by a thread that does
//! not exist any more. Hence the rules, which are correctness and not style:
//!
//! * `no_std` and no `alloc`: this crate has no allocator to call;
//! * no formatting: the child answers with numbers ([`Frame`]) that the parent turns into words;
//! * no libc: rustix talks to the kernel directly, and what it lacks is in [`sys`];
//! * paths inside the rootfs are resolved once, to a descriptor, and then only the descriptor is used.
#![no_std]
#![deny(unsafe_code)]

pub mod bpf;
mod channel;
mod clocks;
mod console;
mod copy_up;
mod frame;
mod identity;
mod mounts;
mod nodes;
mod own_binary;
mod paths;
mod plan;
mod program;
mod remount;
mod run;
mod stdio;
#[allow(unsafe_code)]
pub mod sys;
mod walk;

pub use frame::{Frame, Phase, Step, Verb};
pub use nodes::is_null;
pub use own_binary::{OwnBinary, Segment};
pub use plan::*;
pub use run::{Launch, launch, park};

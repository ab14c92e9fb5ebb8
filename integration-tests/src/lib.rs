//! A black-box conformance and regression harness for OCI runtimes.
//!
//! Every [`Case`] drives the runtime under test only through its command line, looks at the container from
//! outside (`/proc`, cgroupfs, files) and from inside (the static [probe](crate::runtime::Settings::probe)),
//! and names the clauses of the runtime specification that it judges.
//!
//! Each case runs in a process of its own: that process is a subreaper, so whatever a runtime forgets to
//! kill ends up as its child and is reported as a leak; the same goes for mounts, cgroups, state files and
//! file descriptors.
//!
//! Two front ends share this crate: the binary `corten-conformance`, which takes any runtime, and the test
//! target `conformance`, which judges the workspace's own `corten` under `cargo test`.

#![deny(unsafe_code)]

pub mod agent;
pub mod bundle;
pub mod cases;
pub mod cgroup;
pub mod clauses;
pub mod container;
pub mod context;
pub mod differential;
pub mod driver;
pub mod facts;
pub mod failure;
pub mod faults;
pub mod host;
pub mod junit;
pub mod leaks;
pub mod mountinfo;
pub mod net;
pub mod page;
pub mod process;
pub mod pty;
pub mod record;
pub mod registry;
pub mod report;
pub mod resctrl;
pub mod runtime;
pub mod sys;

pub use bundle::Bundle;
pub use container::Container;
pub use context::Ctx;
pub use facts::Facts;
pub use failure::{Failure, Verdict};
pub use registry::{Case, Level, Need};

//! libcontainer: compile an OCI bundle into a plan, and launch it.
//!
//! ```text
//! bytes ──parse──> Config ──validate──> Valid ──compile──> Plan ──prepare──> Prepared ──launch──> Container
//! ```
//!
//! Data flows one way, and every arrow is one function. Up to the plan nothing touches the machine; the plan can be
//! printed and compared; a child that cannot allocate (the crate `corten-init`) carries it out.
#![deny(unsafe_code)]

pub mod cgroup;
pub mod config;
pub mod error;
pub mod features;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod hooks;
pub mod host;
pub mod launch;
pub mod ops;
pub mod plan;
pub mod resctrl;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod validate;

pub use error::{Error, Result};

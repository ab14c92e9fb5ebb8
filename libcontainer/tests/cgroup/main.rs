//! Cgroups on the real kernel: the machine's own layout, and pure version 2 in a private mount namespace.
//!
//! Needs root. A test that cannot run here prints why.

mod delegation;
mod fixture;
mod life;
mod limits;
mod sys;

//! libcontainer: compile an OCI bundle into a plan, and launch it.
#![deny(unsafe_code)]

//! The code that runs between clone and exec: no allocator, no locks, no formatting.
#![no_std]

pub mod bpf;

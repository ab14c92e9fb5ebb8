//! Run by the build script: whether a program that starts by `start.rs` can do what it should, with the C library
//! of this build. Silent and successful if so.

#[path = "start.rs"]
mod start;

use std::cell::Cell;
use std::ffi::{CStr, c_char};

unsafe extern "C" {
    fn gnu_get_libc_version() -> *const c_char;
}

thread_local!(static NUMBER: Cell<u32> = const { Cell::new(7) });

fn main() {
    // SAFETY: a C string that is part of the program.
    let version = unsafe { CStr::from_ptr(gnu_get_libc_version()) }.to_str().unwrap();
    let minor: u32 = version.strip_prefix("2.").unwrap().split('.').next().unwrap().parse().unwrap();
    assert!((36..=43).contains(&minor), "nobody has looked at version {version}");
    assert_eq!(std::env::args().nth(1).as_deref(), Some("argument"));
    assert_eq!(std::env::var("CORTEN_PROBE").as_deref(), Ok("1"));
    threads();
    memory();
    assert!(std::fs::metadata("/nowhere/at/all").is_err());
    assert_eq!(format!("{:.3}", 2.0_f64.sqrt()), "1.414");
}

fn threads() {
    NUMBER.set(8);
    let there = std::thread::spawn(|| NUMBER.get()).join().unwrap();
    assert_eq!((there, NUMBER.get()), (7, 8));
}

/// Sizes on both sides of each threshold.
fn memory() {
    for size in [0, 1, 31, 4096, 100_000, 1 << 20, (3 << 20) + 5] {
        let first: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
        let mut second = vec![1; size + 1];
        second[1..].copy_from_slice(&first);
        assert_eq!(first, second[1..]);
        second.copy_within(1.., 0);
        assert_eq!(first, second[..size]);
        second.fill(3);
        assert!(second.iter().all(|byte| *byte == 3));
    }
}

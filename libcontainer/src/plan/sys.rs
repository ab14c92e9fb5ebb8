//! The one unsafe block of the plan's compiler.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_char;

use corten_init::sys::StringTable;

/// Wraps pointers that [`super::Arena::string_table`] took from C strings of lifetime `'a`.
pub(super) fn string_table<'a>(pointers: &'a [Cell<*const c_char>]) -> StringTable<'a> {
    // SAFETY: the only caller passes `CStr::as_ptr` of strings that live for `'a`, and a null at the end.
    let table = unsafe { StringTable::new(pointers) };
    table.expect("the caller ends the table with a null")
}

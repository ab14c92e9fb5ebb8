//! Where the plan's strings live: one bump allocation that the child inherits.

use std::cell::Cell;
use std::ffi::{CStr, c_char};

use bumpalo::Bump;
use corten_init::sys::StringTable;

/// Owner of everything that a plan borrows.
#[derive(Debug, Default)]
pub struct Arena(Bump);

impl Arena {
    /// An empty arena.
    #[must_use]
    pub fn new() -> Arena {
        Arena(Bump::with_capacity(16 * 1024))
    }

    /// A C string. Strings of a checked configuration have no null byte; were there one, the string would end there.
    pub fn cstr(&self, text: &(impl AsRef<[u8]> + ?Sized)) -> &CStr {
        let text = text.as_ref();
        let bytes = self.0.alloc_slice_fill_copy(text.len() + 1, 0u8);
        bytes[..text.len()].copy_from_slice(text);
        CStr::from_bytes_until_nul(bytes).unwrap_or(c"")
    }

    /// A copy of bytes.
    pub fn bytes(&self, bytes: &[u8]) -> &[u8] {
        self.0.alloc_slice_copy(bytes)
    }

    /// A value.
    pub fn value<T: Copy>(&self, value: T) -> &T {
        self.0.alloc(value)
    }

    /// The elements of a vector.
    pub fn slice<T: Copy>(&self, values: &[T]) -> &[T] {
        self.0.alloc_slice_copy(values)
    }

    /// A table of strings for execve(2).
    pub fn string_table<'a>(&'a self, strings: impl IntoIterator<Item = &'a CStr>) -> StringTable<'a> {
        let pointers = strings.into_iter().map(CStr::as_ptr).chain([std::ptr::null::<c_char>()]);
        let cells: Vec<Cell<*const c_char>> = pointers.map(Cell::new).collect();
        super::sys::string_table(self.0.alloc_slice_fill_iter(cells))
    }
}

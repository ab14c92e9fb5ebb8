//! The heap of a process that lives for milliseconds.
//!
//! A command allocates some 60 KiB in all, and then ends. Given back one by one, blocks cost more than they are worth:
//! after the container's process has been cloned, every page in which the C library's allocator notes a free block is
//! copied first. So blocks come from one stretch of memory, in a row, and stay; only the newest one can grow or be
//! given back. Commands that live longer (`events`, `run` in the foreground) go on with the C library's allocator once
//! the stretch is used up, and are no worse off than without it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the stretch: several times what a `run` of a container with an engine's configuration needs.
const SIZE: usize = 256 << 10;

#[global_allocator]
static HEAP: Heap = Heap { stretch: Stretch(UnsafeCell::new([0; SIZE])), used: AtomicUsize::new(0) };

/// Aligned to pages, so that it shares none with other variables.
#[repr(align(4096))]
struct Stretch(UnsafeCell<[u8; SIZE]>);

// SAFETY: bytes are handed out once, to one owner; `Heap::used` decides to whom.
unsafe impl Sync for Stretch {}

struct Heap {
    stretch: Stretch,
    /// How many bytes from the beginning are taken.
    used: AtomicUsize,
}

impl Heap {
    fn start(&self) -> *mut u8 {
        self.stretch.0.get().cast()
    }

    /// Where a block is in the stretch, if it is.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        block.addr().checked_sub(self.start().addr()).filter(|offset| *offset < SIZE)
    }

    /// Makes a block at `offset` end elsewhere, if it is the newest one.
    fn resize_newest(&self, offset: usize, old: usize, new: usize) -> bool {
        let (Some(end), Some(wanted)) = (offset.checked_add(old), offset.checked_add(new)) else {
            return false;
        };
        wanted <= SIZE
            && self.used.compare_exchange(end, wanted, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

// SAFETY: a block from the stretch lies inside it, is aligned, and overlaps no other, since `used` only ever moves past
// the end of the newest block or back to that block's own beginning; all else is the system's allocator.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let offset = used.next_multiple_of(layout.align());
            // The stretch is aligned to a page; what wants more goes elsewhere.
            let end = offset.saturating_add(layout.size());
            if end > SIZE || layout.align() > 4096 {
                // SAFETY: the caller's promises are the same.
                return unsafe { System.alloc(layout) };
            }
            match self.used.compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: `offset` is inside the stretch.
                Ok(_) => return unsafe { self.start().add(offset) },
                Err(now) => used = now,
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(offset) => drop(self.resize_newest(offset, layout.size(), 0)),
            // SAFETY: what is not from the stretch is from the system.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: what is not from the stretch is from the system.
            return unsafe { System.realloc(block, layout, new_size) };
        };
        if self.resize_newest(offset, layout.size(), new_size) {
            return block;
        }
        // SAFETY: the caller promises that the new size, too, makes a layout; the blocks do not overlap, and both are at
        // least as long as what is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

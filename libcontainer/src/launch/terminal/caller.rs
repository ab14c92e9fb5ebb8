//! The terminal of whoever called the runtime.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, Once, TryLockError};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use rustix::process::getpgrp;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{
    OptionalActions, OutputModes, Termios, Winsize, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

/// The modes to go back to, for the hook that runs before a panic aborts.
static ORIGINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Rows and columns of the caller's terminal, if one of the three standard descriptors is one and knows its size.
pub(crate) fn window_size() -> Option<(u16, u16)> {
    let size = winsize()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

fn winsize() -> Option<Winsize> {
    [stdin(), stdout(), stderr()].into_iter().find_map(|fd| tcgetwinsize(fd).ok())
}

/// Gives the container's terminal the size of the caller's; the kernel tells the program by SIGWINCH if that is new.
pub(super) fn copy_size(master: &OwnedFd) {
    if let Some(size) = winsize() {
        // A terminal that has just been closed has no size.
        let _ = tcsetwinsize(master, size);
    }
}

/// Standard input in raw mode, for as long as this lives.
pub(super) struct RawMode {
    raw: Termios,
}

impl RawMode {
    /// Nothing if standard input is no terminal. A runtime in the background is stopped here, as every program that
    /// wants the terminal (termios(3), SIGTTOU), and goes on when it is brought to the foreground.
    pub fn enter() -> Option<RawMode> {
        let original = tcgetattr(stdin()).ok()?;
        let mut raw = original.clone();
        raw.make_raw();
        if !isatty(stdout()) {
            // Whoever gets the output instead may print lines on this terminal.
            raw.output_modes |= original.output_modes & (OutputModes::OPOST | OutputModes::ONLCR);
        }
        restore_before_abort();
        if let Ok(mut slot) = ORIGINAL.lock() {
            *slot = Some(original);
        }
        let mode = RawMode { raw };
        mode.apply();
        Some(mode)
    }

    /// Sets the raw mode (again: a shell sets modes of its own while a job is stopped).
    pub fn apply(&self) {
        let set = unblocked(Signal::SIGTTOU, || tcsetattr(stdin(), OptionalActions::Now, &self.raw));
        if let Err(e) = set {
            log::warn!("cannot set the terminal to raw mode: {e}");
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let original = match ORIGINAL.try_lock() {
        Ok(mut slot) => slot.take(),
        Err(TryLockError::Poisoned(slot)) => slot.into_inner().take(),
        Err(TryLockError::WouldBlock) => None,
    };
    if let Some(original) = original {
        // Fails only if the terminal is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &original);
    }
}

/// With `panic = "abort"` nothing is dropped, and the message of the panic has to be readable.
fn restore_before_abort() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}

/// Stops this process if it may not read the terminal because it is in the background; true if it was that, and is in
/// the foreground now.
pub(super) fn stop_in_background() -> bool {
    if in_foreground() {
        return false;
    }
    // Ignored in an orphaned process group: nobody could bring that back.
    let _ = unblocked(Signal::SIGTTIN, || raise(Signal::SIGTTIN));
    in_foreground()
}

fn in_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// Calls `f` while this signal is not blocked.
fn unblocked<T>(signal: Signal, f: impl FnOnce() -> T) -> T {
    let before = SigSet::from(signal).thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    let value = f();
    if let Ok(before) = before {
        // There is no failure for a mask that was in force before.
        let _ = before.thread_set_mask();
    }
    value
}

//! As much of D-Bus as it takes to talk to a service manager: one connection over a unix socket, method calls, and the
//! signals that were asked for (D-Bus Specification 0.43).
//!
//! Why not a crate: `docs/adr`. What is read comes from a bus daemon, but is not trusted for that: lengths are checked
//! against what is there before anything is reserved, nesting is bounded, and a signal counts only when it is from whom
//! it should be.

mod address;
mod connection;
mod message;
mod value;
mod wire;

#[cfg(test)]
pub(super) mod fake;
#[cfg(test)]
mod tests;

use std::io;

pub(super) use address::Address;
pub(super) use connection::{Connection, Match};
pub(super) use message::{Call, Message};
pub(super) use value::Value;
pub(super) use wire::{MAX_DEPTH, is_object_path, is_signature, is_single_type};

use crate::error::Strerror;

pub(super) type Result<T> = std::result::Result<T, Error>;

/// What can go wrong on a bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A bus address that cannot be read, or names no unix socket.
    #[error("{address:?} is not the address of a bus on a unix socket")]
    Address {
        /// As given.
        address: String,
    },
    /// Nobody listens there.
    #[error("cannot connect to {address}: {}", Strerror(source))]
    Connect {
        /// Where.
        address: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The bus does not take this process for anybody.
    #[error("the bus refused authentication: {answer:?}")]
    Refused {
        /// Its line.
        answer: String,
    },
    /// A socket call, while connected.
    #[error("{doing} the bus: {}", Strerror(source))]
    Io {
        /// `read from` or `write to`.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// No answer.
    #[error("no answer to {what} within {seconds} s")]
    Timeout {
        /// The method or the signal.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Bytes that are no message.
    #[error("malformed message on the bus: {what}")]
    Malformed {
        /// What is wrong with them.
        what: &'static str,
    },
    /// A message that cannot be sent as it is.
    #[error("cannot send a message to the bus: {what}")]
    Unsendable {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A method that failed.
    #[error("{message}")]
    Remote {
        /// The error's name, such as `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// What the other side says about it; its name again if it says nothing.
        message: String,
    },
}

impl Error {
    /// Whether a method failed with the error of this name.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Error::Remote { name, .. } if name == wanted)
    }
}

fn malformed<T>(what: &'static str) -> Result<T> {
    Err(Error::Malformed { what })
}

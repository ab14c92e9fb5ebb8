//! Plan → process: open what the plan demands, clone, and talk to the child until it runs the user's program.

mod error;
mod gate;
mod go;
mod id_maps;
mod idmap;
mod net_devices;
mod network;
pub(crate) mod notify;
mod null;
mod own_binary;
mod prepare;
mod session;
mod signals;
mod sockets;
pub(crate) mod sys;
mod terminal;

pub use error::{Death, InitFailure, LaunchError};
pub(crate) use gate::{Gate, knock};
pub(crate) use go::GoFifo;
#[cfg(feature = "fuzzing")]
pub(crate) use idmap::map_text;
pub(crate) use idmap::write_mappings;
pub use net_devices::NetDeviceError;
pub(crate) use net_devices::NetDevices;
pub(crate) use notify::Notify;
pub(crate) use prepare::{Sources, open_namespace, prepare};
pub(crate) use session::{Event, Session};
pub(crate) use signals::{ForegroundSignals, wait_foreground};
pub(crate) use sockets::{connect_path, send_once, send_pidfd};
pub(crate) use terminal::{ConsoleSocket, Terminal, window_size};

//! A seccomp agent: it listens where `linux.seccomp.listenerPath` points, and answers what filters notify.

use crate::context::Ctx;
use crate::failure::Failure;
use crate::sys::{self, Answer, Notification};
use crate::{ensure, ensure_eq};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often threads look whether the agent is to end.
const TICK: Duration = Duration::from_millis(20);

/// What the agent does with a notification; none is to hang up.
type Policy = fn(&Notification) -> Option<Answer>;

/// What came over one connection.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The container process state.
    pub json: Value,
    /// Descriptors in the first message, and in all later ones together.
    pub descriptors: (usize, usize),
    /// The process was there when the message came.
    pub process_was_alive: bool,
    /// The connection had ended when the last call was notified.
    pub closed: bool,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    messages: Mutex<Vec<Message>>,
    notifications: Mutex<Vec<Notification>>,
    failures: Mutex<Vec<String>>,
}

/// A running agent; it ends when it is dropped.
pub struct Agent {
    /// Its socket.
    pub path: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens on a socket in the case's directory.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start(ctx: &Ctx, policy: Policy) -> Result<Agent, Failure> {
        Agent::start_at(&ctx.scratch().join("agent"), policy)
    }

    /// Listens on this path.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start_at(path: &Path, policy: Policy) -> Result<Agent, Failure> {
        let listener = UnixListener::bind(path)?;
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = thread::spawn(move || theirs.accept(&listener, policy));
        Ok(Agent { path: path.to_owned(), shared, thread: Some(thread) })
    }

    /// Waits until so many messages have come, and gives them.
    ///
    /// # Errors
    /// If fewer come within ten seconds, or more; or if the agent has met an error.
    #[track_caller]
    pub fn messages(&self, ctx: &Ctx, count: usize) -> Result<Vec<Message>, Failure> {
        ctx.wait_for(Duration::from_secs(10), || lock(&self.shared.messages).len() >= count);
        let failures = lock(&self.shared.failures).clone();
        ensure!(failures.is_empty(), "the agent: {failures:?}");
        let messages = lock(&self.shared.messages).clone();
        ensure_eq!(messages.len(), count, "messages to the agent");
        Ok(messages)
    }

    /// What was notified so far.
    pub fn notifications(&self) -> Vec<Notification> {
        lock(&self.shared.notifications).clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    fn accept(self: Arc<Self>, listener: &UnixListener, policy: Policy) {
        let mut threads = Vec::new();
        while !self.ends() {
            if !sys::wait_readable(listener, TICK).unwrap_or(false) {
                continue;
            }
            let Ok((stream, _)) = listener.accept() else { continue };
            let shared = self.clone();
            threads.push(thread::spawn(move || {
                if let Err(failure) = shared.serve(&stream, policy) {
                    lock(&shared.failures).push(failure.to_string());
                }
            }));
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn serve(&self, stream: &UnixStream, policy: Policy) -> Result<(), Failure> {
        let Some((message, listener)) = receive(stream)? else { return Ok(()) };
        let index = {
            let mut messages = lock(&self.messages);
            messages.push(message);
            messages.len() - 1
        };
        let Some(listener) = listener else { return Ok(()) };
        while !self.ends() {
            let events = sys::poll_events(&listener, TICK)?;
            if events & libc::POLLIN != 0 {
                let Some(notification) = sys::receive_notification(&listener)? else { continue };
                lock(&self.messages)[index].closed = is_closed(stream)?;
                lock(&self.notifications).push(notification);
                match policy(&notification) {
                    Some(answer) => sys::answer_notification(&listener, notification.id, answer)?,
                    None => return Ok(()),
                }
            } else if events & libc::POLLHUP != 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The message of a connection. Nothing at all is no message.
fn receive(stream: &UnixStream) -> Result<Option<(Message, Option<OwnedFd>)>, Failure> {
    let (mut bytes, mut fds) = sys::receive_fds(stream)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut later = 0;
    let json: Value = loop {
        match serde_json::from_slice(&bytes) {
            Ok(json) => break json,
            Err(e) if !e.is_eof() => return Err(e.into()),
            Err(_) => {}
        }
        let (more, more_fds) = sys::receive_fds(stream)?;
        ensure!(!more.is_empty(), "half a message: {}", String::from_utf8_lossy(&bytes));
        later += more_fds.len();
        bytes.extend(more);
    };
    let process_was_alive =
        json["pid"].as_i64().is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
    let descriptors = (fds.len(), later);
    let listener = if fds.is_empty() { None } else { Some(fds.remove(0)) };
    Ok(Some((Message { json, descriptors, process_was_alive, closed: false }, listener)))
}

/// Whether the other side has ended the connection, and said no more.
fn is_closed(stream: &UnixStream) -> Result<bool, Failure> {
    Ok(sys::wait_readable(stream, Duration::ZERO)? && sys::receive_fds(stream)?.0.is_empty())
}

//! A connection: authentication, calls and their replies, and the signals that were asked for.

use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use super::address::Address;
use super::message::{Call, ERROR, METHOD_CALL, METHOD_RETURN, Message, PREFIX, SIGNAL};
use super::value::Value;
use super::{Error, Result, malformed};

/// How long a method may take. A busy manager (thousands of units, a reload) needs seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// Signals that came while something else was waited for; an old one goes when there are more.
const MAX_SIGNALS: usize = 1024;
const MAX_LINE: usize = 1024;

/// Which signals a bus shall deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    pub path: &'static str,
    pub interface: &'static str,
    pub member: &'static str,
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Match { path, interface, member } = self;
        write!(f, "type='signal',path='{path}',interface='{interface}',member='{member}'")
    }
}

impl Match {
    fn is(&self, m: &Message) -> bool {
        m.path.as_deref() == Some(self.path)
            && m.interface.as_deref() == Some(self.interface)
            && m.member.as_deref() == Some(self.member)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    serial: u32,
    signals: VecDeque<Message>,
    /// A bus is between, not the service itself.
    is_bus: bool,
}

impl Connection {
    /// Connects to the first address that takes a connection. `is_bus`: it is a bus and not the service itself.
    ///
    /// # Errors
    /// The last address's refusal, or what goes wrong in authentication.
    pub fn open(addresses: &[Address], is_bus: bool) -> Result<Connection> {
        let mut last = Error::Address { address: String::new() };
        for address in addresses {
            match dial(address) {
                Ok(stream) => return Connection::over(stream, is_bus),
                Err(e) => last = Error::Connect { address: address.to_string(), source: e.into() },
            }
        }
        Err(last)
    }

    /// Authenticates on a stream that is connected.
    pub fn over(stream: UnixStream, is_bus: bool) -> Result<Connection> {
        let mut connection = Connection { stream, serial: 0, signals: VecDeque::new(), is_bus };
        connection.authenticate()?;
        if is_bus {
            connection.call_bus("Hello", Vec::new())?;
        }
        Ok(connection)
    }

    /// Asks for no particular id: the server takes the one that the kernel attests. Naming one would be wrong in a user
    /// namespace, where this process does not know who it is outside.
    fn authenticate(&mut self) -> Result<()> {
        let end = Instant::now() + CALL_TIMEOUT;
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", end)?;
        for expected in ["DATA", "OK"] {
            let answer = self.line(end)?;
            if answer.split(' ').next() != Some(expected) {
                return Err(Error::Refused { answer });
            }
        }
        Ok(())
    }

    /// Byte by byte: messages begin right after the last line, and there are two lines.
    fn line(&mut self, end: Instant) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte, end, "authentication")?;
            line.push(byte[0]);
            if line.len() > MAX_LINE {
                return malformed("a line is too long");
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Asks for signals. Without a bus, everybody gets all of them.
    pub fn subscribe(&mut self, rule: Match) -> Result<()> {
        if self.is_bus {
            self.call_bus("AddMatch", vec![Value::string(rule.to_string())])?;
        }
        Ok(())
    }

    fn call_bus(&mut self, member: &str, body: Vec<Value>) -> Result<Message> {
        const BUS: &str = "org.freedesktop.DBus";
        self.call(&Call { destination: BUS, path: "/org/freedesktop/DBus", interface: BUS, member, body })
    }

    /// Calls a method and waits for what it returns.
    ///
    /// # Errors
    /// [`Error::Remote`] if the method fails; what goes wrong on the way.
    pub fn call(&mut self, call: &Call<'_>) -> Result<Message> {
        let end = Instant::now() + CALL_TIMEOUT;
        self.serial += 1;
        let mut message = Message::call(call);
        message.serial = self.serial;
        if !self.is_bus {
            message.destination = None;
        }
        self.write(&message.to_bytes()?, end)?;
        loop {
            let message = self.receive(end, call.member)?;
            match message.kind {
                METHOD_RETURN if message.reply_serial == Some(self.serial) => return Ok(message),
                ERROR if message.reply_serial == Some(self.serial) => return Err(message.into_error()),
                _ => {}
            }
        }
    }

    /// Waits for a signal from `sender` that `wanted` takes. Others are dropped.
    pub fn wait_signal<T>(
        &mut self,
        rule: Match,
        sender: Option<&str>,
        timeout: Duration,
        mut wanted: impl FnMut(&[Value]) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + timeout;
        loop {
            while let Some(signal) = self.signals.pop_front() {
                // Anybody on a bus may send a signal of any name straight to us.
                if rule.is(&signal)
                    && signal.sender.as_deref() == sender
                    && let Some(found) = wanted(&signal.body)
                {
                    return Ok(found);
                }
            }
            if let Err(e) = self.receive(end, rule.member) {
                return Err(match e {
                    Error::Timeout { what, .. } => Error::Timeout { what, seconds: timeout.as_secs() },
                    e => e,
                });
            }
        }
    }

    /// The next message. A signal is kept, too; a call is answered with an error, because nothing here can be called.
    fn receive(&mut self, end: Instant, what: &str) -> Result<Message> {
        let mut prefix = [0; PREFIX];
        self.read(&mut prefix, end, what)?;
        let mut bytes = prefix.to_vec();
        bytes.resize(Message::length(&prefix)?, 0);
        self.read(&mut bytes[PREFIX..], end, what)?;
        let message = Message::from_bytes(&bytes)?;
        match message.kind {
            SIGNAL => {
                if self.signals.len() >= MAX_SIGNALS {
                    self.signals.pop_front();
                }
                self.signals.push_back(message.clone());
            }
            METHOD_CALL => log::debug!("a call of {:?} on the bus is left unanswered", message.member),
            _ => {}
        }
        Ok(message)
    }

    fn read(&mut self, buffer: &mut [u8], end: Instant, what: &str) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.arm(Timeout::Recv, end, what)?;
            match recv(&self.stream, &mut buffer[filled..], RecvFlags::empty()) {
                Ok((0, _)) => {
                    let source = ErrorKind::UnexpectedEof.into();
                    return Err(Error::Io { doing: "read from", source });
                }
                Ok((n, _)) => filled += n,
                // The time is over, which `arm` finds out.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(Error::Io { doing: "read from", source: e.into() }),
            }
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8], end: Instant) -> Result<()> {
        while !bytes.is_empty() {
            self.arm(Timeout::Send, end, "a call")?;
            match send(&self.stream, bytes, SendFlags::NOSIGNAL) {
                Ok(n) => bytes = &bytes[n..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(Error::Io { doing: "write to", source: e.into() }),
            }
        }
        Ok(())
    }

    /// Lets the next system call take no longer than until then.
    fn arm(&self, which: Timeout, end: Instant, what: &str) -> Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout { what: what.to_owned(), seconds: CALL_TIMEOUT.as_secs() });
        }
        let set = set_socket_timeout(&self.stream, which, Some(left.max(Duration::from_millis(1))));
        set.map_err(|e| Error::Io { doing: "set a timeout on", source: e.into() })
    }
}

/// A listener whose queue is full makes connect(2) wait, for no longer than the socket may send.
fn dial(address: &Address) -> rustix::io::Result<UnixStream> {
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(CALL_TIMEOUT))?;
    loop {
        match connect(&socket, &address.to_socket()?) {
            Err(Errno::INTR) => {}
            done => return done.map(|()| UnixStream::from(socket)),
        }
    }
}

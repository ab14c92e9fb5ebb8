//! The parent's end of the protocol.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use corten_init::{Frame, HandOver, Launch, Op, OwnBinary, Phase, Plan, Slot, Verb};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, send, socketpair};
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::error::{Death, InitFailure, LaunchError};
use super::network::hand_network_over;
use super::null::ProtectedNull;
use super::own_binary::ProtectedBinary;
use super::prepare::Prepared;
use super::sockets::receive_descriptor;
use super::sys::{reap, signal};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result, SyscallError};
use crate::plan::{Compiled, Demand, Origin};
use crate::state::process::{ProcessStat, stat};

const INIT: &str = "container init";

/// A process that joins a container is heard of within milliseconds; if not, it may be frozen, which is looked at this
/// often,
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 400_000_000 };
/// and believed if it is seen so many times in a row: a cgroup is also frozen for a moment while its processes are killed.
const PATIENCE: u32 = 5;

/// What the child said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is at a barrier, and waits for [`Session::go`].
    Reached(Phase),
    /// All is made; it waits for [`Session::go`].
    Ready,
    /// The socket is closed: the program runs.
    Running,
}

/// A child that carries out a plan.
pub(crate) struct Session {
    socket: OwnedFd,
    /// In the runtime's pid namespace.
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// When it began, in clock ticks since boot, if that is known already.
    pub start_time: Option<u64>,
    origins: Vec<Origin>,
    program: String,
    /// What errors call the child.
    who: &'static str,
    started: bool,
    /// The cgroup of a container that must not be frozen while a process joins it.
    watched: Option<Cgroup>,
    /// What the container's process said before its usher had announced it.
    early: Option<Frame>,
    /// How the listener of a filter that notifies comes.
    hand_over: Option<HandOver>,
    /// That listener.
    listener: Option<OwnedFd>,
    /// The child has something to ask or to hand over before its program may run.
    asks: bool,
    /// The word to go on after [`Event::Ready`] has been given in advance.
    ahead: bool,
    /// The detached mounts on which the child has found the runtime's program and a null device.
    mounts: [Option<OwnedFd>; 2],
}

impl Session {
    /// Clones. With a directory of a v2 cgroup the child is born in there, where the kernel can.
    pub fn spawn(
        compiled: Compiled<'_>,
        prepared: Prepared,
        cgroup: &Cgroup,
        preserve_fds: u32,
        program: String,
    ) -> Result<Session> {
        Session::spawn_watching(compiled, prepared, cgroup, preserve_fds, program, None)
    }

    /// The same for a process that joins a container with the cgroup `watched`: if that is frozen meanwhile, the
    /// conversation ends with [`LaunchError::Frozen`] instead of waiting for somebody to thaw it.
    pub fn spawn_watching(
        compiled: Compiled<'_>,
        mut prepared: Prepared,
        cgroup: &Cgroup,
        preserve_fds: u32,
        program: String,
        watched: Option<Cgroup>,
    ) -> Result<Session> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(SyscallError::calling("socketpair"))?;
        let protected = if compiled.protects_binary { Some(ProtectedBinary::open()?) } else { None };
        let null = if compiled.protects_binary { ProtectedNull::open(compiled.has_label)? } else { None };
        let own = Own {
            channel: theirs.as_raw_fd(),
            binary: protected.as_ref().map(ProtectedBinary::for_child),
            null: null.as_ref().map(|null| null.file.as_raw_fd()),
        };
        let Child { pid, pidfd, stat } = clone(&compiled, &own, &mut prepared, cgroup, preserve_fds)?;
        drop(theirs);
        drop(prepared);
        let ops = compiled.plan.ops;
        let ushered = compiled.plan.usher.is_some();
        let origins = compiled.origins;
        let joins = compiled.demands.contains(&Demand::Container);
        let who = if joins { "joining process" } else { INIT };
        let hand_over = ops.iter().find_map(|op| match op {
            Op::Seccomp(filter) => filter.listener,
            _ => None,
        });
        let asks = hand_over.is_some() || ops.iter().any(|op| matches!(op, Op::Barrier(_) | Op::Console(_)));
        let session = Session::resume(ours, pid, pidfd, program);
        let start_time = stat.map(|stat| stat.start_time);
        let mut session =
            Session { origins, who, started: false, watched, hand_over, asks, start_time, ..session };
        if ops.iter().any(|op| matches!(op, Op::Network))
            && let Err(error) = hand_network_over(session.socket.as_fd())
        {
            session.kill();
            return Err(error);
        }
        if ushered && let Err(error) = session.follow_usher() {
            if matches!(error, Error::Launch(LaunchError::Frozen)) {
                session.kill();
            }
            return Err(error);
        }
        session.mounts = [protected.and_then(ProtectedBinary::into_mount), null.map(|null| null.mount)];
        Ok(session)
    }

    /// Gives up what the child has taken over by now. To close the last descriptor of a mount that is attached nowhere
    /// takes an RCU grace period: this is for a moment when there is nothing better to do.
    pub fn release(&mut self) {
        self.mounts = [None, None];
    }

    /// Takes part in the conversation of a container that was created earlier.
    pub fn resume(socket: OwnedFd, pid: i32, pidfd: OwnedFd, program: String) -> Session {
        // A process that is past the gate has two things left that can fail, and both name themselves.
        Session {
            socket,
            pid,
            pidfd,
            start_time: None,
            origins: Vec::new(),
            program,
            who: INIT,
            started: true,
            watched: None,
            early: None,
            hand_over: None,
            listener: None,
            asks: true,
            ahead: false,
            mounts: [None, None],
        }
    }

    /// The usher announces the container's process, and ends.
    fn follow_usher(&mut self) -> Result<()> {
        let mut frame = self.receive()?;
        if frame.is_some_and(|f| f.verb != Verb::Spawned) {
            // The container's process is as fast as its usher; or the usher has failed, and nobody follows.
            self.early = frame;
            frame = self.receive()?;
        }
        let usher = self.pidfd.as_fd();
        match frame {
            Some(Frame { verb: Verb::Spawned, value, .. }) => {
                // It is this process's own child (CLONE_PARENT), so the pid stays taken until it is reaped here.
                self.pid = i32::try_from(value).unwrap_or_default();
                let pid = Pid::from_raw(self.pid.max(1)).unwrap_or(Pid::INIT);
                let opened = pidfd_open(pid, PidfdFlags::empty());
                let pidfd = opened.map_err(SyscallError::calling("pidfd_open"))?;
                reap(usher).map_err(SyscallError::calling("waitid"))?;
                self.pidfd = pidfd;
                self.start_time = None;
                Ok(())
            }
            Some(frame) => Err(self.failed(&frame)),
            None => Err(match self.early.take() {
                Some(failure) => self.failed(&failure),
                None => self.died("while it entered the namespaces"),
            }),
        }
    }

    /// Waits for the next word of the child, or for its end.
    pub fn next(&mut self) -> Result<Event> {
        let frame = match self.early.take() {
            Some(frame) => Some(frame),
            None => self.receive()?,
        };
        match frame {
            Some(Frame { verb: Verb::Reached, value, .. }) => match Phase::from_number(value) {
                Some(phase) => Ok(Event::Reached(phase)),
                None => Err(LaunchError::Protocol { verb: "reached" }.into()),
            },
            Some(Frame { verb: Verb::Ready, value, .. }) => self.get_listener(value).map(|()| Event::Ready),
            Some(frame) => Err(self.failed(&frame)),
            None if self.started => Ok(Event::Running),
            None => Err(self.died("while it was set up")),
        }
    }

    /// Gets the listener of a filter that notifies, as the plan has it.
    fn get_listener(&mut self, number: u64) -> Result<()> {
        if self.hand_over == Some(HandOver::Taken) {
            let number: ForeignRawFd = i32::try_from(number).unwrap_or(-1);
            let taken = pidfd_getfd(&self.pidfd, number, PidfdGetfdFlags::empty());
            let call = "linux.seccomp: take the listener, as the filter stops sendmsg: pidfd_getfd";
            self.listener = Some(taken.map_err(SyscallError::calling(call))?);
        }
        match (self.hand_over, &self.listener) {
            (Some(_), None) => Err(LaunchError::Protocol { verb: "no seccomp listener" }.into()),
            _ => Ok(()),
        }
    }

    /// The listener of a filter that notifies, once the child is ready.
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// Lets the child go on.
    pub fn go(&self) -> Result<()> {
        let sent = send(&self.socket, &Frame::new(Verb::Go).to_bytes(), SendFlags::NOSIGNAL);
        match sent {
            // It died meanwhile; `next` finds out how.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(e) => Err(SyscallError::calling("send to container init")(e).into()),
        }
    }

    /// Lets the child run its program as soon as it is ready, without waiting for this process to be woken and to answer:
    /// for when all that has to be there before is there already. Nothing happens where the child will ask for more.
    pub fn go_ahead(&mut self) -> Result<()> {
        if self.asks || self.ahead {
            return Ok(());
        }
        self.go()?;
        self.ahead = true;
        Ok(())
    }

    /// Whether [`Session::go_ahead`] has an effect.
    pub fn may_go_ahead(&self) -> bool {
        !self.asks
    }

    /// Has `enter` put the child, which waits for that and is given by its pid, into its cgroup.
    pub fn enter_cgroup<T>(&mut self, enter: impl FnOnce(i32) -> Result<T>) -> Result<T> {
        match self.next()? {
            Event::Reached(Phase::Cgroup) => {}
            _ => return Err(LaunchError::Protocol { verb: "reached" }.into()),
        }
        let entered = enter(self.pid)?;
        self.go()?;
        Ok(entered)
    }

    /// Has the child moved into a cgroup that it cannot join by itself, and waits outside of.
    pub fn move_into(&mut self, cgroup: &Cgroup) -> Result<()> {
        if !cgroup.needs_manager() {
            return Ok(());
        }
        self.enter_cgroup(|pid| Ok(cgroup.attach_by_manager(pid)?))
    }

    /// Waits until all is made, for a child that has no barriers on the way.
    pub fn await_ready(&mut self) -> Result<()> {
        match self.next()? {
            Event::Ready => Ok(()),
            _ => Err(LaunchError::Protocol { verb: "reached" }.into()),
        }
    }

    /// Gives the last word, and waits until the program runs: from here on that is what the end of the conversation means.
    pub fn start(&mut self) -> Result<()> {
        self.started = true;
        if !self.ahead {
            self.go()?;
        }
        match self.next()? {
            Event::Running => Ok(()),
            _ => Err(LaunchError::Protocol { verb: "reached" }.into()),
        }
    }

    fn failed(&mut self, frame: &Frame) -> crate::Error {
        if frame.verb == Verb::Failed {
            let failure = InitFailure::new(frame, &self.origins, &self.program);
            // It exits by itself after this word.
            let _ = reap(self.pidfd.as_fd());
            LaunchError::Init(failure).into()
        } else {
            LaunchError::Protocol { verb: frame.verb.name() }.into()
        }
    }

    fn died(&mut self, phase: &'static str) -> crate::Error {
        let how = reap(self.pidfd.as_fd()).unwrap_or(Death::Unknown);
        LaunchError::InitDied { who: self.who, phase, how }.into()
    }

    /// One frame; none when the child has closed the socket or died.
    fn receive(&mut self) -> Result<Option<Frame>> {
        let look_again = self.watched.as_ref().map(|_| LOOK_AGAIN);
        let mut frozen = 0;
        loop {
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, look_again.as_ref()) {
                Ok(0) => {
                    let is_frozen = self.watched.as_ref().is_some_and(|c| c.is_frozen().unwrap_or(false));
                    frozen = if is_frozen { frozen + 1 } else { 0 };
                    if frozen == PATIENCE {
                        return Err(LaunchError::Frozen.into());
                    }
                    continue;
                }
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(e) => return Err(SyscallError::calling("poll")(e).into()),
            }
            let mut bytes = [0u8; 64];
            return match receive_descriptor(self.socket.as_fd(), &mut bytes, RecvFlags::DONTWAIT) {
                Ok((0, _)) => Ok(None),
                // It went without having read all, which the kernel says before what it had to say.
                Err(Errno::CONNRESET) => continue,
                Ok((n, descriptor)) => match Frame::from_bytes(&bytes[..n]) {
                    Some(frame) => {
                        self.listener = descriptor.or(self.listener.take());
                        Ok(Some(frame))
                    }
                    None => Err(LaunchError::Protocol { verb: "not a frame" }.into()),
                },
                // Dead, and it had said nothing more. (A child of its own may still hold the socket.)
                Err(Errno::AGAIN) if !fds[1].revents().is_empty() => Ok(None),
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(e) => Err(SyscallError::calling("receive from container init")(e).into()),
            };
        }
    }

    /// Waits for the end of a child whose plan has no program.
    pub fn end(&self) -> Result<()> {
        match reap(self.pidfd.as_fd()).map_err(SyscallError::calling("waitid"))? {
            Death::Exited(0) => Ok(()),
            how => Err(LaunchError::InitDied { who: self.who, phase: "at its end", how }.into()),
        }
    }

    /// Whether the child has ended, reaped or not.
    pub fn has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|n| n > 0)
    }

    /// Kills the child.
    pub fn send_kill(&self) {
        // Fails only when it is gone already.
        let _ = signal(self.pidfd.as_fd(), libc::SIGKILL);
    }

    /// Kills the child and waits for its end.
    pub fn kill(&self) {
        if let Some(cgroup) = self.watched.as_ref().filter(|c| c.is_frozen().unwrap_or(false)) {
            // What is frozen on version 1 does not die. Should this fail, it dies once it is thawed.
            if let Err(e) = cgroup.eject(self.pid) {
                log::warn!("process {} stays until the container is resumed: {e}", self.pid);
                let _ = signal(self.pidfd.as_fd(), libc::SIGKILL);
                return;
            }
        }
        self.send_kill();
        let _ = reap(self.pidfd.as_fd());
    }
}

/// What the child has of the runtime's, besides what its plan demands.
struct Own<'a> {
    channel: RawFd,
    binary: Option<OwnBinary<'a>>,
    null: Option<RawFd>,
}

/// The clone itself; and, where the kernel does not take the cgroup or kills the child in it, once more without it.
fn clone(
    compiled: &Compiled<'_>,
    own: &Own<'_>,
    prepared: &mut Prepared,
    cgroup: &Cgroup,
    preserve_fds: u32,
) -> Result<Child> {
    let plan = &compiled.plan;
    let attempt = |plan: &Plan<'_>, prepared: &Prepared, cgroup: Option<BorrowedFd<'_>>| {
        let slots = prepared.slots();
        let file = own.binary.map(|own| own.file.as_raw_fd());
        let kept = [Some(own.channel), file, own.null];
        let keep = keep_list(&slots, kept.into_iter().flatten(), preserve_fds);
        corten_init::launch(&Launch {
            plan,
            channel: own.channel,
            slots: &slots,
            keep: &keep,
            own_binary: own.binary,
            null: own.null,
            cgroup,
        })
    };
    let unified = if cgroup.needs_manager() { None } else { cgroup.unified_dir()? };
    let child = |(pid, pidfd)| Child { pid, pidfd, stat: None };
    let born = match attempt(plan, prepared, unified).map(child) {
        Ok(child) if unified.is_some() => child.looked_at(),
        Err(errno) if unified.is_some() && REFUSED.contains(&errno) => None,
        done => Some(done.map_err(SyscallError::calling("clone3"))?),
    };
    if let Some(child) = born {
        return Ok(child);
    }
    let files = cgroup.join_fds(false)?.into_iter();
    let cgroups: Vec<Slot> = files.map(|fd| Slot(prepared.add(fd))).collect();
    let plan = Plan { cgroups: &cgroups, ..*plan };
    Ok(attempt(&plan, prepared, None).map(child).map_err(SyscallError::calling("clone3"))?)
}

/// Who was cloned.
struct Child {
    pid: i32,
    pidfd: OwnedFd,
    /// What was seen of it, if it was looked at.
    stat: Option<ProcessStat>,
}

impl Child {
    /// Since Linux 6.14 the kernel kills whom it clones into a cgroup, before its first instruction, if `cgroup.kill` was
    /// not written as often in there as in the cgroup of the caller. Who joins after the clone is safe. Gives nothing,
    /// then, and the child is reaped. (Where something else has killed it that early, it is made once more in vain.)
    fn looked_at(self) -> Option<Child> {
        let stat = stat(self.pid).ok();
        let stillborn = stat.is_some_and(|stat| stat.is_killed) && reap(self.pidfd.as_fd()).is_ok();
        (!stillborn).then_some(Child { stat, ..self })
    }
}

/// What kernels say that do not clone into a cgroup, or not into this one.
const REFUSED: [Errno; 6] =
    [Errno::NOSYS, Errno::TOOBIG, Errno::BUSY, Errno::OPNOTSUPP, Errno::ACCESS, Errno::INVAL];

/// What stays open in the child, sorted.
fn keep_list(slots: &[RawFd], own: impl Iterator<Item = RawFd>, preserve_fds: u32) -> Vec<RawFd> {
    let end = RawFd::try_from(preserve_fds).unwrap_or(RawFd::MAX).saturating_add(3);
    let preserved = (3..end).take(1 << 20);
    let mut keep: Vec<RawFd> = slots.iter().copied().chain(own).chain(preserved).collect();
    keep.sort_unstable();
    keep.dedup();
    keep
}

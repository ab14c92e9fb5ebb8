//! Every system call of the floor program, and its entry point. The only module with `unsafe`.

use std::ffi::{CStr, c_char, c_int, c_long, c_ulong};
use std::ptr::null;

#[cfg(own_start)]
#[path = "../../../runtime-cli/src/sys/start.rs"]
mod start;

/// The `errno` of a failed system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What a system call answers.
pub type Result<T> = std::result::Result<T, Errno>;

fn check(ret: c_long) -> Result<c_long> {
    if ret < 0 {
        // SAFETY: errno's location is valid in every thread.
        return Err(Errno(unsafe { *libc::__errno_location() }));
    }
    Ok(ret)
}

fn pointer(text: Option<&CStr>) -> *const c_char {
    text.map_or(null(), CStr::as_ptr)
}

/// The program starts here and not in Rust's own `main`: the runtime's start-up is no part of the floor.
///
/// # Safety
/// The C runtime calls this once, with the process's argument vector.
// SAFETY: no other symbol of this program is called `main`.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let mut args: Vec<&'static CStr> = Vec::with_capacity(argc as usize);
    for i in 1..argc as usize {
        // SAFETY: argv holds argc NUL-terminated strings that live as long as the process.
        args.push(unsafe { CStr::from_ptr(*argv.add(i)) });
    }
    crate::dispatch(&args)
}

/// mount(2).
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: c_ulong,
    data: Option<&CStr>,
) -> Result<()> {
    // SAFETY: every pointer is null or a NUL-terminated string that outlives the call.
    check(c_long::from(unsafe {
        libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, pointer(data).cast())
    }))
    .map(drop)
}

macro_rules! path_calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $call:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(path: &CStr $(, $arg: $type)*) -> Result<()> {
            let call = $call;
            // SAFETY: the path is NUL-terminated and outlives the call; the other arguments are plain numbers.
            check(c_long::from(unsafe { call(path.as_ptr() $(, $arg)*) })).map(drop)
        }
    )*};
}

path_calls! {
    /// mkdir(2).
    mkdir(mode: libc::mode_t) = libc::mkdir;
    /// rmdir(2).
    rmdir() = libc::rmdir;
    /// unlink(2).
    unlink() = libc::unlink;
    /// chdir(2).
    chdir() = libc::chdir;
    /// umount2(2).
    umount(flags: c_int) = libc::umount2;
    /// mknod(2).
    mknod(mode: libc::mode_t, device: libc::dev_t) = libc::mknod;
}

/// symlink(2).
pub fn symlink(target: &CStr, path: &CStr) -> Result<()> {
    // SAFETY: both are NUL-terminated and outlive the call.
    check(c_long::from(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) })).map(drop)
}

/// rename(2).
pub fn rename(from: &CStr, to: &CStr) -> Result<()> {
    // SAFETY: both are NUL-terminated and outlive the call.
    check(c_long::from(unsafe { libc::rename(from.as_ptr(), to.as_ptr()) })).map(drop)
}

/// pivot_root(".", "."): the old root is left stacked below the new one, where `umount` of "." finds it.
pub fn pivot_root_here() -> Result<()> {
    // SAFETY: both paths are static.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// open(2) with O_CLOEXEC; mode 0600 for a file that it makes.
pub fn open(path: &CStr, flags: c_int) -> Result<c_int> {
    // SAFETY: the path is NUL-terminated and outlives the call.
    check(c_long::from(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) }))
        .map(|fd| fd as c_int)
}

/// close(2).
pub fn close(fd: c_int) {
    // SAFETY: closing a number is memory-safe; no owner of the descriptor exists beside the caller.
    unsafe { libc::close(fd) };
}

/// read(2).
pub fn read(fd: c_int, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is writable for its length.
    check(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) } as c_long)
        .map(|length| length as usize)
}

/// write(2).
pub fn write(fd: c_int, bytes: &[u8]) -> Result<()> {
    // SAFETY: the buffer is valid for its length.
    check(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } as c_long).map(drop)
}

/// pipe2(2) with O_CLOEXEC: the read end, then the write end.
pub fn pipe() -> Result<[c_int; 2]> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both descriptors.
    check(c_long::from(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }))?;
    Ok(ends)
}

/// clone3(2) as fork, with new namespaces, and into the cgroup v2 directory `cgroup` where one is given.
/// Answers 0 in the child.
pub fn clone3(flags: c_int, cgroup: Option<c_int>) -> Result<libc::pid_t> {
    // libc's constant of this name does not fit its type.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: clone_args is plain data, for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd as u64;
    }
    // SAFETY: no CLONE_VM, so the child has a copy of the address space, as after fork; the process has one thread.
    check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) })
        .map(|pid| pid as libc::pid_t)
}

/// wait4(2): the exit status in a shell's terms, and the peak resident size in KiB of the child and of what it waited for.
pub fn wait(pid: libc::pid_t) -> Result<(c_int, c_long)> {
    let mut status = 0;
    // SAFETY: rusage is plain data.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both out-pointers are valid.
    check(c_long::from(unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) }))?;
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    Ok((code, usage.ru_maxrss))
}

/// vfork(2) and execve(2), the environment empty but for PATH and every standard stream /dev/null.
pub fn spawn_quiet(argv: &[&CStr]) -> Result<libc::pid_t> {
    let mut vector: Vec<*const c_char> = argv.iter().map(|arg| arg.as_ptr()).collect();
    vector.push(null());
    let environment = [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(), null()];
    let mut pid = 0;
    // SAFETY: file actions are initialised before use; every pointer outlives the call.
    let failed = unsafe {
        let mut actions: libc::posix_spawn_file_actions_t = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&raw mut actions);
        for fd in 0..=2 {
            libc::posix_spawn_file_actions_addopen(
                &raw mut actions,
                fd,
                c"/dev/null".as_ptr(),
                libc::O_RDWR,
                0,
            );
        }
        libc::posix_spawn(
            &raw mut pid,
            vector[0],
            &raw const actions,
            null(),
            vector.as_ptr().cast(),
            environment.as_ptr().cast(),
        )
    };
    if failed == 0 { Ok(pid) } else { Err(Errno(failed)) }
}

/// vfork(2) and execve(2), with the environment and the descriptors of this process.
pub fn spawn_in_place(argv: &[&CStr]) -> Result<libc::pid_t> {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    let mut vector: Vec<*const c_char> = argv.iter().map(|arg| arg.as_ptr()).collect();
    vector.push(null());
    let mut pid = 0;
    // SAFETY: every pointer outlives the call, and nobody changes the environment.
    let failed = unsafe {
        libc::posix_spawn(&raw mut pid, vector[0], null(), null(), vector.as_ptr().cast(), environ)
    };
    if failed == 0 { Ok(pid) } else { Err(Errno(failed)) }
}

/// Adds to the end of a file, in one write(2); makes it if it is missing.
pub fn append(path: &CStr, bytes: &[u8]) -> Result<()> {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let fd = check(c_long::from(unsafe { libc::open(path.as_ptr(), flags, 0o644) }))?;
    #[allow(clippy::cast_possible_truncation)]
    write(fd as c_int, bytes)
}

/// execve(2); answers only when it failed.
pub fn exec(path: &CStr, argument: &CStr) -> Errno {
    let argv = [argument.as_ptr(), null()];
    let environment = [
        c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(),
        c"TERM=xterm".as_ptr(),
        null(),
    ];
    // SAFETY: both vectors end with null and outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    // SAFETY: errno's location is valid in every thread.
    Errno(unsafe { *libc::__errno_location() })
}

/// _exit(2).
pub fn exit(code: c_int) -> ! {
    // SAFETY: ends the process; nothing of it needs unwinding.
    unsafe { libc::_exit(code) }
}

/// setsid(2).
pub fn setsid() -> Result<()> {
    // SAFETY: no arguments.
    check(c_long::from(unsafe { libc::setsid() })).map(drop)
}

/// sethostname(2).
pub fn sethostname(name: &CStr) -> Result<()> {
    // SAFETY: the buffer is valid for the length given.
    check(c_long::from(unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) })).map(drop)
}

/// keyctl(2): a fresh session keyring.
pub fn join_session_keyring(name: &CStr) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) }).map(drop)
}

/// prctl(2) with two arguments.
pub fn prctl(option: c_int, first: c_ulong, second: c_ulong) -> Result<()> {
    // SAFETY: callers use options whose arguments are numbers.
    check(c_long::from(unsafe { libc::prctl(option, first, second, 0 as c_ulong, 0 as c_ulong) })).map(drop)
}

/// capset(2) of the caller: effective and permitted, and inheritable, as bits below 32.
pub fn capset(permitted: u32, inheritable: u32) -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let data = [permitted, permitted, inheritable, 0, 0, 0];
    // SAFETY: header and data have the layout of version 3: two and six 32-bit words.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// setrlimit(2) of RLIMIT_NOFILE, soft and hard alike.
pub fn limit_open_files(limit: u64) -> Result<()> {
    let value = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: the struct is valid.
    check(c_long::from(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const value) })).map(drop)
}

/// close_range(2): everything above the standard streams goes at exec.
pub fn close_the_rest_on_exec() -> Result<()> {
    // SAFETY: plain numbers; marks descriptors only.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub fn loopback_up() -> Result<()> {
    // SAFETY: plain numbers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(c_long::from(socket))?;
    // SAFETY: ifreq is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is valid for SIOCSIFFLAGS.
    let set = check(c_long::from(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) }));
    close(socket);
    set.map(drop)
}

/// pidfd_open(2).
pub fn pidfd_open(pid: libc::pid_t) -> Result<c_int> {
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(|fd| fd as c_int)
}

/// unshare(2).
pub fn unshare(namespaces: c_int) -> Result<()> {
    // SAFETY: a plain number; the process has one thread.
    check(c_long::from(unsafe { libc::unshare(namespaces) })).map(drop)
}

/// setns(2).
pub fn setns(fd: c_int, namespaces: c_int) -> Result<()> {
    // SAFETY: plain numbers; the process has one thread.
    check(c_long::from(unsafe { libc::setns(fd, namespaces) })).map(drop)
}

/// bpf(2): loads a device program and attaches it to the cgroup directory `cgroup`.
pub fn attach_device_program(instructions: &[u64], cgroup: c_int) -> Result<()> {
    const BPF_PROG_LOAD: c_int = 5;
    const BPF_PROG_ATTACH: c_int = 8;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u64 = 15;
    const BPF_CGROUP_DEVICE: u64 = 6;
    const BPF_F_ALLOW_MULTI: u64 = 2;
    // union bpf_attr of BPF_PROG_LOAD: type and count, instructions, licence, and no log.
    let load: [u64; 6] = [
        BPF_PROG_TYPE_CGROUP_DEVICE | ((instructions.len() as u64) << 32),
        instructions.as_ptr() as u64,
        c"Apache".as_ptr() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: the attribute has the layout above and its pointers outlive the call.
    let program =
        check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, load.as_ptr(), size_of_val(&load)) })?
            as c_int;
    // union bpf_attr of BPF_PROG_ATTACH: target and program, attach type and flags.
    let attach: [u64; 2] =
        [cgroup as u64 | ((program as u64) << 32), BPF_CGROUP_DEVICE | (BPF_F_ALLOW_MULTI << 32)];
    // SAFETY: the attribute has the layout above.
    let attached = check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, attach.as_ptr(), size_of_val(&attach))
    });
    close(program);
    attached.map(drop)
}

/// umask(2).
pub fn umask(mask: libc::mode_t) {
    // SAFETY: plain number.
    unsafe { libc::umask(mask) };
}

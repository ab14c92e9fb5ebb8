//! The container's cgroup: one directory on v2, one in every hierarchy on v1.

use std::ffi::{CStr, CString, c_int};

use crate::sys;

/// Devices that `runc spec` bundles may use, as the runtimes' default list has them: major, minor (or any).
const ALLOWED_CHARACTER_DEVICES: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (10, Some(200)),
    (136, None),
];

/// The same list in the words of v1's `devices.allow`; mknod is allowed for every device.
const V1_DEVICE_RULES: [&[u8]; 11] = [
    b"c *:* m",
    b"b *:* m",
    b"c 1:3 rwm",
    b"c 1:5 rwm",
    b"c 1:7 rwm",
    b"c 1:8 rwm",
    b"c 1:9 rwm",
    b"c 5:0 rwm",
    b"c 5:2 rwm",
    b"c 10:200 rwm",
    b"c 136:* rwm",
];

/// Where a container's processes are accounted.
pub enum Cgroup {
    /// The unified hierarchy.
    V2 {
        /// The container's directory.
        directory: CString,
    },
    /// The named hierarchies below /sys/fs/cgroup.
    V1 {
        /// Names of the hierarchies, as mounted.
        hierarchies: Vec<&'static CStr>,
        /// The container's directory in each of them.
        directories: Vec<CString>,
    },
}

fn path(parts: &[&[u8]]) -> CString {
    CString::new(parts.concat()).unwrap_or_default()
}

impl Cgroup {
    /// Names the directories of container `id`; nothing is made yet.
    pub fn new(id: &CStr, kind: &CStr, hierarchies: &[&'static CStr]) -> Self {
        if kind == c"v2" {
            return Self::V2 { directory: path(&[b"/sys/fs/cgroup/", id.to_bytes()]) };
        }
        let directory = |name: &&CStr| path(&[b"/sys/fs/cgroup/", name.to_bytes(), b"/", id.to_bytes()]);
        Self::V1 {
            hierarchies: hierarchies.to_vec(),
            directories: hierarchies.iter().map(directory).collect(),
        }
    }

    /// Makes the directories, with the device rules in force. On v2 answers the directory to clone into.
    pub fn create(&self) -> sys::Result<Option<c_int>> {
        match self {
            Self::V2 { directory } => {
                sys::mkdir(directory, 0o755)?;
                let fd = sys::open(directory, libc::O_PATH | libc::O_DIRECTORY)?;
                let readable = sys::open(directory, libc::O_RDONLY | libc::O_DIRECTORY)?;
                sys::attach_device_program(&device_program(), readable)?;
                sys::close(readable);
                Ok(Some(fd))
            }
            Self::V1 { hierarchies, directories } => {
                for (name, directory) in hierarchies.iter().zip(directories) {
                    sys::mkdir(directory, 0o755)?;
                    if *name == c"cpuset" {
                        copy_cpuset(directory)?;
                    }
                    if *name == c"devices" {
                        write_file(directory, b"/devices.deny", b"a")?;
                        for rule in V1_DEVICE_RULES {
                            write_file(directory, b"/devices.allow", rule)?;
                        }
                    }
                }
                Ok(None)
            }
        }
    }

    /// Puts a process into every directory (v1), or into the one (v2).
    pub fn enter(&self, pid: libc::pid_t) -> sys::Result<()> {
        let number = pid.to_string();
        let directories = match self {
            Self::V2 { directory } => std::slice::from_ref(directory),
            Self::V1 { directories, .. } => directories,
        };
        directories.iter().try_for_each(|dir| write_file(dir, b"/cgroup.procs", number.as_bytes()))
    }

    /// Removes the directories, which must be empty of processes.
    pub fn remove(&self) -> sys::Result<()> {
        match self {
            Self::V2 { directory } => sys::rmdir(directory),
            Self::V1 { directories, .. } => directories.iter().try_for_each(|dir| sys::rmdir(dir)),
        }
    }
}

fn write_file(directory: &CStr, name: &[u8], bytes: &[u8]) -> sys::Result<()> {
    let fd = sys::open(&path(&[directory.to_bytes(), name]), libc::O_WRONLY)?;
    let written = sys::write(fd, bytes);
    sys::close(fd);
    written
}

/// A v1 cpuset is born without CPUs and memory nodes unless its parent clones them.
fn copy_cpuset(directory: &CStr) -> sys::Result<()> {
    for name in [b"/cpuset.cpus".as_slice(), b"/cpuset.mems"] {
        let parent = path(&[b"/sys/fs/cgroup/cpuset", name]);
        let fd = sys::open(&parent, libc::O_RDONLY)?;
        let mut value = [0u8; 256];
        let length = sys::read(fd, &mut value)?;
        sys::close(fd);
        write_file(directory, name, &value[..length])?;
    }
    Ok(())
}

/// One eBPF instruction: opcode, destination and source registers, jump offset, immediate.
const fn instruction(opcode: u8, destination: u8, source: u8, offset: u16, immediate: u32) -> u64 {
    opcode as u64
        | ((destination | source << 4) as u64) << 8
        | (offset as u64) << 16
        | (immediate as u64) << 32
}

/// Allows mknod everywhere and the listed devices; refuses the rest (include/uapi/linux/bpf.h, bpf_cgroup_dev_ctx).
fn device_program() -> Vec<u64> {
    const LOAD_WORD: u8 = 0x61;
    const MOVE: u8 = 0xb7;
    const AND_32: u8 = 0x54;
    const COPY_32: u8 = 0xbc;
    const SHIFT_RIGHT_32: u8 = 0x74;
    const JUMP_IF_NOT_32: u8 = 0x56;
    const EXIT: u8 = 0x95;
    const ACCESS_MKNOD: u32 = 1;
    const CHARACTER: u32 = 2;
    let allow = [instruction(MOVE, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)];
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
        instruction(COPY_32, 3, 2, 0, 0),
        instruction(AND_32, 2, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT_32, 3, 0, 0, 16),
        instruction(JUMP_IF_NOT_32, 3, 0, 2, ACCESS_MKNOD),
    ];
    program.extend(allow);
    for (major, minor) in ALLOWED_CHARACTER_DEVICES {
        let rest = if minor.is_some() { 4 } else { 3 };
        program.push(instruction(JUMP_IF_NOT_32, 2, 0, rest, CHARACTER));
        program.push(instruction(JUMP_IF_NOT_32, 4, 0, rest - 1, major));
        if let Some(minor) = minor {
            program.push(instruction(JUMP_IF_NOT_32, 5, 0, 2, minor));
        }
        program.extend(allow);
    }
    program.extend([instruction(MOVE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

//! The least of the FUSE protocol that a tree of small files takes (`include/uapi/linux/fuse.h`, version 7.31).

use super::tree::{Errno, Kind, Tree};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};

const REQUEST_HEADER: usize = 40;
const REPLY_HEADER: usize = 16;

/// Bytes of a reply, in the machine's order.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(mut self, v: u16) -> Self {
        self.0.extend(v.to_ne_bytes());
        self
    }

    fn u32(mut self, v: u32) -> Self {
        self.0.extend(v.to_ne_bytes());
        self
    }

    fn u64(mut self, v: u64) -> Self {
        self.0.extend(v.to_ne_bytes());
        self
    }

    fn zeros(mut self, n: usize) -> Self {
        self.0.resize(self.0.len() + n, 0);
        self
    }
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

/// Answers until the file system is unmounted.
pub(super) fn serve(mut device: File, tree: &Mutex<Tree>) {
    let mut request = vec![0; 1 << 17];
    loop {
        let n = match device.read(&mut request) {
            Ok(n) if n >= REQUEST_HEADER => n,
            // ENOENT: the caller was interrupted before the request could be read.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EINTR | libc::EAGAIN)) => continue,
            _ => return,
        };
        let (opcode, unique, node) = (number32(&request, 4), number64(&request, 8), number64(&request, 16));
        let answer = {
            let mut tree = tree.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut tree, opcode, node, &request[REQUEST_HEADER..n])
        };
        let Some(answer) = answer else { continue };
        let (error, body) = match answer {
            Ok(bytes) => (0, bytes.0),
            Err(errno) => (-errno, Vec::new()),
        };
        let length = (REPLY_HEADER + body.len()) as u32;
        let mut reply = Bytes::default().u32(length).u32(error as u32).u64(unique).0;
        reply.extend(body);
        // ENOENT: nobody waits for it any more.
        let _ = device.write(&reply);
    }
}

/// Nothing for what wants no answer.
fn answer(tree: &mut Tree, opcode: u32, node: u64, body: &[u8]) -> Option<Result<Bytes, Errno>> {
    const FORGET: u32 = 2;
    const INTERRUPT: u32 = 36;
    const BATCH_FORGET: u32 = 42;
    let name = |bytes: &[u8]| {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    Some(match opcode {
        FORGET | INTERRUPT | BATCH_FORGET => return None,
        // LOOKUP
        1 => tree.child(node, &name(body)).ok_or(libc::ENOENT).and_then(|id| entry(tree, id)),
        // GETATTR, SETATTR
        3 | 4 => attributes(tree, node).map(|a| {
            let mut out = Bytes::default().u64(0).u32(0).u32(0);
            out.0.extend(a.0);
            out
        }),
        // MKDIR
        9 => tree.mkdir(node, &name(&body[8..])).and_then(|id| entry(tree, id)),
        // RMDIR
        11 => tree.rmdir(node, &name(body)).map(|()| Bytes::default()),
        // OPEN, OPENDIR: nothing is cached.
        14 | 27 => Ok(Bytes::default().u64(0).u32(1).u32(0)),
        // READ
        15 => read(tree, node, body),
        // WRITE
        16 => write(tree, node, body),
        // STATFS
        17 => Ok(Bytes::default().zeros(80)),
        // RELEASE, FSYNC, FLUSH, RELEASEDIR, ACCESS, DESTROY
        18 | 20 | 25 | 29 | 34 | 38 => Ok(Bytes::default()),
        // INIT
        26 => Ok(Bytes::default()
            .u32(7)
            .u32(31)
            .u32(0)
            .u32(0)
            .u16(1)
            .u16(1)
            .u32(4096)
            .u32(1)
            .u16(0)
            .u16(0)
            .zeros(32)),
        // READDIR
        28 => list(tree, node, body),
        _ => Err(libc::ENOSYS),
    })
}

fn attributes(tree: &Tree, id: u64) -> Result<Bytes, Errno> {
    let node = tree.node(id).ok_or(libc::ENOENT)?;
    let (mode, links) = match node.kind {
        Kind::Dir(_) => (0o040_755, 2),
        Kind::Text(_) => (0o100_444, 1),
        Kind::Schemata(_) | Kind::Tasks(_) => (0o100_644, 1),
    };
    // ino, size, blocks, three times, their fractions, mode, nlink, uid, gid, rdev, blksize, flags
    Ok(Bytes::default().u64(id).zeros(16).zeros(24).zeros(12).u32(mode).u32(links).zeros(12).u32(4096).u32(0))
}

fn entry(tree: &Tree, id: u64) -> Result<Bytes, Errno> {
    let mut out = Bytes::default().u64(id).zeros(32);
    out.0.extend(attributes(tree, id)?.0);
    Ok(out)
}

fn part(bytes: &[u8], body: &[u8]) -> Bytes {
    let (offset, size) = (number64(body, 8) as usize, number32(body, 16) as usize);
    let begin = offset.min(bytes.len());
    Bytes(bytes[begin..bytes.len().min(begin + size)].to_vec())
}

fn read(tree: &Tree, id: u64, body: &[u8]) -> Result<Bytes, Errno> {
    Ok(part(tree.text(id).ok_or(libc::EISDIR)?.as_bytes(), body))
}

fn write(tree: &mut Tree, id: u64, body: &[u8]) -> Result<Bytes, Errno> {
    let size = number32(body, 16);
    let text = String::from_utf8_lossy(&body[40..40 + size as usize]).into_owned();
    tree.write(id, &text)?;
    Ok(Bytes::default().u32(size).u32(0))
}

fn list(tree: &Tree, id: u64, body: &[u8]) -> Result<Bytes, Errno> {
    let Kind::Dir(names) = &tree.node(id).ok_or(libc::ENOENT)?.kind else { return Err(libc::ENOTDIR) };
    let (skip, most) = (number64(body, 8) as usize, number32(body, 16) as usize);
    let mut out = Bytes::default();
    for (i, (name, child)) in names.iter().enumerate().skip(skip) {
        let is_dir = tree.node(*child).is_some_and(|n| matches!(n.kind, Kind::Dir(_)));
        let kind = if is_dir { libc::DT_DIR } else { libc::DT_REG };
        let padding = name.len().next_multiple_of(8) - name.len();
        if out.0.len() + 24 + name.len() + padding > most {
            break;
        }
        out = out.u64(*child).u64(i as u64 + 1).u32(name.len() as u32).u32(kind.into());
        out.0.extend(name.as_bytes());
        out = out.zeros(padding);
    }
    Ok(out)
}

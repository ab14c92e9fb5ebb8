//! Instructions of classic BPF, as seccomp(2) takes them.

/// `struct sock_filter` of `<linux/filter.h>`: one instruction of a classic BPF program.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SockFilter {
    /// Operation, addressing mode and operand size.
    pub code: u16,
    /// Instructions to skip if the condition of a jump holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

//! What the GNU C library does between the kernel and `main`, but for asking the processor what it can do.
//!
//! It asks some 80 times, with an instruction that traps in a virtual machine: most of the time that a short command
//! takes. The answers choose between variants of memcpy(3) and the like; without them the C library takes those that every
//! x86-64 processor has. docs/adr/0035-start.md has the figures, and how a build finds out whether this fits its library.
use core::arch::{asm, naked_asm};
use core::ffi::{c_char, c_int, c_long, c_ulong};

type Strings = *const *const c_char;
type Initializer = extern "C" fn(c_int, Strings, Strings);

/// Thresholds of the C library's memory functions, in bytes: what it has for a processor that tells it nothing.
mod thresholds {
    use super::{c_int, c_long, c_ulong};

    macro_rules! exported {
        ($($name:ident: $kind:ty = $value:expr;)*) => {
            $(
                // SAFETY: a symbol of the C library, from the file that has `__libc_start_main`, and which is therefore
                // not linked. It is of this type there.
                #[allow(non_upper_case_globals)]
                #[unsafe(no_mangle)]
                static $name: $kind = $value;
            )*
        };
    }

    exported! {
        __x86_data_cache_size: c_long = 32 << 10;
        __x86_data_cache_size_half: c_long = 16 << 10;
        __x86_shared_cache_size: c_long = 1 << 20;
        __x86_shared_cache_size_half: c_long = 512 << 10;
        __x86_shared_non_temporal_threshold: c_long = 768 << 10;
        __x86_memset_non_temporal_threshold: c_long = 768 << 10;
        __x86_rep_movsb_threshold: c_long = 2048;
        __x86_rep_movsb_stop_threshold: c_long = 768 << 10;
        __x86_rep_stosb_threshold: c_long = 2048;
        __x86_string_control: c_int = 0;
        // No descriptors of thread-local storage in a static program, so nothing is ever saved for them.
        _dl_x86_features_tlsdesc_state_size: c_ulong = 0;
    }
}

// SAFETY: names and types of the GNU C library 2.36 to 2.43, where all of these are within its archive.
unsafe extern "C" {
    static mut __environ: Strings;
    static mut __libc_stack_end: *const u8;
    static _dl_random: *const [usize; 2];
    static __preinit_array_start: [Initializer; 0];
    static __preinit_array_end: [Initializer; 0];
    static __init_array_start: [Initializer; 0];
    static __init_array_end: [Initializer; 0];

    fn _dl_aux_init(auxiliary: *const [usize; 2]);
    fn __tunables_init(environment: Strings);
    fn _dl_relocate_static_pie();
    fn __libc_setup_tls();
    fn __libc_early_init(first: bool);
    fn __libc_init_first(count: c_int, arguments: Strings, environment: Strings);
    fn exit(code: c_int) -> !;
}

/// Called by the first instructions of the program, in place of the C library's function of this name.
///
/// Until the program is relocated, nothing may be called by way of an address in memory, as Rust's calls of C are; so
/// this part is written out. The calls are in the C library's own order.
// SAFETY: the only symbol of this name: the linker takes the C library's only where there is none. `main` is in rdi, the
// number of arguments in esi, and rdx points to them, where the kernel has put them: after them, each with a null pointer
// at its end, the environment and the auxiliary vector. All else that is passed is null in a static program, or is found
// again (the end of the stack). There is nothing to come back to, so no register is saved.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_start_main() -> ! {
    naked_asm!(
        "mov rbx, rdi",
        "mov r12d, esi",
        "mov r13, rdx",
        // Calls want it at a multiple of 16; the return address has taken eight.
        "sub rsp, 8",
        "call {own}",
        "lea rdi, [r13 + r12 * 8]",
        // The null pointer after the arguments, then that after the environment.
        "2: add rdi, 8",
        "cmp qword ptr [rdi], 0",
        "jne 2b",
        "add rdi, 8",
        "call {auxiliary}",
        "lea rdi, [r13 + r12 * 8 + 8]",
        "call {tunables}",
        "call {relocate}",
        "mov rdi, rbx",
        "mov esi, r12d",
        "mov rdx, r13",
        "call {start}",
        "ud2",
        own = sym own_what_is_written,
        auxiliary = sym _dl_aux_init,
        tunables = sym __tunables_init,
        relocate = sym _dl_relocate_static_pie,
        start = sym start,
    )
}

/// Puts what is written to on memory that is no file's, with the same content, before most of it is written for the
/// first time, by relocation. Each page is copied at that moment in any case; and a child need not copy them again, to be
/// rid of the program's file (`corten_init::OwnBinary`).
///
/// Where the kernel has no memory for it, all stays as it is. rbx, r12 and r13 are the caller's.
// SAFETY: within the program's own headers, which are mapped at its beginning; and what takes the place of a segment has
// its bytes.
#[unsafe(naked)]
unsafe extern "C" fn own_what_is_written() {
    naked_asm!(
        // One header after the other: r15 of them, at rbp.
        "lea r14, [rip + __ehdr_start]",
        "movzx r15d, word ptr [r14 + {number}]",
        "mov rbp, [r14 + {headers}]",
        "add rbp, r14",
        "2: dec r15d",
        "js 4f",
        "cmp dword ptr [rbp], {load}",
        "jne 3f",
        "test byte ptr [rbp + {flags}], {writable}",
        "jz 3f",
        // Whole pages, from r8 on: what is beyond the file's bytes is the kernel's already.
        "mov r8, [rbp + {address}]",
        "add r8, r14",
        "mov r9, [rbp + {length}]",
        "add r9, r8",
        "add r9, 4095",
        "and r9, -4096",
        "and r8, -4096",
        "sub r9, r8",
        "push r8",
        "push r9",
        // mmap(NULL, r9, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)
        "mov eax, {mmap}",
        "xor edi, edi",
        "mov rsi, r9",
        "mov edx, 3",
        "mov r10d, 0x8022",
        "mov r8, -1",
        "xor r9d, r9d",
        "syscall",
        "pop rcx",
        "pop rsi",
        "cmp rax, -4096",
        "ja 3f",
        "mov r8, rsi",
        "mov r9, rcx",
        "mov rdi, rax",
        "rep movsb",
        // mremap(rax, r9, r9, MREMAP_MAYMOVE | MREMAP_FIXED, r8)
        "mov rdi, rax",
        "mov rsi, r9",
        "mov rdx, r9",
        "mov r10d, 3",
        "mov eax, {mremap}",
        "syscall",
        "3: add rbp, {size}",
        "jmp 2b",
        "4: ret",
        number = const 56,
        headers = const 32,
        size = const 56,
        load = const 1,
        flags = const 4,
        writable = const 2,
        address = const 16,
        length = const 32,
        mmap = const 9,
        mremap = const 25,
    )
}

/// # Safety
///
/// As for [`__libc_start_main`], once the program is relocated.
unsafe extern "C" fn start(
    main: extern "C" fn(c_int, Strings, Strings) -> c_int,
    count: c_int,
    arguments: Strings,
) -> ! {
    // SAFETY: within what the kernel has put there. Each of these functions is called once, in the C library's order,
    // and no other thread exists.
    unsafe {
        let environment = arguments.add(count.unsigned_abs() as usize + 1);
        __environ = environment;
        __libc_stack_end = arguments.cast::<u8>().sub(size_of::<usize>());
        __libc_setup_tls();
        guard();
        __libc_early_init(true);
        __libc_init_first(count, arguments, environment);
        initialize(&raw const __preinit_array_start, &raw const __preinit_array_end, count, arguments);
        initialize(&raw const __init_array_start, &raw const __init_array_end, count, arguments);
        exit(main(count, arguments, environment))
    }
}

/// Random numbers of the kernel's by which the C library notices that its stack was overwritten, and hides addresses.
///
/// # Safety
///
/// The thread's storage is there.
unsafe fn guard() {
    const STRINGS_STOP_HERE: usize = !0xff;
    // SAFETY: 16 bytes, says getauxval(3); 0x28 and 0x30 are their places in the thread's storage, by the processor's ABI.
    unsafe {
        let [canary, pointers] = _dl_random.read_unaligned();
        asm!("mov fs:[0x28], {}", in(reg) canary & STRINGS_STOP_HERE, options(nostack, preserves_flags));
        asm!("mov fs:[0x30], {}", in(reg) pointers, options(nostack, preserves_flags));
    }
}

/// Calls the functions of one of the program's lists; by one of these, Rust's library learns the arguments.
///
/// # Safety
///
/// From `next` up to `end` there are functions.
unsafe fn initialize(
    next: *const [Initializer; 0],
    end: *const [Initializer; 0],
    count: c_int,
    arguments: Strings,
) {
    let (mut next, end) = (next.cast::<Initializer>(), end.cast::<Initializer>());
    while next != end {
        // SAFETY: the caller's promise.
        unsafe {
            (*next)(count, arguments, __environ);
            next = next.add(1);
        }
    }
}

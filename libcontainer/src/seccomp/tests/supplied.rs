//! Programs from elsewhere: what the kernel refuses is refused.

use crate::seccomp::{Arch, InitCall, Program, ProgramError, SockFilter, check_init};

const ALLOW: SockFilter = SockFilter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };

fn op(code: u16, k: u32) -> SockFilter {
    SockFilter { code, jt: 0, jf: 0, k }
}

fn error(code: &[SockFilter]) -> ProgramError {
    Program::new(code.to_vec(), 0).expect_err("has to be refused")
}

#[test]
fn what_the_kernel_refuses() {
    assert_eq!(error(&[]), ProgramError::Length { instructions: 0 });
    assert_eq!(error(&vec![ALLOW; 4097]), ProgramError::Length { instructions: 4097 });
    for (code, k) in
        [(0x20, 64), (0x20, 2), (0x60, 16), (0x34, 0), (0x64, 32), (0x28, 0), (0x94, 3), (0xffff, 0)]
    {
        assert_eq!(error(&[op(code, k), ALLOW]), ProgramError::Instruction { at: 0, code, k });
    }
    assert_eq!(error(&[op(0x20, 0)]), ProgramError::End { at: 0 });
    assert_eq!(error(&[op(0x05, 1), ALLOW]), ProgramError::End { at: 0 });
    assert_eq!(error(&[SockFilter { jf: 1, ..op(0x15, 0) }, ALLOW]), ProgramError::End { at: 0 });
    assert_eq!(error(&[op(0x60, 3), ALLOW]), ProgramError::Uninitialised { at: 0 });
    let one_way = [SockFilter { jt: 1, ..op(0x15, 0) }, op(0x02, 3), op(0x60, 3), ALLOW];
    assert_eq!(error(&one_way), ProgramError::Uninitialised { at: 2 });
    assert_eq!(Program::new(vec![ALLOW], 8), Err(ProgramError::Flags { flags: 8 }));
    assert!(Program::new(vec![op(0x02, 3), op(0x60, 3), ALLOW], 6).is_ok());
}

#[test]
fn compiled_profiles_pass() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read", "socket"],
        "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_GT"}]}]}"#;
    for arch in Arch::all() {
        let filter = super::compile(&super::profile(json), arch);
        assert!(Program::new(filter.program, 4).is_ok(), "{arch:?}");
    }
}

#[test]
fn init_has_to_survive_it() {
    let kill = SockFilter { k: 0, ..ALLOW };
    let program = Program::new(vec![kill], 0).expect("a program");
    let execve = InitCall { nr: 59, args: [None; 6], before_agent: false };
    let error = check_init(&program.to_filter(Arch::X86_64), &[execve]).expect_err("kills init");
    let words = "the seccomp program that was handed over: answers execve with KILL_THREAD";
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn state_keeps_it() {
    let program = Program::new(vec![op(0x20, 4), ALLOW], 2).expect("a program");
    let json = serde_json::to_string(&program).expect("json");
    assert_eq!(json, r#"{"code":[[32,0,0,4],[6,0,0,2147418112]],"flags":2}"#);
    assert_eq!(serde_json::from_str::<Program>(&json).expect("the same"), program);
    assert!(serde_json::from_str::<Program>(r#"{"code":[],"flags":0}"#).is_err());
}

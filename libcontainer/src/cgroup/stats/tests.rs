use super::*;

#[test]
fn pressure() {
    let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=6964\nfull avg10=0.00 avg60=0.00 avg300=0.10 total=5495\n";
    let some = PsiLine { avg10: 1.5, avg60: 0.2, avg300: 0.0, total: 6964 };
    let full = PsiLine { avg10: 0.0, avg60: 0.0, avg300: 0.1, total: 5495 };
    assert_eq!(v2::psi(text), Some(Psi { some, full }));
    // Linux before 5.13 has no «full» for the CPU.
    assert_eq!(v2::psi(text.lines().next().unwrap()), Some(Psi { some, full: PsiLine::default() }));
    assert_eq!(v2::psi(""), None);
}

#[test]
fn block_device_lines() {
    let text = "8:0 Read 4096\n8:0 Write 0\n8:16 17\nTotal 4096\n";
    let entry = |major, minor, op: &str, value| BlkioEntry { major, minor, op: op.into(), value };
    assert_eq!(v1::entries(text), [entry(8, 0, "Read", 4096), entry(8, 0, "Write", 0), entry(8, 16, "", 17)]);
}

#[test]
fn cpu_lists() {
    assert_eq!(v1::list("0-2,7\n"), [0, 1, 2, 7]);
    assert_eq!(v1::list("3"), [3]);
    assert_eq!(v1::list("\n"), [0; 0]);
}

/// What runc 1.1.5 prints for a container of which nothing is known yet.
#[test]
fn members_are_those_of_runc() {
    let expected = concat!(
        r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"#,
        r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"#,
        r#""memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
        r#""memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"#,
        r#""kernelTCP":{"limit":0,"failcnt":0}},"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"#,
        r#""network_interfaces":null}"#
    );
    assert_eq!(serde_json::to_string(&Stats::default()).unwrap(), expected);
}

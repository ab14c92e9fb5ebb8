//! `ps`: the processes of a container.

use super::load;
use super::members::Members;
use crate::error::Result;
use crate::state::Store;

/// The pids of a container's processes, in the pid namespace of the runtime, in ascending order. A stopped container
/// mostly has none.
///
/// # Errors
///
/// If there is no such container, or if its cgroup cannot be read.
pub fn ps(store: &Store, id: &str) -> Result<Vec<i32>> {
    let (_entry, state) = load(store, id)?;
    let mut pids = Members::of(&state).pids()?;
    pids.sort_unstable();
    Ok(pids)
}

/// The lines of the output of ps(1) that are about `pids`, with the title line. `None` if no column is called `PID`.
#[must_use]
pub fn filter_table(output: &str, pids: &[i32]) -> Option<String> {
    let mut lines = output.lines();
    let title = lines.next()?;
    let column = title.split_whitespace().position(|word| word == "PID")?;
    let is_member = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    let mut table = format!("{title}\n");
    for line in lines.filter(is_member) {
        table.push_str(line);
        table.push('\n');
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "UID          PID    PPID  C STIME TTY          TIME CMD\n\
                          root           1       0  0 06:09 ?        00:00:01 /init\n\
                          root          12       1  0 06:09 ?        00:00:00 sh -c 1\n\
                          \n\
                          root         121       1  0 06:09 ?        00:00:00 x\n";

    #[test]
    fn only_members_are_shown() {
        let table = filter_table(OUTPUT, &[12, 99]).unwrap();
        assert_eq!(table.lines().count(), 2);
        assert!(table.lines().nth(1).unwrap().ends_with("sh -c 1"));
    }

    #[test]
    fn a_table_without_pids_is_refused() {
        assert_eq!(filter_table("USER COMMAND\nroot x\n", &[1]), None);
        assert_eq!(filter_table("", &[1]), None);
    }
}

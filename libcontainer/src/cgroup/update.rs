//! Changing the limits of a running container: all of them, or, on an error, none.

use super::error::Error;
use super::lower::{Policy, Write};
use super::{Cgroup, Result};

impl Cgroup {
    /// Like [`Cgroup::apply`], but if the kernel refuses one of the values, those that were written before are put
    /// back to what they were.
    ///
    /// # Errors
    /// As for [`Cgroup::apply`]. [`Error::NotRestored`] if an old value was refused as well.
    pub fn update(&self, writes: &[Write]) -> Result<()> {
        match &self.unit {
            Some(unit) => unit.update(self, writes),
            None => self.update_then(writes, || Ok(())),
        }
    }

    /// The same, with another step at the end that has to succeed as well.
    pub(super) fn update_then(&self, writes: &[Write], last: impl FnOnce() -> Result<()>) -> Result<()> {
        let old: Vec<Write> = writes.iter().filter_map(|w| self.present(w)).collect();
        let Err(error) = self.apply(writes).and_then(|()| last()) else { return Ok(()) };
        // Backwards, so that the first of several writes to a file is undone last. Those that were not reached yet
        // have their present value written once more.
        let old: Vec<Write> = old.into_iter().rev().collect();
        match self.apply(&old) {
            Ok(()) => Err(error),
            Err(second) => Err(Error::NotRestored { first: Box::new(error), second: Box::new(second) }),
        }
    }

    /// The write that would undo `w`; none if its file is missing, so that nothing can have changed.
    fn present(&self, w: &Write) -> Option<Write> {
        let member = self.member_of(&w.controller)?;
        let Ok(text) = member.dir.read(&w.file) else {
            return match &w.policy {
                Policy::OrElse(other) => self.present(other),
                _ => None,
            };
        };
        Some(Write { value: undo(&w.file, &w.value, &text), policy: Policy::Reorder, ..w.clone() })
    }
}

/// What to write to `file` so that it reads `text` again after `value` was written.
fn undo(file: &str, value: &str, text: &str) -> String {
    if file == "memory.oom_control" {
        let disabled = super::dir::keyed(text, "oom_kill_disable").unwrap_or(0);
        return disabled.to_string();
    }
    let Some(key) = key(file, value) else {
        // An empty list is written as an empty line: a write of nothing does nothing.
        let value = text.trim_end().lines().next().unwrap_or("\n");
        return value.strip_prefix("default ").unwrap_or(value).to_owned();
    };
    let line = text.lines().find(|l| l.split(' ').next() == Some(key));
    line.map_or_else(|| format!("{key} {}", absent(file)), str::to_owned)
}

/// Devices and interfaces, in files that have a line for each.
fn key<'a>(file: &str, value: &'a str) -> Option<&'a str> {
    let (key, _) = value.split_once(' ')?;
    let by_name = matches!(file, "rdma.max" | "net_prio.ifpriomap");
    (by_name || key.contains(':')).then_some(key)
}

/// The value of a device that has no line.
fn absent(file: &str) -> &'static str {
    match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.weight" | "io.bfq.weight" => "default",
        _ => "0",
    }
}

#[cfg(test)]
mod tests {
    use super::undo;

    #[test]
    fn values_that_undo() {
        let table = [
            ("memory.max", "5", "max\n", "max"),
            ("cpu.max", "5000 20000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", "\n"),
            ("cpuset.cpus", "0", "0-3,5\n", "0-3,5"),
            ("io.max", "8:0 rbps=1", "8:16 rbps=5 wbps=max\n8:0 rbps=9 wbps=max\n", "8:0 rbps=9 wbps=max"),
            ("io.max", "8:0 rbps=1", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("io.weight", "200", "default 100\n8:0 50\n", "100"),
            ("io.weight", "8:0 200", "default 100\n8:0 50\n", "8:0 50"),
            ("io.bfq.weight", "8:1 200", "default 100\n", "8:1 default"),
            ("blkio.throttle.read_bps_device", "8:0 7", "8:16 5\n", "8:0 0"),
            ("blkio.throttle.read_bps_device", "8:0 7", "8:0 5\n", "8:0 5"),
            (
                "rdma.max",
                "mlx hca_handle=1",
                "mlx hca_handle=max hca_object=3\n",
                "mlx hca_handle=max hca_object=3",
            ),
            ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 2\n", "eth0 2"),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "0"),
            ("pids.max", "5", "max\n", "max"),
        ];
        for (file, value, text, expected) in table {
            assert_eq!(undo(file, value, text), expected, "{file}: {value} over {text:?}");
        }
    }
}

//! The directories and files, and what writing to them does.

use std::collections::BTreeMap;

/// Bits of the cache, and domains of either resource.
const MASK: u64 = 0xfffff;
const DOMAINS: u32 = 2;

/// What a node is.
#[derive(Debug)]
pub enum Kind {
    /// Names and nodes.
    Dir(BTreeMap<String, u64>),
    /// Never changes.
    Text(String),
    /// `schemata`: percentages by domain for `MB`, masks for `L3`.
    Schemata(BTreeMap<(&'static str, u32), u64>),
    /// `tasks`.
    Tasks(Vec<i32>),
}

/// A node: what it is, and the directory that it is in.
#[derive(Debug)]
pub struct Node {
    pub kind: Kind,
    pub parent: u64,
}

/// All of it. Node 1 is the root.
#[derive(Debug)]
pub struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// What was done, in its order: `mkdir PATH`, `rmdir PATH`, `PATH < TEXT`.
    pub log: Vec<String>,
}

pub type Errno = i32;

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node { kind: Kind::Dir(BTreeMap::new()), parent: 1 };
        let mut tree = Tree { nodes: BTreeMap::from([(1, root)]), next: 2, log: Vec::new() };
        let full = |t: &mut Tree| t.fill(1, true);
        full(&mut tree);
        let info = tree.add(1, "info", Kind::Dir(BTreeMap::new()));
        tree.add(info, "last_cmd_status", Kind::Text("ok\n".to_owned()));
        let l3 = tree.add(info, "L3", Kind::Dir(BTreeMap::new()));
        for (name, text) in [("cbm_mask", "fffff"), ("min_cbm_bits", "1"), ("num_closids", "16")] {
            tree.add(l3, name, Kind::Text(format!("{text}\n")));
        }
        let mb = tree.add(info, "MB", Kind::Dir(BTreeMap::new()));
        for (name, text) in
            [("bandwidth_gran", "10"), ("delay_linear", "1"), ("min_bandwidth", "10"), ("num_closids", "8")]
        {
            tree.add(mb, name, Kind::Text(format!("{text}\n")));
        }
        tree
    }

    /// The files of a group: one that has a class, or one that only counts.
    fn fill(&mut self, dir: u64, class: bool) {
        self.add(dir, "tasks", Kind::Tasks(Vec::new()));
        if class {
            let domains = (0..DOMAINS).flat_map(|d| [(("L3", d), MASK), (("MB", d), 100)]);
            self.add(dir, "schemata", Kind::Schemata(domains.collect()));
            self.add(dir, "mon_groups", Kind::Dir(BTreeMap::new()));
        }
        let data = self.add(dir, "mon_data", Kind::Dir(BTreeMap::new()));
        for d in 0..DOMAINS {
            let domain = self.add(data, &format!("mon_L3_0{d}"), Kind::Dir(BTreeMap::new()));
            for (name, value) in [("llc_occupancy", 4096), ("mbm_total_bytes", 700), ("mbm_local_bytes", 500)]
            {
                self.add(domain, name, Kind::Text(format!("{}\n", value * (d + 1))));
            }
        }
    }

    fn add(&mut self, parent: u64, name: &str, kind: Kind) -> u64 {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Node { kind, parent });
        if let Some(Node { kind: Kind::Dir(names), .. }) = self.nodes.get_mut(&parent) {
            names.insert(name.to_owned(), id);
        }
        id
    }

    pub(super) fn node(&self, id: u64) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(super) fn child(&self, dir: u64, name: &str) -> Option<u64> {
        match &self.nodes.get(&dir)?.kind {
            Kind::Dir(names) => names.get(name).copied(),
            _ => None,
        }
    }

    /// The node at a path below the root.
    pub fn find(&self, path: &str) -> Option<u64> {
        path.split('/').filter(|p| !p.is_empty()).try_fold(1, |at, name| self.child(at, name))
    }

    /// A file's text.
    pub fn read(&self, path: &str) -> Option<String> {
        self.text(self.find(path)?)
    }

    pub(super) fn text(&self, id: u64) -> Option<String> {
        match &self.nodes.get(&id)?.kind {
            Kind::Dir(_) => None,
            Kind::Text(text) => Some(text.clone()),
            Kind::Tasks(pids) => Some(pids.iter().map(|p| format!("{p}\n")).collect()),
            Kind::Schemata(values) => Some(["MB", "L3"].map(|r| line(values, r)).concat()),
        }
    }

    fn path(&self, id: u64) -> String {
        let mut at = id;
        let mut names = Vec::new();
        while at != 1 {
            let parent = self.nodes[&at].parent;
            if let Kind::Dir(children) = &self.nodes[&parent].kind {
                names.extend(children.iter().find(|(_, id)| **id == at).map(|(name, _)| name.as_str()));
            }
            at = parent;
        }
        names.reverse();
        names.join("/")
    }

    pub(super) fn mkdir(&mut self, parent: u64, name: &str) -> Result<u64, Errno> {
        let class = parent == 1;
        if !class && self.path(parent).rsplit('/').next() != Some("mon_groups") {
            return Err(libc::EPERM);
        }
        if self.child(parent, name).is_some() {
            return Err(libc::EEXIST);
        }
        let id = self.add(parent, name, Kind::Dir(BTreeMap::new()));
        self.fill(id, class);
        let path = self.path(id);
        self.log.push(format!("mkdir {path}"));
        Ok(id)
    }

    pub(super) fn rmdir(&mut self, parent: u64, name: &str) -> Result<(), Errno> {
        let id = self.child(parent, name).ok_or(libc::ENOENT)?;
        let path = self.path(id);
        let own = parent == 1 && !matches!(name, "info" | "mon_groups" | "mon_data");
        if !own && self.path(parent).rsplit('/').next() != Some("mon_groups") {
            return Err(libc::EPERM);
        }
        if let Some(Node { kind: Kind::Dir(names), .. }) = self.nodes.get_mut(&parent) {
            names.remove(name);
        }
        self.log.push(format!("rmdir {path}"));
        Ok(())
    }

    /// A write of the whole text.
    pub(super) fn write(&mut self, id: u64, text: &str) -> Result<(), Errno> {
        let path = self.path(id);
        self.log.push(format!("{path} < {}", text.trim_end()));
        let parent = self.nodes.get(&id).ok_or(libc::ENOENT)?.parent;
        match &self.nodes[&id].kind {
            Kind::Schemata(values) => {
                let parsed = parse(values, text);
                let status = match &parsed {
                    Ok(_) => "ok\n".to_owned(),
                    Err(why) => format!("{why}\n"),
                };
                self.set_status(status);
                let values = parsed.map_err(|_| libc::EINVAL)?;
                self.nodes.insert(id, Node { kind: Kind::Schemata(values), parent });
                Ok(())
            }
            Kind::Tasks(_) => self.put_task(id, text.trim().parse().map_err(|_| libc::EINVAL)?),
            _ => Err(libc::EACCES),
        }
    }

    fn set_status(&mut self, text: String) {
        if let Some(id) = self.find("info/last_cmd_status")
            && let Some(node) = self.nodes.get_mut(&id)
        {
            node.kind = Kind::Text(text);
        }
    }

    /// Into a class: out of all others. Into a group that counts: only from its own class.
    fn put_task(&mut self, id: u64, tid: i32) -> Result<(), Errno> {
        if !std::path::Path::new(&format!("/proc/{tid}")).exists() {
            return Err(libc::ESRCH);
        }
        let dir = self.nodes[&id].parent;
        let above = self.nodes[&dir].parent;
        let counts_only = dir != 1 && above != 1;
        if counts_only {
            let class = self.nodes[&above].parent;
            let tasks = self.child(class, "tasks").and_then(|t| self.nodes.get(&t));
            let in_class = matches!(tasks, Some(Node { kind: Kind::Tasks(t), .. }) if t.contains(&tid));
            if !in_class {
                return Err(libc::EINVAL);
            }
        } else {
            for node in self.nodes.values_mut() {
                if let Kind::Tasks(tasks) = &mut node.kind {
                    tasks.retain(|t| *t != tid);
                }
            }
        }
        if let Some(Node { kind: Kind::Tasks(tasks), .. }) = self.nodes.get_mut(&id) {
            tasks.push(tid);
        }
        Ok(())
    }
}

fn line(values: &BTreeMap<(&'static str, u32), u64>, resource: &str) -> String {
    let of_resource = values.iter().filter(|((r, _), _)| *r == resource);
    let domains = of_resource.map(|((_, d), v)| match resource {
        "MB" => format!("{d}={v:4}"),
        _ => format!("{d}={v:05x}"),
    });
    format!("{resource:>6}:{}\n", domains.collect::<Vec<_>>().join(";"))
}

type Values = BTreeMap<(&'static str, u32), u64>;

/// All lines or none.
fn parse(values: &Values, text: &str) -> Result<Values, String> {
    if !text.ends_with('\n') {
        return Err("no newline".to_owned());
    }
    let mut new = values.clone();
    for line in text.lines() {
        let (name, list) = line.trim().split_once(':').ok_or("Missing ':'")?;
        let resource = ["MB", "L3"].into_iter().find(|r| *r == name);
        let resource = resource.ok_or_else(|| format!("Unknown or unsupported resource name '{name}'"))?;
        for pair in list.split(';') {
            let (domain, value) = pair.split_once('=').ok_or("Missing '=' or non-numeric domain")?;
            let base = if resource == "MB" { 10 } else { 16 };
            let value = u64::from_str_radix(value.trim(), base).ok();
            let sound =
                |v: &u64| if resource == "MB" { (10..=100).contains(v) } else { *v > 0 && *v <= MASK };
            let value = value.filter(sound).ok_or_else(|| format!("Invalid value '{pair}'"))?;
            let domain: u32 = domain.trim().parse().map_err(|_| "non-numeric domain")?;
            let known = new.get_mut(&(resource, domain)).ok_or("Unknown domain")?;
            *known = value;
        }
    }
    Ok(new)
}

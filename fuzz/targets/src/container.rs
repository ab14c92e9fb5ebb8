//! Configurations, and what comes from disk or over a socket.

use std::path::{Path, PathBuf};

use corten_init::{Frame, Verb};
use libcontainer::cgroup::{Kind, Layout, lower};
use libcontainer::config::{Config, IdMapping, Mount};
use libcontainer::error::FieldPath;
use libcontainer::fuzzing;
use libcontainer::host::HostFacts;
use libcontainer::plan::{Arena, Request, compile_create};
use libcontainer::seccomp::{self, Arch};
use libcontainer::state::State;
use libcontainer::validate::validate;

const BUNDLES: [&str; 5] = [
    include_str!("../../../bundles/busybox/config.json"),
    include_str!("../../../bundles/containerd-like/config.json"),
    include_str!("../../../bundles/docker-like/config.json"),
    include_str!("../../../bundles/hello/config.json"),
    include_str!("../../../bundles/hello-rootless/config.json"),
];

/// A config.json: parsed, checked, compiled to a plan, limits and filter.
pub fn config(data: &[u8]) {
    if let Ok(config) = Config::from_slice(data) {
        compile(&config);
    }
}

pub fn config_seeds() -> Vec<Vec<u8>> {
    BUNDLES.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn compile(config: &Config) {
    let Ok(valid) = validate(config) else { return };
    let linux = config.linux.as_ref();
    if let Some(resources) = linux.and_then(|linux| linux.resources.as_ref()) {
        for kind in [Kind::Unified, Kind::Legacy] {
            // An error is an answer.
            let _ = lower(resources, kind, &FieldPath::new("linux.resources"));
        }
    }
    let profile = linux.and_then(|linux| linux.seccomp.as_ref());
    let filter =
        profile.and_then(|p| seccomp::compile(p, &FieldPath::new("linux.seccomp"), Arch::X86_64).ok());
    for (euid, gate) in [(0, true), (1000, false)] {
        let layout = Layout::Unified { mount: PathBuf::from("/sys/fs/cgroup") };
        let host = HostFacts {
            euid,
            egid: euid,
            layout,
            own_binary: (1, 2),
            in_user_namespace: false,
            owns_devices: true,
            denies_groups: false,
        };
        let arena = Arena::new();
        let dirs = [(String::new(), PathBuf::from("/sys/fs/cgroup/c"))];
        let request = Request {
            valid: &valid,
            id: "fuzz",
            bundle: Path::new("/bundle"),
            rootfs: Path::new("/bundle/rootfs"),
            host: &host,
            can_leave_network: euid == 0,
            cgroup_dirs: &dirs,
            cgroup_files: 1,
            waits_for_cgroup: gate,
            filter: filter.as_ref(),
            gate,
            console: gate,
            joins_container: false,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            extra_env: &[],
        };
        if let Ok(compiled) = compile_create(&arena, &request) {
            assert_eq!(compiled.plan.ops.len(), compiled.origins.len());
        }
    }
}

/// Lines: type, destination and options of mounts, compiled into a plan.
pub fn mount_options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut config = Config::from_slice(BUNDLES[3].as_bytes()).expect("a bundle of the repository");
    for line in text.lines().take(16) {
        let mut words = line.split(',').map(str::to_owned);
        config.mounts.push(Mount {
            kind: words.next().filter(|kind| !kind.is_empty()),
            destination: words.next().unwrap_or_default(),
            source: words.next(),
            options: words.collect(),
            ..Mount::default()
        });
    }
    compile(&config);
}

pub fn mount_options_seeds() -> Vec<Vec<u8>> {
    let all: Vec<&str> = libcontainer::plan::mount_options::names().collect();
    let lines = [
        "tmpfs,/tmp,tmpfs,nosuid,nodev,mode=1777,size=64k".to_owned(),
        "bind,/data,/srv,rbind,ro,rslave\ncgroup,/sys/fs/cgroup,cgroup,ro".to_owned(),
        "tmpfs,/a/../b,x,tmpcopyup,remount\nproc,/proc,proc\n,/dev/pts,devpts,newinstance".to_owned(),
        format!("bind,/x,/y,{}", all.join(",")),
    ];
    lines.map(String::into_bytes).into()
}

/// A state.json: what is read can be written and read again.
pub fn state(data: &[u8]) {
    let path = Path::new("state.json");
    if let Ok(state) = State::from_json(data, path) {
        let text = state.to_json().expect("what was read can be written");
        assert_eq!(State::from_json(&text, path).ok(), Some(state));
    }
}

pub fn state_seeds() -> Vec<Vec<u8>> {
    vec![include_bytes!("../seeds/state.json").to_vec()]
}

/// A message of the child: what is understood is written as it was.
pub fn frame(data: &[u8]) {
    if let Some(frame) = Frame::from_bytes(data) {
        let bytes = frame.to_bytes();
        assert_eq!(Frame::from_bytes(&bytes), Some(frame));
    }
}

pub fn frame_seeds() -> Vec<Vec<u8>> {
    let [ready, failed] = [Verb::Ready, Verb::Failed].map(|verb| Frame::new(verb).to_bytes().to_vec());
    vec![[&ready[..], &[0]].concat(), vec![0xff; ready.len()], ready, failed, Vec::new()]
}

/// Lines of three numbers: an id inside, outside, and how many. Mappings of the container and of a mount, in every form
/// in which the kernel or newuidmap(1) gets them.
pub fn id_maps(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mappings: Vec<IdMapping> = text.lines().take(400).filter_map(mapping).collect();
    assert_eq!(fuzzing::map_text(&mappings).lines().count(), mappings.len());
    let mut config = Config::from_slice(BUNDLES[4].as_bytes()).expect("a bundle of the repository");
    if let Some(linux) = config.linux.as_mut() {
        linux.uid_mappings.clone_from(&mappings);
        linux.gid_mappings.clone_from(&mappings);
    }
    if let Some(mount) = config.mounts.first_mut() {
        mount.uid_mappings.clone_from(&mappings);
        mount.gid_mappings = mappings;
    }
    compile(&config);
}

fn mapping(line: &str) -> Option<IdMapping> {
    let mut numbers = line.split(' ').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
}

pub fn id_maps_seeds() -> Vec<Vec<u8>> {
    let many: Vec<String> = (0..340).map(|i| format!("{i} {} 1", 100_000 + i)).collect();
    let texts = ["0 1000 1", "0 1000 1\n1 100000 65536", "0 0 4294967295\n1 1 0", "5 4294967295 2\n6 7 8"];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain([many.join("\n").into_bytes()]).collect()
}

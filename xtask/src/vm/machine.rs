//! One boot of the machine: a command goes in, its output and exit code come out.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};
use crate::host::{self, TempDir};
use crate::sys;

use super::image::Image;
use super::{in_tree, quoted};

const CPUS: &str = "2";
const MEMORY: &str = "2G";

/// Where the image's tree sees the directory of this boot.
const IN_TREE: &str = "mnt";

/// Where the image's tree has what the machine sees, in the mount namespace of this process. No directory of the host is
/// ever mounted below one that is removed afterwards.
const SHARED: &str = "srv";

/// What the kernel is told. Nothing but errors on the console; a panic ends the machine. Where others need the host's
/// processors, its journal takes longer to start than systemd usually waits, and than it may be silent. What cleans up a
/// quarter of an hour after the boot has mounts of its own, and a case would be blamed for them.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet loglevel=4 panic=-1 rw apparmor=1 security=apparmor \
    systemd.show_status=false systemd.firstboot=off audit=0 \
    systemd.default_timeout_start_sec=15min systemd.service_watchdogs=no \
    systemd.mask=systemd-tmpfiles-clean.timer \
    mitigations=off nokaslr nowatchdog no_timer_check random.trust_cpu=on";

/// How a boot ended.
pub enum Ending {
    /// The command ended with this code, 128 + signal if it was killed.
    Exit(u8),
    /// There is no exit code, and why.
    Lost(String),
}

/// A machine that has not been booted yet.
pub struct Machine<'i> {
    image: &'i Image,
    script: String,
    shares: Vec<PathBuf>,
    directory: TempDir,
    took: Duration,
}

impl<'i> Machine<'i> {
    /// A machine that will run these lines of shell as root and then go away.
    pub fn new(image: &'i Image, script: &str) -> Result<Self> {
        let directory = TempDir::new()?;
        Ok(Self { image, script: script.to_owned(), shares: Vec::new(), directory, took: Duration::ZERO })
    }

    /// Shows a directory of the host in the machine, under the same path, read-only.
    pub fn share(&mut self, directory: PathBuf) {
        self.shares.push(directory);
    }

    /// Boots, runs and waits. The command's output goes to this program's while it runs.
    ///
    /// The calling process must have one thread: it gets a mount namespace of its own.
    pub fn run(&mut self, limit: Duration) -> Result<Ending> {
        self.write_exchange()?;
        self.mount()?;
        let begin = Instant::now();
        let mut share = Running(self.start_virtiofsd()?);
        let mut machine = Running(self.start_qemu()?);
        let mut outputs = [
            Relay::new(self.exchange("stdout"), Box::new(io::stdout())),
            Relay::new(self.exchange("stderr"), Box::new(io::stderr())),
        ];
        let ended = loop {
            let ended = machine.0.try_wait().doing(|| "wait for QEMU".to_owned())?;
            outputs.iter_mut().try_for_each(Relay::pass_on).doing(|| "pass output on".to_owned())?;
            if ended.is_some() || begin.elapsed() > limit {
                break ended;
            }
            thread::sleep(Duration::from_millis(50));
        };
        drop(machine);
        share.0.wait().doing(|| "wait for virtiofsd".to_owned())?;
        self.took = begin.elapsed();
        Ok(self.ending(ended.is_some(), limit))
    }

    /// A file that both the machine and the host see and may write.
    pub fn exchange(&self, name: &str) -> PathBuf {
        self.directory.path().join("exchange").join(name)
    }

    /// How long the last run took, from boot to power-off.
    pub fn seconds(&self) -> u64 {
        self.took.as_secs()
    }

    /// The last words on the machine's console.
    pub fn console_tail(&self) -> String {
        const LINES: usize = 40;
        let bytes = fs::read(self.directory.path().join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LINES)..];
        tail.iter().map(|line| format!("console: {line}\n")).collect()
    }

    fn ending(&self, switched_off: bool, limit: Duration) -> Ending {
        let status = fs::read_to_string(self.exchange("status")).unwrap_or_default();
        match status.trim().parse() {
            Ok(code) => Ending::Exit(code),
            Err(_) if switched_off => {
                Ending::Lost("the machine went off before the command ended".to_owned())
            }
            Err(_) => Ending::Lost(format!("the machine did not finish in {} s", limit.as_secs())),
        }
    }

    /// What the machine finds in /share/exchange: the command, and the script that runs it.
    fn write_exchange(&self) -> Result<()> {
        let directory = self.directory.path();
        let write = || -> io::Result<()> {
            fs::create_dir(directory.join("exchange"))?;
            fs::create_dir(directory.join("tmp"))?;
            for output in ["stdout", "stderr"] {
                File::create(self.exchange(output))?;
            }
            fs::write(self.exchange("command"), &self.script)?;
            fs::write(self.exchange("run"), self.guest_script())
        };
        write().doing(|| format!("fill {}", directory.display()))
    }

    fn guest_script(&self) -> String {
        let mut script = String::new();
        for (index, path) in self.shares.iter().enumerate() {
            let path = quoted(&path.to_string_lossy());
            script += &format!("mkdir -p {path} && mount --bind /share/{index} {path} || exit\n");
        }
        script += "export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CORTEN_VM=1\n";
        script += &format!("cd {}\n", quoted(&host::workspace().to_string_lossy()));
        script += "out=/share/exchange\n";
        script + "sh $out/command </dev/null >>$out/stdout 2>>$out/stderr\necho $? >$out/status\n"
    }

    /// In a mount namespace of this process: the tree sees this boot's directory, with the shares in it.
    fn mount(&self) -> Result<()> {
        sys::private_mount_namespace().doing(|| "make a mount namespace".to_owned())?;
        let bind = |from: &Path, to: &Path, options: &str| {
            host::run(Command::new("mount").args(["-o", options]).arg(from).arg(to))
        };
        let tree = &self.image.tree;
        let shared = tree.join(SHARED);
        sys::mount_tmpfs(&shared).doing(|| format!("mount a tmpfs on {}", shared.display()))?;
        let offer = |path: &Path, name: &str, options: &str| {
            let target = shared.join(name);
            fs::create_dir(&target).doing(|| format!("create {}", target.display()))?;
            bind(path, &target, options)
        };
        offer(&self.directory.path().join("exchange"), "exchange", "bind")?;
        for (index, path) in self.shares.iter().enumerate() {
            offer(path, &index.to_string(), "bind,ro")?;
        }
        bind(self.directory.path(), &tree.join(IN_TREE), "bind")?;
        bind(Path::new("/proc"), &tree.join("proc"), "rbind")?;
        bind(Path::new("/dev"), &tree.join("dev"), "rbind")
    }

    fn start_virtiofsd(&self) -> Result<Child> {
        let mut command = in_tree(&self.image.tree, "/usr/libexec/virtiofsd");
        command.args([
            "--socket-path=/mnt/socket",
            "--shared-dir=/srv",
            "--sandbox=none",
            "--log-level=warn",
            "--cache=always",
        ]);
        let child = self.spawn(&mut command, "virtiofsd")?;
        let socket = self.directory.path().join("socket");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !socket.exists() {
            if Instant::now() > deadline {
                let hint = "it did not make its socket in 30 s";
                return Err(Error::Missing { what: "virtiofsd".to_owned(), hint });
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(child)
    }

    fn start_qemu(&self) -> Result<Child> {
        let mut command = in_tree(&self.image.tree, "/usr/bin/qemu-system-x86_64");
        command.env("TMPDIR", "/mnt/tmp");
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.args([
            "-machine",
            "q35,memory-backend=ram",
            "-accel",
            "tcg,thread=multi,tb-size=512",
            "-cpu",
            "max,la57=off",
        ]);
        command.args(["-smp", CPUS, "-m", MEMORY]);
        command.args(["-object", &format!("memory-backend-memfd,id=ram,size={MEMORY},share=on")]);
        command.args(["-kernel", "/vm/kernel", "-initrd", "/vm/initramfs", "-append", KERNEL_ARGUMENTS]);
        // Writes go to a temporary file.
        command.args(["-drive", "file=/vm/root.img,format=raw,if=virtio,snapshot=on,cache=unsafe"]);
        command.args(["-chardev", "socket,id=share,path=/mnt/socket"]);
        command.args(["-device", "vhost-user-fs-pci,chardev=share,tag=share"]);
        command.args(["-serial", "file:/mnt/console", "-monitor", "none"]);
        self.spawn(&mut command, "qemu")
    }

    fn spawn(&self, command: &mut Command, name: &str) -> Result<Child> {
        let path = self.directory.path().join(format!("{name}.log"));
        let log = File::create(&path).doing(|| format!("create {}", path.display()))?;
        let copy = log.try_clone().doing(|| "copy a descriptor".to_owned())?;
        command.stdin(Stdio::null()).stdout(copy).stderr(log);
        command.spawn().doing(|| format!("start {name}"))
    }
}

/// A child that does not outlive this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is not worth a word.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Passes on what is appended to a file.
struct Relay {
    path: PathBuf,
    from: Option<File>,
    to: Box<dyn Write>,
}

impl Relay {
    fn new(path: PathBuf, to: Box<dyn Write>) -> Self {
        Self { path, from: None, to }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.from.is_none() {
            self.from = Some(File::open(&self.path)?);
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.from {
            file.read_to_end(&mut bytes)?;
        }
        self.to.write_all(&bytes)?;
        self.to.flush()
    }
}

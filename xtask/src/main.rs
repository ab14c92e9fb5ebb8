//! `cargo xtask CHORE`: every chore of the project has one entry, the same on a desk and in CI.

mod bench;
mod bundle;
mod cgroup_view;
mod deny;
mod engines;
mod error;
mod faults;
mod fuzz;
mod host;
mod man;
mod order;
mod setup;
mod sys;
mod test;
mod transcript;
#[cfg(test)]
mod unsafe_code;
mod vm;

use std::process::ExitCode;

use error::{Error, Result};

const USAGE: &str = "\
usage: cargo xtask CHORE [ARG...]

  hello [--runtime PATH]          print a greeting from inside a container, as root or as an ordinary user
  bundle NAME DIR [ARG...]        write bundles/NAME to DIR, ready to run, with process.args replaced by ARG...
  man [DIR]                       write the manual pages to DIR (default: man)
  order [--check]                 follow the usual commands, and write runtime-cli/linker for the linker (as
                                  root); --check: whether what is there still fits, and the size of the program
  setup [engines|vm]              install what the tests need (as root, with apt-get)
  test [LANE] [--runtime PATH] [-- FILTER...]
                                  run a lane: unit, rootless, native, native-v2; all that the caller can run without LANE
  test engines [--runtime PATH] [--reference PATH] [--cgroup v1|v2|hybrid] [-- FILTER...]
                                  drive the runtime with Docker, containerd, Podman, Buildah and conmon, beside runc
  test engines --vm [--systemd-cgroup] [--runtime PATH] [--reference PATH|NAME] [-- FILTER...]
                                  the same in the virtual machine, on cgroup v2, also with systemd as the manager
  test faults [--runtime PATH] [--every N] [-- COMMAND...]
                                  kill each command at each of its system calls, and let each of them fail (docs/faults.md)
  test vm [--runtime PATH|NAME] [--systemd-cgroup] [-- FILTER...]
                                  run the integration tests in a virtual machine (NAME: the machine's runc or crun)
  vm [--share DIR]... [--timeout SECONDS] [--] COMMAND [ARG...]
                                  run a command as root in a virtual machine with systemd and cgroup v2 (see test vm)
  deny                            check licences, sources and advisories of the crates (deny.toml), by cargo-deny
  fuzz [TARGET...] [--seconds N]  run libFuzzer on each target of fuzz/targets for N seconds (default: 60); needs a C++ compiler
  bench [--scenario NAME]... [--runs N] [--alive N] [--cgroup v1|v2|hybrid] [--runtime NAME=PATH]... [--no-peers]
        [--json FILE] [--svg FILE]
                                  time corten beside every peer on PATH and beside the floor program (docs/performance.md)
  bench engines [--runs N] [--runtime PATH] [--reference PATH] [--cgroup v1|v2|hybrid]
                                  time containers of docker and ctr with corten beside runc
  bench seccomp [PROFILE]         time seccomp filters beside libseccomp's: compile, load, and each call
  bench --list                    print the names of the scenarios
  bench --profile [--cgroup v1|v2|hybrid] [--runtime corten=PATH] [--runs N]
                                  print where the time of one `corten run` goes, by phase
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(Error::Usage) => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let Some((chore, rest)) = args.split_first() else { return Err(Error::Usage) };
    match chore.as_str() {
        "hello" => bundle::hello(rest),
        "bundle" => bundle::write_command(rest),
        "setup" => setup::install(rest),
        "man" => man::write(rest),
        "order" => order::run(rest),
        "test" => test::run(rest),
        "vm" => vm::run(rest),
        "bench" => bench::run(rest),
        "deny" => deny::run(rest),
        "fuzz" => fuzz::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Error::Usage),
    }
}

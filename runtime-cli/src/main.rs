//! corten, the command: reads arguments, calls the library, says what went wrong, and chooses the exit code.
#![cfg_attr(not(test), no_main)]
#![deny(unsafe_code)]

mod args;
mod commands;
mod completion;
mod failure;
mod help;
mod logging;
mod manual;
mod output;
mod suggest;
mod sys;

use args::Request;
pub use failure::Failure;

#[cfg_attr(test, allow(dead_code))]
/// Carries out the command line and returns the exit code.
fn run() -> u8 {
    let parsed = args::parse(std::env::args_os().skip(1), commands::GLOBAL_FLAGS, commands::COMMANDS);
    let logging = logging::init(&parsed.globals);
    let done = parsed.request.map_err(Failure::from).and_then(|request| {
        logging?;
        carry_out(request)
    });
    done.unwrap_or_else(|failure| {
        logging::report(&failure.to_string());
        failure.exit_code()
    })
}

fn carry_out(request: Request) -> Result<u8, Failure> {
    match request {
        Request::Run(invocation) => (invocation.command.run)(&invocation),
        Request::Help(command) => help::print(command).map(|()| 0),
        Request::Manual(command) => output::print(&manual::page(command)).map(|()| 0),
        Request::Version => output::print(help::VERSION).map(|()| 0),
    }
}

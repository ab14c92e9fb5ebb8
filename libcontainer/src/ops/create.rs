//! `create`.

use super::build::{Built, Wanted, build};
use super::options::CreateOptions;
use crate::error::Result;
use crate::launch::send_pidfd;
use crate::state::{Store, pidfile};

/// Creates a container, up to the point where its program waits for [`super::start`].
///
/// # Errors
///
/// If any property of the configuration cannot be applied; then nothing of the container is left.
pub fn create(store: &Store, options: &CreateOptions) -> Result<()> {
    let built = build(store, options, Wanted { gate: true, attached: false })?;
    let last = |built: &mut Built| {
        built.commit()?;
        built.site.session()?.go()
    };
    announce(built, options, last).map(drop)
}

/// Tells whoever asked that the container is there, and takes the last step; or undoes all of it.
pub(super) fn announce<T>(
    mut built: Built,
    options: &CreateOptions,
    last: impl FnOnce(&mut Built) -> Result<T>,
) -> Result<(Built, T)> {
    let announced = write_files(&mut built, options).and_then(|()| last(&mut built));
    match announced {
        Ok(value) => {
            built.site.settle();
            Ok((built, value))
        }
        Err(error) => {
            let error = super::build::explain_oom(error, &built.site.cgroup);
            if let (Some(path), Ok(session)) = (&options.pid_file, built.site.session()) {
                // It names a process that is about to end.
                pidfile::remove(path, session.pid);
            }
            built.site.clear(&built.config, &built.state);
            Err(error)
        }
    }
}

fn write_files(built: &mut Built, options: &CreateOptions) -> Result<()> {
    if let Some(path) = &options.pidfd_socket {
        built.site.let_go(|site| send_pidfd(path, &site.session()?.pidfd))?;
    }
    if let Some(path) = &options.pid_file {
        pidfile::write(path, built.site.session()?.pid)?;
    }
    Ok(())
}

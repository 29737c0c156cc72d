//! How many files the process may have open, of which a connection is one and the upstream's is another.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files kept for what is no connection of a client: the ledger, logs, facilitators, listeners.
const RESERVED: u64 = 64;

/// A client's own, and the upstream's.
const FILES_PER_CONNECTION: u64 = 2;

/// Lets the process open as many files as it may at all, and says how many that is; `None`: any number.
pub(super) fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
    getrlimit(Resource::Nofile).current
}

/// How many connections so many files are enough for.
pub(super) fn connections(files: Option<u64>) -> usize {
    match files {
        None => usize::MAX,
        Some(files) => {
            usize::try_from((files.saturating_sub(RESERVED) / FILES_PER_CONNECTION).max(1)).unwrap_or(usize::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_needs_two_files_and_the_rest_of_the_house_some() {
        for (files, expected) in [(None, usize::MAX), (Some(1024), 480), (Some(66), 1), (Some(10), 1), (Some(0), 1)] {
            assert_eq!(connections(files), expected, "{files:?}");
        }
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may() {
        assert_eq!(raise_limit(), getrlimit(Resource::Nofile).maximum);
    }
}

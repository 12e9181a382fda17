//! Whom no signal of whytop ever reaches, whatever the job says: PID 1, whytop, and all it runs in.
//!
//! Kernel threads and strangers' processes are refused where they are opened ([`super::held`]), as that takes a look at the
//! process. Tested in place and by `tests/act.rs`.

use std::collections::HashSet;

use rustix::process::{Pid as RawPid, getpid, getppid};

use super::stat::Stat;
use crate::action::{Candidate, Refusal};
use crate::units::Pid;

/// PID 1 of this host, or of this container.
const INIT: Pid = 1;

/// The processes that are out of reach, as of one instant. The ancestors change when one of them ends, so ask again.
pub struct Guard {
    own: Pid,
    ancestors: HashSet<Pid>,
}

impl Guard {
    /// Walks up from this process: the shell, `sudo`, the terminal multiplexer, the SSH connection.
    pub fn now() -> Self {
        let mut ancestors = HashSet::new();
        let mut next = RawPid::as_raw(getppid());
        while next > INIT && ancestors.insert(next) {
            next = Stat::read(next).ok().flatten().map_or(0, |stat| stat.parent);
        }
        Self { own: RawPid::as_raw(Some(getpid())), ancestors }
    }

    /// Why this process must not be hit; `None` if it may be.
    pub fn refuse(&self, pid: Pid) -> Option<Refusal> {
        match pid {
            INIT => Some(Refusal::Init),
            // Zero and below mean groups of processes to kill(2), and everybody in one case.
            ..INIT => Some(Refusal::Failed("not the number of a process".to_owned())),
            _ if pid == self.own => Some(Refusal::Own),
            _ if self.ancestors.contains(&pid) => Some(Refusal::Ancestor),
            _ => None,
        }
    }
}

/// A server's process that works for one client, or keeps the others' memory: it is its server's to end. A signal that it does not
/// survive restarts the whole server (`SIGKILL`), and one that is stopped holds its locks against all others.
pub fn is_backend(candidate: &Candidate) -> bool {
    let read = |pid| Stat::read(pid).ok().flatten();
    let Some(stat) = read(candidate.id.pid).filter(|stat| stat.id == candidate.id && is_of_postgres(stat)) else { return false };
    // Any program may write this over its command line, so it takes the name as well. `postgres: app shop 10.0.0.7(51234) COPY`; the server
    // itself is called by its path and options.
    candidate.command.starts_with("postgres: ") || is_backend_of(&stat, read(stat.parent).as_ref())
}

/// The same without its command line, which is not read where that can hang.
pub fn is_backend_of(stat: &Stat, parent: Option<&Stat>) -> bool {
    is_of_postgres(stat) && parent.is_some_and(is_of_postgres)
}

fn is_of_postgres(stat: &Stat) -> bool {
    matches!(stat.name.as_str(), "postgres" | "postmaster")
}

/// Whether the numbers in `/proc` mean what they mean to system calls: not so with the `/proc` of another PID namespace.
pub fn proc_is_ours() -> bool {
    std::fs::read("/proc/self/stat")
        .ok()
        .and_then(|text| Stat::parse(&text))
        .is_some_and(|stat| stat.id.pid == RawPid::as_raw(Some(getpid())))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A guard over an invented tree.
    pub fn guard(own: Pid, ancestors: &[Pid]) -> Guard {
        Guard { own, ancestors: ancestors.iter().copied().collect() }
    }

    #[test]
    fn numbers_with_a_meaning_of_their_own_are_refused() {
        let guard = guard(50, &[40, 30]);
        assert_eq!(guard.refuse(1), Some(Refusal::Init));
        assert_eq!(guard.refuse(50), Some(Refusal::Own));
        assert_eq!(guard.refuse(30), Some(Refusal::Ancestor));
        assert!(matches!(guard.refuse(0), Some(Refusal::Failed(_))));
        assert!(matches!(guard.refuse(-40), Some(Refusal::Failed(_))));
        assert_eq!(guard.refuse(2), None);
    }

    #[test]
    fn the_parent_of_the_tests_is_an_ancestor() {
        assert!(proc_is_ours());
        let parent = std::os::unix::process::parent_id().cast_signed();
        let refusal = Guard::now().refuse(parent);
        assert!(refusal == Some(Refusal::Ancestor) || parent == INIT && refusal == Some(Refusal::Init));
    }
}

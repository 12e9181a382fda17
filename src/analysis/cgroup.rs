//! What a control group path says about a job: a unit, a container, or a place where launchers put everybody.
//!
//! Pure text. Tested in place.

/// Whose processes a control group holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// One unit of the service manager.
    Unit(&'a str),
    /// One container, by the id in its path.
    Container(&'a str),
    /// A launcher's unit: under it every tree is a job of its own (all cron runs share `cron.service`).
    Launcher(&'a str),
    /// Says nothing.
    Nowhere,
}

/// Units under which jobs are started that have nothing else in common. Without `.service`; a `*` ends a prefix.
const LAUNCHER_UNITS: [&str; 34] = [
    "cron",
    "crond",
    "cronie",
    "anacron",
    "fcron",
    "atd",
    "ssh",
    "sshd",
    "ssh@*",
    "sshd@*",
    "dropbear",
    "user@*",
    "getty@*",
    "serial-getty@*",
    "console-getty",
    "docker",
    "containerd",
    "crio",
    "podman",
    "supervisor",
    "supervisord",
    "runit",
    "s6*",
    "pm2-*",
    "jenkins",
    "gitlab-runner",
    "actions.runner.*",
    "buildkite-agent",
    "buildbot*",
    "puppet",
    "salt-minion",
    "rundeckd",
    "webmin",
    "xinetd",
];

/// Engines' scope names: `PREFIX-ID.scope`.
const CONTAINER_SCOPES: [&str; 6] = ["docker-", "cri-containerd-", "crio-", "libpod-", "containerd-", "podman-"];

/// What the path says. It is a version 2 path (`/system.slice/nginx.service`) or systemd's of version 1.
pub fn place(path: &str) -> Place<'_> {
    if let Some(id) = container(path) {
        return Place::Container(id);
    }
    for part in path.rsplit('/') {
        if let Some(name) = part.strip_suffix(".service") {
            return if is_launcher(name) { Place::Launcher(part) } else { Place::Unit(part) };
        }
        if let Some(name) = part.strip_suffix(".scope") {
            // Login sessions and terminals hold whatever was typed there; a `run-*.scope` or a machine is one thing.
            let own = name.starts_with("run-") || name.starts_with("machine-");
            return if own { Place::Unit(part) } else { Place::Launcher(part) };
        }
    }
    Place::Nowhere
}

fn is_launcher(unit: &str) -> bool {
    LAUNCHER_UNITS.iter().any(|name| match name.strip_suffix('*') {
        Some(prefix) => unit.starts_with(prefix),
        None => unit == *name,
    })
}

/// The container's id, if the path is inside one.
fn container(path: &str) -> Option<&str> {
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let scope = part.strip_suffix(".scope").unwrap_or(part);
        for prefix in CONTAINER_SCOPES {
            if let Some(id) = scope.strip_prefix(prefix)
                && is_id(id)
            {
                return Some(id);
            }
        }
        // `/docker/ID`, `/kubepods/burstable/podUID/ID`, `…:cri-containerd:ID`
        let last = part.rsplit(':').next().unwrap_or(part);
        if last.len() == 64 && is_id(last) {
            return Some(last);
        }
        if part == "lxc" {
            return parts.next();
        }
        if let Some(name) = part.strip_prefix("lxc.payload.") {
            return Some(name);
        }
    }
    None
}

fn is_id(text: &str) -> bool {
    text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7081";

    #[test]
    fn a_unit_is_a_job_and_a_launcher_is_none() {
        assert_eq!(place("/system.slice/nginx.service"), Place::Unit("nginx.service"));
        assert_eq!(place("/system.slice/foo.service/worker"), Place::Unit("foo.service"));
        assert_eq!(place("/system.slice/cron.service"), Place::Launcher("cron.service"));
        assert_eq!(
            place("/system.slice/system-sshd.slice/sshd@4-10.0.0.1:22.service"),
            Place::Launcher("sshd@4-10.0.0.1:22.service")
        );
        assert_eq!(place("/user.slice/user-0.slice/session-3.scope"), Place::Launcher("session-3.scope"));
        assert_eq!(place("/system.slice/run-r1f2.scope"), Place::Unit("run-r1f2.scope"));
        assert_eq!(place("/"), Place::Nowhere);
    }

    #[test]
    fn a_user_manager_launches_but_its_services_are_jobs() {
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(place(&format!("{manager}/init.scope")), Place::Launcher("init.scope"));
        assert_eq!(place(&format!("{manager}/app.slice/syncthing.service")), Place::Unit("syncthing.service"));
    }

    #[test]
    fn containers_are_known_by_their_id() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:{ID}"),
            format!("/docker/{ID}/system.slice/nginx.service"),
        ] {
            assert_eq!(place(&path), Place::Container(ID), "{path}");
        }
        assert_eq!(place("/lxc/101/ns"), Place::Container("101"));
        assert_eq!(place("/lxc.payload.web/init.scope"), Place::Container("web"));
    }
}

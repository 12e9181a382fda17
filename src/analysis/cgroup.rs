//! What a control group path says about a job: a unit, a container, or a place where launchers put everybody.
//!
//! Pure text. Tested in place.

/// Whose processes a control group holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// One unit of a service manager. The path down to the unit tells it from a unit of the same name elsewhere: another user's, or
    /// inside a container.
    Unit {
        /// `/system.slice/nginx.service`.
        path: &'a str,
        /// `nginx.service`.
        name: &'a str,
    },
    /// One container, by the id in its path; no unit inside it.
    Container(&'a str),
    /// A launcher's unit, by its path: under it every tree is a job of its own (all cron runs share `cron.service`).
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
    let (id, inside) = container(path).map_or((None, 0), |(id, end)| (Some(id), end));
    let mut end = path.len();
    while let Some(start) = path[..end].rfind('/').map(|slash| slash + 1).filter(|start| *start > inside) {
        let (name, upto) = (&path[start..end], &path[..end]);
        if let Some(stem) = name.strip_suffix(".service") {
            return if is_launcher(stem) { Place::Launcher(upto) } else { Place::Unit { path: upto, name } };
        }
        if let Some(stem) = name.strip_suffix(".scope") {
            // Login sessions and terminals hold whatever was typed there; a `run-*.scope` or a machine is one thing.
            let own = stem.starts_with("run-") || stem.starts_with("machine-");
            return match id {
                Some(id) => Place::Container(id),
                None if own => Place::Unit { path: upto, name },
                None => Place::Launcher(upto),
            };
        }
        end = start - 1;
    }
    id.map_or(Place::Nowhere, Place::Container)
}

/// The container that a path is inside of.
pub fn container_of(path: &str) -> Option<&str> {
    container(path).map(|(id, _)| id)
}

fn is_launcher(unit: &str) -> bool {
    LAUNCHER_UNITS.iter().any(|name| match name.strip_suffix('*') {
        Some(prefix) => unit.starts_with(prefix),
        None => unit == *name,
    })
}

/// The container's id and where its part of the path ends, if the path is inside one.
fn container(path: &str) -> Option<(&str, usize)> {
    // Only at the top: whoever has a control group of his own may call a folder in it what he likes.
    if let Some(name) = path.strip_prefix("/lxc.payload.").or_else(|| path.strip_prefix("/lxc/")) {
        let name = name.split('/').next().unwrap_or(name);
        let start = name.as_ptr().addr() - path.as_ptr().addr();
        return Some((name, start + name.len()));
    }
    let mut start = 0;
    for part in path.split('/') {
        let end = start + part.len();
        let scope = part.strip_suffix(".scope").unwrap_or(part);
        for prefix in CONTAINER_SCOPES {
            if let Some(id) = scope.strip_prefix(prefix).filter(|id| is_id(id)) {
                return Some((id, end));
            }
        }
        // `/docker/ID`, `/kubepods/burstable/podUID/ID`, `…:cri-containerd:ID`
        let last = part.rsplit(':').next().unwrap_or(part);
        if last.len() == 64 && is_id(last) {
            return Some((last, end));
        }
        start = end + 1;
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

    fn unit(path: &'static str) -> Place<'static> {
        Place::Unit { path, name: path.rsplit('/').next().unwrap_or(path) }
    }

    #[test]
    fn a_unit_is_a_job_and_a_launcher_is_none() {
        assert_eq!(place("/system.slice/nginx.service"), unit("/system.slice/nginx.service"));
        assert_eq!(place("/system.slice/foo.service/worker"), unit("/system.slice/foo.service"));
        assert_eq!(place("/system.slice/cron.service"), Place::Launcher("/system.slice/cron.service"));
        let per_connection = "/system.slice/system-sshd.slice/sshd@4-10.0.0.1:22.service";
        assert_eq!(place(per_connection), Place::Launcher(per_connection));
        assert_eq!(
            place("/user.slice/user-0.slice/session-3.scope"),
            Place::Launcher("/user.slice/user-0.slice/session-3.scope")
        );
        assert_eq!(place("/system.slice/run-r1f2.scope"), unit("/system.slice/run-r1f2.scope"));
        assert_eq!(place("/"), Place::Nowhere);
        assert_eq!(place(""), Place::Nowhere);
    }

    #[test]
    fn a_user_manager_launches_but_its_services_are_jobs() {
        let manager = "/user.slice/user-1000.slice/user@1000.service/init.scope";
        assert_eq!(place(manager), Place::Launcher(manager));
        let service = "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service";
        assert_eq!(place(service), unit(service));
    }

    #[test]
    fn containers_are_known_by_their_id() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:{ID}"),
            format!("/docker/{ID}/init.scope"),
        ] {
            assert_eq!(place(&path), Place::Container(ID), "{path}");
        }
        assert_eq!(place("/lxc/101/ns"), Place::Container("101"));
        assert_eq!(place("/lxc.payload.aéééééééé/init.scope"), Place::Container("aéééééééé"));
        let own = "/user.slice/user-1000.slice/user@1000.service/lxc.payload.x";
        assert_eq!(place(own), Place::Launcher("/user.slice/user-1000.slice/user@1000.service"));
    }

    #[test]
    fn a_unit_inside_a_container_is_neither_the_container_nor_the_hosts_unit() {
        let path = "/lxc.payload.web/system.slice/nginx.service";
        assert_eq!(place(path), unit(path));
        assert_eq!(container_of(path), Some("web"));
        let docker = format!("/docker/{ID}/system.slice/ssh.service");
        assert_eq!(place(&docker), Place::Launcher(&docker));
    }
}

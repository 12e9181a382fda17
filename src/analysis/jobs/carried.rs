//! What works for a job and is not to be hit with it: the backend that reads the tables for `pg_dump`, the worker of Oracle's data pump,
//! the machine that `vzdump` copies, the `tar` by which a daemon packs a container for `incus export`. It counts in what the job takes, is
//! shown with it, and gets none of its signals: to kill a backend of `PostgreSQL` restarts the whole cluster.
//!
//! Pure. Known by the title that a server gives its process, by when it started, and by what the client was told. A site's own backends
//! look the same: a client gets no more than it asks for. Where a server's threads do the work (`MySQL`, SQL Server) nothing is told: they
//! serve everybody. Tested by `tests/scenarios.rs`.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::analysis::table::{Entry, Table};
use crate::units::{Pid, ProcessId};

/// Seconds. What a server began before its client it does not do for it. Starts are told to the hundredth of a second, and a server that is
/// played by a test may be quicker than its client.
const SLACK: f64 = 2.0;
/// Seconds. Nothing tells how many channels `rman` has, and whoever logs in on the host gets a process that looks like one: those that it
/// opens as it begins are taken for its own.
const AT_ONCE: f64 = 10.0;

/// Clock ticks within which a daemon starts what packs and what compresses that.
const TOGETHER: u64 = 200;

/// Every process that works for a client on this host, with the client's number.
pub fn clients(table: &Table, ticks_per_second: u64) -> FxHashMap<ProcessId, Pid> {
    let mut clients: Vec<Client> = table.iter().filter_map(Client::of).collect();
    if clients.is_empty() {
        return FxHashMap::default();
    }
    clients.sort_unstable_by_key(|client| client.entry.process.id);
    let ticks = |seconds: f64| (seconds * ticks_per_second as f64) as u64;
    let (slack, at_once) = (ticks(SLACK), ticks(AT_ONCE));
    let mut pairs = Vec::new();
    for worker in table.iter() {
        let id = worker.process.id;
        for (at, client) in clients.iter().enumerate().filter(|(_, client)| client.entry.process.id != id) {
            let began = client.entry.process.id.start;
            let apart = id.start.abs_diff(began);
            let in_time = match client.tool {
                Tool::Vzdump | Tool::DoneBy(_) => true,
                Tool::Rman => id.start + slack >= began && apart <= at_once,
                _ => id.start + slack >= began,
            };
            if in_time && client.is_served_by(table, worker) {
                let copies = backend(worker).is_some_and(|backend| backend.doing.starts_with("COPY"));
                pairs.push((!copies, apart, id, at));
            }
        }
    }
    // Who hands out a table before who may do anything, then whoever started nearest.
    pairs.sort_unstable();
    let mut rooms: Vec<usize> = clients.iter().map(Client::workers).collect();
    let mut given = FxHashMap::default();
    for (.., worker, at) in pairs {
        let (Some(client), Some(room)) = (clients.get(at), rooms.get_mut(at)) else { continue };
        if *room > 0 && !given.contains_key(&worker) {
            *room -= 1;
            given.insert(worker, client.entry.process.id.pid);
        }
    }
    given
}

/// A program that others work for.
struct Client<'a> {
    entry: &'a Entry,
    tool: Tool<'a>,
    told: Told<'a>,
}

#[derive(Clone, Copy)]
enum Tool<'a> {
    PgDump,
    PgBaseBackup,
    DataPump,
    Rman,
    RedisRdb,
    Vzdump,
    /// A container is packed by the daemon that keeps it.
    Exports(&'a str),
    /// A client whose daemon packs for it.
    PackedBy(&'static [&'static str]),
    /// A client of a daemon that works for its user alone.
    DoneBy(&'static str),
}

impl<'a> Client<'a> {
    /// `None`: it is none, or asks a server on another host.
    fn of(entry: &'a Entry) -> Option<Self> {
        let tool = match entry.process.comm.as_str() {
            "pg_dump" => Tool::PgDump,
            "pg_basebackup" => Tool::PgBaseBackup,
            "expdp" | "impdp" => Tool::DataPump,
            "rman" => Tool::Rman,
            "redis-cli" | "valkey-cli" if argv(entry).iter().any(|arg| arg == "--rdb") => Tool::RedisRdb,
            "incus" | "lxc" if is_told(entry, &["export"]) => Tool::Exports(exported(entry)?),
            "VBoxManage" | "vboxmanage" if is_told(entry, &["export"]) => Tool::DoneBy("VBoxSVC"),
            "hdbsql" if argv(entry).iter().any(|arg| arg.starts_with("BACKUP DATA")) => {
                Tool::PackedBy(&["hdbindexserver", "hdbnameserver"])
            }
            "snap" if is_told(entry, &["save"]) => Tool::PackedBy(&["snapd"]),
            "machinectl" if is_told(entry, &["export-tar", "export-raw"]) => {
                Tool::PackedBy(&["systemd-importd", "systemd-import"])
            }
            _ if title(entry).contains(":vzdump:") => Tool::Vzdump,
            _ => return None,
        };
        let told = Told::of(argv(entry), tool.valued());
        (!told.elsewhere).then_some(Self { entry, tool, told })
    }

    /// How many work for it at most: one that it talks to, and one for each of its jobs.
    fn workers(&self) -> usize {
        match self.tool {
            Tool::PgDump => self.told.jobs.saturating_add(1),
            Tool::PgBaseBackup => 1,
            // What packs, and what compresses that.
            Tool::Exports(_) => 2,
            Tool::DataPump | Tool::Rman | Tool::RedisRdb | Tool::Vzdump | Tool::PackedBy(_) | Tool::DoneBy(_) => usize::MAX,
        }
    }

    fn is_served_by(&self, table: &Table, worker: &Entry) -> bool {
        let name = worker.process.comm.as_str();
        match self.tool {
            Tool::PgDump => backend(worker).is_some_and(|backend| {
                let reads = ["COPY", "SELECT", "FETCH", "DECLARE", "BEGIN", "idle in transaction"]
                    .iter()
                    .any(|act| backend.doing.starts_with(act));
                reads && serves_here(backend.host) && self.told.means(&backend)
            }),
            Tool::PgBaseBackup => title(worker)
                .split_once(" sending backup ")
                .is_some_and(|(who, _)| who.contains(": walsender ") && who.rsplit(' ').next().is_some_and(serves_here)),
            Tool::DataPump => name.starts_with("ora_dm") || name.starts_with("ora_dw"),
            Tool::Rman => title(worker).starts_with("oracle") && title(worker).contains("(LOCAL=YES)"),
            Tool::RedisRdb => title(worker).starts_with("redis-rdb-to-slaves"),
            Tool::DoneBy(daemon) => name == daemon && worker.member.user == self.entry.member.user,
            Tool::Exports(container) => packs(table, worker, container),
            Tool::PackedBy(daemons) => is_packer(worker) && is_below(table, worker, daemons),
            Tool::Vzdump => {
                // `task UPID:NODE:PID:PSTART:START:vzdump:101:root@pam:`.
                let guest = title(self.entry).split(":vzdump:").nth(1).and_then(|rest| rest.split(':').next());
                let machine =
                    argv(worker).iter().zip(argv(worker).iter().skip(1)).find(|(option, _)| *option == "-id").map(|(_, id)| id);
                let is_machine = name == "kvm" || name.starts_with("qemu-system");
                is_machine && guest.is_some() && guest == machine.map(String::as_str)
            }
        }
    }
}

impl Tool<'_> {
    /// The options that take a value, which is then no name of a database: letters, and words.
    fn valued(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::PgDump => (
                "eEfFjnNStTZdhpU",
                &[
                    "compress",
                    "dbname",
                    "encoding",
                    "exclude-extension",
                    "exclude-schema",
                    "exclude-table",
                    "exclude-table-and-children",
                    "exclude-table-data",
                    "exclude-table-data-and-children",
                    "extension",
                    "extra-float-digits",
                    "file",
                    "filter",
                    "format",
                    "host",
                    "include-foreign-data",
                    "jobs",
                    "lock-wait-timeout",
                    "port",
                    "restrict-key",
                    "role",
                    "rows-per-insert",
                    "schema",
                    "section",
                    "snapshot",
                    "superuser",
                    "sync-method",
                    "table",
                    "table-and-children",
                    "username",
                ],
            ),
            Self::PgBaseBackup => ("DFrtTXZclSidhpsU", &["dbname", "host", "username"]),
            Self::RedisRdb => ("hptsaurindDX", &[]),
            Self::DataPump | Self::Rman | Self::Vzdump | Self::Exports(_) | Self::PackedBy(_) | Self::DoneBy(_) => ("", &[]),
        }
    }
}

/// What a client was told of the server that it asks.
#[derive(Default)]
struct Told<'a> {
    /// It names another host.
    elsewhere: bool,
    user: Option<&'a str>,
    databases: Vec<&'a str>,
    /// Connections beside the first one.
    jobs: usize,
}

impl<'a> Told<'a> {
    fn of(argv: &'a [String], (letters, words): (&str, &[&str])) -> Self {
        let mut told = Self::default();
        let mut rest = argv.iter().skip(1).map(String::as_str);
        while let Some(arg) = rest.next() {
            if arg == "--" {
                for name in rest.by_ref() {
                    told.database(name);
                }
            } else if let Some(option) = arg.strip_prefix("--") {
                let takes_next = words.contains(&option);
                let next = || takes_next.then(|| (option, rest.next().unwrap_or_default()));
                if let Some((word, value)) = option.split_once('=').or_else(next) {
                    told.option(word, value);
                }
            } else if let Some(cluster) = arg.strip_prefix('-') {
                // Of letters behind one dash the first that takes a value takes the rest, or what follows.
                let Some((letter, value)) = cluster.find(|letter| letters.contains(letter)).map(|at| cluster[at..].split_at(1))
                else {
                    continue;
                };
                let value = if value.is_empty() { rest.next().unwrap_or_default() } else { value };
                told.option(letter, value);
            } else {
                told.database(arg);
            }
        }
        told
    }

    fn option(&mut self, name: &str, value: &'a str) {
        match name {
            "h" | "host" | "hostaddr" => self.elsewhere |= !value.split(',').all(is_here),
            "U" | "username" | "user" => self.user = Some(value),
            // With one job it does all on its first connection.
            "j" | "jobs" => self.jobs = value.trim().parse().ok().filter(|jobs| *jobs > 1).unwrap_or_default(),
            "d" | "dbname" | "u" => self.database(value),
            _ => {}
        }
    }

    /// A name, `host=db2 dbname=shop`, or `postgresql://ann@db2/shop?sslmode=require`.
    fn database(&mut self, told: &'a str) {
        if let Some((_, uri)) = told.split_once("://") {
            let (place, settings) = uri.split_once('?').unwrap_or((uri, ""));
            let (at, database) = place.split_once('/').unwrap_or((place, ""));
            let (user, hosts) = at.rsplit_once('@').unwrap_or(("", at));
            let host_of = |host: &'a str| match host.strip_prefix('[') {
                Some(host) => host.split(']').next(),
                None => host.split(':').next(),
            };
            self.elsewhere |= !hosts.split(',').filter_map(host_of).all(is_here);
            self.user = user.split(':').next().filter(|user| !user.is_empty()).or(self.user);
            self.databases.extend(Some(database).filter(|database| !database.is_empty()));
            for setting in settings.split('&') {
                self.setting(setting);
            }
        } else if told.contains('=') {
            for setting in told.split_whitespace() {
                self.setting(setting);
            }
        } else {
            self.databases.push(told);
        }
    }

    fn setting(&mut self, setting: &'a str) {
        let Some((key, value)) = setting.split_once('=') else { return };
        let value = value.trim_matches(['\'', '"']);
        match key {
            "dbname" => self.databases.push(value),
            "host" | "hostaddr" | "user" => self.option(key, value),
            _ => {}
        }
    }

    /// Whether this may be its backend. A dump that is told of no database takes the one that is called like its user, or what its
    /// environment names.
    fn means(&self, backend: &Backend) -> bool {
        self.user.is_none_or(|user| user == backend.user)
            && (self.databases.is_empty() || self.databases.contains(&backend.database))
    }
}

/// Whether a client that is told this asks a server of its own host: by name, by address, or by the path of a socket.
fn is_here(host: &str) -> bool {
    let path = ["/", "%2F", "%2f", "@"].iter().any(|start| host.starts_with(start));
    host.is_empty() || path || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a backend's client is on its host: `[local]`, `127.0.0.1(4711)`.
fn serves_here(client: &str) -> bool {
    client == "[local]" || client.split('(').next().is_some_and(|host| !host.is_empty() && is_here(host))
}

/// What a backend of `PostgreSQL` says of itself: `postgres: 15/main: ann shop [local] COPY`.
struct Backend<'a> {
    user: &'a str,
    database: &'a str,
    host: &'a str,
    doing: &'a str,
}

fn backend(entry: &Entry) -> Option<Backend<'_>> {
    let rest = title(entry).strip_prefix("postgres: ")?;
    // A cluster's name may stand before it.
    let rest = rest.split_once(": ").map_or(rest, |(_, rest)| rest);
    let mut words = rest.splitn(4, ' ');
    Some(Backend { user: words.next()?, database: words.next()?, host: words.next()?, doing: words.next()? })
}

fn argv(entry: &Entry) -> &[String] {
    entry.identity.as_ref().map(|identity| identity.argv.as_slice()).unwrap_or_default()
}

/// Whether one of these stands in front among its arguments.
fn is_told(entry: &Entry, orders: &[&str]) -> bool {
    told(entry).next().is_some_and(|order| orders.contains(&order))
}

/// Its arguments without options and their values.
fn told(entry: &Entry) -> impl Iterator<Item = &str> {
    const VALUED: [&str; 2] = ["--project", "--compression"];
    let mut rest = argv(entry).iter().skip(1).map(String::as_str);
    std::iter::from_fn(move || {
        loop {
            let arg = rest.next()?;
            if VALUED.contains(&arg) {
                rest.next();
            } else if !arg.starts_with('-') {
                return Some(arg);
            }
        }
    })
}

/// The container that `incus export` asks this host's daemon for: `web1`, `local:web1`. That of another host is packed there.
fn exported(entry: &Entry) -> Option<&str> {
    let container = told(entry).nth(1)?;
    let name = container.strip_prefix("local:").unwrap_or(container);
    (!name.is_empty() && !name.contains(':')).then_some(name)
}

/// Whether the daemon packs this container by it: the container stands in a path that it was told of; or it compresses what the daemon
/// packs itself, or another that it began with it, and that is no other container. The daemon copies others at the same time.
fn packs(table: &Table, worker: &Entry, container: &str) -> bool {
    const DAEMONS: [&str; 2] = ["incusd", "lxd"];
    let ours = |entry: &Entry| is_packer(entry) && is_below(table, entry, &DAEMONS);
    // In a project other than the first, `shop_web1`.
    let is_name = |part: &str| part == container || part.strip_suffix(container).is_some_and(|project| project.ends_with('_'));
    let names = |entry: &Entry| argv(entry).iter().any(|arg| arg.split('/').skip(1).any(is_name));
    let is_bare = |entry: &Entry| argv(entry).iter().skip(1).all(|arg| !arg.contains('/'));
    let begun_with = |other: &Entry| {
        let (one, other) = (&worker.process, &other.process);
        one.parent == other.parent && one.id.start.abs_diff(other.id.start) <= TOGETHER
    };
    let mut beside = table.iter().filter(|other| begun_with(other) && ours(other) && !is_bare(other));
    ours(worker) && (names(worker) || is_bare(worker) && beside.all(names))
}

/// Whether it packs, compresses or copies, by its name.
fn is_packer(worker: &Entry) -> bool {
    const PACKERS: [&str; 16] = [
        "tar",
        "bsdtar",
        "(sd-tar)",
        "gzip",
        "pigz",
        "zstd",
        "pzstd",
        "xz",
        "bzip2",
        "lz4",
        "mksquashfs",
        "rsync",
        "btrfs",
        "zfs",
        "systemd-export",
        "hdbbackint",
    ];
    PACKERS.contains(&worker.process.comm.as_str())
}

/// Whether one of these started it, or what started it.
fn is_below(table: &Table, worker: &Entry, daemons: &[&str]) -> bool {
    const DEEP: usize = 4;
    let parent = |entry: &&Entry| table.get(entry.process.parent);
    std::iter::successors(parent(&worker), parent).take(DEEP).any(|above| daemons.contains(&above.process.comm.as_str()))
}

/// What a process says of itself in place of its arguments.
fn title(entry: &Entry) -> &str {
    argv(entry).first().map(String::as_str).unwrap_or_default()
}

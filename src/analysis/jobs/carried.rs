//! What works for a job and is not to be hit with it: the backend that reads the tables for `pg_dump`, the worker of Oracle's data pump,
//! the machine that `vzdump` copies. It counts in what the job takes, is shown with it, and gets none of its signals: to kill a backend of
//! `PostgreSQL` restarts the whole cluster.
//!
//! Pure. Known by the title that a server gives its process, by when it started, and by what the client was told. Where a server's threads
//! do the work (`MySQL`, SQL Server) nothing is told: they serve everybody. Tested by `tests/scenarios.rs`.

use rustc_hash::FxHashMap;

use crate::analysis::table::{Entry, Table};
use crate::units::{Pid, ProcessId};

/// What a server began before its client it does not do for it. Starts are told to the hundredth of a second, and a server that is played by
/// a test may be quicker than its client.
const SLACK: f64 = 2.0;

/// Every process that works for a client on this host, with the client's number.
pub fn clients(table: &Table, ticks_per_second: u64) -> FxHashMap<ProcessId, Pid> {
    let clients: Vec<(&Entry, Client)> = table.iter().filter_map(|entry| Some((entry, client(entry)?))).collect();
    if clients.is_empty() {
        return FxHashMap::default();
    }
    let slack = (SLACK * ticks_per_second as f64) as u64;
    let works = |worker: &Entry| {
        let serves = clients.iter().filter(|(entry, client)| {
            let follows = worker.process.id.start + slack >= entry.process.id.start;
            (follows || *client == Client::Vzdump) && entry.process.id != worker.process.id && is_served(*client, entry, worker)
        });
        // Of several that ask for the same the one that came last before it.
        let nearest =
            serves.min_by_key(|(entry, _)| (worker.process.id.start.abs_diff(entry.process.id.start), entry.process.id));
        nearest.map(|(entry, _)| (worker.process.id, entry.process.id.pid))
    };
    table.iter().filter_map(works).collect()
}

/// A program that others work for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    PgDump,
    PgBaseBackup,
    DataPump,
    Rman,
    RedisRdb,
    Vzdump,
}

fn client(entry: &Entry) -> Option<Client> {
    let name = entry.process.comm.as_str();
    match name {
        "pg_dump" => Some(Client::PgDump),
        "pg_basebackup" => Some(Client::PgBaseBackup),
        "expdp" | "impdp" => Some(Client::DataPump),
        "rman" => Some(Client::Rman),
        "redis-cli" | "valkey-cli" if argv(entry).iter().any(|arg| arg == "--rdb") => Some(Client::RedisRdb),
        _ if title(entry).contains(":vzdump:") => Some(Client::Vzdump),
        _ => None,
    }
}

fn is_served(client: Client, entry: &Entry, worker: &Entry) -> bool {
    let name = worker.process.comm.as_str();
    match client {
        Client::PgDump => backend(worker).is_some_and(|(database, host, doing)| {
            let here = host == "[local]" || host.starts_with("127.") || host.starts_with("::1");
            let reads =
                ["COPY", "SELECT", "FETCH", "DECLARE", "BEGIN", "idle in transaction"].iter().any(|act| doing.starts_with(act));
            here && reads && names_database(argv(entry), database)
        }),
        Client::PgBaseBackup => title(worker).contains(": walsender ") && title(worker).contains(" sending backup "),
        Client::DataPump => name.starts_with("ora_dm") || name.starts_with("ora_dw"),
        Client::Rman => title(worker).starts_with("oracle") && title(worker).contains("(LOCAL=YES)"),
        Client::RedisRdb => title(worker).starts_with("redis-rdb-to-slaves"),
        Client::Vzdump => {
            // `task UPID:NODE:PID:PSTART:START:vzdump:101:root@pam:`.
            let guest = title(entry).split(":vzdump:").nth(1).and_then(|rest| rest.split(':').next());
            let machine =
                argv(worker).iter().zip(argv(worker).iter().skip(1)).find(|(option, _)| *option == "-id").map(|(_, id)| id);
            let is_machine = name == "kvm" || name.starts_with("qemu-system");
            is_machine && guest.is_some() && guest == machine.map(String::as_str)
        }
    }
}

/// Database, client's host and activity of a backend of `PostgreSQL`: `postgres: 15/main: ann shop [local] COPY`.
fn backend(entry: &Entry) -> Option<(&str, &str, &str)> {
    let rest = title(entry).strip_prefix("postgres: ")?;
    // A cluster's name may stand before it.
    let rest = rest.split_once(": ").map_or(rest, |(_, rest)| rest);
    let mut words = rest.splitn(4, ' ').skip(1);
    Some((words.next()?, words.next()?, words.next()?))
}

/// Whether a dump was told of this database, or of none: then it takes the one that is called like its user.
fn names_database(argv: &[String], database: &str) -> bool {
    let names = |arg: &String| {
        let value = arg.rsplit(['=', '/']).next().unwrap_or(arg);
        value.trim_matches(['\'', '"']) == database || arg.split_once('?').is_some_and(|(path, _)| path.ends_with(database))
    };
    let told = || argv.iter().skip(1);
    told().any(names) || told().all(|arg| arg.starts_with('-'))
}

fn argv(entry: &Entry) -> &[String] {
    entry.identity.as_ref().map(|identity| identity.argv.as_slice()).unwrap_or_default()
}

/// What a process says of itself in place of its arguments.
fn title(entry: &Entry) -> &str {
    argv(entry).first().map(String::as_str).unwrap_or_default()
}

//! Which ports the processes of a job listen on, so that a service is not ended by mistake.
//!
//! By the sockets among their open files and the kernel's list of listening ones, in their own network namespaces. Reads
//! `/proc` only, and no file there that waits for a wedged process. Tested in place and by `tests/act/guards.rs`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;

use crate::units::{Pid, ProcessId};

/// Most processes of a job, and most open files of all of them together, that are looked at.
const PROCESSES: usize = 1024;
const FILES: usize = 65_536;
/// `TCP_LISTEN` of `include/net/tcp_states.h`, as `/proc/net/tcp` writes it.
const LISTEN: &str = "0A";
/// `TCP_CLOSE`, which is how UDP says that it has no peer and takes whatever comes.
const UNCONNECTED: &str = "07";
const TABLES: [&str; 4] = ["tcp", "tcp6", "udp", "udp6"];

/// A port that somebody listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Reached from this host only.
    pub loopback: bool,
}

/// What a job listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// These, lowest first, those that others reach before the rest.
    Known(Vec<Port>),
    /// Open files could not be read, and among those that could is no listening socket.
    Hidden,
}

/// Looks at the open files of these processes.
pub fn of(processes: &[ProcessId]) -> Ports {
    let mut sockets: HashMap<String, (Pid, HashSet<u64>)> = HashMap::new();
    let (mut hidden, mut files) = (processes.len() > PROCESSES, 0);
    for id in processes.iter().take(PROCESSES) {
        let namespace = fs::read_link(format!("/proc/{}/ns/net", id.pid));
        let entries = fs::read_dir(format!("/proc/{}/fd", id.pid));
        let (Ok(namespace), Ok(entries)) = (namespace, entries) else {
            hidden |= std::path::Path::new(&format!("/proc/{}", id.pid)).exists();
            continue;
        };
        let found = sockets.entry(namespace.to_string_lossy().into_owned()).or_insert_with(|| (id.pid, HashSet::new()));
        for entry in entries.flatten() {
            files += 1;
            let target = fs::read_link(entry.path()).ok();
            found.1.extend(target.as_ref().and_then(|target| socket(target.to_str()?)));
        }
        hidden |= files > FILES;
        if files > FILES {
            break;
        }
    }
    let mut ports: Vec<Port> = sockets
        .values()
        .filter(|(_, sockets)| !sockets.is_empty())
        .flat_map(|(pid, sockets)| TABLES.into_iter().flat_map(|table| listening(*pid, table, sockets)))
        .collect();
    ports.sort_by_key(|port| (port.loopback, port.number));
    ports.dedup();
    if ports.is_empty() && hidden { Ports::Hidden } else { Ports::Known(ports) }
}

/// The number in `socket:[4711]`.
fn socket(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The ports of these sockets. The kernel lists those that listen first, so the many connections of a busy host are not read.
fn listening(pid: Pid, table: &str, sockets: &HashSet<u64>) -> Vec<Port> {
    let chosen = chosen_by_the_kernel();
    let Ok(file) = File::open(format!("/proc/{pid}/net/{table}")) else { return Vec::new() };
    let lines = BufReader::new(file).lines().skip(1).map_while(Result::ok);
    // Those of UDP stand in the order of their numbers.
    let is_udp = table.starts_with("udp");
    let of_udp = |line: &String| parse(line, UNCONNECTED).filter(|(port, _)| !chosen.contains(&port.number));
    let parsed: Vec<(Port, u64)> = if is_udp {
        lines.filter_map(|line| of_udp(&line)).collect()
    } else {
        lines.map_while(|line| parse(&line, LISTEN)).collect()
    };
    parsed.into_iter().filter(|(_, inode)| sockets.contains(inode)).map(|(port, _)| port).collect()
}

/// The numbers of those who did not ask for one: whoever sends a datagram gets one of these, and is no service for that.
fn chosen_by_the_kernel() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().map_while(|end| end.parse().ok());
    ends.next().zip(ends.next()).map_or(RangeInclusive::new(1, 0), |(first, last)| first..=last)
}

/// A line of a socket that listens; `None`: it does not.
fn parse(line: &str, state: &str) -> Option<(Port, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, number) = fields.get(1)?.rsplit_once(':')?;
    if *fields.get(3)? != state {
        return None;
    }
    // Each four bytes of the address are written as a number of this host, the lowest byte last.
    let mapped = address.strip_prefix("0000000000000000FFFF0000").unwrap_or(address);
    let loopback = mapped.len() == 8 && mapped.ends_with("7F") || address == "00000000000000000000000001000000";
    Some((Port { number: u16::from_str_radix(number, 16).ok()?, loopback }, fields.get(9)?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use proptest::prelude::*;

    use super::*;

    fn line(local: &str, state: &str) -> String {
        format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 x 100 0 0 10 0")
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(text in r"( *[0-9A-F]{0,40}:?[0-9A-F]{0,9}){0,14}", any in r"\PC{0,80}", target in r"(socket:\[)?[0-9]{0,25}\PC?\]?") {
            for text in [&text, &any, &line(&text, "0A"), &line(&any, "0A")] {
                let _ = parse(text, "0A");
            }
            let _ = socket(&target);
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest_in_both_families() {
        let port = |local: &str| parse(&line(local, LISTEN), LISTEN).map(|(port, inode)| (port.number, port.loopback, inode));
        assert_eq!(port("00000000:0050"), Some((80, false, 4711)));
        assert_eq!(port("0100007F:1F90"), Some((8080, true, 4711)));
        assert_eq!(port("0101A8C0:0050"), Some((80, false, 4711)));
        assert_eq!(port("00000000000000000000000000000000:0050"), Some((80, false, 4711)));
        assert_eq!(port("00000000000000000000000001000000:0050"), Some((80, true, 4711)));
        assert_eq!(port("0000000000000000FFFF00000100007F:0050"), Some((80, true, 4711)));
        assert_eq!(parse(&line("00000000:0050", "01"), LISTEN), None);
        assert_eq!(parse("nonsense", LISTEN), None);
    }

    #[test]
    fn a_service_of_datagrams_is_told_from_whoever_sends_them() {
        let own = super::super::stat::Stat::read(std::process::id().cast_signed()).unwrap().unwrap().id;
        let is_seen = |socket: &UdpSocket| {
            let number = socket.local_addr().unwrap().port();
            matches!(of(&[own]), Ports::Known(ports) if ports.iter().any(|port| port.number == number))
        };
        let chosen = chosen_by_the_kernel();
        let bind =
            || (20_000..30_000).filter(|port| !chosen.contains(port)).find_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok());
        let Some(service) = bind() else { return println!("skipped: the kernel chooses among all ports here") };
        assert!(is_seen(&service));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(!is_seen(&client));
        // One with a peer is a client too, whatever its number.
        service.connect(client.local_addr().unwrap()).unwrap();
        assert!(!is_seen(&service));
    }

    #[test]
    fn more_processes_than_are_looked_at_may_hide_a_port() {
        let mut child = std::process::Command::new("sleep").arg("60").stdin(std::process::Stdio::null()).spawn().unwrap();
        let id = super::super::stat::Stat::read(child.id().cast_signed()).unwrap().unwrap().id;
        assert_eq!(of(&vec![id; PROCESSES + 1]), Ports::Hidden);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_listening_process_is_seen() {
        let own = |listener: &TcpListener| {
            let stat = super::super::stat::Stat::read(std::process::id().cast_signed()).unwrap().unwrap();
            let number = listener.local_addr().unwrap().port();
            match of(&[stat.id]) {
                Ports::Known(ports) => ports.into_iter().find(|port| port.number == number),
                Ports::Hidden => None,
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(own(&listener).map(|port| port.loopback), Some(true));
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        assert_eq!(own(&listener).map(|port| port.loopback), Some(false));
    }
}

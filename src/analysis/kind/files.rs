//! What a process's open files say of it: whose data it reads, and where what it writes goes.
//!
//! A handful of files is seen of the thousands that a backup opens, and each says what kind of thing is read: the files of a database
//! that somebody else runs, what the site and its users live from, a snapshot, a whole disk. Pure. Tested by tests/kinds.rs.

use super::places::{is_built, is_live, place_says};
use super::program::basename;
use super::read::{Reading, shown};
use super::rules::Fact;
use super::tools::{Doing, Role};
use super::words::{is_in, words};
use super::{OpenFiles, ProcessShape};

/// A device that only exists so that a backup can read it.
const READS_SNAPSHOT_DEVICE: f64 = 0.6;
/// A mounted snapshot; people look for lost files there too.
const READS_SNAPSHOT: f64 = 0.35;
/// A whole disk, past its filesystem.
const READS_DISK: f64 = 0.4;
/// The files of a database server, by another program than the server.
const READS_DATABASE: f64 = 0.4;
/// What sites and users live from, by a program that does not live there.
const READS_LIVE: f64 = 0.2;
/// A finished archive in a place for backups is read, and none written: a restore, a check.
const READS_BACKUP: f64 = -0.6;
/// Beside what sites and users live from it has something open in a place for backups, and hardly writes into what is live.
const BESIDE: f64 = 0.35;
/// What it reads is cut into numbered pieces to be sent away.
const PIECES: f64 = 0.35;
/// What it reads of others comes out again, as an archive in a place that is for that, or under a date on another filesystem.
const PACKS: f64 = 0.3;
/// An archive grows that is called after a directory from which it reads.
const PACKS_BY_NAME: f64 = 0.4;
/// What it reads is encrypted into a file with a date.
const ENCRYPTS: f64 = 0.35;
/// The same where it may pack well.
const COMES_OUT: f64 = 0.1;
/// Part of what is read that comes out again where it is packed and not digested: of pictures and documents nearly all.
const PACKED: f64 = 0.5;
/// Somebody fetches what has nothing in common but this host, over SFTP. Who fetches a site's files or his own does not.
const FETCHES_ALL: f64 = 0.5;
/// A client sends files away, by a script that nobody sees.
const SENDS_AWAY: f64 = 0.2;
/// They are what the host lives from.
const READS_SENT: f64 = 0.3;
/// The session may only read.
const READ_ONLY: f64 = 0.2;
/// What it gathers goes into a bucket that it was told of.
const INTO_BUCKET: f64 = 0.3;
/// It works as the user of a database server and writes files: what it writes comes out of the database.
const EXPORTS: f64 = 0.3;
/// What is written goes to another host's disk.
const WRITES_AWAY: f64 = 0.3;

/// Devices of block agents' own snapshot drivers.
const SNAPSHOT_DEVICES: [&str; 12] = [
    "/dev/hcp",
    "/dev/synosnap",
    "/dev/veeam",
    "/dev/snapapi",
    "/dev/blksnap",
    "/dev/datto",
    "/dev/elastio",
    "/dev/sbd_snap",
    "/dev/assuriosnap",
    "/dev/snapshot",
    "/dev/r1snap",
    "/dev/nimsnap",
];

/// Where database servers keep their files.
const DATABASES: [&str; 12] = [
    "/var/lib/mysql/",
    "/var/lib/postgresql/",
    "/var/lib/pgsql/",
    "/var/lib/mongo",
    "/var/lib/redis/",
    "/var/lib/ldap/",
    "/var/lib/cassandra/",
    "/var/lib/elasticsearch/",
    "/var/lib/clickhouse/",
    "/var/lib/influxdb/",
    "/var/lib/couchdb/",
    "/var/opt/mssql/",
];

/// Users that may read nothing but what is there for everybody.
const ANYBODY: [&str; 4] = ["nobody", "ftp", "mirror", "_rsync"];
/// Users that database servers run as.
const DATABASE_USERS: [&str; 6] = ["postgres", "mysql", "mongodb", "oracle", "clickhouse", "db2inst1"];

/// Clients that are told what to send in a script of their own, or by what they read.
const TAKES_ORDERS: [&str; 6] = ["lftp", "sftp", "ftp", "tnftp", "ncftp", "smbclient"];

/// Words of directories that are there for everybody to fetch.
const PUBLIC: [&str; 11] =
    ["mirror", "mirrors", "pub", "ftp", "debian", "ubuntu", "centos", "dists", "releases", "packages", "downloads"];

/// Below live directories, and yet nothing that a host lives from.
const NOT_LIVE: [&str; 8] =
    ["/var/log/", "/var/cache/", "/var/tmp/", "/var/lib/docker/", "/var/lib/containerd/", "/var/spool/", "/var/run/", "/opt/"];

/// Adds what the files say.
pub fn read_files<'a>(reading: &mut Reading<'a>, process: &ProcessShape<'a>) {
    let files = process.files;
    let role = reading.role();
    if is_sftp(reading) {
        read_fetched(reading, files);
        return;
    }
    if matches!(role, Some(Role::Viewer | Role::Batch)) || reading.doing == Doing::Batch {
        return;
    }
    if role == Some(Role::Server) {
        read_servers_files(reading, files);
        return;
    }
    if TAKES_ORDERS.contains(&reading.program.name) && reading.doing == Doing::Unknown && process.leaf {
        read_sent(reading, files);
    }
    let public = |file: &String| words(file).any(|word| PUBLIC.iter().any(|known| known.eq_ignore_ascii_case(word)));
    let anybody = process.user.is_some_and(|user| ANYBODY.contains(&user));
    if role == Some(Role::Copier)
        && reading.doing == Doing::Agent
        && if files.reading.is_empty() { anybody } else { files.reading.iter().all(public) }
    {
        // A daemon of rsync that serves a mirror.
        reading.doing = Doing::Unknown;
    }
    reading.targets.extend(files.writing.iter().map(String::as_str));
    if let Some(device) = files.reading.iter().find(|file| is_snapshot_device(file)) {
        reading
            .facts
            .push(Fact { weight: READS_SNAPSHOT_DEVICE, text: format!("it reads the snapshot device {}", shown(device)) });
    } else if let Some(device) =
        files.reading.iter().find(|file| is_disk(file)).filter(|_| reading.open || reading.tool.is_none())
    {
        reading.facts.push(Fact { weight: READS_DISK, text: format!("it reads the whole device {}", shown(device)) });
    }
    if let Some(away) = files.away.first().filter(|_| reading.open) {
        reading.facts.push(Fact { weight: WRITES_AWAY, text: format!("it writes to another host: {}", shown(away)) });
    }
    if reading.tool.is_none() && reading.pace.works() {
        read_export(reading, process);
        read_strangers_files(reading, files);
    }
}

/// Whether it answers for one client of SFTP: a program of its own, or a session that says so in its title.
fn is_sftp(reading: &Reading<'_>) -> bool {
    reading.program.name == "sftp-server" || reading.program.args.iter().any(|arg| arg.ends_with("@internal-sftp"))
}

/// What a client fetches over SFTP.
fn read_fetched(reading: &mut Reading<'_>, files: OpenFiles<'_>) {
    let live = || files.reading.iter().map(String::as_str).filter(|file| is_live(file) && !is_kept(file));
    let root = |file: &str| file.split('/').nth(1).map(str::to_owned);
    let Some(first) = live().next().filter(|_| reading.pace.only_reads()) else { return };
    if let Some(other) = live().find(|other| root(other) != root(first)) {
        reading.doing = Doing::Backup;
        reading.weight = FETCHES_ALL;
        reading.open = true;
        reading.text = format!("a client fetches {} and {} over SFTP", shown(first), shown(other));
        if reading.program.args.contains(&"-R") {
            reading.facts.push(Fact { weight: READ_ONLY, text: "the client may only read".into() });
        }
    }
}

/// What a client of FTP or the like sends away that has its orders from a script: it reads what the host lives from and writes nothing.
fn read_sent(reading: &mut Reading<'_>, files: OpenFiles<'_>) {
    let sent = files.reading.iter().map(String::as_str).find(|file| is_live(file) && !is_built(file) && !is_kept(file));
    let Some(file) = sent.filter(|_| reading.pace.only_reads() && files.writing.is_empty()) else { return };
    reading.doing = Doing::Backup;
    reading.weight = SENDS_AWAY;
    reading.open = true;
    reading.text = format!("{} sends files away", reading.called());
    reading.facts.push(Fact { weight: READS_SENT, text: format!("it reads {}", shown(file)) });
    // Its script is called after where they go.
    let script = |arg: &&str| arg.starts_with('/') && !files.reading.iter().any(|file| file == arg);
    reading.targets.extend(reading.program.args.iter().copied().find(script));
}

/// What a program that nobody knows writes as a database server's user, while it reads next to nothing itself.
fn read_export(reading: &mut Reading<'_>, process: &ProcessShape<'_>) {
    let Some(user) = process.user.filter(|user| DATABASE_USERS.contains(user)) else { return };
    let kept = |file: &&String| {
        let says = place_says(file);
        !is_database(file) && !is_log_of_database(file) && (says.place > 0.0 || says.dated > 0.0)
    };
    if let Some(file) = process.files.writing.iter().find(kept).filter(|_| reading.pace.stores) {
        // Its server reads for it.
        reading.pace.stores = false;
        reading.facts.push(Fact { weight: EXPORTS, text: format!("it works as {} and writes {}", shown(user), shown(file)) });
    }
}

/// An archive that is written and called after a directory of what is read, and a file from there: `shop.tar.gz`, `/data/shop/a.db`. Not
/// what a build made, nor a file that is packed where it lies.
fn packed_by_name(files: OpenFiles<'_>) -> Option<(&str, &str)> {
    const SHORTEST: usize = 3;
    let read = || files.reading.iter().map(String::as_str).filter(|file| is_live(file) && !is_built(file));
    files.writing.iter().map(String::as_str).filter(|file| place_says(file).archive > 0.0).find_map(|archive| {
        let stem = basename(archive).split('.').next().filter(|stem| stem.len() >= SHORTEST)?;
        let within = |file: &&str| {
            let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            folder.split('/').any(|part| part == stem) && !archive.starts_with(folder)
        };
        read().find(within).map(|file| (archive, file))
    })
}

/// The bucket that these arguments name.
fn bucket<'a>(args: &[&'a str]) -> Option<&'a str> {
    const OPTIONS: [&str; 3] = ["--bucket", "--s3-bucket", "--container"];
    let behind = |at: usize| args.get(at + 1).copied().filter(|value| !value.starts_with('-'));
    args.iter().enumerate().find_map(|(at, arg)| match arg.split_once('=') {
        Some((option, value)) if OPTIONS.contains(&option) => Some(value),
        None if OPTIONS.contains(arg) => behind(at),
        _ => ["s3://", "gs://", "b2://", "swift://"].iter().any(|scheme| arg.starts_with(scheme)).then_some(*arg),
    })
}

/// What a program that nobody knows reads.
fn read_strangers_files(reading: &mut Reading<'_>, files: OpenFiles<'_>) {
    let read = || files.reading.iter().map(String::as_str);
    let kept = read().find(|file| {
        let says = place_says(file);
        says.place > 0.4 && says.archive > 0.0 && !is_snapshot_image(file)
    });
    let writes_one = files.writing.iter().any(|file| place_says(file).weight() > 0.2);
    let home = top(reading.program.path);
    let foreign = |file: &&str| {
        is_live(file)
            && !NOT_LIVE.iter().any(|place| file.starts_with(place))
            && !is_database(file)
            && home.is_none_or(|home| top(file) != Some(home))
            && basename(file) != basename(reading.program.path)
    };
    let lives = |file: &str| foreign(&file) && !is_kept(file) && !file.starts_with("/etc/");
    let copies = !reading.pace.stores && read().any(|file| lives(file) || is_snapshot_device(file));
    let written = || files.writing.iter().map(String::as_str);
    let packed = |file: &&str| {
        let says = place_says(file);
        says.place > 0.0 && says.dated > 0.0 || says.place > 0.4 && says.archive > 0.0
    };
    let encrypted = |file: &&str| {
        let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
        ["age", "gpg", "enc"].contains(&ending) && place_says(file).dated > 0.0
    };
    let reads_live = read().any(|file| is_live(file) && !is_kept(file));
    if let Some(file) = written().find(encrypted).filter(|_| reads_live && reading.pace.comes_out(PACKED)) {
        reading.facts.push(Fact { weight: ENCRYPTS, text: format!("it encrypts what it reads into {}", shown(file)) });
    }
    if let Some(archive) = written().find(packed).filter(|_| copies && reading.pace.comes_out(PACKED)) {
        reading.facts.push(Fact { weight: PACKS, text: format!("what it reads becomes {}", shown(archive)) });
    }
    if let Some((archive, source)) = packed_by_name(files).filter(|_| !reading.pace.stores && reading.pace.comes_out(COMES_OUT)) {
        let text = format!("it packs {} into {}", shown(source), shown(archive));
        reading.facts.push(Fact { weight: PACKS_BY_NAME, text });
    }
    if let Some(piece) = read().chain(written()).find(|file| is_piece(file)).filter(|_| copies) {
        reading.facts.push(Fact { weight: PIECES, text: format!("it cuts what it reads into pieces: {}", shown(piece)) });
    }
    if let Some(file) = read().find(|file| is_kept(file)).filter(|_| copies) {
        reading.facts.push(Fact { weight: BESIDE, text: format!("beside what it reads it has {} open", shown(file)) });
    } else if let Some(file) = kept.filter(|_| !writes_one) {
        reading.facts.push(Fact { weight: READS_BACKUP, text: format!("it reads a backup: {}", shown(file)) });
        return;
    }
    if let Some(file) = read().find(|file| is_from_snapshot(file)) {
        reading.facts.push(Fact { weight: READS_SNAPSHOT, text: format!("it reads from a snapshot: {}", shown(file)) });
    }
    let own = |file: &&str| home.is_some() && home == top(file);
    // Who writes there as well is the server itself.
    let serves = |file: &&str| {
        let writes = |place: &&&str| files.writing.iter().any(|written| written.starts_with(**place));
        DATABASES.iter().filter(|place| file.starts_with(**place)).any(|place| writes(&place))
    };
    if let Some(file) = read().find(|file| is_database(file) && !own(file) && !serves(file)) {
        // Who reads nothing else may check it.
        let told =
            if read().any(|file| foreign(&file)) || !files.writing.is_empty() { &mut reading.facts } else { &mut reading.habits };
        told.push(Fact { weight: READS_DATABASE, text: format!("it reads the files of a database: {}", shown(file)) });
    }
    if let Some(file) = read().find(foreign) {
        reading.habits.push(Fact { weight: READS_LIVE, text: format!("it reads {}", shown(file)) });
        let other = read().filter(foreign).find(|other| top(other) != top(file));
        if let Some(other) = other {
            reading.gathers = true;
            reading.habits.push(Fact { weight: READS_LIVE, text: format!("and {}", shown(other)) });
            if let Some(bucket) = bucket(&reading.program.args).filter(|_| !reading.pace.stores) {
                let text = format!("it was told of the bucket {}", shown(bucket));
                reading.facts.push(Fact { weight: INTO_BUCKET, text });
            }
        }
    }
}

/// A server writes all day; only a dated archive in a place for backups says that it packs one (a plug-in of a web site).
fn read_servers_files(reading: &mut Reading<'_>, files: OpenFiles<'_>) {
    let archive = files.writing.iter().find(|file| {
        let says = place_says(file);
        says.place > 0.4 && says.dated > 0.0 && says.archive > 0.0 && !is_record(file)
    });
    if let Some(archive) = archive.filter(|_| reading.doing == Doing::Unknown && reading.pace.works()) {
        reading.doing = Doing::Backup;
        reading.weight = 0.6;
        reading.text = format!("{} writes {}", reading.called(), shown(archive));
    }
}

/// What servers write down by the day, packed or not: `access-2026-03-01.log.gz`, `events-2026-03-01.json.zst`.
fn is_record(file: &str) -> bool {
    const RECORDS: [&str; 9] = ["log", "logs", "json", "jsonl", "ndjson", "csv", "parquet", "access", "events"];
    words(basename(file)).any(|word| is_in(&RECORDS, word))
}

/// Whether all of these lie where the program lives, as `/srv/shop/var/a.db` does for `/srv/shop/bin/run`.
pub fn reads_home(program: &str, files: &[String]) -> bool {
    const SHARED: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local", "/usr/lib"];
    let home = top(program).filter(|home| !SHARED.contains(home));
    files.iter().all(|file| home.is_some() && top(file) == home)
}

/// Whether two programs were installed together, in a place of their own.
pub fn lives_with(one: &str, other: &str) -> bool {
    let home = |path| top(path).filter(|home| home.starts_with("/opt/") || home.starts_with("/usr/local/"));
    home(one).is_some() && home(one) == home(other)
}

/// Whether it lies where backups are kept; a snapshot of what is live does not.
pub fn is_kept(file: &str) -> bool {
    place_says(file).place > 0.4
        && !is_from_snapshot(file)
        && !file.starts_with("/dev/")
        && !DATABASES.iter().any(|place| file.starts_with(place))
}

/// Whether it is a database server's file or lies among them: by the place, or by what only such servers write.
pub fn is_database(file: &str) -> bool {
    const ENDINGS: [&str; 8] = [".ibd", ".myd", ".myi", ".wt", ".mdf", ".ldf", ".ndf", ".mv.db"];
    let within = |place: &&str| file.starts_with(*place) || place.strip_suffix('/') == Some(file.trim_end_matches('/'));
    let name = basename(file).to_ascii_lowercase();
    // `base/16390/24601`: database and table by number.
    let mut parts = file.rsplit('/');
    let number = |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    DATABASES.iter().any(within)
        || name == "ibdata1"
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || number(parts.next()) && number(parts.next()) && parts.next() == Some("base")
}

/// A piece of a database's log, as `PostgreSQL` names them: who keeps those follows the server for good.
fn is_log_of_database(file: &str) -> bool {
    const NAME: usize = 24;
    let stem = basename(file).split('.').next().unwrap_or_default();
    stem.len() == NAME && stem.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `seg-000412.zst`, `chunk.0031`: one of many pieces of a whole.
fn is_piece(file: &str) -> bool {
    const PIECES: [&str; 11] = ["seg", "segment", "chunk", "part", "pack", "vol", "volume", "slice", "piece", "block", "bundle"];
    const WHOLE: [&str; 9] = ["zst", "gz", "xz", "lz4", "enc", "gpg", "age", "tmp", "part"];
    let mut words = words(basename(file));
    let named = words.next().is_some_and(|word| PIECES.iter().any(|piece| piece.eq_ignore_ascii_case(word)));
    let numbered = words.next().is_some_and(|word| word.len() > 2 && word.bytes().all(|b| b.is_ascii_hexdigit()));
    named && numbered && words.all(|ending| WHOLE.iter().any(|whole| whole.eq_ignore_ascii_case(ending)))
}

fn is_snapshot_device(file: &str) -> bool {
    SNAPSHOT_DEVICES.iter().any(|snapshot| file.starts_with(snapshot))
        || file.strip_prefix("/dev/").is_some_and(|name| words(name).any(is_snapshot_word))
}

fn is_snapshot_word(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    ["snap", "snapshot", "snaps", "snapshots", "cow", "backup", "bkp"].iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn is_from_snapshot(file: &str) -> bool {
    !file.starts_with("/dev/")
        && file.split('/').rev().skip(1).any(|part| words(part).any(is_snapshot_word) && part.contains("snap"))
}

/// The file of a volume's snapshot among the volume's own: `replicas/pvc-1/volume-snap-9e.img`. Nobody kept it: a backup reads it.
fn is_snapshot_image(file: &str) -> bool {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    words(name).any(|word| is_snapshot_word(word) && word.starts_with("snap")) && place_says(folder).place <= 0.4
}

/// A disk, a partition or a volume, by its name.
fn is_disk(file: &str) -> bool {
    let Some(name) = file.strip_prefix("/dev/") else { return false };
    if name.starts_with("mapper/") || name.starts_with("dm-") {
        return name != "mapper/control";
    }
    let numbered = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let lettered =
        |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    numbered("nvme") || numbered("md") || lettered("sd") || lettered("vd") || lettered("xvd")
}

/// The first two directories of a path: `/srv/shop`.
pub fn top(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?;
    let first = rest.find('/')?;
    let second = rest[first + 1..].find('/').map_or(rest.len(), |at| first + 1 + at);
    // With the slash that was taken off.
    path.get(..=second)
}

//! The top: which host this is and what whytop itself costs; then the load averages beside the tasks of now.

use ratatui::style::Style;
use ratatui::text::Line;

use super::site;
use super::text::{Pieces, UNKNOWN, clock, cores, known, percent};
use crate::analysis::diagnosis::Diagnosis;
use crate::sample::{HostFacts, LoadAverage, Memory, Pressure};
use crate::ui::keys::Rights;
use crate::ui::state::State;
use crate::units::{Nanos, SECOND, bytes, count, rate, span};

/// The host's own numbers: of the newest answer, or of the first glance as long as there is none.
struct Numbers<'a> {
    host: &'a HostFacts,
    since_boot: Nanos,
    load: Option<LoadAverage>,
    running: Option<u32>,
    /// Runnable and stuck together, and stuck alone. `None`: not counted yet.
    counted: Option<(u32, u32)>,
    pressure: Option<Pressure>,
    memory: Option<Memory>,
    busy: Option<f64>,
}

impl<'a> Numbers<'a> {
    fn of(state: &'a State) -> Option<Self> {
        if let Some(diagnosis) = &state.diagnosis {
            let load = &diagnosis.load;
            return Some(Self {
                host: &diagnosis.host,
                since_boot: diagnosis.since_boot,
                load: load.averages,
                running: Some(load.runnable),
                counted: Some((load.now(), load.uninterruptible)),
                pressure: diagnosis.pressure,
                memory: diagnosis.memory,
                busy: diagnosis.cpu.map(|cpu| cpu.busy),
            });
        }
        let (host, glance) = state.glance.as_ref()?;
        Some(Self {
            host,
            since_boot: glance.since_boot,
            load: glance.host.load,
            running: glance.tasks.map(|(running, _)| running),
            counted: None,
            pressure: glance.host.pressure,
            memory: glance.host.memory,
            busy: None,
        })
    }
}

/// `whytop  web-07  Linux 6.18.5  2 CPUs  up 12 d 4 h      self 1.2 % of a CPU  14:27:31`
pub fn host(state: &State, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let mut line = Pieces::new(width);
    line.push(" whytop", theme.strong);
    if state.rights == Rights::Look {
        line.push(" read-only", theme.amber);
    }
    let time = state.now.map(|now| clock(now, None, &state.zone)).unwrap_or_default();
    let mut end = vec![time];
    // The clock is worth more than the kernel's name, and so is that whytop looks less often than it was told to.
    let mut end_room = 12;
    if let Some(diagnosis) = &state.diagnosis {
        if let Some(silence) = silence(state, diagnosis) {
            end_room += silence.len() + 3;
            end.insert(0, silence);
        } else if let Some(pace) = diagnosis.cost.pace.filter(|pace| pace.stretched) {
            let [look, interval] = [pace.look, pace.interval].map(|time| span(time as f64 / SECOND as f64));
            let pace = format!("a look takes {look}: one each {interval}");
            end_room += pace.len() + 3;
            end.insert(0, pace);
        }
        let cost = own_cost(diagnosis);
        end_room += cost.len() + 3;
        end.insert(0, cost);
    }
    if let Some(numbers) = Numbers::of(state) {
        line.push("  ", theme.plain).push(&numbers.host.name, theme.strong);
        let facts = [
            format!("Linux {}", numbers.host.kernel),
            count(numbers.host.cpus, "CPU"),
            format!("up {}", span(numbers.since_boot as f64 / SECOND as f64)),
        ];
        for fact in facts {
            if line.room() >= fact.len() + 2 + end_room {
                line.push_whole(&[("  ", theme.dim), (&fact, theme.dim)]);
            }
        }
    }
    while !end.is_empty() && !line.push_right(&format!("{} ", end.join("   ")), theme.dim) {
        end.remove(0);
    }
    line.line()
}

/// That what is shown is old, where no look has come for long: the clock alone would tell nobody.
fn silence(state: &State, diagnosis: &Diagnosis) -> Option<String> {
    const SHORTEST: f64 = 5.0;
    let seconds = state.now?.duration_since(diagnosis.at).as_secs_f64();
    let interval = diagnosis.cost.pace.map_or(0.0, |pace| pace.interval as f64 / SECOND as f64);
    (seconds > SHORTEST.max(interval * 3.0)).then(|| format!("no look for {}", span(seconds)))
}

/// What whytop takes: CPU where two samples tell it, else the time one sample took.
fn own_cost(diagnosis: &Diagnosis) -> String {
    let interval = match diagnosis.trend.as_slice() {
        [.., before, last] => last.at.duration_since(before.at).as_secs_f64(),
        _ => 0.0,
    };
    let tier = diagnosis.cost.tier.name();
    if interval > 0.0 {
        format!("self {:.1} % ({tier})", diagnosis.cost.cpu as f64 / SECOND as f64 / interval * 100.0)
    } else {
        format!("self {:.0} ms a sample ({tier})", diagnosis.cost.sampling as f64 / 1e6)
    }
}

/// `LOAD 40.1 31.2 14.8   NOW 41 = 3 R + 38 D   PRESSURE cpu 12 % io 93 % mem 0 %   CPU 1.9 of 2   MEM 61 %`; empty before the first
/// glance.
pub fn load(state: &State, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let mut line = Pieces::new(width);
    let Some(numbers) = Numbers::of(state) else { return line.line() };
    let averages = numbers.load.map_or_else(
        || vec![(UNKNOWN.to_owned(), theme.dim)],
        |averages| {
            vec![
                (format!("{:.1}", averages.avg1), theme.strong),
                (format!(" {:.1} {:.1}", averages.avg5, averages.avg15), theme.dim),
            ]
        },
    );
    line.push(" LOAD ", theme.dim);
    for (text, style) in averages {
        line.push(&text, style);
    }
    line.push("   NOW ", theme.dim);
    // The sum is worth its room only where it is one.
    if let Some((now, _)) = numbers.counted {
        line.push(&now.to_string(), theme.strong).push(" = ", theme.dim);
    }
    let number = |tasks: Option<u32>| tasks.map_or_else(|| UNKNOWN.to_owned(), |tasks| tasks.to_string());
    let stuck = if numbers.counted.is_some_and(|(_, stuck)| stuck > 0) { theme.victim } else { theme.plain };
    line.push_whole(&[
        (&number(numbers.running), theme.plain),
        (" R + ", theme.plain),
        (&number(numbers.counted.map(|(_, stuck)| stuck)), stuck),
        (" D", stuck),
    ]);
    // Idle drivers of the kernel, which would make somebody look for what is stuck.
    if let Some(always) = state.diagnosis.as_ref().map(|diagnosis| diagnosis.load.always).filter(|always| *always > 0) {
        line.push_whole(&[(&format!(" ({always} always)"), theme.dim)]);
    }
    if let Some((words, style)) = site::condition(state) {
        line.push("   SITE ", theme.dim).push(&words, style);
    }
    // Pressure: share of the time in which somebody was held up.
    let mut shares =
        numbers.pressure.map(|p| vec![("cpu", p.cpu_some10), ("io", p.io_some10), ("mem", p.memory_some10)]).unwrap_or_default();
    // Beside a site there is mostly room for the worst only.
    while state.site.is_some() && shares.len() > 1 && stall(state, &shares).1 > line.room() {
        let least = shares.iter().enumerate().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map_or(0, |(index, _)| index);
        shares.remove(least);
    }
    let (pressure, needed) = stall(state, &shares);
    if needed <= line.room() {
        line.push("   STALL ", theme.dim);
        let last = pressure.len() - 1;
        for (index, (text, style)) in pressure.iter().enumerate() {
            line.push(if index == last { text.trim_end() } else { text }, *style);
        }
    }
    if let Some(memory) = numbers.memory
        && let Some(available) = memory.available
        && memory.total > 0
    {
        let used = 1.0 - available as f64 / memory.total as f64;
        let of = format!(" of {}", bytes(memory.total as f64));
        if !line.push_whole(&[("   MEM ", theme.dim), (&percent(used), theme.plain), (&of, theme.dim)]) {
            line.push_whole(&[("   MEM ", theme.dim), (&percent(used), theme.plain)]);
        }
    }
    let of = format!(" of {}", numbers.host.cpus);
    line.push_whole(&[("   CPU ", theme.dim), (&known(numbers.busy, cores), theme.plain), (&of, theme.dim)]);
    line.line()
}

/// The shares of time, each in its style, and how many cells they need with their heading.
fn stall(state: &State, shares: &[(&str, f64)]) -> (Vec<(String, Style)>, usize) {
    let piece = |(name, value): &(&str, f64)| (format!("{name} {value:.0} %  "), heat(state, *value / 100.0));
    let mut pieces: Vec<(String, Style)> = shares.iter().map(piece).collect();
    if pieces.is_empty() {
        pieces.push((UNKNOWN.to_owned(), state.theme.dim));
    }
    let needed = pieces.iter().map(|piece| piece.0.len()).sum::<usize>() + 10;
    (pieces, needed)
}

/// `DISK sda 98 % busy  42 ms a request  queue 12  reads 8.1 MB/s (131/s)  writes 2.1 MB/s (90/s)`; only where there is room for it.
pub fn disks(state: &State, diagnosis: &Diagnosis, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let mut line = Pieces::new(width);
    line.push(" DISK ", theme.dim);
    if diagnosis.disks.is_empty() {
        line.push("none moves anything", theme.dim);
    }
    for (index, disk) in diagnosis.disks.iter().enumerate() {
        let gap = if index == 0 { "" } else { "   " };
        let busy = format!(" {} busy", percent(disk.util));
        let wait = disk.await_ms.map(|ms| format!("  {ms:.0} ms a request")).unwrap_or_default();
        let queue = format!("  queue {:.0}", disk.queue);
        let each = |bytes: f64, number: f64| format!("{} ({number:.0}/s)", rate(bytes));
        let moved = format!("  reads {}  writes {}", each(disk.read_bytes, disk.reads), each(disk.write_bytes, disk.writes));
        let whole = [
            (gap, theme.dim),
            (disk.name.as_str(), theme.strong),
            (busy.as_str(), heat(state, disk.util)),
            (wait.as_str(), theme.plain),
            (queue.as_str(), theme.plain),
            (moved.as_str(), theme.plain),
        ];
        if !line.push_whole(&whole) {
            line.push_whole(&[(gap, theme.dim), (disk.name.as_str(), theme.strong), (busy.as_str(), heat(state, disk.util))]);
        }
    }
    line.line()
}

/// The number tells; the colour only helps to find it.
fn heat(state: &State, share: f64) -> Style {
    match share {
        x if x >= 0.5 => state.theme.culprit,
        x if x >= 0.1 => state.theme.amber,
        _ => state.theme.plain,
    }
}

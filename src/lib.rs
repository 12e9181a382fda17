//! whytop: says why the load is high, who waits, who takes it, and gives you the key that ends it.
//!
//! Data flows one way, and each step has one room:
//!
//! ```text
//! kernel ──▶ sample ──▶ history ──▶ analysis ──▶ diagnosis ──▶ ui::view | report
//! (reads)    (raw)      (ring)      (pure)                        │
//!                                             key ▶ command ▶ update ▶ effect ▶ act ▶ outcome ▶ (back as an event)
//! ```
//!
//! | to change… | go to |
//! |---|---|
//! | a flag, an exit code | [`cli`], `main` |
//! | what is read from `/proc`, how fast, how safely | [`kernel`]: `reader` (a sample), `process` and `table` (tasks), `host`, `identity` (command lines) |
//! | which disks are below a path, which files are open | `kernel::storage`; `kernel::descriptors`, `kernel::movers` |
//! | what is asked only while somebody is held up: who holds the memory, what control groups say | `kernel::holders`, `kernel::cgroups`; `analysis::stalls` |
//! | a reader that gets stuck, and how another goes on | `kernel::watched` |
//! | how all tasks are read at once | [`kernel::tier`], its program `kernel/bpf/tasks.bpf.c`; `kernel::take` |
//! | when it is read | [`sampler`] |
//! | its own memory and priority | [`kernel::own`] |
//! | what a sample holds | [`sample`] |
//! | how long samples are kept | [`history`] |
//! | which processes are one job | `analysis::jobs`: `assign`, `split`, `launcher`; `analysis::cgroup` for units and containers |
//! | what belongs to a job though it runs elsewhere; what only works for it | `analysis::jobs`: `join`; `carried` |
//! | what a job is called | `analysis::name`; `analysis::interpreter` for what stands behind one |
//! | what is taken for a backup, and what is known of a tool | [`analysis::kind`], its `tools/*.toml` |
//! | what one process says of that, what a whole job does; where it begins, where its data goes | `kind::read` and `files`, `kind::weigh`; `starters`, `sinks` |
//! | a rules file of the user's | [`config`] finds and reads it, `analysis::kind::catalogue` takes it in |
//! | which units a timer starts | [`config`] |
//! | what `explain` says of a process | `report::explain` |
//! | how long earlier runs took; what is kept of them for the next whytop | `analysis::past`; [`runs`] |
//! | what a wait channel means; since when a task is stuck | `analysis::waits`; `analysis::since` |
//! | what processes are counted for that came and went between two looks | `analysis::brief` |
//! | who is accused, with which words and numbers | `analysis::blame`; `blame::flush` for what is written out later, `analysis::freezes` for who froze a filesystem, `analysis::memory` for who takes memory |
//! | whose limit holds whom back | `monitor::limits`, `analysis::limits` |
//! | the load average as a sum over jobs | `analysis::ledger` |
//! | what a job uses | [`monitor`], `weigh` |
//! | what an answer holds | [`analysis::diagnosis`] |
//! | how samples become answers | [`monitor`] |
//! | when a host has recovered | [`recovery`] |
//! | what a pause has shown | [`proof`] |
//! | how those who wait fared before the culprit came | [`analysis::earlier`] |
//! | how a site is asked (`--probe`), and what is known of it | [`probe`]; [`site`] |
//! | why a process is still there after its signal | [`landing`], `act::landing` |
//! | what is known of a job before an action on it | [`subject`] |
//! | how a process is hit, and which never is | [`act`]; its words are in [`action`] |
//! | what niceness, I/O class and weights are set to, and put back | `act::hand`, `act::autogroup`, `act::weights` |
//! | what each action would do here, and why it cannot | `act::offers`, `act::survey` |
//! | what asks for a word to be typed first | `act::orders`, `act::ports` |
//! | a pause that ends though whytop was killed; what is left standing | [`act::watchdog`], `act::proof`; `act::ledger` |
//! | what is written down of an action, where, and on which evidence | [`trace`]; [`grounds`]; later `app::note` |
//! | a key | [`ui::keys`], one row |
//! | what a key does | [`ui::update`]; `ui::update::act` for those that act |
//! | the menu of actions: what is chosen, picked and typed | [`ui::dialog`]; drawn by `ui::view::dialog` |
//! | a region of the screen | [`ui::view`], one file each |
//! | the text and the JSON of `once` and of actions | [`report`] |
//! | acting without a screen | `app::headless` |
//! | how all of it is put together | [`app`] |
//!
//! The law: readers do not know the analysis, the analysis does not know a clock, a file or the screen, the screen neither
//! reads nor acts. `tests/tidy.rs` holds it.

#![forbid(unsafe_code)]

pub mod act;
pub mod action;
pub mod analysis;
pub mod app;
pub mod cli;
pub mod config;
pub mod grounds;
pub mod history;
pub mod kernel;
pub mod landing;
pub mod monitor;
pub mod probe;
pub mod proof;
pub mod recovery;
pub mod report;
pub mod runs;
pub mod sample;
pub mod sampler;
pub mod site;
pub mod subject;
pub mod trace;
pub mod ui;
pub mod units;

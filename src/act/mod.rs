//! The only code that changes the world: it acts on the processes of a job, and answers what became of each.
//!
//! [`Hand`] aims while the dialog is open, [`Worker`] carries out orders off the screen's thread (`orders`), through
//! [`Armed::strike`]. It decides nothing about jobs: whom to hit is the caller's word, whom never to hit is `guard`'s.
//! `survey` looks around before the key, and `offers` says what each action would do; `landing` looks who is still there afterwards.
//!
//! # Never the wrong process
//! A number in `/proc` may belong to somebody else by the time a signal is sent. So each target is opened first (pidfd),
//! then its start time is compared with the one on the screen, and every signal goes through the descriptor that was
//! compared. If the number changes hands before the comparison the start time differs; if after, the descriptor still
//! means the process that has ended, and the signal goes nowhere.
//!
//! # Nobody left over
//! A job forks while it is being killed. Between the last look at `/proc` and the signal a member may have borne a child;
//! the member dies at once and the child's parent becomes PID 1 or a subreaper: the family tree no longer shows it. But
//! - a child born before the last look was seen below its parent, whatever session it moves to afterwards;
//! - a child born after it has its parent's session and process group and a start time later than the aim;
//! - a process with a fatal signal pending bears no more children (`copy_process` gives up), so all children of the dead
//!   are there to be seen when `pidfd_send_signal` returns, and the looks come to an end.
//!
//! So `salvo` looks at all processes before the first signal, sends, and looks again until two looks in a row find nobody
//! new (`family` says who belongs). Two, because reading `/proc` takes time, and a process may appear behind the reader.
//! A whole look takes longer than a fork, so a job that keeps bearing is chased by the newest numbers in between.
//!
//! Not seen is a child that is born between look and signal *and*, before the next look, starts a session of its own; and one
//! that is born so and orphaned where the job shares its session and its process group with others (a worker of a service):
//! there nobody can tell whose it was, and a stranger is worse hit than a member missed.
//!
//! Stopping the job first (SIGSTOP) would freeze the tree, but an interactive shell above it notices that its job has
//! stopped and takes the terminal, and whoever waits with `WUNTRACED` acts on it; and a stopped job whose operator loses
//! the connection in that second keeps its locks for ever.
//!
//! # All at once
//! Where a control group of version 2 holds the job and nobody else, SIGKILL and pause go through it (`cgroup`): the kernel then
//! leaves nobody out. Each process inside is compared with the job right before; with one bystander in it the group is left alone.
//! A group that was frozen is written down, and let go whoever has joined it since: nobody would know why it stands still.
//!
//! # A pause that ends
//! A proof stops a job for some seconds. It must go on though whytop is killed and the terminal dies, so a process of its own does
//! both (`watchdog`), and `ledger` remembers what stands, for the next start.
//!
//! # Clean-up is not hit
//! SIGTERM and SIGINT ask. Who catches them starts its clean-up: `lvremove`, `fsfreeze -u`, `rm` of a lock. Those are
//! children born meanwhile as well, and to hit them would leave behind what makes a killed backup dangerous. So a child
//! that a process with a handler started after it was asked is left alone, and the answer names it.
//!
//! Tested in place (parsing, kinship) and by `tests/act.rs` with real processes.

#![forbid(unsafe_code)]

mod autogroup;
mod cgroup;
mod cron;
mod family;
mod guard;
mod hand;
mod held;
mod landing;
pub(crate) mod ledger;
mod look;
mod offers;
mod orders;
mod ports;
mod proof;
mod run;
mod salvo;
mod stat;
mod survey;
mod unit;
pub mod watchdog;
mod weights;
mod worker;

pub use hand::{Armed, Hand};
pub use salvo::Blow;
pub use survey::Tools;
pub use worker::{Left, Worker};

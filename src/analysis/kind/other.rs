//! What a job is when it is no backup: batch work by name, a service, somebody's session.
//!
//! Says less than `weigh` and is believed less: the kind of a bystander is a convenience, that of a backup is why somebody is woken.

use super::Launcher;
use super::read::{Reading, shown};
use super::scale::{Scale, evidence};
use super::tools::{Doing, Role};
use super::weigh::{Read, finding};
use super::work;
use crate::analysis::diagnosis::{Evidence, Finding, Kind};
use crate::units::count;

/// Seconds after which a unit's main process is taken for a service.
const SETTLED: f64 = 600.0;
/// As many equal children are the workers of a server.
const WORKERS: usize = 3;

impl Read<'_, '_> {
    /// What the job is when it is no backup.
    pub fn other_kind(&self, scale: Scale) -> Finding {
        let job = self.job;
        let root = self.root();
        let says = |text: String, weight: f64| -> Vec<Evidence> {
            let first = evidence(weight, &text);
            let others = scale.facts.iter().filter(|fact| fact.text != first.text).cloned().collect::<Vec<_>>();
            std::iter::once(first).chain(others).collect()
        };
        let by_hand = job.launcher == Launcher::Shell || job.processes.first().is_some_and(|process| process.on_terminal);
        let serves = |root: &&Reading| root.role() == Some(Role::Server) && !matches!(root.doing, Doing::Batch | Doing::Quiet);
        if let Some(root) = root.filter(serves) {
            return finding(Kind::Service, Some(root), 0.9, says(format!("{} is a server", root.called()), 0.9));
        }
        if let Some(dump) =
            self.readings.iter().find(|reading| reading.doing == Doing::Backup && self.clone_sink(reading).is_some())
        {
            let sink = self.clone_sink(dump).unwrap_or_default();
            let text = format!("{} feeds {}: a clone, nothing is kept", dump.called(), shown(sink));
            return Finding { work: Some("clone".into()), ..finding(Kind::Batch, Some(dump), 0.85, says(text, 0.85)) };
        }
        // The topmost one that answers for what runs below it, else the busiest.
        let batch = || self.readings.iter().filter(|reading| reading.doing == Doing::Batch && !reading.text.is_empty());
        let batch =
            batch().find(|reading| reading.decides()).or_else(|| batch().max_by(|a, b| self.share(a).total_cmp(&self.share(b))));
        if let Some(batch) = batch {
            return finding(Kind::Batch, Some(batch), 0.85, says(batch.text.clone(), 0.85));
        }
        if let Some(agent) = self.readings.iter().find(|reading| reading.doing == Doing::Agent) {
            let kind = match job.launcher {
                Launcher::Cron | Launcher::Timer => Kind::Batch,
                // A prompt, or a window.
                _ if by_hand && agent.role() == Some(Role::Backup) => Kind::Interactive,
                _ => Kind::Service,
            };
            let what = match agent.role() {
                Some(Role::Backup) if agent.program.args.is_empty() => {
                    format!("{} runs; what it was told is hidden", agent.called())
                }
                _ => format!("{} waits for its next backup", agent.called()),
            };
            return finding(kind, Some(agent), 0.85, says(what, 0.85));
        }
        if let Some(packer) = self.readings.iter().find(|reading| reading.doing == Doing::Backup) {
            let text = packer.text.clone();
            return finding(Kind::Batch, Some(packer), 0.6, says(text, 0.6));
        }
        if by_hand {
            let sits =
                root.is_some_and(|root| matches!(root.role(), Some(Role::Viewer | Role::Shell)) || root.doing == Doing::Quiet);
            let weight = if sits { 0.9 } else { 0.6 };
            return finding(
                Kind::Interactive,
                root.filter(|root| root.tool.is_some()),
                weight,
                says("it runs at a terminal".into(), weight),
            );
        }
        let age = job.processes.first().map_or(0.0, |process| process.age);
        let workers = job
            .processes
            .iter()
            .skip(1)
            .filter(|process| Some(process.comm) == job.processes.get(1).map(|first| first.comm))
            .count();
        match job.launcher {
            Launcher::Cron | Launcher::At | Launcher::Timer | Launcher::SshCommand | Launcher::Automation => {
                let work = self.readings.iter().filter(|reading| reading.tool.is_none()).find_map(work::of);
                let evidence = says(format!("started by {}", launcher_name(job.launcher)), 0.5);
                Finding { work, ..finding(Kind::Batch, None, 0.5, evidence) }
            }
            Launcher::ServiceManager | Launcher::Supervisor | Launcher::ContainerEngine if workers >= WORKERS => {
                finding(Kind::Service, None, 0.8, says(count(workers, "equal worker"), 0.8))
            }
            Launcher::ServiceManager | Launcher::Supervisor | Launcher::ContainerEngine if age >= SETTLED => {
                finding(Kind::Service, None, 0.7, says(format!("started by {}, long ago", launcher_name(job.launcher)), 0.7))
            }
            Launcher::ServiceManager | Launcher::Supervisor | Launcher::ContainerEngine => {
                finding(Kind::Service, None, 0.4, says(format!("started by {}", launcher_name(job.launcher)), 0.4))
            }
            Launcher::Unknown if root.is_some_and(|root| root.doing == Doing::Quiet) => {
                finding(Kind::Interactive, root, 0.4, scale.sorted())
            }
            _ => finding(Kind::Unknown, None, 0.0, scale.sorted()),
        }
    }
}

fn launcher_name(launcher: Launcher) -> &'static str {
    match launcher {
        Launcher::Cron => "cron",
        Launcher::At => "at",
        Launcher::ServiceManager => "the service manager",
        Launcher::Timer => "a timer",
        Launcher::SshCommand => "a command over SSH",
        Launcher::Shell => "a shell",
        Launcher::ContainerEngine => "a container engine",
        Launcher::Supervisor => "a supervisor",
        Launcher::Automation => "a CI runner or configuration management",
        Launcher::Unknown => "nobody known",
    }
}

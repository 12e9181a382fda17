//! What each action would do here, in words, and why it cannot work where it cannot.
//!
//! Pure: what the screen knew and what [`super::survey`] found come in, the menu comes out. Tested in place.

use super::survey::{AlsoInUnit, Ports, Survey};
use super::unit::Manager;
use super::weights::heeds_classes;
use crate::action::{Action, Aimed, Confirmation, Deed, Offer, Offers, PROOF_SECONDS, Refusal, Signal, Subject};
use crate::units::{clean, count};

/// The number of whoever may do all.
const ROOT: u32 = 0;

/// The whole menu. `survey`: `None` as long as nobody has looked around.
pub fn of(subject: &Subject, targets: &[Aimed], survey: Option<&Survey>) -> Offers {
    let menu = Menu { subject, targets, survey };
    let mut offers: Vec<Offer> = Signal::ENDS.into_iter().map(|signal| menu.end(signal)).collect();
    offers.extend([menu.prove(PROOF_SECONDS), menu.pause(), menu.resume(), menu.deprioritise(), menu.undo()]);
    offers.extend(menu.thaw());
    offers.push(menu.stop_unit());
    Offers { job: subject.job.clone(), offers, confirmation: menu.confirmation(), complete: survey.is_some() }
}

/// The offer of one action; the time of a proof is the caller's.
pub fn of_one(subject: &Subject, targets: &[Aimed], survey: Option<&Survey>, action: &Action) -> Option<Offer> {
    match action {
        Action::Prove { seconds } => Some(Menu { subject, targets, survey }.prove(*seconds)),
        _ => of(subject, targets, survey).find(action).cloned(),
    }
}

struct Menu<'a> {
    subject: &'a Subject,
    targets: &'a [Aimed],
    survey: Option<&'a Survey>,
}

impl Menu<'_> {
    fn end(&self, signal: Signal) -> Offer {
        let whom = self.whom();
        let does = match signal {
            Signal::Terminate => format!("asks {whom} to end, its root first; they may clean up"),
            Signal::Interrupt => format!("asks {whom} as Ctrl-C does, its root first; they may clean up"),
            Signal::Hangup => format!("asks {whom} as a lost terminal does, its root first; they may clean up"),
            _ => format!("ends {whom} at once; nothing is cleaned up"),
        };
        let beware = self.stays_frozen().into_iter().chain(self.comes_back()).collect();
        Offer { action: Action::End(signal), does, why_not: self.out_of_reach(), beware }
    }

    fn prove(&self, seconds: u32) -> Offer {
        let does = format!(
            "stops {} for so long and compares who waits; they go on by themselves, also when this terminal dies",
            self.whom()
        );
        Offer { action: Action::Prove { seconds }, does, ..self.halting() }
    }

    fn pause(&self) -> Offer {
        let does = format!("stops {} until told to go on", self.whom());
        Offer { action: Action::Pause, does, ..self.halting() }
    }

    /// What pausing and proving have in common.
    fn halting(&self) -> Offer {
        let why_not = self.out_of_reach().or_else(|| {
            if self.subject.frozen.by_it {
                let frozen = self.frozen();
                return Some(format!("it froze {frozen} and would keep it frozen: thaw it first"));
            }
            self.is_paused().then(|| "it is paused already: let it go on first".to_owned())
        });
        let beware = match &self.subject.holds {
            Some(holds) => vec![holds.clone()],
            None => vec!["Locks and connections that it has stay held for so long.".to_owned()],
        };
        Offer { action: Action::Pause, does: String::new(), why_not, beware }
    }

    fn resume(&self) -> Offer {
        let stopped = self.survey.map_or(0, |survey| survey.stopped);
        let runs = self.survey.is_some() && stopped == 0 && !self.is_paused();
        let why_not = self.out_of_reach().or_else(|| runs.then(|| "it is not paused".to_owned()));
        let does = if stopped > 0 { format!("lets {} go on", count(stopped, "stopped process")) } else { "lets it go on".into() };
        Offer { action: Action::Resume, does, why_not, beware: Vec::new() }
    }

    fn deprioritise(&self) -> Offer {
        let weights = if self.survey.is_some_and(|survey| survey.has_weights) {
            ", and the smallest weights for its control group"
        } else {
            ""
        };
        let (has_session, is_shared) = self.survey.and_then(|survey| survey.sessions).unwrap_or_default();
        let session = if has_session { ", niceness 19 for its session as a whole" } else { "" };
        let does = format!("niceness 19 and the idle I/O class for all threads of {}{session}{weights}", self.whom());
        let why_not = self.out_of_reach().or_else(|| {
            self.stands(Deed::Deprioritised).then(|| "it goes behind everybody else already; undo puts it back".to_owned())
        });
        let mut beware: Vec<String> = without_effect(self.subject);
        let shares = self.survey.and_then(|survey| survey.shares_cpus.as_deref());
        beware.extend(among_its_own(self.subject, shares));
        beware.extend(is_shared.then(|| SHARED_SESSION.to_owned()));
        if self.survey.is_some_and(|survey| !survey.is_root) {
            beware.push("It cannot be put back without root: an ordinary user may only lower a priority.".to_owned());
        }
        Offer { action: Action::Deprioritise, does, why_not, beware }
    }

    fn undo(&self) -> Offer {
        let (paused, slowed) = (self.stands(Deed::Paused), self.stands(Deed::Deprioritised));
        let does = match (paused, slowed) {
            (true, true) => "lets it go on, and puts its priorities back",
            (true, false) => "lets it go on",
            _ => "puts its priorities back as they were",
        };
        let is_root = self.survey.is_none_or(|survey| survey.is_root);
        let why_not = if slowed && !paused && !is_root {
            Some("only root may raise a priority again: sudo whytop".to_owned())
        } else if self.survey.is_some() && !paused && !slowed {
            Some("whytop has done nothing to it that can be put back".to_owned())
        } else {
            self.out_of_reach()
        };
        let half = slowed && paused && !is_root;
        let beware =
            if half { vec!["Its priorities stay as they are: only root may raise one again.".to_owned()] } else { Vec::new() };
        Offer { action: Action::Undo, does: does.to_owned(), why_not, beware }
    }

    fn thaw(&self) -> Vec<Offer> {
        let offer = |mount: &str, why_not: Option<String>| Offer {
            action: Action::Thaw { mount: mount.to_owned() },
            does: if mount.is_empty() {
                "lets a frozen filesystem go on".to_owned()
            } else {
                format!("lets whoever writes to {mount} go on (fsfreeze --unfreeze)")
            },
            why_not,
            beware: if mount.is_empty() {
                Vec::new()
            } else {
                vec!["A snapshot that is being taken of it right now is not consistent then.".to_owned()]
            },
        };
        if self.subject.frozen.mounts.is_empty() {
            let is_root = self.survey.is_some_and(|survey| survey.is_root);
            let why = match (self.subject.frozen.elsewhere, is_root) {
                (true, false) => "which filesystem is frozen is seen by root only: sudo whytop",
                // Who opens a file has none in hand yet.
                (true, true) => "which one is frozen does not show in what waits for it: fsfreeze --unfreeze MOUNT thaws it",
                (false, _) => "no filesystem is frozen, as far as anybody waits for one",
            };
            return vec![offer("", Some(why.to_owned()))];
        }
        let frozen = self.subject.frozen.mounts.iter();
        frozen
            .map(|mount| {
                let why_not = self.survey.and_then(|survey| match (survey.is_root, survey.has_fsfreeze) {
                    (false, _) => Some(format!("only root may: sudo fsfreeze --unfreeze {mount}")),
                    (true, Some(false)) => {
                        Some("fsfreeze is not installed (util-linux); a reboot is the only other way to thaw it".to_owned())
                    }
                    (true, _) => None,
                });
                offer(mount, why_not)
            })
            .collect()
    }

    fn stop_unit(&self) -> Offer {
        let Some(unit) = &self.subject.unit else {
            return Offer {
                action: Action::StopUnit { unit: String::new() },
                does: "has the service manager stop its unit".to_owned(),
                why_not: Some("it is no unit of a service manager: end it instead".to_owned()),
                beware: Vec::new(),
            };
        };
        let facts = self.survey.and_then(|survey| survey.unit.as_ref());
        let restart = facts.and_then(|facts| facts.restart.as_deref());
        let stop = match self.survey {
            Some(survey) => survey.manager.command(unit, survey.uid),
            None => format!("systemctl stop {unit}"),
        };
        let does = match restart {
            Some(restart) => format!("{stop}, so that Restart={restart} does not bring it back"),
            None => stop,
        };
        // What may not be hit process by process may not be hit through systemd either.
        let is_host = |aimed: &Aimed| matches!(aimed.check, Err(Refusal::Own | Refusal::Ancestor | Refusal::Init));
        let also = self.survey.and_then(|survey| survey.also_in_unit.as_ref());
        let holds_whytop = self.targets.iter().any(is_host) || also == Some(&AlsoInUnit::Whytop);
        let why_not = holds_whytop.then(|| "whytop runs in it, and would be stopped on the way".to_owned());
        let why_not = why_not.or_else(|| {
            let survey = self.survey?;
            if !survey.has_systemd {
                return Some("systemd does not run here: end the job instead".to_owned());
            }
            if !survey.manager.obeys(survey.uid) {
                return Some(match survey.manager {
                    Manager::Host => format!("only root may: sudo systemctl stop {unit}"),
                    Manager::User(user) => {
                        format!("it is a unit of user {user}'s own: sudo {}", survey.manager.command(unit, ROOT))
                    }
                });
            }
            facts.and_then(|facts| facts.why_not.clone())
        });
        let mut beware: Vec<String> = self.stays_frozen().into_iter().collect();
        if let Some(AlsoInUnit::Others(words)) = also {
            beware.push(words.clone());
        }
        beware.extend(facts.iter().flat_map(|facts| facts.triggers.clone()));
        Offer { action: Action::StopUnit { unit: unit.clone() }, does, why_not, beware }
    }

    /// What nobody would be left to thaw.
    fn stays_frozen(&self) -> Option<String> {
        self.subject.frozen.by_it.then(|| format!("It froze {}: thaw it first, or it may stay frozen.", self.frozen()))
    }

    /// Who starts the job again when it has ended.
    fn comes_back(&self) -> Vec<String> {
        let Some(survey) = self.survey else { return Vec::new() };
        let mut all = Vec::new();
        if let Some(unit) = &survey.unit {
            let name = self.subject.unit.as_deref().unwrap_or("its unit");
            all.extend(unit.restart.as_ref().map(|restart| format!("{name} has Restart={restart}: stop the unit instead.")));
            all.extend(unit.triggers.iter().cloned());
        }
        all.extend(survey.cron.clone());
        all
    }

    fn confirmation(&self) -> Option<Confirmation> {
        let name = &self.subject.name;
        if self.subject.frozen.by_it {
            let frozen = self.frozen();
            return Some(Confirmation::of(
                self.subject,
                format!("{name} froze {frozen} and would leave it frozen: thaw it first"),
            ));
        }
        if self.subject.is_victim {
            return Some(Confirmation::of(self.subject, format!("{name} is one of those that wait, not the cause")));
        }
        match &self.survey?.ports {
            Ports::Known(ports) => {
                let counts = |port: &&super::survey::Port| !(port.loopback && self.subject.ends_by_itself);
                let port = ports.iter().find(counts)?.number;
                Some(Confirmation::of(self.subject, format!("{name} is a service that listens on port {port}")))
            }
            Ports::Hidden if !self.subject.ends_by_itself => {
                let why = format!("{name} may be a service: the ports that it listens on are hidden from this user");
                Some(Confirmation::of(self.subject, why))
            }
            Ports::Hidden => None,
        }
    }

    fn reachable(&self) -> usize {
        self.targets.iter().filter(|aimed| aimed.check.is_ok()).count()
    }

    fn whom(&self) -> String {
        count(self.reachable(), "process")
    }

    fn frozen(&self) -> String {
        if self.subject.frozen.mounts.is_empty() { "a filesystem".to_owned() } else { self.subject.frozen.mounts.join(", ") }
    }

    fn stands(&self, deed: Deed) -> bool {
        self.survey.is_some_and(|survey| survey.standing.contains(&deed))
    }

    /// Nothing of it runs, as far as stopping decides that.
    fn is_paused(&self) -> bool {
        self.stands(Deed::Paused) || self.survey.is_some_and(|survey| survey.stopped > 0 && survey.stopped >= self.reachable())
    }

    /// Why no process of it can be hit, and what would help.
    fn out_of_reach(&self) -> Option<String> {
        if self.reachable() > 0 {
            return None;
        }
        let refusals: Vec<&Refusal> = self.targets.iter().filter_map(|aimed| aimed.check.as_ref().err()).collect();
        if refusals.contains(&&Refusal::NotPermitted) {
            let user = self.targets.iter().find_map(|aimed| aimed.candidate.user.clone());
            let user = user.unwrap_or_else(|| "another user".to_owned());
            return Some(match self.survey {
                Some(survey) if survey.is_root => format!("it belongs to {user}, and here not even root may act on it"),
                _ => format!("it belongs to {user}: sudo whytop"),
            });
        }
        let Some(first) = self.targets.first().zip(refusals.first()) else { return Some("it has ended".to_owned()) };
        Some(format!("{} {} {}", first.0.candidate.name, first.0.candidate.id.pid, first.1))
    }
}

/// Where niceness ends.
pub const SHARED_SESSION: &str =
    "It shares its session with others: niceness counts among those, and not against other sessions (sched_autogroup).";

/// Where niceness says nothing to those who wait for a CPU: they are not in the control group (`shares`) that gets its share as a whole.
pub fn among_its_own(subject: &Subject, shares: Option<&str>) -> Option<String> {
    let group = shares?;
    let is_outside = |path: &str| path.strip_prefix(group).is_none_or(|below| !below.starts_with('/'));
    let outside = subject.cpu_rivals.iter().find(|path| is_outside(path))?;
    Some(format!(
        "Niceness counts within {}: {} is outside of it, and the share of that group as a whole stays as it is.",
        clean(group),
        clean(outside.rsplit('/').next().unwrap_or(outside))
    ))
}

/// The disks on which the I/O class says nothing, each a sentence.
pub fn without_effect(subject: &Subject) -> Vec<String> {
    let disks = subject.disks.iter().flatten();
    let deaf = disks.filter_map(|disk| Some((&disk.name, disk.scheduler.as_ref()?))).filter(|(_, name)| !heeds_classes(name));
    deaf.map(|(name, scheduler)| format!("{name} has the scheduler {scheduler}: the I/O class has no effect there.")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slices get their shares as wholes, and the services in one compete by their niceness (systemd 252 on Debian 12).
    #[test]
    fn niceness_is_told_to_be_vain_where_those_who_wait_are_in_another_slice() {
        let rivals =
            |paths: &[&str]| Subject { cpu_rivals: paths.iter().map(ToString::to_string).collect(), ..Subject::default() };
        let shop = rivals(&["/system.slice/shop.service"]);
        let said = among_its_own(&shop, Some("/user.slice"));
        assert_eq!(
            said.as_deref(),
            Some(
                "Niceness counts within /user.slice: shop.service is outside of it, and the share of that group as a whole stays as it is."
            )
        );
        assert_eq!(among_its_own(&shop, Some("/system.slice")), None);
        assert!(among_its_own(&shop, Some("/system.slice/shop")).is_some(), "another unit, whose name only begins so");
        assert_eq!((among_its_own(&shop, None), among_its_own(&rivals(&[]), Some("/user.slice"))), (None, None));
    }
}

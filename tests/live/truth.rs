//! What is true of a scene, and whether an answer says so.

use std::path::Path;

use rustix::process::RawPid;
use serde_json::Value;

/// Of what a scene leaves no doubt about, whytop may have this little.
const SURE: f64 = 0.6;

/// What is true. Processes stand for the jobs they belong to.
#[derive(Clone, Debug)]
pub struct Truth {
    severity: &'static str,
    resource: &'static str,
    device: Option<String>,
    mount: Option<String>,
    culprit: Option<RawPid>,
    victims: Vec<RawPid>,
    aside: Vec<RawPid>,
    backup: Option<RawPid>,
    stuck: u64,
    said: Option<String>,
}

impl Truth {
    fn of(severity: &'static str, resource: &'static str) -> Self {
        let (victims, aside) = (Vec::new(), Vec::new());
        Self { severity, resource, device: None, mount: None, culprit: None, victims, aside, backup: None, stuck: 0, said: None }
    }

    /// Nobody waits.
    pub fn calm() -> Self {
        Self::of("calm", "none")
    }

    /// Somebody waits, through nobody else's fault.
    pub fn watch(resource: &'static str) -> Self {
        Self::of("watch", resource)
    }

    /// Somebody waits for what another one takes.
    pub fn contention(resource: &'static str) -> Self {
        Self::of("contention", resource)
    }

    /// Of this disk.
    pub fn on(mut self, device: &str) -> Self {
        self.device = Some(device.to_owned());
        self
    }

    /// Those who wait do so on files that are mounted here.
    pub fn at(mut self, mount: &Path) -> Self {
        self.mount = Some(mount.to_str().unwrap().to_owned());
        self
    }

    /// Who takes it.
    pub fn through(mut self, culprit: RawPid) -> Self {
        self.culprit = Some(culprit);
        self
    }

    /// Who waits for it, beside whomever else the host has.
    pub fn hurts(mut self, victims: &[RawPid]) -> Self {
        self.victims = victims.to_vec();
        self
    }

    /// Who has nothing to do with it.
    pub fn aside(mut self, aside: RawPid) -> Self {
        self.aside.push(aside);
        self
    }

    /// A backup that runs.
    pub fn beside(mut self, backup: RawPid) -> Self {
        self.backup = Some(backup);
        self
    }

    /// These words are in the headline.
    pub fn said(mut self, words: String) -> Self {
        self.said = Some(words);
        self
    }

    /// That many tasks of the first victim are stuck, at the least.
    pub fn stuck(mut self, tasks: u64) -> Self {
        self.stuck = tasks;
        self
    }

    /// Whether this is what the answer says; or what it says instead.
    pub fn judge(&self, answer: &Value) -> Result<(), String> {
        let verdict = &answer["verdict"];
        let job = |pid: RawPid| job_of(answer, pid).map_or(Value::Null, |job| job["id"].clone());
        let told = |what: &str, said: &Value, truth: &Value| {
            if said == truth { Ok(()) } else { Err(format!("{what} is {said} and should be {truth}")) }
        };
        let optional = |pid: Option<RawPid>| pid.map_or(Value::Null, job);
        told("severity", &verdict["severity"], &self.severity.into())?;
        told("resource", &verdict["resource"], &self.resource.into())?;
        told("culprit", &verdict["culprit"], &optional(self.culprit))?;
        if self.culprit.is_some() && verdict["culprit"].is_null() {
            return Err("the culprit is no job".to_owned());
        }
        if let Some(device) = &self.device {
            told("device", &verdict["device"], &device.as_str().into())?;
        }
        if let Some(mount) = &self.mount {
            let waits = answer["waits"].as_array().cloned().unwrap_or_default();
            let there = |wait: &Value| wait["job"] == optional(self.victims.first().copied()) && wait["mount"] == mount.as_str();
            if !waits.iter().any(there) {
                return Err(format!("nobody waits on {mount}: {waits:?}"));
            }
        }
        let sure = verdict["confidence"].as_f64().is_some_and(|confidence| confidence >= SURE);
        if self.severity == "calm" && !sure {
            return Err(format!("calm before that is known: {verdict}"));
        }
        if self.severity == "contention" {
            let proven = verdict["evidence"].as_array().is_some_and(|evidence| !evidence.is_empty());
            if !(sure && proven && verdict["since"].is_string()) {
                return Err(format!("accuses with less than {SURE}, or without evidence or a beginning: {verdict}"));
            }
        }
        let headline = verdict["headline"].as_str().unwrap_or_default();
        if let Some(words) = self.said.as_ref().filter(|words| !headline.contains(*words)) {
            return Err(format!("{words:?} is not in {headline:?}"));
        }
        if self.backup.is_some() {
            told("backup", &verdict["backup"], &optional(self.backup))?;
        }
        let named = |list: &str| verdict[list].as_array().cloned().unwrap_or_default();
        let (victims, also) = (named("victims"), named("also"));
        let true_victims: Vec<Value> = self.victims.iter().map(|pid| job(*pid)).collect();
        if let Some(missing) = true_victims.iter().find(|job| !victims.contains(job)) {
            return Err(format!("{missing} is no victim among {victims:?}"));
        }
        // Others of this host may wait, too, but not more than those who were made to.
        if !true_victims.is_empty() && victims.first().is_none_or(|first| !true_victims.contains(first)) {
            return Err(format!("{victims:?} wait more than {true_victims:?}"));
        }
        let innocent: Vec<Value> = self.aside.iter().map(|pid| job(*pid)).collect();
        if let Some(wronged) = innocent.iter().find(|job| victims.contains(job) || also.contains(job)) {
            return Err(format!("{wronged} has nothing to do with it"));
        }
        if let Some(robbed) = also.iter().find(|job| true_victims.contains(job)) {
            return Err(format!("{robbed} is a victim and stands accused"));
        }
        let first = self.victims.first().and_then(|pid| job_of(answer, *pid));
        let stuck = first.and_then(|job| job["uninterruptible"].as_u64()).unwrap_or_default();
        if stuck < self.stuck { Err(format!("{stuck} tasks are stuck, of {}", self.stuck)) } else { Ok(()) }
    }
}

fn job_of(answer: &Value, pid: RawPid) -> Option<&Value> {
    let has = |job: &&Value| job["pids"].as_array().is_some_and(|pids| pids.contains(&pid.into()));
    answer["jobs"].as_array()?.iter().find(has)
}

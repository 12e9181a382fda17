//! What must be said of a host, and how it differs from what was said.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use whytop::analysis::diagnosis::{Diagnosis, JobId, Severity, Verdict};
use whytop::units::Pid;

/// Tasks by which a line of the account may be off: one look of the kernel (8 % of what it saw) and one in a hundred.
const ACCOUNT_SLACK: f64 = 0.5;
/// Seconds by which a beginning may be off.
const SINCE_SLACK: f64 = 0.3;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    pub by: Option<f64>,
    pub until: Option<f64>,
    pub severity: Option<String>,
    pub resource: Option<String>,
    pub culprit: Option<String>,
    pub really: Option<String>,
    pub victims: Option<Vec<String>>,
    backup: Option<String>,
    pub device: Option<String>,
    pub also: Option<Vec<String>>,
    since: Option<f64>,
    pub others: Option<Vec<String>>,
    /// From, to.
    confidence: Option<[f64; 2]>,
    headline: Vec<String>,
    unsaid: Vec<String>,
    evidence: Vec<String>,
    unproven: Vec<String>,
    waits: Vec<ExpectWait>,
    account: BTreeMap<String, f64>,
    unseen: Option<f64>,
    always: Option<u32>,
    job: Vec<ExpectJob>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectWait {
    job: String,
    tasks: Option<u32>,
    meaning: Option<String>,
    path: Option<String>,
    device: Option<String>,
    mount: Option<String>,
    call: Option<String>,
    /// Seconds, to a tenth; at the newest sample that is judged.
    longest: Option<f64>,
    exact: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectJob {
    name: String,
    pids: Option<BTreeSet<Pid>>,
    carried: Option<BTreeSet<Pid>>,
    root: Option<Pid>,
    kind: Option<String>,
    role: Option<String>,
    launched_by: Option<String>,
    unit: Option<String>,
    tool: Option<String>,
    /// The job keeps the identity it had at the first sample it was seen in.
    #[serde(default)]
    same_identity: bool,
}

/// A job's name.
pub fn name(diagnosis: &Diagnosis, id: &JobId) -> String {
    diagnosis.job(id).map_or("?".to_owned(), |job| job.facts.name.clone())
}

/// Who is accused; empty: nobody.
pub fn culprit(diagnosis: &Diagnosis) -> String {
    diagnosis.verdict.worst.culprit.as_ref().map(|id| name(diagnosis, id)).unwrap_or_default()
}

/// How often the verdict turned: another severity, another culprit.
pub fn changes(diagnoses: &[(f64, Diagnosis)]) -> usize {
    let told = |verdict: &Verdict| (verdict.worst.severity == Severity::Contention, verdict.worst.culprit.clone());
    diagnoses.windows(2).filter(|pair| told(&pair[0].1.verdict) != told(&pair[1].1.verdict)).count()
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn check(&mut self, what: &str, want: Option<&String>, got: &str) {
        if let Some(want) = want.filter(|want| *want != got) {
            self.0.push(format!("{what}: expected {want:?}, got {got:?}"));
        }
    }

    fn check_list(&mut self, what: &str, want: Option<&Vec<String>>, got: &[String]) {
        if let Some(want) = want.filter(|want| *want != got) {
            self.0.push(format!("{what}: expected {want:?}, got {got:?}"));
        }
    }

    fn check_number(&mut self, what: &str, want: f64, got: Option<f64>, slack: f64) {
        if got.is_none_or(|got| (got - want).abs() > slack) {
            self.0.push(format!("{what}: expected {want} ± {slack}, got {got:?}"));
        }
    }
}

/// What is wrong with this diagnosis, one line each. `second`: when it was made; `first`: the first one.
pub fn differences(expect: &Expect, second: f64, diagnosis: &Diagnosis, first: &Diagnosis) -> Vec<String> {
    let mut wrong = Differences::default();
    let verdict = &diagnosis.verdict;
    let names = |ids: &[JobId]| ids.iter().map(|id| name(diagnosis, id)).collect::<Vec<_>>();
    let of = |id: &Option<JobId>| id.as_ref().map(|id| name(diagnosis, id)).unwrap_or_default();
    wrong.check("severity", expect.severity.as_ref(), verdict.worst.severity.name());
    wrong.check("resource", expect.resource.as_ref(), verdict.worst.resource.name());
    wrong.check("device", expect.device.as_ref(), verdict.worst.device.as_deref().unwrap_or_default());
    wrong.check("culprit", expect.culprit.as_ref(), &of(&verdict.worst.culprit));
    wrong.check("backup", expect.backup.as_ref(), &of(&verdict.backup));
    wrong.check_list("victims", expect.victims.as_ref(), &names(&verdict.worst.victims));
    wrong.check_list("also", expect.also.as_ref(), &names(&verdict.worst.also));
    let other = verdict.others.iter().map(|other| {
        let words = [other.resource.name(), other.device.as_deref().unwrap_or_default(), &of(&other.culprit)].map(str::to_owned);
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    });
    wrong.check_list("others", expect.others.as_ref(), &other.collect::<Vec<_>>());
    if let Some(since) = expect.since {
        let since_first = |at: jiff::Timestamp| at.duration_since(first.at).as_secs_f64();
        wrong.check_number("since", since, verdict.since.map(since_first), SINCE_SLACK);
    }
    if let Some([from, to]) = expect.confidence.filter(|[from, to]| !(*from..=*to).contains(&verdict.worst.confidence)) {
        wrong.0.push(format!("confidence: expected {from} to {to}, got {}", verdict.worst.confidence));
    }
    for part in expect.headline.iter().filter(|part| !verdict.worst.headline.contains(*part)) {
        wrong.0.push(format!("headline: no {part:?} in {:?}", verdict.worst.headline));
    }
    for part in expect.unsaid.iter().filter(|part| verdict.worst.headline.contains(*part)) {
        wrong.0.push(format!("headline: {part:?} in {:?}", verdict.worst.headline));
    }
    for part in expect.evidence.iter().filter(|part| !verdict.worst.evidence.iter().any(|line| line.contains(*part))) {
        wrong.0.push(format!("evidence: no {part:?} in {:#?}", verdict.worst.evidence));
    }
    for part in expect.unproven.iter().filter(|part| verdict.worst.evidence.iter().any(|line| line.contains(*part))) {
        wrong.0.push(format!("evidence: {part:?} in {:#?}", verdict.worst.evidence));
    }
    for want in &expect.waits {
        check_wait(&mut wrong, want, second, diagnosis);
    }
    wrong.check("always", expect.always.map(|tasks| tasks.to_string()).as_ref(), &diagnosis.load.always.to_string());
    check_account(&mut wrong, expect, diagnosis);
    for want in &expect.job {
        check_job(&mut wrong, want, diagnosis, first);
    }
    wrong.0
}

fn check_wait(wrong: &mut Differences, want: &ExpectWait, second: f64, diagnosis: &Diagnosis) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let groups: Vec<_> = diagnosis.waits.iter().filter(|group| name(diagnosis, &group.job) == want.job).collect();
    let fits = |want: &Option<String>, got: &Option<String>| want.as_ref().is_none_or(|want| *want == text(got));
    let found = groups.iter().find(|group| {
        want.tasks.is_none_or(|tasks| tasks == group.tasks)
            && fits(&want.meaning, &group.meaning)
            && fits(&want.path, &group.path)
            && fits(&want.device, &group.device)
            && fits(&want.mount, &group.mount)
            && fits(&want.call, &group.syscall)
    });
    match found {
        None => {
            let all: Vec<_> = groups
                .iter()
                .map(|group| {
                    let words = [&group.meaning, &group.path, &group.device, &group.mount, &group.syscall].map(text);
                    format!("{} {words:?}", group.tasks)
                })
                .collect();
            wrong.0.push(format!("waits of {}: only {all:?}", want.job));
        }
        Some(group) => {
            if let Some(longest) = want.longest {
                wrong.check_number("longest", longest + second, group.longest.map(|stuck| stuck.seconds), 0.1);
            }
            let exact = group.longest.map(|stuck| stuck.exact);
            if want.exact.is_some_and(|want| Some(want) != exact) {
                wrong.0.push(format!("exact: expected {:?}, got {exact:?}", want.exact));
            }
        }
    }
}

fn check_account(wrong: &mut Differences, expect: &Expect, diagnosis: &Diagnosis) {
    let Some(account) = &diagnosis.load.account else { return };
    for (job, want) in &expect.account {
        let of_job = match job.as_str() {
            "before" => Some(account.before),
            _ => account.lines.iter().find(|line| line.name == *job).map(|line| line.average),
        };
        wrong.check_number(&format!("account of {job}"), *want, of_job, ACCOUNT_SLACK);
    }
    if let Some(unseen) = expect.unseen.filter(|most| account.unseen.abs() > *most) {
        wrong.0.push(format!("unseen: at most {unseen}, got {account:?}"));
    }
}

fn check_job(wrong: &mut Differences, want: &ExpectJob, diagnosis: &Diagnosis, first: &Diagnosis) {
    let found = diagnosis
        .jobs
        .iter()
        .find(|job| job.facts.name == want.name && want.root.is_none_or(|root| job.facts.root.is_some_and(|id| id.pid == root)));
    let Some(job) = found else {
        let names: Vec<String> =
            diagnosis.jobs.iter().map(|job| format!("{} {:?}", job.facts.name, job.facts.root.map(|r| r.pid))).collect();
        wrong.0.push(format!("job {}: not there, only {names:?}", want.name));
        return;
    };
    let facts = &job.facts;
    let what = |what: &str| format!("job {}, {what}", facts.name);
    let pids: BTreeSet<Pid> = facts.members.iter().map(|member| member.id.pid).collect();
    let carried: BTreeSet<Pid> = facts.carried.iter().map(|member| member.id.pid).collect();
    wrong.check(&what("carried"), want.carried.as_ref().map(|pids| format!("{pids:?}")).as_ref(), &format!("{carried:?}"));
    wrong.check(&what("pids"), want.pids.as_ref().map(|pids| format!("{pids:?}")).as_ref(), &format!("{pids:?}"));
    wrong.check(&what("role"), want.role.as_ref(), job.role.name());
    wrong.check(&what("kind"), want.kind.as_ref(), facts.finding.kind.name());
    wrong.check(&what("launched by"), want.launched_by.as_ref(), facts.launched_by.as_deref().unwrap_or_default());
    wrong.check(&what("unit"), want.unit.as_ref(), facts.unit.as_deref().unwrap_or_default());
    wrong.check(&what("tool"), want.tool.as_ref(), facts.finding.tool.as_deref().unwrap_or_default());
    if want.same_identity && first.job(&facts.id).is_none() {
        wrong.0.push(format!("job {}: has another identity than at first: {}", facts.name, facts.id));
    }
}

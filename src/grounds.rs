//! What was known when a key was pressed: the evidence that goes into the trace of an action.
//!
//! Pure: a diagnosis in, numbers and sentences out, all of them cleaned when the diagnosis was made. Tested by `tests/trace.rs`.

use serde::Serialize;

use crate::analysis::diagnosis::Diagnosis;
use crate::site::Condition;

/// Evidence of the time. `None`: not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Grounds {
    /// Identity of the job that is acted on.
    pub job: String,
    /// What the screen said.
    pub headline: Option<String>,
    /// How bad that is: `contention`.
    pub severity: Option<&'static str>,
    /// The one-minute load average.
    pub load1: Option<f64>,
    /// Tasks that waited because of others.
    pub waiting: Option<f64>,
    /// What the job was taken for: `backup`.
    pub kind: Option<&'static str>,
    /// The tool that was recognised in it.
    pub tool: Option<String>,
    /// How sure that was, 0 to 1.
    pub confidence: Option<f64>,
    /// For and against it, strongest first.
    pub evidence: Vec<String>,
    /// CPUs that the job used.
    pub cpu_cores: Option<f64>,
    /// Bytes a second that it moved from and to disks.
    pub disk_bytes_s: Option<f64>,
    /// How the web site under probe stood: `no answer for 12 s`.
    pub site: Option<String>,
}

impl Grounds {
    /// What this diagnosis says of the job.
    pub fn of(job: &str, diagnosis: Option<&Diagnosis>, site: Option<&Condition>) -> Self {
        let mut grounds = Self { job: job.to_owned(), site: site.map(|site| site.words.clone()), ..Self::default() };
        let Some(diagnosis) = diagnosis else { return grounds };
        grounds.headline = Some(diagnosis.verdict.worst.headline.clone());
        grounds.severity = Some(diagnosis.verdict.worst.severity.name());
        grounds.load1 = diagnosis.load.averages.map(|averages| averages.avg1);
        grounds.waiting = Some(diagnosis.verdict.worst.waiting);
        if let Some(job) = diagnosis.jobs.iter().find(|known| known.facts.id.as_str() == job) {
            let finding = &job.facts.finding;
            grounds.kind = Some(finding.kind.name());
            grounds.tool.clone_from(&finding.tool);
            grounds.confidence = Some(finding.confidence);
            grounds.evidence = finding.evidence.iter().map(|evidence| evidence.text.clone()).collect();
            grounds.cpu_cores = job.usage.cpu_cores;
            grounds.disk_bytes_s = job.usage.disk_bytes();
        }
        grounds
    }
}

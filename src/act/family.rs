//! Who belongs to a job that is being hit: its members, and whoever was born into it meanwhile.
//!
//! Pure: looks and instants come in, kin come out. The reasons stand in [`super`]. Tested in place.

use std::collections::{HashMap, HashSet};

use super::guard::{Guard, is_backend_of};
use super::look::Look;
use super::stat::Stat;
use crate::units::{Pid, ProcessId};

/// How a process belongs to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kin {
    /// Born into it before its parent was asked to end.
    Born,
    /// Started by somebody who was asked to end and has a handler for that: it may be the clean-up.
    Answer,
}

/// The job, as far as it is known.
pub struct Family {
    /// When the host was looked at for the list that the operator saw. Who is older and was not on it is another job's, even as a
    /// child of a member: a daemon below the script that started it, the jobs below a launcher.
    since: u64,
    /// On the list, but not held: found below their parents, whatever their age.
    expected: HashSet<ProcessId>,
    members: HashMap<Pid, Member>,
    /// Started in answer to the signal; with their start times.
    answers: HashMap<Pid, u64>,
    /// Could not be hit, and is not asked again.
    strangers: HashSet<ProcessId>,
    /// Sessions and process groups in which orphans are the job's.
    sessions: HashSet<Pid>,
    groups: HashSet<Pid>,
}

struct Member {
    start: u64,
    /// When it was asked to end, if it has a handler for that.
    answers_since: Option<u64>,
}

impl Family {
    /// Nobody yet, of a job that was seen as a whole at that tick; these of it are known and not held.
    pub fn since(tick: u64, expected: HashSet<ProcessId>) -> Self {
        Self {
            since: tick,
            expected,
            members: HashMap::new(),
            answers: HashMap::new(),
            strangers: HashSet::new(),
            sessions: HashSet::new(),
            groups: HashSet::new(),
        }
    }

    /// Takes in a member.
    pub fn admit(&mut self, id: ProcessId) {
        self.members.insert(id.pid, Member { start: id.start, answers_since: None });
    }

    /// The same, but for this one.
    pub fn without(mut self, id: ProcessId) -> Self {
        self.disown(id);
        self
    }

    /// A member could not be hit: it is not asked again, and its children are its own.
    pub fn disown(&mut self, id: ProcessId) {
        if self.has(id) {
            self.members.remove(&id.pid);
        }
        self.strangers.insert(id);
    }

    /// From now on this member may answer the signal by starting something.
    pub fn may_answer(&mut self, id: ProcessId, now: u64) {
        if let Some(member) = self.members.get_mut(&id.pid).filter(|member| member.start == id.start) {
            member.answers_since = Some(now);
        }
    }

    /// Whether this very process is a member.
    pub fn has(&self, id: ProcessId) -> bool {
        self.members.get(&id.pid).is_some_and(|member| member.start == id.start)
    }

    /// Whom this look shows for the first time, parents first. They are taken in on the way, for their children's sake.
    pub fn find_new(&mut self, look: &Look, guard: &Guard) -> Vec<(Stat, Kin)> {
        let all = look.eldest_first();
        self.claim(&all);
        self.find_among(all, look, guard)
    }

    /// The same, where all but these were looked at before.
    pub fn find_among(&mut self, mut unknown: Vec<&Stat>, look: &Look, guard: &Guard) -> Vec<(Stat, Kin)> {
        let is_out = |stat: &Stat| {
            guard.refuse(stat.id.pid).is_some() || stat.is_kernel_thread() || is_backend_of(stat, look.find(stat.parent))
        };
        unknown.retain(|stat| !self.knows(stat.id) && !is_out(stat));
        let mut found = Vec::new();
        loop {
            let found_before = found.len();
            // Once is enough, but for parents and children of the same tick.
            unknown.retain(|stat| {
                let Some(kin) = self.relation(stat, look) else { return true };
                match kin {
                    Kin::Born => {
                        self.admit(stat.id);
                        self.lead(stat);
                    }
                    Kin::Answer => {
                        self.answers.insert(stat.id.pid, stat.id.start);
                    }
                }
                found.push(((*stat).clone(), kin));
                false
            });
            if found.len() == found_before {
                return found;
            }
        }
    }

    /// Born since the host was looked at for the list.
    pub fn is_newer(&self, id: ProcessId) -> bool {
        id.start >= self.since
    }

    fn knows(&self, id: ProcessId) -> bool {
        self.has(id) || self.answers.get(&id.pid) == Some(&id.start) || self.strangers.contains(&id)
    }

    /// Finds the sessions and groups that are the job's: led by a member, or with no living process in them but members.
    /// Both are inherited at birth, and joined from elsewhere only within a session (setpgid), so whoever comes later is a
    /// descendant. A leader who has died keeps the number from being given away as long as anybody is left inside.
    fn claim(&mut self, all: &[&Stat]) {
        let (mut ours, mut sessions, mut groups) = (Vec::new(), HashSet::new(), HashSet::new());
        for stat in all {
            if self.has(stat.id) {
                ours.push(stat);
            } else {
                sessions.insert(stat.session);
                groups.insert(stat.group);
            }
        }
        for stat in ours {
            self.lead(stat);
            // Zero stands for all sessions that began outside this PID namespace.
            if stat.session > 0 && !sessions.contains(&stat.session) {
                self.sessions.insert(stat.session);
            }
            if stat.group > 0 && !groups.contains(&stat.group) {
                self.groups.insert(stat.group);
            }
        }
    }

    /// Claims the session and the group of a member if a member leads it.
    fn lead(&mut self, stat: &Stat) {
        if self.members.contains_key(&stat.session) {
            self.sessions.insert(stat.session);
        }
        if self.members.contains_key(&stat.group) {
            self.groups.insert(stat.group);
        }
    }

    fn relation(&self, stat: &Stat, look: &Look) -> Option<Kin> {
        if stat.id.start < self.since && !self.expected.contains(&stat.id) {
            return None;
        }
        let parent = look.find(stat.parent);
        // The parent's number alone could be a later process's.
        let is_parent = |start: u64| start <= stat.id.start && parent.is_none_or(|parent| parent.id.start == start);
        if let Some(member) = self.members.get(&stat.parent).filter(|member| is_parent(member.start)) {
            // The tick is coarse (10 ms) and a handler is quick: within the same tick, spare.
            let is_answer = member.answers_since.is_some_and(|asked| stat.id.start >= asked);
            return Some(if is_answer { Kin::Answer } else { Kin::Born });
        }
        if self.answers.get(&stat.parent).is_some_and(|start| is_parent(*start)) {
            return Some(Kin::Answer);
        }
        let is_ours = self.is_orphan_of(&self.sessions, |stat| stat.session, stat, look)
            || self.is_orphan_of(&self.groups, |stat| stat.group, stat, look);
        // An orphan does not say whose it was, so one handler among the members is enough to spare it.
        let first_asked = self.members.values().filter_map(|member| member.answers_since).min();
        let is_answer = first_asked.is_some_and(|asked| stat.id.start >= asked);
        is_ours.then_some(if is_answer { Kin::Answer } else { Kin::Born })
    }

    /// Born into one of these sessions (or groups), of somebody who is no longer there.
    fn is_orphan_of(&self, own: &HashSet<Pid>, key: fn(&Stat) -> Pid, stat: &Stat, look: &Look) -> bool {
        let id = key(stat);
        // Another process with the number of a leader who has died means that the session is no longer what it was.
        let is_same = look.find(id).is_none_or(|leader| self.has(leader.id));
        // A parent inside, who is not of the job, has its own children.
        let is_orphan = look.find(stat.parent).is_none_or(|parent| key(parent) != id);
        own.contains(&id) && is_same && is_orphan
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::tests::guard;
    use super::super::stat::tests::living;
    use super::*;

    const SEEN: u64 = 1000;

    /// The job of these tests: script 100 (leads session and group 100) with 101 below it; bystanders elsewhere.
    fn family() -> Family {
        let mut family = Family::since(SEEN, HashSet::new());
        for pid in [100, 101] {
            family.admit(ProcessId { pid, start: 500 });
        }
        family
    }

    fn job() -> Vec<Stat> {
        vec![living(1, 0, 0, 1, 1), living(90, 10, 1, 90, 90), living(100, 500, 90, 100, 100), living(101, 500, 100, 100, 100)]
    }

    fn find(family: &mut Family, stats: Vec<Stat>) -> Vec<(Pid, Kin)> {
        let found = family.find_new(&Look::of(stats.into_iter()), &guard(60, &[50]));
        found.into_iter().map(|(stat, kin)| (stat.id.pid, kin)).collect()
    }

    #[test]
    fn children_of_children_are_found_in_one_look() {
        let tree = [living(7, 1200, 8, 7, 7), living(8, 1200, 9, 100, 100), living(9, 1100, 101, 100, 100)];
        let found = find(&mut family(), [job(), tree.to_vec()].concat());
        assert_eq!(found, [(9, Kin::Born), (8, Kin::Born), (7, Kin::Born)]);
    }

    #[test]
    fn a_child_older_than_the_list_and_not_on_it_is_another_jobs_with_all_its_own() {
        let daemon = [living(9, 600, 101, 9, 9), living(8, 1200, 9, 9, 9)];
        assert_eq!(find(&mut family(), [job(), daemon.to_vec()].concat()), []);
        let listed = ProcessId { pid: 9, start: 600 };
        let mut family = Family::since(SEEN, HashSet::from([listed]));
        family.admit(ProcessId { pid: 101, start: 500 });
        assert_eq!(find(&mut family, [job(), daemon.to_vec()].concat()), [(9, Kin::Born), (8, Kin::Born)]);
    }

    #[test]
    fn an_orphan_of_the_session_is_found_after_its_parents_death() {
        let mut family = family();
        assert_eq!(find(&mut family, job()), []);
        let orphans = vec![
            living(1, 0, 0, 1, 1),
            living(90, 10, 1, 90, 90),
            living(200, SEEN, 1, 100, 100),
            living(201, 1500, 90, 77, 100),
        ];
        assert_eq!(find(&mut family, orphans.clone()), [(200, Kin::Born), (201, Kin::Born)]);
        assert_eq!(find(&mut family, orphans), [], "nobody is found twice");
    }

    #[test]
    fn an_orphan_older_than_the_list_is_not_the_jobs() {
        let found = find(&mut family(), [job(), vec![living(200, SEEN - 1, 1, 100, 100)]].concat());
        assert_eq!(found, []);
    }

    #[test]
    fn a_session_led_by_a_stranger_is_not_the_jobs() {
        let mut family = Family::since(SEEN, HashSet::new());
        family.admit(ProcessId { pid: 101, start: 500 });
        // 101 works in 90's session and group; an orphan there may be 90's.
        let stats = vec![
            living(90, 10, 1, 90, 90),
            living(101, 500, 90, 90, 90),
            living(300, 1100, 1, 90, 90),
            living(301, 1100, 90, 90, 90),
        ];
        assert_eq!(find(&mut family, stats), []);
    }

    #[test]
    fn a_session_with_nobody_but_members_is_the_jobs_though_its_leader_is_dead() {
        let mut family = Family::since(SEEN, HashSet::new());
        family.admit(ProcessId { pid: 101, start: 500 });
        assert_eq!(find(&mut family, vec![living(101, 500, 1, 100, 100)]), []);
        assert_eq!(find(&mut family, vec![living(300, 1100, 1, 100, 100)]), [(300, Kin::Born)]);

        let mut family = Family::since(SEEN, HashSet::new());
        family.admit(ProcessId { pid: 101, start: 500 });
        let shared = [living(102, 500, 1, 100, 100)];
        assert_eq!(find(&mut family, [shared.to_vec(), vec![living(101, 500, 1, 100, 100)]].concat()), []);
        assert_eq!(find(&mut family, [shared.to_vec(), vec![living(300, 1100, 1, 100, 100)]].concat()), []);
    }

    #[test]
    fn the_sessions_of_other_namespaces_are_nobodys() {
        let mut family = Family::since(SEEN, HashSet::new());
        family.admit(ProcessId { pid: 101, start: 500 });
        assert_eq!(find(&mut family, vec![living(101, 500, 1, 0, 0)]), []);
        assert_eq!(find(&mut family, vec![living(300, 1100, 1, 0, 0)]), []);
    }

    #[test]
    fn a_strangers_child_in_the_jobs_session_is_the_strangers() {
        let inside = [living(150, 700, 1, 150, 100), living(151, 1300, 150, 150, 100)];
        assert_eq!(find(&mut family(), [job(), inside.to_vec()].concat()), []);
    }

    #[test]
    fn a_reused_number_makes_no_kin() {
        let mut family = family();
        assert_eq!(find(&mut family, job()), []);
        // 101 died, its number went to a stranger with a child; 100's to the leader of a new session.
        let reused = [
            living(101, 1400, 90, 90, 90),
            living(210, 1401, 101, 90, 90),
            living(100, 1402, 90, 100, 100),
            living(211, 1403, 1, 100, 100),
        ];
        assert_eq!(find(&mut family, reused.to_vec()), []);
    }

    #[test]
    fn the_guarded_and_the_disowned_are_never_kin() {
        let mut family = family();
        let refused = ProcessId { pid: 120, start: 1100 };
        let tree = [living(50, 1100, 101, 100, 100), living(60, 1100, 50, 100, 100), living(120, 1100, 101, 100, 100)];
        let stats = [job(), tree.to_vec()].concat();
        assert_eq!(find(&mut family, stats.clone()), [(120, Kin::Born)]);
        family.disown(refused);
        assert_eq!(find(&mut family, [stats, vec![living(121, 1200, 120, 100, 100)]].concat()), []);
    }

    #[test]
    fn what_a_handler_starts_is_left_alone() {
        let mut family = family();
        assert_eq!(find(&mut family, job()), []);
        family.may_answer(ProcessId { pid: 100, start: 500 }, 1300);
        let started = [
            living(300, 1299, 100, 100, 100),
            living(301, 1300, 100, 100, 100),
            living(302, 1301, 301, 302, 302),
            living(303, 1302, 1, 100, 100),
            living(304, 1302, 101, 100, 100),
        ];
        let mut found = find(&mut family, [job(), started.to_vec()].concat());
        found.sort_by_key(|(pid, _)| *pid);
        let expected = [(300, Kin::Born), (301, Kin::Answer), (302, Kin::Answer), (303, Kin::Answer), (304, Kin::Born)];
        assert_eq!(found, expected);
    }
}

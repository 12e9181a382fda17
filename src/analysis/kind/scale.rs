//! Facts for and against a backup, added up.
//!
//! A fact for one is a chance that it is one; independent chances add up as 1 - (1 - a)(1 - b)…, and a fact against leaves the
//! rest of it: × (1 - c). So one sure fact is enough, many vague ones come close, and no heap of them outweighs a plain "no". Pure. Tested
//! by tests/kinds.rs.

use crate::analysis::diagnosis::Evidence;

/// Never quite sure.
const SUREST: f64 = 0.99;

/// Facts for and against.
#[derive(Default)]
pub struct Scale {
    /// So far.
    pub facts: Vec<Evidence>,
}

impl Scale {
    /// Adds one.
    pub fn put(&mut self, weight: f64, text: impl FnOnce() -> String) {
        if weight != 0.0 {
            self.facts.push(Evidence { text: text(), weight });
        }
    }

    /// The same fact of several processes counts once.
    pub fn put_once(&mut self, weight: f64, text: &str) {
        match self.facts.iter_mut().find(|fact| fact.text == text) {
            Some(known) => known.weight = known.weight.max(weight),
            None => self.put(weight, || text.to_owned()),
        }
    }

    /// How sure they make it.
    pub fn confidence(&self) -> f64 {
        let (mut missing, mut left) = (1.0, 1.0);
        for fact in &self.facts {
            if fact.weight > 0.0 {
                missing *= 1.0 - fact.weight;
            } else {
                left *= 1.0 + fact.weight;
            }
        }
        ((1.0 - missing) * left).min(SUREST)
    }

    /// Strongest first.
    pub fn sorted(mut self) -> Vec<Evidence> {
        self.facts.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
        self.facts
    }
}

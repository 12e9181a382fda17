//! Facts for and against a backup, added up.
//!
//! A fact for one is a chance that it is one; independent chances add up as 1 - (1 - a)(1 - b)…, and a fact against leaves the
//! rest of it: × (1 - c). So one sure fact is enough, many vague ones come close, and no heap of them outweighs a plain "no". Pure. Tested
//! by tests/kinds.rs.

use crate::analysis::diagnosis::Evidence;
use crate::units::clean;

/// Never quite sure.
const SUREST: f64 = 0.99;

/// Facts for and against.
#[derive(Default)]
pub struct Scale {
    /// So far.
    pub facts: Vec<Evidence>,
}

/// A fact as it is told. Whatever it quotes of a process's arguments comes from strangers: here, where all facts pass, it becomes harmless and
/// short.
pub fn evidence(weight: f64, text: &str) -> Evidence {
    const LONGEST: usize = 160;
    let mut text = clean(text);
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push('…');
    }
    Evidence { text, weight }
}

impl Scale {
    /// Adds one.
    pub fn put(&mut self, weight: f64, text: impl FnOnce() -> String) {
        if weight != 0.0 {
            self.facts.push(evidence(weight, &text()));
        }
    }

    /// The same fact of several processes counts once.
    pub fn put_once(&mut self, weight: f64, text: &str) {
        let fact = evidence(weight, text);
        match self.facts.iter_mut().find(|known| known.text == fact.text) {
            Some(known) => known.weight = known.weight.max(weight),
            None => self.put(weight, || fact.text),
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

//! The one key table: dispatch, footer, help screen and README are read from it, so they cannot contradict each other.
//!
//! Plain rows and a look-up; what a command does is in `update`. Tests walk the table.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::action::{Action, Signal};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// End whytop.
    Quit,
    /// Leave what is open; on the overview dismiss the recovery, then the selection, then what is told of signals on their way.
    Back,
    /// Explain the keys and words.
    Help,
    /// Show all that is known of the job.
    Detail,
    /// Open the menu of actions with this one chosen; in the menu choose it. What puts back is done at once.
    Choose(Choice),
    /// Order what the menu says.
    Order,
    /// Pick the process in the menu, or leave it out.
    Pick,
    /// A shorter proof.
    Shorter,
    /// A longer proof.
    Longer,
    /// The other list; in the menu between actions and processes.
    Switch,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// Many rows up.
    PageUp,
    /// Many rows down.
    PageDown,
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// Give the terminal back to the shell for a while.
    Suspend,
    /// Draw everything anew.
    Redraw,
}

/// An action, as far as a key can say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// Whichever comes first.
    Any,
    /// End by this signal.
    End(Signal),
    /// Proof by pause.
    Prove,
    /// Pause until told otherwise.
    Pause,
    /// Let it go on.
    Resume,
    /// Let everybody else go first.
    Deprioritise,
    /// Put back what was done.
    Undo,
    /// Thaw a filesystem.
    Thaw,
    /// Stop the unit.
    StopUnit,
}

impl Choice {
    /// Whether this action is meant.
    pub fn means(self, action: &Action) -> bool {
        match (self, action) {
            (Self::Any, _)
            | (Self::Prove, Action::Prove { .. })
            | (Self::Pause, Action::Pause)
            | (Self::Resume, Action::Resume)
            | (Self::Deprioritise, Action::Deprioritise)
            | (Self::Undo, Action::Undo)
            | (Self::Thaw, Action::Thaw { .. })
            | (Self::StopUnit, Action::StopUnit { .. }) => true,
            (Self::End(signal), Action::End(other)) => signal == *other,
            _ => false,
        }
    }

    /// Whether it only puts back what was done: nobody has to look twice before.
    pub const fn puts_back(self) -> bool {
        matches!(self, Self::Resume | Self::Undo)
    }
}

/// What whoever sits in front of it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rights {
    /// Look and act.
    Act,
    /// Look only (`--read-only`): rows that act are not there.
    Look,
}

impl Rights {
    /// Whether this row of the table is in force.
    pub const fn allow(self, binding: &Binding) -> bool {
        matches!(self, Self::Act) || !binding.acts
    }
}

/// Which keys are in force. `state::Mode` says which one is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Screen {
    /// Verdict, suspect, lists.
    Overview,
    /// One job.
    Detail,
    /// Keys and words.
    Help,
    /// Menu of actions.
    Dialog,
    /// A word has to be typed: characters are text here.
    Confirm,
}

impl Screen {
    /// Every screen.
    pub const ALL: [Self; 5] = [Self::Overview, Self::Detail, Self::Help, Self::Dialog, Self::Confirm];
}

/// One row of the table.
#[derive(Debug)]
pub struct Binding {
    /// The keys, each with the modifiers it needs. Shift is part of the character.
    pub keys: &'static [(KeyCode, KeyModifiers)],
    /// As printed.
    pub shown: &'static str,
    /// What they do.
    pub command: Command,
    /// The word in the footer; empty where the footer has no room for it.
    pub hint: &'static str,
    /// A line for the help screen.
    pub help: &'static str,
    /// Where they are in force.
    pub screens: &'static [Screen],
    /// Whether this leads to an action on processes.
    pub acts: bool,
}

const PLAIN: KeyModifiers = KeyModifiers::NONE;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;
const EVERYWHERE: &[Screen] = &Screen::ALL;
const MAIN: &[Screen] = &[Screen::Overview, Screen::Detail];
const ACTING: &[Screen] = &[Screen::Overview, Screen::Detail, Screen::Dialog];
const MOVING: &[Screen] = &[Screen::Overview, Screen::Detail, Screen::Help, Screen::Dialog];

/// The table, in the order of the help screen.
pub const BINDINGS: &[Binding] = &[
    Binding {
        keys: &[(KeyCode::Char('k'), PLAIN)],
        shown: "k",
        command: Command::Choose(Choice::End(Signal::Terminate)),
        hint: "end",
        help: "end the suspect, or the job you selected: shows first which processes, sends nothing yet",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('K'), PLAIN)],
        shown: "K",
        command: Command::Choose(Choice::End(Signal::Kill)),
        hint: "",
        help: "the same with SIGKILL chosen, for what outlives k",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('p'), PLAIN)],
        shown: "p",
        command: Command::Choose(Choice::Prove),
        hint: "prove",
        help: "prove it by a pause of 10 s: does anybody wait then? It goes on by itself; asks first",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('P'), PLAIN)],
        shown: "P",
        command: Command::Choose(Choice::Pause),
        hint: "",
        help: "pause it until you let it go on; asks first",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('r'), PLAIN)],
        shown: "r",
        command: Command::Choose(Choice::Resume),
        hint: "resume",
        help: "let a paused job go on, at once",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('d'), PLAIN)],
        shown: "d",
        command: Command::Choose(Choice::Deprioritise),
        hint: "",
        help: "let everybody else go first: niceness, I/O class and weights; asks first",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('u'), PLAIN)],
        shown: "u",
        command: Command::Choose(Choice::Undo),
        hint: "undo",
        help: "undo: put back what was paused or deprioritised, at once",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('t'), PLAIN)],
        shown: "t",
        command: Command::Choose(Choice::Thaw),
        hint: "thaw",
        help: "thaw a frozen filesystem; asks first",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('s'), PLAIN)],
        shown: "s",
        command: Command::Choose(Choice::StopUnit),
        hint: "",
        help: "stop its systemd unit, so that nothing starts it again; asks first",
        screens: ACTING,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('m'), PLAIN)],
        shown: "m",
        command: Command::Choose(Choice::Any),
        hint: "actions",
        help: "every action on it, and what each would do here",
        screens: MAIN,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Enter, PLAIN)],
        shown: "Enter",
        command: Command::Order,
        hint: "do it",
        help: "do what is chosen, to the processes that are named",
        screens: &[Screen::Dialog, Screen::Confirm],
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Tab, PLAIN), (KeyCode::BackTab, PLAIN)],
        shown: "Tab",
        command: Command::Switch,
        hint: "pick processes",
        help: "from the actions to the processes, and back",
        screens: &[Screen::Dialog],
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char(' '), PLAIN)],
        shown: "Space",
        command: Command::Pick,
        hint: "",
        help: "pick this process only, then more of them; none picked is all of them",
        screens: &[Screen::Dialog],
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Left, PLAIN)],
        shown: "←",
        command: Command::Shorter,
        hint: "",
        help: "a shorter proof, down to 6 s",
        screens: &[Screen::Dialog],
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Right, PLAIN)],
        shown: "→",
        command: Command::Longer,
        hint: "",
        help: "a longer proof, up to 60 s",
        screens: &[Screen::Dialog],
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Enter, PLAIN)],
        shown: "Enter",
        command: Command::Detail,
        hint: "evidence",
        help: "all that is known of the job: evidence, processes, waits",
        screens: &[Screen::Overview],
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Esc, PLAIN)],
        shown: "Esc",
        command: Command::Back,
        hint: "back",
        help: "leave; on the overview dismiss the recovery, then the selection, then signals on their way",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Up, PLAIN)],
        shown: "↑",
        command: Command::Up,
        hint: "",
        help: "select the job above; among actions or processes the one above",
        screens: MOVING,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Down, PLAIN)],
        shown: "↓",
        command: Command::Down,
        hint: "select",
        help: "select the job below; among actions or processes the one below",
        screens: MOVING,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::PageUp, PLAIN)],
        shown: "PgUp",
        command: Command::PageUp,
        hint: "",
        help: "a page up; among actions through the processes",
        screens: MOVING,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::PageDown, PLAIN)],
        shown: "PgDn",
        command: Command::PageDown,
        hint: "",
        help: "a page down; among actions through the processes",
        screens: MOVING,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Home, PLAIN)],
        shown: "Home",
        command: Command::First,
        hint: "",
        help: "to the first row",
        screens: MOVING,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::End, PLAIN)],
        shown: "End",
        command: Command::Last,
        hint: "",
        help: "to the last row",
        screens: MOVING,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Tab, PLAIN), (KeyCode::BackTab, PLAIN)],
        shown: "Tab",
        command: Command::Switch,
        hint: "other list",
        help: "to the other list: who waits, who takes",
        screens: &[Screen::Overview],
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Char('?'), PLAIN), (KeyCode::F(1), PLAIN)],
        shown: "?",
        command: Command::Help,
        hint: "help",
        help: "this screen",
        screens: MAIN,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Char('l'), CONTROL)],
        shown: "Ctrl-L",
        command: Command::Redraw,
        hint: "",
        help: "draw everything anew",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Char('z'), CONTROL)],
        shown: "Ctrl-Z",
        command: Command::Suspend,
        hint: "",
        help: "back to the shell; fg returns here",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Char('q'), PLAIN), (KeyCode::Char('c'), CONTROL)],
        shown: "q",
        command: Command::Quit,
        hint: "quit",
        help: "quit (Ctrl-C too)",
        screens: EVERYWHERE,
        acts: false,
    },
];

/// The rows that are in force.
pub fn bindings(rights: Rights) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| rights.allow(binding))
}

/// The row that this key selects on this screen.
pub fn lookup(screen: Screen, rights: Rights, key: KeyEvent) -> Option<&'static Binding> {
    // A capital letter comes with or without the shift flag, depending on the terminal.
    let pressed = (key.code, key.modifiers - KeyModifiers::SHIFT);
    bindings(rights).find(|binding| binding.screens.contains(&screen) && binding.keys.contains(&pressed))
}

/// How the key for this command is printed on this screen; a hint can then never name a key that does something else.
pub fn shown(screen: Screen, command: Command) -> &'static str {
    BINDINGS
        .iter()
        .find(|binding| binding.command == command && binding.screens.contains(&screen))
        .map_or("", |binding| binding.shown)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_does_two_things_on_one_screen() {
        for screen in Screen::ALL {
            let mut seen = HashSet::new();
            for binding in BINDINGS.iter().filter(|binding| binding.screens.contains(&screen)) {
                for key in binding.keys {
                    assert!(seen.insert(*key), "{key:?} is bound twice on {screen:?}");
                }
            }
        }
    }

    #[test]
    fn every_row_can_be_pressed_read_and_explained() {
        for binding in BINDINGS {
            assert!(!binding.keys.is_empty() && !binding.screens.is_empty(), "{binding:?}");
            assert!(!binding.shown.is_empty() && binding.help.len() > 5, "{binding:?}");
            assert!(binding.keys.iter().all(|(_, modifiers)| !modifiers.contains(KeyModifiers::SHIFT)), "{binding:?}");
            for screen in binding.screens {
                for (code, modifiers) in binding.keys {
                    let found = lookup(*screen, Rights::Act, KeyEvent::new(*code, *modifiers)).map(|found| found.command);
                    assert_eq!(found, Some(binding.command));
                }
            }
        }
    }

    #[test]
    fn who_may_only_look_has_no_key_that_acts() {
        for binding in BINDINGS.iter().filter(|binding| binding.acts) {
            for (screen, (code, modifiers)) in binding.screens.iter().flat_map(|s| binding.keys.iter().map(move |key| (s, key))) {
                let found = lookup(*screen, Rights::Look, KeyEvent::new(*code, *modifiers));
                assert!(found.is_none_or(|found| !found.acts), "{binding:?}");
            }
        }
    }

    #[test]
    fn each_screen_can_be_left_and_whytop_quit_from_it() {
        for screen in Screen::ALL {
            assert_eq!(shown(screen, Command::Back), "Esc");
            assert_eq!(shown(screen, Command::Quit), "q");
        }
    }

    #[test]
    fn alt_and_control_do_not_pass_for_the_plain_key() {
        // Esc and k typed fast arrive as Alt-k.
        for modifiers in [KeyModifiers::ALT, KeyModifiers::CONTROL] {
            assert!(lookup(Screen::Overview, Rights::Act, KeyEvent::new(KeyCode::Char('k'), modifiers)).is_none());
        }
        let shifted = KeyEvent::new(KeyCode::Char('K'), KeyModifiers::SHIFT);
        assert_eq!(
            lookup(Screen::Overview, Rights::Act, shifted).map(|binding| binding.command),
            Some(Command::Choose(Choice::End(Signal::Kill)))
        );
    }
}

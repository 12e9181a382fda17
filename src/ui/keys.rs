//! The one key table: dispatch, footer, help screen and README are read from it, so they cannot contradict each other.
//!
//! Plain rows and a look-up; what a command does is in `update`. Tests walk the table.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::action::Signal;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// End whytop.
    Quit,
    /// Leave what is open; on the overview dismiss the recovery, then the selection.
    Back,
    /// Explain the keys and words.
    Help,
    /// Show all that is known of the job.
    Detail,
    /// Open the signal dialog with this one preselected.
    Aim(Signal),
    /// Send what the dialog says.
    Send,
    /// The other list.
    SwitchList,
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
    /// Signal dialog.
    Dialog,
}

impl Screen {
    /// Every screen.
    pub const ALL: [Self; 4] = [Self::Overview, Self::Detail, Self::Help, Self::Dialog];
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

/// The table, in the order of the help screen.
pub const BINDINGS: &[Binding] = &[
    Binding {
        keys: &[(KeyCode::Char('k'), PLAIN)],
        shown: "k",
        command: Command::Aim(Signal::Terminate),
        hint: "end",
        help: "end the suspect, or the job you selected: shows first which processes, sends nothing yet",
        screens: MAIN,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Char('K'), PLAIN)],
        shown: "K",
        command: Command::Aim(Signal::Kill),
        hint: "",
        help: "the same with SIGKILL preselected, for what outlives k",
        screens: MAIN,
        acts: true,
    },
    Binding {
        keys: &[(KeyCode::Enter, PLAIN)],
        shown: "Enter",
        command: Command::Send,
        hint: "send",
        help: "send the signal to the processes named in the dialog",
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
        help: "leave; on the overview dismiss the recovery, then the selection",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Up, PLAIN)],
        shown: "↑",
        command: Command::Up,
        hint: "",
        help: "select the job above; in the dialog the signal above",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Down, PLAIN)],
        shown: "↓",
        command: Command::Down,
        hint: "select",
        help: "select the job below; in the dialog the signal below",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::PageUp, PLAIN)],
        shown: "PgUp",
        command: Command::PageUp,
        hint: "",
        help: "a page up; in the dialog through its processes",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::PageDown, PLAIN)],
        shown: "PgDn",
        command: Command::PageDown,
        hint: "",
        help: "a page down; in the dialog through its processes",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Home, PLAIN)],
        shown: "Home",
        command: Command::First,
        hint: "",
        help: "to the first row",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::End, PLAIN)],
        shown: "End",
        command: Command::Last,
        hint: "",
        help: "to the last row",
        screens: EVERYWHERE,
        acts: false,
    },
    Binding {
        keys: &[(KeyCode::Tab, PLAIN), (KeyCode::BackTab, PLAIN)],
        shown: "Tab",
        command: Command::SwitchList,
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
            Some(Command::Aim(Signal::Kill))
        );
    }
}

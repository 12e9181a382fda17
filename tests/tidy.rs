//! The walls of the house, held by a test: which room may import which, and where a clock, a file or a process may be touched.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms of ours that it may import. A room is a folder or a file below `src/`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("sample", &["units"]),
    ("action", &["units"]),
    ("site", &["units"]),
    ("probe", &["units", "site"]),
    ("grounds", &["analysis", "site"]),
    ("trace", &["units", "action", "grounds"]),
    ("kernel", &["units", "sample"]),
    ("sampler", &["units", "sample", "kernel"]),
    ("history", &["units", "sample", "analysis"]),
    ("analysis", &["units", "sample", "analysis"]),
    ("monitor", &["units", "sample", "analysis", "history"]),
    ("runs", &["units", "act", "analysis"]),
    ("recovery", &["units", "action", "analysis", "site"]),
    ("proof", &["units", "action", "analysis"]),
    ("landing", &["units", "action", "analysis"]),
    ("subject", &["units", "sample", "action", "analysis"]),
    ("act", &["units", "sample", "action"]),
    ("report", &["units", "sample", "action", "analysis", "landing", "proof", "recovery", "site"]),
    ("ui", &["units", "sample", "action", "analysis", "landing", "proof", "recovery", "subject", "site", "grounds"]),
];

/// Words that may stand only in these rooms.
const HOMES: &[(&[&str], &[&str])] = &[
    (
        &["Instant::now", "SystemTime::now", "Timestamp::now", "thread::sleep"],
        &["kernel", "sampler", "act", "app", "probe", "trace"],
    ),
    (&["std::fs", "File::open", "rustix::fs"], &["kernel", "act", "config", "trace"]),
    (&["std::process", "rustix::process"], &["kernel", "act", "app", "main", "trace"]),
    (&["std::thread", "thread::Builder"], &["kernel", "sampler", "act", "app", "config", "runs", "ui", "probe", "trace"]),
    (&["unsafe"], &[]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Every source file with its room and its code: no comments, no tests.
fn code() -> Vec<(PathBuf, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&src)
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&src).unwrap();
            let room = inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (inside.to_owned(), room, code.join("\n"))
        })
        .collect()
}

#[test]
fn each_room_imports_only_what_it_may() {
    let rooms: Vec<&str> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    let mut wrong = Vec::new();
    for (path, room, code) in code() {
        let Some((_, may)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else { continue };
        for line in code.lines() {
            let Some((_, imported)) = line.split_once("crate::") else { continue };
            let imported = imported.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            if imported != room && rooms.contains(&imported) && !may.contains(&imported) {
                wrong.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports through a wall:\n{}", wrong.join("\n"));
}

#[test]
fn clocks_files_and_processes_have_homes() {
    let mut wrong = Vec::new();
    for (path, room, code) in code() {
        for (words, homes) in HOMES {
            for word in *words {
                let found = code.lines().find(|line| line.contains(word) && !line.contains("unsafe_code"));
                if let Some(line) = found.filter(|_| !homes.contains(&room.as_str())) {
                    wrong.push(format!("{}: {word} in {:?}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "away from home:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let silent: Vec<PathBuf> =
        sources(&src).into_iter().filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!")).collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:?}");
}

/// What a comment says of tests is so: `tests/NAME.rs` is there.
#[test]
fn tests_that_are_named_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for path in ["src", "tests", "benches"].iter().flat_map(|folder| sources(&root.join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("tests/").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || "_-/.".contains(*c)).collect();
            let Some(end) = name.find(".rs") else { continue };
            if !root.join("tests").join(&name[..end + 3]).is_file() {
                missing.push(format!("{}: tests/{}", path.display(), &name[..end + 3]));
            }
        }
    }
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn no_file_grows_out_of_hand() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let long: Vec<(PathBuf, usize)> = sources(&src)
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .collect();
    assert!(long.is_empty(), "longer than 500 lines: {long:?}");
}

#[test]
fn the_readme_has_the_keys_of_the_table() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for binding in whytop::ui::keys::BINDINGS {
        let row = format!("| `{}` | {} |", binding.shown, binding.help);
        assert!(readme.contains(&row), "README.md has no row {row}");
    }
}

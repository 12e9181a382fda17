//! What an interpreter or a shell was given to run: a script, a module, or a piece of code, which has no name.
//!
//! Knows which options take a value, so that a value is not taken for the script, and which take code. Pure text. Tested in place.

/// What stands behind an interpreter; each with the place of its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// A script, a module, a class, an archive.
    Script(usize),
    /// Code; of a shell the line. The place may be behind the last word.
    Code(usize),
    /// Nobody knows what it reads from a pipe or a terminal.
    Nothing,
}

/// Shells.
pub const SHELLS: [&str; 9] = ["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "rbash"];

/// An interpreter's options, as far as more than a letter belongs to them. Short ones may stand together (`-lne`).
struct Options {
    /// Letters behind which code stands.
    code: &'static str,
    /// Letters behind which a module stands.
    module: &'static str,
    /// Letters with a value: the rest of the word, else the next word.
    values: &'static str,
    /// Letters with the rest of the word for a value, if there is any.
    rest: &'static str,
    /// Whole words before code.
    code_words: &'static [&'static str],
    /// Whole words before a script or a module.
    file_words: &'static [&'static str],
    /// Whole words with a value in the next one.
    value_words: &'static [&'static str],
}

const PLAIN: Options = Options { code: "", module: "", values: "", rest: "", code_words: &[], file_words: &[], value_words: &[] };
const PYTHON: Options = Options { code: "c", module: "m", values: "WX", value_words: &["--check-hash-based-pycs"], ..PLAIN };
const PERL: Options = Options { code: "eE", values: "I", rest: "MmiFxDCV", ..PLAIN };
const RUBY: Options = Options {
    code: "e",
    values: "IrCEX",
    rest: "iFKTWx",
    value_words: &["--encoding", "--external-encoding", "--internal-encoding"],
    ..PLAIN
};
const NODE: Options = Options {
    code: "ep",
    values: "rC",
    code_words: &["--eval", "--print"],
    value_words: &["--require", "--loader", "--experimental-loader", "--import", "--conditions", "--env-file", "--title"],
    ..PLAIN
};
const PHP: Options = Options {
    code: "rRBE",
    module: "f",
    values: "dcztS",
    code_words: &["--run", "--process-code", "--process-begin", "--process-end"],
    file_words: &["--file"],
    value_words: &["--define", "--php-ini", "--zend-extension", "--docroot", "--server"],
    ..PLAIN
};
/// A script may follow behind code, too.
const LUA: Options = Options { values: "el", ..PLAIN };
const R: Options = Options { code: "e", values: "g", ..PLAIN };
/// Its options are words with one dash.
const JAVA: Options = Options {
    file_words: &["-jar", "-m", "--module"],
    value_words: &[
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--add-modules",
        "--add-opens",
        "--add-exports",
        "--add-reads",
    ],
    ..PLAIN
};

/// What this interpreter was given, its own name being the first word. `None`: it is none.
pub fn given<T: AsRef<str>>(name: &str, words: &[T]) -> Option<Given> {
    if SHELLS.contains(&name) {
        return Some(given_to_a_shell(words));
    }
    let options = match stem(name) {
        "python" | "pypy" => &PYTHON,
        "perl" => &PERL,
        "ruby" => &RUBY,
        "node" | "nodejs" => &NODE,
        "php" => &PHP,
        "java" => return Some(words_with_one_dash(words)),
        "lua" => &LUA,
        "Rscript" => &R,
        "mono" | "dotnet" | "tclsh" => &PLAIN,
        "deno" => return Some(given_to_deno(words)),
        "env" => return Some(behind_env(words)),
        _ => return None,
    };
    Some(walk(options, words))
}

/// `python` of `python3.11`.
pub fn stem(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
}

fn walk<T: AsRef<str>>(options: &Options, words: &[T]) -> Given {
    let mut at = 1;
    while let Some(word) = words.get(at).map(AsRef::as_ref) {
        if word == "-" {
            return Given::Nothing;
        }
        if word == "--" {
            return script(at + 1, words);
        }
        let Some(letters) = word.strip_prefix('-') else { return Given::Script(at) };
        if options.code_words.contains(&word) {
            return Given::Code(at + 1);
        }
        if options.file_words.contains(&word) {
            return script(at + 1, words);
        }
        at += 1;
        if letters.starts_with('-') {
            at += usize::from(options.value_words.contains(&word));
            continue;
        }
        for (place, letter) in letters.char_indices() {
            let ends_word = place + letter.len_utf8() == letters.len();
            if options.code.contains(letter) {
                return Given::Code(at);
            }
            if options.module.contains(letter) {
                // `-mhttp.server`: its name is in the word, behind letters, where nobody writes it.
                return if ends_word { script(at, words) } else { Given::Nothing };
            }
            if options.values.contains(letter) {
                at += usize::from(ends_word);
                break;
            }
            if options.rest.contains(letter) || matches!(letter, ':' | '=') {
                break;
            }
        }
    }
    Given::Nothing
}

fn script<T>(at: usize, words: &[T]) -> Given {
    if at < words.len() { Given::Script(at) } else { Given::Nothing }
}

fn words_with_one_dash<T: AsRef<str>>(words: &[T]) -> Given {
    let mut at = 1;
    while let Some(word) = words.get(at).map(AsRef::as_ref) {
        if JAVA.file_words.contains(&word) {
            return script(at + 1, words);
        }
        if !word.starts_with('-') {
            return Given::Script(at);
        }
        at += 1 + usize::from(JAVA.value_words.contains(&word));
    }
    Given::Nothing
}

fn given_to_deno<T: AsRef<str>>(words: &[T]) -> Given {
    match words.get(1).map(AsRef::as_ref) {
        Some("run") => walk(&PLAIN, words.get(1..).unwrap_or_default()).moved(1),
        Some("eval") => Given::Code(2),
        _ => walk(&PLAIN, words),
    }
}

/// Behind assignments.
fn behind_env<T: AsRef<str>>(words: &[T]) -> Given {
    let mut at = 1;
    while let Some(word) = words.get(at).map(AsRef::as_ref) {
        match word {
            "-u" | "-C" | "--unset" | "--chdir" => at += 2,
            _ if word.starts_with('-') || word.contains('=') => at += 1,
            _ => return Given::Script(at),
        }
    }
    Given::Nothing
}

/// Letters stand together, and what belongs to `-o` and `-c` stands behind all of them: `bash -eo pipefail -c LINE`.
fn given_to_a_shell<T: AsRef<str>>(words: &[T]) -> Given {
    let (mut at, mut line, mut piped) = (1, false, false);
    while let Some(word) = words.get(at).map(AsRef::as_ref) {
        at += 1;
        match word {
            "-" | "--" => break,
            "--rcfile" | "--init-file" | "-rcfile" | "-init-file" => at += 1,
            "--command" => line = true,
            _ if word.starts_with("--") => {}
            _ if word.starts_with('-') => {
                line |= word.contains('c');
                piped |= word.contains('s');
                at += word.matches(['o', 'O']).count();
            }
            _ if word.starts_with('+') => at += word.matches(['o', 'O']).count(),
            _ => {
                at -= 1;
                break;
            }
        }
    }
    match (line, piped) {
        (true, _) => Given::Code(at),
        (false, true) => Given::Nothing,
        (false, false) => script(at, words),
    }
}

impl Given {
    fn moved(self, by: usize) -> Self {
        match self {
            Self::Script(at) => Self::Script(at + by),
            Self::Code(at) => Self::Code(at + by),
            Self::Nothing => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, and in which word.
    fn found(line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let word = |at: usize| words.get(at).copied().unwrap_or("(nothing)");
        match given(words[0], &words) {
            Some(Given::Script(at)) => format!("script {}", word(at)),
            Some(Given::Code(at)) => format!("code {}", word(at)),
            Some(Given::Nothing) => "nothing".to_owned(),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn no_options_value_is_taken_for_the_script() {
        for (line, wants) in [
            ("python3 -I -W ignore -X dev x.py a", "script x.py"),
            ("python3.11 -um http.server 80", "script http.server"),
            ("python3 --check-hash-based-pycs never x.py", "script x.py"),
            ("perl -w -I lib -MData::Dumper -i.bak x.pl", "script x.pl"),
            ("perl -CSDE x.pl", "script x.pl"),
            ("ruby -I lib -r json -E utf-8 x.rb", "script x.rb"),
            ("ruby -rjson -W:no-deprecated x.rb", "script x.rb"),
            ("node --require ./a.js --max-old-space-size=4096 -r b x.js", "script x.js"),
            ("php -d memory_limit=-1 -c /etc/php x.php", "script x.php"),
            ("php -dmemory_limit=-1 -f x.php", "script x.php"),
            ("lua -e a=1 -l b x.lua", "script x.lua"),
            ("java -Xmx1g -ea -cp a:b org.x.Main", "script org.x.Main"),
            ("java -Dx=y -jar a.jar -c", "script a.jar"),
            ("deno run -A --allow-net x.ts", "script x.ts"),
            ("env -u HOME A=1 nice x", "script nice"),
            ("bash --noprofile --norc -eo pipefail x.sh", "script x.sh"),
            ("bash -o pipefail +O extglob --rcfile a x.sh -c", "script x.sh"),
            ("python3 -- -x.py", "script -x.py"),
            ("tar -c x", "none"),
        ] {
            assert_eq!(found(line), wants, "{line}");
        }
    }

    #[test]
    fn code_is_no_script() {
        for (line, wants) in [
            ("python3 -c code x.py", "code code"),
            ("python3 -Ic code", "code code"),
            ("python3 -cprint(1) x", "code x"),
            ("perl -e code x", "code code"),
            ("perl -lane code x", "code code"),
            ("perl -i.bak -pe code x", "code code"),
            ("ruby -rjson -ne code", "code code"),
            ("node -pe code", "code code"),
            ("node --eval code", "code code"),
            ("php -r code", "code code"),
            ("php --run code", "code code"),
            ("Rscript -e code", "code code"),
            ("deno eval code", "code code"),
            ("bash -c line x", "code line"),
            ("bash -ce -o pipefail line", "code line"),
            ("bash -euo pipefail -c line", "code line"),
            ("sh -c", "code (nothing)"),
        ] {
            assert_eq!(found(line), wants, "{line}");
        }
    }

    #[test]
    fn what_comes_through_a_pipe_is_not_known() {
        for line in ["python3 - x.py", "bash -s x y", "perl", "php", "-bash", "python3 -i", "python3 -m", "bash -l", "java -jar"]
        {
            assert!(matches!(found(line).as_str(), "nothing" | "none"), "{line}: {}", found(line));
        }
    }
}

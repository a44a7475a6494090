//! The sizes of files and functions.

use super::sources::Source;
use super::{Finding, code};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 60;

/// A function with a body: its name and its number of lines, from `fn` to the
/// closing brace.
#[derive(Debug, PartialEq)]
struct Function<'a> {
    name: &'a str,
    /// Counted from 1.
    line: usize,
    lines: usize,
}

/// Findings for a file that is too long, and for its functions that are too long.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.code.lines().count();
    if lines > FILE_LINES {
        findings.push(Finding {
            file: source.path.clone(),
            line: None,
            message: format!("{lines} lines, more than {FILE_LINES}"),
        });
    }
    for function in functions(&source.code) {
        if function.lines > FUNCTION_LINES {
            let Function { name, line, lines } = function;
            findings.push(Finding {
                file: source.path.clone(),
                line: Some(line),
                message: format!("function `{name}` has {lines} lines, more than {FUNCTION_LINES}"),
            });
        }
    }
    findings
}

/// Finds the functions in text without comments and literals. Only a declaration
/// has a name after `fn`; the type of a pointer is written `fn(`.
fn functions(text: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    let mut words = code::words(text).peekable();
    while let Some((start, word)) = words.next() {
        if word != "fn" {
            continue;
        }
        let Some(&(position, name)) = words.peek() else {
            break;
        };
        let declared = text[start + word.len()..position].trim().is_empty();
        if let Some(length) = body_end(&text[start..]).filter(|_| declared) {
            found.push(Function {
                name,
                line: 1 + newlines(&text[..start]),
                lines: 1 + newlines(&text[start..start + length]),
            });
        }
    }
    found
}

/// The end of the first braces, or `None` if a semicolon comes before
/// them, as in a required method of a trait.
fn body_end(text: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (position, symbol) in text.char_indices() {
        match symbol {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            _ => {}
        }
        if symbol == '}' && braces == 0 {
            return Some(position);
        }
    }
    None
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_run_from_fn_to_the_closing_brace() {
        let text = "\
trait T {
    fn required(&self, x: [u8; 4]) -> u8;
    fn provided(
        &self,
    ) -> u8
    where
        Self: Sized,
    {
        if true { 1 } else { 2 }
    }
}
pub(crate) const fn one() {}
type Pointer = fn(u8) -> u8;
fn array() -> [u8; 2] {
    fn inner() {
    }
}
";
        let found: Vec<_> = functions(text)
            .into_iter()
            .map(|function| (function.name, function.line, function.lines))
            .collect();
        let expected = [
            ("provided", 3, 8),
            ("one", 12, 1),
            ("array", 14, 4),
            ("inner", 15, 2),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_maxima_themselves_are_allowed() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "a();\n".repeat(lines - 2));
        let check = |code: String| {
            let path = "a.rs".into();
            let findings = check(&Source { path, code });
            findings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(check(function(60)).is_empty());
        assert_eq!(
            check(format!("\n{}", function(61))),
            ["a.rs:2: function `f` has 61 lines, more than 60"]
        );
        assert!(check("\n".repeat(600)).is_empty());
        assert_eq!(check("\n".repeat(601)), ["a.rs: 601 lines, more than 600"]);
    }
}

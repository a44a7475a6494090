//! The part of Rust's lexical rules that separates code from comments and literals.

/// The source with comments, strings and character literals replaced by
/// spaces. Lines stay where they are.
pub fn blank(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (token, after) = if let Some(length) = opaque_length(rest) {
            let (token, after) = rest.split_at(length);
            code.extend(token.chars().map(|it| if it == '\n' { it } else { ' ' }));
            rest = after;
            continue;
        } else if is_word(first) {
            rest.split_at(word_length(rest))
        } else {
            rest.split_at(first.len_utf8())
        };
        code.push_str(token);
        rest = after;
    }
    code
}

/// The words (names, keywords, numbers) of a text with their byte positions.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut position = 0;
    std::iter::from_fn(move || {
        position += text[position..].find(is_word)?;
        let start = position;
        position += word_length(&text[start..]);
        Some((start, &text[start..position]))
    })
}

fn is_word(symbol: char) -> bool {
    symbol.is_alphanumeric() || symbol == '_'
}

fn word_length(text: &str) -> usize {
    text.find(|symbol| !is_word(symbol)).unwrap_or(text.len())
}

/// The length of the comment, string or character literal at the start of the
/// text.
fn opaque_length(text: &str) -> Option<usize> {
    line_comment(text)
        .or_else(|| block_comment(text))
        .or_else(|| string(text))
        .or_else(|| raw_string(text))
        .or_else(|| character(text))
}

fn line_comment(text: &str) -> Option<usize> {
    text.starts_with("//")
        .then(|| text.find('\n').unwrap_or(text.len()))
}

/// Block comments nest. An unclosed one extends to the end of the file.
fn block_comment(text: &str) -> Option<usize> {
    if !text.starts_with("/*") {
        return None;
    }
    let (mut position, mut depth) = (2, 1);
    while depth > 0 {
        let Some(next) = text[position..].find(['/', '*']) else {
            return Some(text.len());
        };
        position += next;
        let here = &text[position..];
        let (step, change) = match here {
            _ if here.starts_with("/*") => (2, 1),
            _ if here.starts_with("*/") => (2, -1),
            _ => (1, 0),
        };
        position += step;
        depth += change;
    }
    Some(position)
}

/// 1 if the text begins with one of these letters, else 0.
fn prefix(text: &str, letters: &[char]) -> usize {
    usize::from(text.starts_with(letters))
}

fn string(text: &str) -> Option<usize> {
    let start = prefix(text, &['b', 'c']);
    let body = text[start..].strip_prefix('"')?;
    let mut escaped = false;
    for (position, symbol) in body.char_indices() {
        match symbol {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(start + 1 + position + 1),
            _ => {}
        }
    }
    Some(text.len())
}

fn raw_string(text: &str) -> Option<usize> {
    let start = prefix(text, &['b', 'c']);
    let after = text[start..].strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = text.len() - body.len();
    let found = body.find(&end);
    Some(found.map_or(text.len(), |position| opening + position + end.len()))
}

/// A character literal; a lifetime has no closing quote after one character.
fn character(text: &str) -> Option<usize> {
    let start = prefix(text, &['b']);
    let body = text[start..].strip_prefix('\'')?;
    let mut symbols = body.chars();
    let first = symbols.next()?;
    let taken = match first {
        '\\' => 1 + symbols.next()?.len_utf8(),
        _ => first.len_utf8(),
    };
    let closing = match first {
        '\\' => body[taken..].find('\'')?,
        _ => symbols.next().filter(|symbol| *symbol == '\'').map(|_| 0)?,
    };
    Some(start + 1 + taken + closing + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_words(source: &str) -> Vec<String> {
        let blanked = blank(source);
        assert_eq!(blanked.lines().count(), source.lines().count());
        words(&blanked).map(|(_, word)| word.to_owned()).collect()
    }

    #[test]
    fn comments_vanish_and_lines_stay() {
        let source = "a // b\n/* c /* d */ e\n */ f /// g\n//! h\nlet i = 1 / 2;";
        assert_eq!(code_words(source), ["a", "f", "let", "i", "1", "2"]);
    }

    #[test]
    fn strings_vanish() {
        let source = r####"a "b \" // c" d r"e\" f r#"g " h"# i br##"j"# k"## l b"m" n c"o""####;
        assert_eq!(code_words(source), ["a", "d", "f", "i", "l", "n"]);
    }

    #[test]
    fn characters_vanish_and_lifetimes_stay() {
        let source = r"x<'a, 'b>('c', '\'', '\\', '\u{7d}', b'd', b'\'', '{') 'outer: loop";
        assert_eq!(code_words(source), ["x", "a", "b", "outer", "loop"]);
        assert!(!blank(source).contains('{'));
    }

    #[test]
    fn raw_names_and_words_that_end_in_a_prefix_are_no_strings() {
        assert_eq!(code_words("r#fn for br, \"x\""), ["r", "fn", "for", "br"]);
        assert_eq!(blank("é'ß'é"), "é   é");
    }
}

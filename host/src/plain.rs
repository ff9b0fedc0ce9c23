//! Text from files, peers and configurations, made safe to print on a terminal.

use std::fmt::{self, Write};

/// Prints `T` with its control characters escaped (`\u{1b}`), but for line feeds and tabs.
///
/// Escaped are also the characters that reorder the text around them (Unicode's bidirectional
/// controls), with which a line can read otherwise than it is.
#[derive(Clone, Copy, Debug)]
pub struct Plain<T>(pub T);

impl<T: fmt::Display> fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(acts_on_a_terminal) {
            let (before, from) = rest.split_at(at);
            let mut chars = from.chars();
            let escaped = chars.next().map_or_else(String::new, |c| c.escape_unicode().to_string());
            self.0.write_str(before)?;
            self.0.write_str(&escaped)?;
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

fn acts_on_a_terminal(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let shown = |text: &str| Plain(text).to_string();
        assert_eq!(shown("R² is 0.9\n\tdone"), "R² is 0.9\n\tdone");
        assert_eq!(shown("a\u{1b}[2Jb\r\u{9b}c"), "a\\u{1b}[2Jb\\u{d}\\u{9b}c");
        assert_eq!(shown("\u{202e}\u{7f}"), "\\u{202e}\\u{7f}");
        assert_eq!(shown(""), "");
    }
}

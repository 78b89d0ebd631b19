//! Pattern matching for names: `*`, `?`, `[…]`.

/// One unit of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub byte: u8,
    /// Quoted bytes stand for themselves.
    pub quoted: bool,
}

/// Whether a pattern could match more than one name.
pub fn is_pattern(pattern: &[Symbol]) -> bool {
    pattern.iter().any(|symbol| !symbol.quoted && b"*?[".contains(&symbol.byte))
}

/// Whether `name` matches. A leading dot must be matched by a dot.
pub fn matches(pattern: &[Symbol], name: &[u8]) -> bool {
    let hidden = name.first() == Some(&b'.');
    if hidden && pattern.first().is_none_or(|symbol| symbol.byte != b'.') {
        return false;
    }
    // Greedy matching that goes back to the last star only: linear space, quadratic time.
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let symbol = pattern.get(at);
        let step = match (symbol, name.get(position)) {
            (Some(Symbol { byte: b'*', quoted: false }), _) => {
                star = Some((at, position));
                at += 1;
                continue;
            }
            (None, None) => return true,
            (Some(symbol), Some(&byte)) => match_one(pattern, at, *symbol, byte),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => {
                at = next;
                position += 1;
            }
            (None, Some((star_at, from))) if from < name.len() => {
                star = Some((star_at, from + 1));
                at = star_at + 1;
                position = from + 1;
            }
            _ => return false,
        }
    }
}

/// Matches one byte; where the pattern goes on if it fits.
fn match_one(pattern: &[Symbol], at: usize, symbol: Symbol, byte: u8) -> Option<usize> {
    if !symbol.quoted && symbol.byte == b'?' {
        return Some(at + 1);
    }
    if !symbol.quoted
        && symbol.byte == b'['
        && let Some((fits, next)) = match_set(pattern, at + 1, byte)
    {
        return fits.then_some(next);
    }
    (symbol.byte == byte).then_some(at + 1)
}

/// Matches `[…]` whose inside begins at `at`; `None` if it has no end, so is no set.
fn match_set(pattern: &[Symbol], mut at: usize, byte: u8) -> Option<(bool, usize)> {
    let inverted = matches!(pattern.get(at)?, Symbol { byte: b'!' | b'^', quoted: false });
    at += usize::from(inverted);
    let start = at;
    let mut found = false;
    loop {
        let symbol = pattern.get(at)?;
        if symbol.byte == b']' && !symbol.quoted && at > start {
            return Some((found != inverted, at + 1));
        }
        let range_end = match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(Symbol { byte: b'-', quoted: false }), Some(end))
                if end.quoted || end.byte != b']' =>
            {
                Some(end.byte)
            }
            _ => None,
        };
        found |= (symbol.byte..=range_end.unwrap_or(symbol.byte)).contains(&byte);
        at += if range_end.is_some() { 3 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::{Symbol, matches};
    use alloc::vec::Vec;

    fn fits(pattern: &str, name: &str) -> bool {
        let pattern: Vec<Symbol> =
            pattern.bytes().map(|byte| Symbol { byte, quoted: false }).collect();
        matches(&pattern, name.as_bytes())
    }

    #[test]
    fn stars_and_sets() {
        assert!(fits("*.o", "a.o"));
        assert!(fits("a*b*c", "aXbbYc"));
        assert!(!fits("a*b*c", "aXbbY"));
        assert!(fits("*", ""));
        assert!(fits("??", "ab"));
        assert!(!fits("??", "abc"));
        assert!(fits("[a-c]x[!0-9]", "bxz"));
        assert!(!fits("[a-c]x[!0-9]", "bx5"));
        assert!(fits("[]]", "]"));
        assert!(fits("[ab", "[ab"));
        assert!(fits("***a", "bca"));
    }

    #[test]
    fn hidden_names() {
        assert!(!fits("*", ".a"));
        assert!(!fits("?a", ".a"));
        assert!(fits(".*", ".a"));
    }

    #[test]
    fn quoted_star_is_a_star() {
        let star = [Symbol { byte: b'*', quoted: true }];
        assert!(matches(&star, b"*"));
        assert!(!matches(&star, b"a"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!fits(&pattern, &"a".repeat(2000)));
    }
}

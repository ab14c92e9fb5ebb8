//! The word that was probably meant.

/// The candidate that is fewest edits away from `word`, if it is near enough to be a slip.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer than any name of ours; and what a caller sends must not cost its square.
    let word: String = word.chars().take(32).collect();
    let allowed = match word.len() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    let scored = candidates.map(|c| (distance(&word, c), c)).filter(|(d, c)| *d <= allowed && *d < c.len());
    scored.min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let flags = ["bundle", "pid-file", "console-socket", "no-pivot", "log"];
        let of = |word| nearest(word, flags.into_iter());
        assert_eq!(of("bundel"), Some("bundle"));
        assert_eq!(of("pidfile"), Some("pid-file"));
        assert_eq!(of("no_pivot"), Some("no-pivot"));
        assert_eq!(of("lgo"), Some("log"));
        assert_eq!(of("zzzzzz"), None);
        assert_eq!(of(""), None);
        assert_eq!(of(&"ä".repeat(500)), None);
    }
}

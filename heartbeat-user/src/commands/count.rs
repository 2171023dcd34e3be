//! Numbers with their nouns.

use std::fmt;

/// A number with its noun `one`: `1 node`, `3 nodes`.
pub(super) struct Count<N>(pub(super) N, pub(super) &'static str);

impl<N: fmt::Display> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, one) = self;
        let number = number.to_string();
        let plural = if number == "1" { "" } else { "s" };
        write!(f, "{number} {one}{plural}")
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn count_of_one_has_no_plural() {
        assert_eq!(Count(0, "node").to_string(), "0 nodes");
        assert_eq!(Count(1, "node").to_string(), "1 node");
        assert_eq!(Count(2_u32, "peer").to_string(), "2 peers");
    }
}

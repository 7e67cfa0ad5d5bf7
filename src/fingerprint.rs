//! Short names for what is long: the first bytes of a SHA-256, in hexadecimal.

use sha2::{Digest as _, Sha256};

/// What stands for all that it was given, part by part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// That of a single thing.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(bytes))
    }

    /// Adds a part. Lengths keep ("ab", "c") and ("a", "bc") apart.
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// The first `length` bytes of it, at most 32, in twice as many lower case digits.
    pub(crate) fn hex(self, length: usize) -> String {
        let digest = self.0.finalize();
        let digits = digest.iter().take(length).flat_map(|byte| [byte >> 4, byte & 0x0f]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sha256sum_says() {
        assert_eq!(Fingerprint::of(b"abc").hex(4), "ba7816bf");
        assert_eq!(Fingerprint::default().hex(32).len(), 64);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: [&str; 2]| {
            let mut fingerprint = Fingerprint::default();
            parts.iter().for_each(|part| fingerprint.part(part.as_bytes()));
            fingerprint.hex(16)
        };
        assert_eq!(of(["ab", "c"]), of(["ab", "c"]));
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }
}

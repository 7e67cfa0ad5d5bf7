//! Makes a part of an index name out of what somebody else named.
//!
//! `/aws/lambda/checkout` becomes `aws.lambda.checkout`, and `audit-logs` stays as it is: from these
//! the log group can be told. Every name that comes out otherwise (capitals, other signs, cut because
//! it is long) ends in a hash of what it was, so that two log groups never share an index.

use crate::fingerprint::Fingerprint;

/// `-` and eight digits.
const HASH: usize = 9;

/// The value in lower case letters, digits, `-`, `_` and `.`, in at most `most` bytes, which are more
/// than a hash takes.
pub(super) fn legal(value: &str, most: usize) -> String {
    let chars = value.strip_prefix('/').unwrap_or(value).chars().map(|c| match c {
        'a'..='z' | '0'..='9' | '-' | '_' | '.' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        '/' => '.',
        _ => '-',
    });
    // One more than there may be tells that there are too many.
    let legal: String = chars.take(most + 1).collect();
    if legal.len() <= most && original(&legal) == value {
        return legal;
    }
    let kept = legal.chars().take(most.saturating_sub(HASH));
    kept.chain(['-']).collect::<String>() + &Fingerprint::of(value.as_bytes()).hex(4)
}

/// The one name that stays without a hash.
fn original(legal: &str) -> String {
    if legal.contains('.') { format!("/{}", legal.replace('.', "/")) } else { legal.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_log_groups_keep_their_names() {
        for (log_group, expected) in [
            ("/aws/lambda/checkout", "aws.lambda.checkout"),
            ("/app/a-b/c_d", "app.a-b.c_d"),
            ("aws-cloudtrail-logs-central", "aws-cloudtrail-logs-central"),
            ("111122223333", "111122223333"),
            ("eu-west-1", "eu-west-1"),
        ] {
            assert_eq!(legal(log_group, 100), expected);
        }
    }

    #[test]
    fn what_could_be_another_ends_in_a_hash() {
        for (log_group, expected) in [
            ("/app", "app-f53b52ad"),
            ("app/web", "app.web-"),
            ("app.web", "app.web-"),
            ("/app/Web", "app.web-"),
            ("RDSOSMetrics", "rdsosmetrics-"),
            ("/aws/ec2/#x ü", "aws.ec2.-x---"),
        ] {
            let name = legal(log_group, 100);
            assert!(name.starts_with(expected), "{log_group}: {name}");
            assert_eq!(name.rsplit('-').next().unwrap().len(), 8, "{name}");
        }
        assert_eq!(legal("/aws/lambda/checkout", 16).len(), 16);
    }

    proptest! {
        #[test]
        fn two_names_never_become_one(
            one in "[/.aA#-]{0,6}", other in "[/.aA#-]{0,6}", most in 12usize..20,
        ) {
            prop_assert_eq!(legal(&one, most) == legal(&other, most), one == other);
        }

        #[test]
        fn whatever_it_is_it_becomes_legal(value in "\\PC{0,60}", most in 12usize..40) {
            let name = legal(&value, most);
            let is_legal = |c: char| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
            };
            prop_assert!(name.len() <= most && name.chars().all(is_legal), "{}", name);
        }
    }
}

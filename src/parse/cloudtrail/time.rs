//! Times as CloudTrail writes them.

use crate::event::Timestamp;

/// Reads `YYYY-MM-DDThh:mm:ss[.fraction]Z`, which is how CloudTrail writes times and what every
/// engine's date field takes.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    usual(text.as_bytes()).or_else(|| unusual(text))
}

/// Of these years, in whole seconds: every event of a real trail.
fn usual(text: &[u8]) -> Option<Timestamp> {
    let [a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n, b'Z'] = text
    else {
        return None;
    };
    let year = 100 * two(*a, *b)? + two(*c, *d)?;
    let (month, day) = (two(*e, *f)?, two(*g, *h)?);
    let (hour, minute, second) = (two(*i, *j)?, two(*k, *l)?, two(*m, *n)?);
    let of_month = if month == 2 { 28 } else { 30 };
    // Of these years every fourth is a leap year, and no month ends sooner.
    let is_usual = matches!(year, 1970..=2099) && matches!(month, 1..=12);
    if !is_usual || !(1..=of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years that begin in March have the day that is not always there at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 + (153 * month + 2) / 5 + day;
    // 1970-01-01 by the same count.
    let days = i64::from(days) - 719_484;
    let seconds = i64::from(3_600 * hour + 60 * minute + second);
    Some(Timestamp((86_400 * days + seconds) * 1_000))
}

/// The number of two decimal digits.
fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(10 * tens + ones))
}

fn unusual(text: &str) -> Option<Timestamp> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:";
    let fits = |(byte, shape): (u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        exact => byte == *exact,
    };
    let (date, seconds) = text.split_at_checked(SHAPE.len())?;
    let seconds = seconds.strip_suffix('Z')?;
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // A leap second is a time to a calendar, and not to the engines.
    let well_formed = date.bytes().zip(SHAPE).all(fits)
        && (whole.len() == 2 && digits(whole) && whole < "60")
        && ((1..=9).contains(&fraction.len()) && digits(fraction));
    let parsed: jiff::Timestamp = if well_formed { text.parse().ok()? } else { return None };
    Some(Timestamp(parsed.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_what_every_engine_takes_for_one() {
        let known = Some(Timestamp(1_688_989_356_000));
        assert_eq!(instant("2023-07-10T11:42:36Z"), known);
        assert_eq!(instant("2023-07-10T11:42:36.000000000Z"), known);
        assert_eq!(instant("2023-07-10T11:42:36.5Z"), Some(Timestamp(1_688_989_356_500)));
        let refused = [
            "",
            "2023-07-10",
            "2023-07-10T11:42:36",
            "2023-07-10T11:42:36+01:00",
            "2023-07-10t11:42:36Z",
            "2023-07-10 11:42:36Z",
            "2023-02-30T11:42:36Z",
            "2023-07-10T11:42:60Z",
            "2023-07-10T24:00:00Z",
            "2023-07-10T11:42:36.Z",
            "2023-07-10T11:42:36.0000000000Z",
            "12023-07-10T11:42:36Z",
        ];
        for text in refused {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_usual_time_is_the_one_that_the_calendar_says(second in 0..4_102_444_800_i64) {
            let text = jiff::Timestamp::from_second(second).unwrap().to_string();
            let usual = usual(text.as_bytes());
            prop_assert!(usual.is_some() || text.as_bytes()[8..10] > b"28"[..], "{}", text);
            prop_assert!(usual.is_none() || usual == unusual(&text), "{}", text);
        }

        #[test]
        fn what_is_no_time_is_none_either_way(
            text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
        ) {
            let usual = usual(text.as_bytes());
            prop_assert!(usual.is_none() || usual == unusual(&text), "{}", text);
        }
    }
}

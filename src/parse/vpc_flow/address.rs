//! Tells IPv4 addresses, all four numbers of one at once.

use wide::{bytemuck, i32x4, u8x16};

use crate::scan;

/// How four numbers of one to three digits stand in sixteen bytes.
#[derive(Clone, Copy)]
struct Layout {
    /// A bit for each byte behind a number: the dots, and what follows the address. None is 0.
    ends: u32,
    /// For each number, where its last digit is, the one before it, and the first of three.
    digits: [[u8; 4]; 4],
    /// For each number, the largest that would have a leading zero, as its digits are moved there.
    below: [i32; 4],
}

/// Each is where [`slot`] says.
static LAYOUTS: [Layout; SLOTS] = layouts();

/// As many as it takes for 81 layouts to have one each, by a multiplication.
const SLOTS: usize = 256;

/// Found by trying: no two layouts have the same slot.
const fn slot(ends: u32) -> usize {
    (ends.wrapping_mul(0xb7ee_2ecb) >> 24) as usize
}

#[expect(
    clippy::indexing_slicing,
    reason = "the compiler runs it, and refuses an index out of range"
)]
const fn layouts() -> [Layout; SLOTS] {
    /// Of such a place nothing is taken.
    const NO: u8 = 0x80;
    /// `/`, `1/` and `10/`: what is before `0`, `10` and `100`.
    const BELOW: [i32; 3] = [0x2f, 0x31_2f, 0x31_30_2f];
    let none = Layout { ends: 0, digits: [[NO; 4]; 4], below: [0; 4] };
    let mut all = [none; SLOTS];
    let mut number = 0;
    while number < 81 {
        let lengths = [number / 27, number / 9 % 3, number / 3 % 3, number % 3];
        let (mut layout, mut end, mut place) = (none, 0, 0);
        while place < 4 {
            let more = lengths[place];
            end += more + 1;
            layout.ends |= 1 << end;
            layout.below[place] = BELOW[more];
            let mut digit = 0;
            while digit <= more {
                layout.digits[place][digit] = (end - 1 - digit) as u8;
                digit += 1;
            }
            end += 1;
            place += 1;
        }
        assert!(all[slot(layout.ends)].ends == 0, "the slot is taken");
        all[slot(layout.ends)] = layout;
        number += 1;
    }
    all
}

/// Whether the first `length` bytes are an IPv4 address for `Ipv4Addr` too: four numbers up to 255, without
/// leading zeros.
#[inline(always)]
pub(super) fn is_ipv4(chunk: &[u8; 16], length: usize) -> bool {
    /// `255`.
    const MOST: i32 = 0x32_35_35;
    if length > 15 {
        return false;
    }
    let behind = 1 << length;
    let dots = scan::equal(chunk, b'.') & (behind - 1);
    let ends = dots | behind;
    let Some(layout) = LAYOUTS.get(slot(ends)) else { return false };
    let are_digits = (scan::digits(chunk) | dots | behind.wrapping_neg()) == u32::MAX;
    let numbers: i32x4 = bytemuck::cast(u8x16::new(*chunk).shuffle(bytemuck::cast(layout.digits)));
    let is_good =
        numbers.simd_gt(i32x4::new(layout.below)) & i32x4::splat(MOST + 1).simd_gt(numbers);
    ends == layout.ends && are_digits && is_good.all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_address_is_one_for_the_standard_library_too(
            text in prop_oneof!["[0-9]{0,4}(\\.[0-9]{0,4}){0,4}", "[0-9]{1,3}(\\.[0-9]{1,3}){3}", "[0-9./:]{0,15}"],
            after in any::<[u8; 16]>(),
        ) {
            let known = text.parse::<std::net::Ipv4Addr>().is_ok();
            let from = [text.as_bytes(), &after[..]].concat();
            prop_assert_eq!(super::is_ipv4(from.first_chunk().unwrap(), text.len()), known);
        }
    }
}

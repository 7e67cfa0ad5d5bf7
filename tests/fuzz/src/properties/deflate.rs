//! Compressing bodies: whatever they are, and whatever was compressed before, they are read as they were.

use std::io::Read as _;

use flate2::bufread::DeflateDecoder;
use logweir::destination::opensearch::gzip::Deflate;

use super::Choices;

/// What an input may become by repetition: more than two blocks.
const MOST: usize = 600 << 10;

/// Any bytes, parts of them again and again, and then both with what remembers the first.
pub(crate) fn deflate(data: &[u8]) {
    let mut choices = Choices(data);
    let (times, skipped) = (usize::from(choices.byte()), choices.below(1 << 16));
    let text = choices.rest();
    let part = &text[skipped % text.len().max(1)..];
    let longer = [text, &part.repeat(times.min(MOST / part.len().max(1)))].concat();
    let mut deflate = Deflate::default();
    for plain in [text, &longer, text] {
        let mut out = vec![0; Deflate::bound(plain.len())];
        let length = deflate.compress(plain, &mut out).expect("room for everything");
        assert!(length <= plain.len() + plain.len() / 10_000 + 16, "{length}");
        let mut decoder = DeflateDecoder::new(&out[..length]);
        let mut read = Vec::new();
        decoder.read_to_end(&mut read).expect("what was written can be read");
        assert_eq!(decoder.total_in(), length as u64, "nothing comes after it");
        assert!(read == plain, "{} bytes became {} others", plain.len(), read.len());
    }
}

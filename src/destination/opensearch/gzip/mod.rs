//! Bodies as gzip: compressors and the memory for what they make are used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use libdeflater::crc32;
use tokio::task::spawn_blocking;

mod bits;
mod deflate;
mod huffman;

pub use deflate::Deflate;

/// Deflate, without a name or a time, of an unknown system (RFC 1952 §2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A checksum, and how long the plain bytes were.
const TRAILER: usize = 8;

/// Memory that more was written to goes back: no budget accounts for what is kept. A body of 5 MiB
/// seldom needs as much.
const LARGEST_KEPT: usize = 1 << 20;

/// Compresses the bodies of one destination. As many are remembered as were ever at work at once.
#[derive(Debug, Default)]
pub(super) struct Gzip {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    compressors: Vec<Deflate>,
    /// Of bodies that were sent.
    buffers: Vec<Vec<u8>>,
}

impl Gzip {
    /// One member of gzip. Off the async workers: a body of 5 MiB takes more than ten milliseconds.
    pub(super) async fn compressed(self: &Arc<Self>, plain: Bytes) -> Bytes {
        let this = Arc::clone(self);
        #[expect(clippy::expect_used, reason = "there is room, so that only a bug makes it fail")]
        spawn_blocking(move || this.compress(&plain)).await.expect("no panic").expect("room")
    }

    fn compress(self: Arc<Self>, plain: &[u8]) -> Option<Bytes> {
        let (known, mut buffer) = {
            let mut idle = self.idle();
            (idle.compressors.pop(), idle.buffers.pop().unwrap_or_default())
        };
        let mut compressor = known.unwrap_or_default();
        let most = HEADER.len() + Deflate::bound(plain.len()) + TRAILER;
        if buffer.len() < most {
            // Where it is large, zeroed by the kernel, and so without memory until it is written to.
            buffer = vec![0; most];
        }
        let length = write_member(plain, &mut compressor, &mut buffer);
        self.idle().compressors.push(compressor);
        Some(Bytes::from_owner(Compressed { length: length?, buffer, of: self }))
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("compressors", &self.compressors.len()).finish_non_exhaustive()
    }
}

/// Returns how long the member is. None: there was no room for it.
fn write_member(plain: &[u8], compressor: &mut Deflate, out: &mut [u8]) -> Option<usize> {
    let (header, out) = out.split_first_chunk_mut()?;
    *header = HEADER;
    let length = compressor.compress(plain, out)?;
    let trailer: &mut [u8; TRAILER] = out.get_mut(length..)?.first_chunk_mut()?;
    // Both modulo 2³², the lower bytes first.
    *trailer = (u64::from(crc32(plain)) | (plain.len() as u64) << 32).to_le_bytes();
    Some(HEADER.len() + length + TRAILER)
}

/// A compressed body, which gives its memory back when it was sent.
struct Compressed {
    buffer: Vec<u8>,
    length: usize,
    of: Arc<Gzip>,
}

impl AsRef<[u8]> for Compressed {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Compressed {
    fn drop(&mut self) {
        if self.length <= LARGEST_KEPT {
            self.of.idle().buffers.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn plain(compressed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        MultiGzDecoder::new(compressed).read_to_end(&mut plain).unwrap();
        plain
    }

    #[test]
    fn memory_is_used_again_but_not_that_of_what_stayed_large() {
        let gzip = Arc::new(Gzip::default());
        let kept = || gzip.idle().buffers.iter().map(Vec::len).collect::<Vec<_>>();
        let compress = |plain: &[u8]| Arc::clone(&gzip).compress(plain).unwrap();
        let one = compress(&[b'a'; 5000]);
        let two = compress(&[b'b'; 9000]);
        assert_eq!(gzip.idle().compressors.len(), 1);
        assert_eq!(kept(), [0; 0]);
        drop((one, two));
        let before = kept();
        assert_eq!(before.len(), 2);
        let three = compress(&[b'c'; 7000]);
        assert_eq!(kept(), before[..1], "of the second");
        drop(three);
        assert_eq!(kept(), before);
        let random = std::iter::repeat_with(|| fastrand::u8(..)).take(LARGEST_KEPT);
        let random: Vec<u8> = random.collect();
        assert_eq!(plain(&compress(&random)), random);
        assert_eq!(kept(), before[..1]);
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_the_same_afterwards(
            bodies in prop::collection::vec(("[ab]{0,3000}", any::<Vec<u8>>()), 1..4),
        ) {
            let gzip = Arc::new(Gzip::default());
            for (text, bytes) in bodies {
                let body = [text.as_bytes(), &bytes].concat();
                prop_assert_eq!(plain(&Arc::clone(&gzip).compress(&body).unwrap()), body);
            }
        }
    }
}

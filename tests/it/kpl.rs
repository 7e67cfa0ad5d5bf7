//! What the Kinesis Producer Library writes.

use md5::Digest as _;

/// An aggregate of user records, all with the same partition key.
pub(crate) fn aggregate<T: AsRef<[u8]>>(user_records: &[T]) -> Vec<u8> {
    let field = |number: u64, content: &[u8]| {
        let mut field = Vec::new();
        prost::encoding::encode_varint(number << 3 | 2, &mut field);
        prost::encoding::encode_varint(content.len() as u64, &mut field);
        [field, content.to_vec()].concat()
    };
    let mut message = field(1, b"k");
    for data in user_records {
        // Field 1 is the place of the partition key in the table above.
        let record = [&[1 << 3, 0], &*field(3, data.as_ref())].concat();
        message.extend(field(3, &record));
    }
    let digest = md5::Md5::digest(&message);
    [&[0xf3, 0x89, 0x9a, 0xc2], &*message, digest.as_slice()].concat()
}

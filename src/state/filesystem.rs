//! Refuses file systems on which the state would be lost with a restart or its locks do not hold.

use std::io;
use std::path::Path;

/// The name of the file system under `folder` when it cannot be trusted with the state.
#[cfg(target_os = "linux")]
pub(super) fn untrusted(folder: &Path) -> io::Result<Option<&'static str>> {
    let found = rustix::fs::statfs(folder)?;
    // The magic numbers have 32 bits; the field is wider on some platforms, and signed.
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "see above")]
    let magic = found.f_type as u32;
    Ok(untrusted_magic(magic))
}

/// Elsewhere the numbers mean something else; logweir runs there only on developers' machines.
#[cfg(not(target_os = "linux"))]
pub(super) fn untrusted(_folder: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// Magic numbers of statfs(2) and linux/magic.h.
#[cfg(target_os = "linux")]
fn untrusted_magic(magic: u32) -> Option<&'static str> {
    Some(match magic {
        // Gone with a reboot or with the container.
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x794c_7630 => "overlayfs",
        0x6175_6673 => "aufs",
        // Shared memory for WAL does not work between hosts, and locks may not.
        0x6969 => "NFS",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x517b => "SMB",
        0x00c3_6400 => "Ceph",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x0bd0_0bd0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        0x0102_1997 => "9p",
        // Anything can be behind it, object stores too.
        0x6573_5546 => "FUSE",
        _ => return None,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_not_trusted_and_a_disk_is() {
        assert_eq!(untrusted_magic(0xef53), None, "ext4");
        assert_eq!(untrusted_magic(0x5846_5342), None, "xfs");
        assert_eq!(untrusted_magic(0x9123_683e), None, "btrfs");
        let shm = Path::new("/dev/shm");
        if shm.exists() {
            assert_eq!(untrusted(shm).unwrap(), Some("tmpfs"));
        }
    }
}

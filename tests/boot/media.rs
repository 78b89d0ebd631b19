//! Where the system comes from: a disk that the boot loader loads into memory.

use lemma::build::Options;
use lemma::machine::Arch;

use crate::guest::{boot_with, on_each_architecture};

on_each_architecture!(a_disk_in_memory_is_the_root);

fn a_disk_in_memory_is_the_root(arch: Arch) {
    let options = Options { arch, ram_disk: true, memory_mib: 64, ..Options::default() };
    let mut guest = boot_with(options);
    guest.prompt();
    let mounts = guest.succeed("mount");
    assert!(mounts.starts_with("/dev/ram0 on / type ext2 (rw)"), "{mounts}");
    guest.succeed("test -b /dev/ram0 && ! test -e /dev/vda");
    // What is written is on the disk, not only in the caches: another mount shows it.
    guest.succeed("echo kept > /root/file && sync");
    guest.fail("mount -t ext2 /dev/ram0 /mnt");
    let found = guest.succeed("cat /dev/ram0 | grep -c kept");
    assert_ne!(found.trim(), "0");
    guest.shut_down(0);
}

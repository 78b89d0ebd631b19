//! What is written stays written: over a shutdown, and after `sync` over a power cut.

use lemma::build::Options;
use lemma::image;
use lemma::workspace::Workspace;

use crate::guest::boot_with;

#[test]
fn a_kept_disk_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let options = || Options { disk: Some(disk.clone()), ..Options::default() };
    let mut guest = boot_with(options());
    guest.prompt();
    guest.succeed("echo first > /root/kept && mkdir /root/folder");
    guest.succeed("cp /bin/sh /root/folder/sh");
    guest.shut_down(0);

    let mut guest = boot_with(options());
    guest.prompt();
    assert_eq!(guest.succeed("cat /root/kept").trim(), "first");
    guest.succeed("/root/folder/sh -c 'exit 0'");
    guest.succeed("rm -r /root/folder");
    guest.succeed("echo second > /root/kept && sync");
    // The power fails here.
    let workspace = Workspace::locate().unwrap();
    guest.cut_power();
    assert_eq!(image::read_file(&workspace, &disk, "/root/kept").unwrap(), b"second\n");

    let mut guest = boot_with(options());
    guest.prompt();
    assert_eq!(guest.succeed("cat /root/kept").trim(), "second");
    guest.fail("ls /root/folder");
    guest.shut_down(0);
}

#[test]
fn a_full_disk_is_an_error_and_no_damage() {
    let mut guest = boot_with(Options::default());
    guest.prompt();
    guest.fail("cat /dev/zero > /root/large");
    // One disk is one file system, by whatever path it is named.
    for path in ["/dev/vda", "/dev/../dev/vda", "/dev//vda"] {
        guest.fail(&format!("mount -t ext2 {path} /mnt"));
    }
    guest.succeed("rm /root/large && echo room > /root/small");
    assert_eq!(guest.succeed("cat /root/small").trim(), "room");
    guest.shut_down(0);
}

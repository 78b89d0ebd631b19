//! What is written stays written: over a shutdown, and after `sync` over a power cut.

use std::process::Command;

use lemma::build::Options;
use lemma::image::{self, Contents};
use lemma::setup::Tool;
use lemma::workspace::Workspace;

use crate::guest::boot_with;
use crate::session::{orchestrator, text};

#[test]
fn a_kept_disk_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let options = || Options { disk: Some(disk.clone()), ..Options::default() };
    let mut guest = boot_with(options());
    guest.prompt();
    guest.succeed("echo first > /root/kept && mkdir /root/folder");
    guest.succeed("cp /bin/sh /root/folder/sh");
    guest.succeed("echo first > /root/mapped && usertests store /root/mapped FIRST");
    guest.shut_down(0);

    let mut guest = boot_with(options());
    guest.prompt();
    assert_eq!(guest.succeed("cat /root/kept").trim(), "first");
    assert_eq!(guest.succeed("cat /root/mapped").trim(), "FIRST");
    guest.succeed("/root/folder/sh -c 'exit 0'");
    guest.succeed("rm -r /root/folder");
    guest.succeed("echo second > /root/kept");
    guest.succeed("usertests store /root/mapped other && sync");
    // The power fails here.
    let workspace = Workspace::locate().unwrap();
    guest.cut_power();
    assert_eq!(image::read_file(&workspace, &disk, "/root/kept").unwrap(), b"second\n");
    assert_eq!(image::read_file(&workspace, &disk, "/root/mapped").unwrap(), b"other\n");

    let mut guest = boot_with(options());
    guest.prompt();
    assert_eq!(guest.succeed("cat /root/kept").trim(), "second");
    guest.fail("ls /root/folder");
    guest.shut_down(0);
}

/// Mode, owner and group are the disk's: what another system has set is shown, and what is set
/// here is there after a restart and for others.
#[test]
fn a_kept_disk_keeps_modes_and_owners() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let options = || Options { disk: Some(disk.clone()), ..Options::default() };
    let mut guest = boot_with(options());
    guest.prompt();
    guest.succeed("echo text > /root/file && chmod 6640 /root/file");
    guest.succeed("mkdir /root/folder && chmod 3711 /root/folder");
    guest.succeed("mkfifo /root/pipe");
    assert!(guest.succeed("echo through > /root/pipe & cat /root/pipe").contains("through"));
    guest.shut_down(0);

    // Above 16 bits, so that both halves count.
    for field in ["file uid 70001", "file gid 80002", "folder gid 80003"] {
        let request = format!("set_inode_field /root/{field}");
        let debugfs = Tool::Debugfs.find().unwrap();
        let status = Command::new(debugfs).args(["-w", "-R", &request]).arg(&disk).status();
        assert!(status.unwrap().success(), "{request}");
    }
    let mut guest = boot_with(options());
    guest.prompt();
    let file = guest.succeed("stat /root/file");
    assert!(file.contains("Access: (6640/-rwSr-S---)  Uid: 70001   Gid: 80002\n"), "{file}");
    let directory = guest.succeed("stat /root/folder");
    assert!(directory.contains("Access: (3711/drwx--s--t)  Uid:     0   Gid: 80003\n"));
    let pipe = guest.succeed("ls -l /root/pipe");
    assert!(pipe.trim_start().starts_with("prw-r--r-- 1 root root 0 "), "{pipe}");
    guest.succeed("chmod 0604 /root/file");
    // What is made in a folder with the set-group-ID bit gets its group.
    guest.succeed("touch /root/folder/new");
    guest.shut_down(0);

    let mut guest = boot_with(options());
    guest.prompt();
    let file = guest.succeed("stat /root/file");
    assert!(file.contains("Access: (0604/-rw----r--)  Uid: 70001   Gid: 80002\n"), "{file}");
    let made = guest.succeed("stat /root/folder/new");
    assert!(made.contains("Access: (0644/-rw-r--r--)  Uid:     0   Gid: 80003\n"), "{made}");
    guest.shut_down(0);
}

/// What the build owns is this build's, and the user's files stay; another architecture's programs
/// are not started.
#[test]
fn a_kept_disk_gets_the_programs_of_a_new_build() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let workspace = Workspace::locate().unwrap();
    Options { disk: Some(disk.clone()), ..Options::default() }.build(&workspace).unwrap();
    let old = |release: &str| {
        let mut old = Contents::default();
        for path in ["/bin/bpf", "/lib/bpf/limiter.o"] {
            old.file(path, "of another build").unwrap();
        }
        old.file("/etc/motd", "changed\n").unwrap();
        old.file("/root/mine", "mine\n").unwrap();
        old.file("/etc/lemma-release", release).unwrap();
        image::add(&workspace, &disk, &old).unwrap();
    };
    let path = disk.to_str().unwrap();
    let commands = "cat /etc/motd /root/mine && bpf load /lib/bpf/limiter.o; exit $?\n";
    let run = |more: &[&str]| {
        let output = orchestrator(&[&["--disk", path], more].concat(), commands);
        let (console, said) = (text(&output.stdout), text(&output.stderr));
        image::check(&workspace, &disk).unwrap();
        let replaced = said.lines().filter(|line| line.contains("another build's programs"));
        (output.status.code(), console, replaced.count(), said)
    };

    old("PROGRAMS=0\n");
    let (status, console, replaced, _) = run(&["--keep-programs"]);
    assert!(status != Some(0) && replaced == 0, "{console}");
    let (status, console, replaced, _) = run(&[]);
    assert_eq!((status, replaced), (Some(0), 1), "{console}");
    assert!(console.contains("changed\nmine\naccepted"), "{console}");
    let (status, console, replaced, _) = run(&[]);
    assert_eq!((status, replaced), (Some(0), 0), "{console}");

    let (status, console, _, said) = run(&["--arch", "aarch64"]);
    assert!(status != Some(0) && console.is_empty(), "{console}");
    let line = format!("lemma: --disk {path} has programs for x86_64, not for aarch64\n");
    assert_eq!(said, line);

    // Somebody's own, which has nothing of a release and another name.
    old("");
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"mine\0", 1024 + 120).unwrap();
    drop(file);
    let (status, console, replaced, _) = run(&[]);
    assert!(status != Some(0) && replaced == 0, "{console}");
}

#[test]
fn a_full_disk_is_an_error_and_no_damage() {
    let mut guest = boot_with(Options::default());
    guest.prompt();
    let error = guest.fail("cat /dev/zero > /root/large");
    assert!(error.contains("No space left on device"), "{error}");
    // One disk is one file system, by whatever path it is named.
    for path in ["/dev/vda", "/dev/../dev/vda", "/dev//vda"] {
        guest.fail(&format!("mount -t ext2 {path} /mnt"));
    }
    guest.succeed("rm /root/large && echo room > /root/small");
    assert_eq!(guest.succeed("cat /root/small").trim(), "room");
    guest.shut_down(0);
}

//! What commands tell of the system: `ps`, `dmesg`, `free` and `mount`.

use crate::guest::boot;

#[test]
fn ps_shows_init_the_shell_and_itself() {
    let mut guest = boot();
    guest.prompt();
    guest.succeed("sleep 1000 &");
    guest.succeed("sleep 1");
    let table = guest.succeed("ps");
    let mut lines = table.lines();
    let heads: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(heads, ["PID", "PPID", "S", "TIME", "COMMAND"], "{table}");
    // Process, parent, state, time and command of each line.
    let rows: Vec<(u32, u32, &str, &str, String)> = lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut next = || words.next().unwrap_or_else(|| panic!("too few columns: {line}"));
            let (pid, parent) = (next().parse().unwrap(), next().parse().unwrap());
            let (state, time) = (next(), next());
            (pid, parent, state, time, words.collect::<Vec<_>>().join(" "))
        })
        .collect();
    assert!(rows.is_sorted_by_key(|row| row.0), "{table}");
    for (_, _, state, time, command) in &rows {
        assert!(["R", "S", "D", "T", "Z"].contains(state), "{table}");
        assert!(time.split(':').all(|part| part.parse::<u32>().is_ok()), "{table}");
        assert!(!command.is_empty(), "{table}");
    }
    let (pid, parent, .., command) = rows.first().unwrap();
    assert_eq!((pid, parent), (&1, &0), "{table}");
    assert!(command.contains("init"), "{table}");
    let (_, shell, state, ..) = rows.iter().find(|row| row.4 == "ps").unwrap();
    assert_eq!(*state, "R", "{table}");
    // It sleeps, unless it has not come to that yet.
    let (_, parent, _, _, command) = rows.iter().find(|row| row.0 == *shell).unwrap();
    assert_eq!(*parent, 1, "{table}");
    assert!(command.contains("sh"), "{table}");
    let (_, _, state, _, _) = rows.iter().find(|row| row.4 == "sleep 1000").unwrap();
    assert_eq!(*state, "S", "{table}");
    guest.shut_down(0);
}

#[test]
fn dmesg_shows_what_the_kernel_said_from_the_start() {
    let mut guest = boot();
    guest.prompt();
    let log = guest.succeed("dmesg");
    let first = log.lines().next().unwrap_or_default();
    assert!(first.contains("Lemma ") && first.contains(", started by "), "{log}");
    assert!(log.contains("1 of 1 CPUs at work"), "{log}");
    // The levels are for programs.
    assert!(!log.lines().any(|line| line.starts_with('<')), "{log}");
    guest.shut_down(0);
}

#[test]
fn free_adds_up() {
    let mut guest = boot();
    guest.prompt();
    let table = |text: &str| -> Vec<(String, Vec<u64>)> {
        let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{text}"));
        let row = |line: &str| {
            let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("{text}"));
            (name.to_owned(), rest.split_whitespace().map(number).collect())
        };
        let mut lines = text.lines();
        let heads: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(heads, ["total", "used", "free", "shared", "buff/cache", "available"], "{text}");
        lines.map(row).collect()
    };
    let text = guest.succeed("free");
    let rows = table(&text);
    let [(memory, numbers), (swap, swaps)] = rows.as_slice() else { panic!("{text}") };
    assert_eq!((memory.as_str(), swap.as_str()), ("Mem", "Swap"), "{text}");
    let [total, used, free, shared, cache, available] = numbers[..] else { panic!("{text}") };
    // The guest has 256 MiB, of which the kernel is a small part.
    assert!((200 << 10..=256 << 10).contains(&total), "{text}");
    assert_eq!(used + available, total, "{text}");
    assert!(0 < used && used < total / 2, "{text}");
    assert!(0 < free && free < total && cache < total && shared < total, "{text}");
    // Of what is free, the kernel keeps a little for itself.
    assert!(0 < available && available.abs_diff(free) < total / 4, "{text}");
    assert_eq!(swaps[..], [0, 0, 0], "{text}");
    let text = guest.succeed("free -m");
    assert_eq!(table(&text)[0].1[0], total / 1024, "{text}");
    guest.shut_down(0);
}

#[test]
fn mount_shows_what_is_mounted_where() {
    let mut guest = boot();
    guest.prompt();
    let table = guest.succeed("mount");
    let line = |table: &str, start: &str| {
        table.lines().filter(|line| line.trim_end().starts_with(start)).count()
    };
    for (place, kind) in [
        ("/", "ext2"),
        ("/dev", "devtmpfs"),
        ("/proc", "proc"),
        ("/tmp", "tmpfs"),
        ("/sys/fs/bpf", "bpf"),
    ] {
        let words = format!(" on {place} type {kind} (rw");
        assert_eq!(table.matches(&words).count(), 1, "{words:?}, in: {table}");
    }
    assert_eq!(line(&table, "proc on /proc type proc (rw"), 1, "{table}");
    // What is mounted appears, with its options, and goes again.
    guest.succeed("mkdir /tmp/m");
    guest.succeed("mount -t tmpfs -o ro memory /tmp/m");
    let mounted = guest.succeed("mount");
    assert_eq!(line(&mounted, "memory on /tmp/m type tmpfs (ro"), 1, "{mounted}");
    assert_eq!(mounted.lines().count(), table.lines().count() + 1, "{mounted}");
    guest.fail("echo > /tmp/m/file");
    guest.succeed("umount /tmp/m");
    assert_eq!(guest.succeed("mount"), table);
    guest.shut_down(0);
}

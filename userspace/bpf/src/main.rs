//! `bpf`: loads verified programs, puts them to work, and looks at them and their maps.
//!
//! Programs are named by id, name or the path of a pin, maps likewise. Everything goes through
//! `bpf(2)` as on Linux; the library beside this file does the work.
#![no_std]
#![no_main]

extern crate alloc;

mod maps;
mod programs;

use alloc::string::String;
use alloc::vec::Vec;
use lemma_rt::{arguments, eprintln, print, show};

lemma_rt::entry!(main);

const HELP: &str = "\
usage: bpf COMMAND

  load FILE.o [NAME|PATH]     verify and load an object's programs; pin them, so that they stay
  attach PROG [HOOK]          let a program run at a hook (sys_enter, sys_exit, timer)
  replace OLD NEW             put NEW in OLD's place at its hook, in one step
  detach PROG [HOOK]          let it run no longer
  unload PROG                 detach it and remove its pins
  list                        the loaded programs: runs, cost, hook, worst case
  show PROG                   everything about a program
  hooks                       where programs can be attached
  test PROG [HEXDATA]         run a program once on some data
  log                         what programs print with bpf_trace_printk
  pin PROG PATH               keep a program under another path
  unpin PATH                  remove a pin

  map list                    the maps
  map dump MAP                all keys and values
  map lookup MAP KEY...       one value
  map update MAP KEY... VALUE...
  map delete MAP KEY...
  events MAP [COUNT]          print a ring buffer's records as they come (until ^C)

PROG and MAP are an id, the name of a pin, a name, or a path. A refused program is explained:
the instruction, the register, the cause, and the source line.
";

/// The result of a command: an exit status, or what went wrong.
type Outcome = Result<i32, String>;

fn main() -> i32 {
    let words: Vec<String> = arguments().skip(1).map(show).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["help" | "-h" | "--help"] => {
            print!("{HELP}");
            return if words.is_empty() { 2 } else { 0 };
        }
        ["load", file] => programs::load(file, None),
        ["load", file, name] => programs::load(file, Some(name)),
        ["attach", program] => programs::attach(program, None),
        ["attach", program, hook] => programs::attach(program, Some(hook)),
        ["detach", program] => programs::detach(program, None),
        ["detach", program, hook] => programs::detach(program, Some(hook)),
        ["replace", old, new] => programs::replace(old, new),
        ["unload", program] => programs::unload(program),
        ["list"] | ["prog", "list"] => programs::list(),
        ["show", program] => programs::show(program),
        ["hooks"] => programs::hooks(),
        ["test", program] => programs::test(program, ""),
        ["test", program, data] => programs::test(program, data),
        ["log"] => programs::log(),
        ["pin", program, path] => programs::pin(program, path),
        ["unpin", path] => programs::unpin(path),
        ["map"] | ["map", "list"] => maps::list(),
        ["map", "dump", map] => maps::dump(map),
        ["map", "lookup", map, key @ ..] => maps::lookup(map, key),
        ["map", "update", map, words @ ..] => maps::update(map, words),
        ["map", "delete", map, key @ ..] => maps::delete(map, key),
        ["events", map] | ["ring", "read", map] => maps::events(map, None),
        ["events", map, count] | ["ring", "read", map, count] => maps::events(map, Some(count)),
        [
            "load" | "attach" | "detach" | "replace" | "unload" | "list" | "show" | "hooks"
            | "test" | "log" | "pin" | "unpin" | "map" | "events" | "prog" | "ring",
            ..,
        ] => {
            eprintln!("bpf: {}: wrong arguments; see `bpf help'", words.join(" "));
            return 2;
        }
        [other, ..] => {
            eprintln!("bpf: {other}: no such command; see `bpf help'");
            return 2;
        }
    };
    outcome.unwrap_or_else(|text| {
        eprintln!("bpf: {text}");
        1
    })
}

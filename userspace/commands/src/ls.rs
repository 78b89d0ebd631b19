//! `ls`.

use crate::Call;
use crate::files::{is_directory, join, names_in};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::calendar::Moment;
use commands::format as style;
use commands::options::Options;
use lemma_rt::rustix::fs::{FileType, Stat, lstat, major, minor, readlink, stat};
use lemma_rt::{print, println, show, sys};

pub(crate) fn ls(call: &Call) -> i32 {
    let options = match call.options("aldhi1") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let mut operands = options.operands.clone();
    if operands.is_empty() {
        operands.push(b".");
    }
    operands.sort_unstable();
    let mut status = 0;
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for operand in &operands {
        // A link to a directory stands for the directory, unless it is described itself.
        let follow = !options.has(b'l') && !options.has(b'd');
        let result = match stat(*operand) {
            Ok(stat) if follow || is_directory(&stat) && !options.has(b'd') => Ok(stat),
            _ => lstat(*operand),
        };
        match result {
            Ok(stat) if is_directory(&stat) && !options.has(b'd') => directories.push(*operand),
            Ok(stat) => files.push((operand.to_vec(), operand.to_vec(), stat)),
            Err(error) => status = call.fail(operand, error),
        }
    }
    let no_files = files.is_empty();
    list(&options, &files);
    for (index, directory) in directories.iter().enumerate() {
        if operands.len() > 1 {
            let gap = if index > 0 || !no_files { "\n" } else { "" };
            println!("{gap}{}:", show(directory));
        }
        status = status.max(list_directory(call, &options, directory));
    }
    status
}

/// A name as it is shown, its path, and what it names.
type File = (Vec<u8>, Vec<u8>, Stat);

fn list_directory(call: &Call, options: &Options<'_>, directory: &[u8]) -> i32 {
    let mut names = match names_in(directory) {
        Ok(names) => names,
        Err(error) => return call.fail(directory, error),
    };
    if options.has(b'a') {
        names.splice(0..0, [b".".to_vec(), b"..".to_vec()]);
    } else {
        names.retain(|name| !name.starts_with(b"."));
    }
    let mut status = 0;
    let mut files: Vec<File> = Vec::new();
    for name in names {
        let path = join(directory, &name);
        match lstat(path.as_slice()) {
            Ok(stat) => files.push((name, path, stat)),
            Err(error) => status = call.fail(&path, error),
        }
    }
    if options.has(b'l') {
        let blocks: u64 = files.iter().map(|(_, _, stat)| stat.st_blocks as u64).sum();
        println!("total {}", blocks / 2);
    }
    list(options, &files);
    status
}

fn list(options: &Options<'_>, files: &[File]) {
    if options.has(b'l') {
        return list_long(options, files);
    }
    let label = |(name, _, stat): &File| match options.has(b'i') {
        true => format!("{} {}", stat.st_ino, show(name)),
        false => show(name),
    };
    let labels: Vec<String> = files.iter().map(label).collect();
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0) + 2;
    let columns = match sys::terminal_settings(1) {
        Ok(_) if !options.has(b'1') => sys::terminal_size(1).map_or(80, |(_, columns)| columns),
        _ => 1,
    };
    let rows = labels.len().div_ceil((columns / width).max(1)).max(1);
    let mut text = String::new();
    for row in 0..rows {
        let mut line = String::new();
        for label in labels.iter().skip(row).step_by(rows) {
            line += &format!("{label:width$}");
        }
        if !line.is_empty() {
            text += line.trim_end();
            text.push('\n');
        }
    }
    print!("{text}");
}

fn owner(id: u32) -> String {
    if id == 0 { "root".into() } else { format!("{id}") }
}

fn list_long(options: &Options<'_>, files: &[File]) {
    let size = |stat: &Stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice | FileType::BlockDevice => {
            format!("{}, {}", major(stat.st_rdev), minor(stat.st_rdev))
        }
        _ if options.has(b'h') => style::human(stat.st_size as u64),
        _ => format!("{}", stat.st_size),
    };
    let width = |text: &dyn Fn(&Stat) -> String| {
        files.iter().map(|(_, _, stat)| text(stat).len()).max().unwrap_or(0)
    };
    let links = width(&|stat| format!("{}", stat.st_nlink));
    let (users, groups) = (width(&|stat| owner(stat.st_uid)), width(&|stat| owner(stat.st_gid)));
    let (sizes, numbers) = (width(&size), width(&|stat| format!("{}", stat.st_ino)));
    for (name, path, stat) in files {
        let mut line = String::new();
        if options.has(b'i') {
            line = format!("{:numbers$} ", stat.st_ino);
        }
        line += &format!(
            "{} {:links$} {:users$} {:groups$} {:>sizes$} {} {}",
            style::mode(stat.st_mode),
            stat.st_nlink,
            owner(stat.st_uid),
            owner(stat.st_gid),
            size(stat),
            Moment::from_epoch(stat.st_mtime).short(),
            show(name)
        );
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
            && let Ok(target) = readlink(path.as_slice(), Vec::new())
        {
            line += &format!(" -> {}", show(target.as_bytes()));
        }
        println!("{line}");
    }
}

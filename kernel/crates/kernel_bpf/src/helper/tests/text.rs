//! Text: what Linux 6.18 was seen to make of the same templates and numbers.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::{EINVAL, address, address_mut, call};
use crate::asm::assemble;
use crate::helper::mock::Mock;
use crate::helper::proto::id;
use crate::helper::template;
use crate::interpreter::Interpreter;
use crate::map::Map;
use crate::profile::{CloudProfile, PhysicalProfile};
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::verifier::{Verified, verify};

const ENOSPC: u64 = -28i64 as u64;
/// Where strings and addresses lie.
const KERNEL: u64 = 0x1000;
const IPV4: u64 = 0x2000;
const IPV6: u64 = 0x3000;
const LONG: u64 = 0x4000;

/// Strings are read in blocks of 64 bytes, which never cross a page.
fn services() -> Mock {
    let filled = |text: &[u8], length| {
        let mut bytes = text.to_vec();
        bytes.resize(length, 0);
        bytes
    };
    let ipv6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat();
    let memory = vec![
        (KERNEL, filled(b"abc\0rest", 64)),
        (IPV4, vec![127, 0, 0, 1]),
        (IPV6, ipv6),
        (LONG, filled(&[b'x'; 300], 320)),
    ];
    Mock { memory, ..Mock::default() }
}

/// `bpf_snprintf` into `out`.
fn snprintf(services: &Mock, template: &str, numbers: &[u64], out: &mut [u8]) -> u64 {
    let template = [template.as_bytes(), b"\0"].concat();
    let bytes = size_of_val(numbers) as u64;
    let words =
        [address_mut(out), out.len() as u64, address(&template[..]), address(numbers), bytes];
    call(services, id::SNPRINTF, &words)
}

/// The whole text, if its length is what the helper says.
fn text(template: &str, numbers: &[u64]) -> Result<String, u64> {
    let mut out = [0xaa; 8192];
    let length = snprintf(&services(), template, numbers, &mut out);
    let text = out.get(..(length as usize).wrapping_sub(1)).ok_or(length)?;
    assert_eq!(out[text.len()], 0, "{template}");
    Ok(String::from_utf8(text.to_vec()).unwrap())
}

const fn minus(number: i64) -> u64 {
    number.wrapping_neg() as u64
}

#[test]
fn text_is_what_linux_makes_of_it() {
    for (template, numbers, expected) in [
        ("plain, é\t\n", &[][..], "plain, é\t\n"),
        ("100%%", &[1], "100%"),
        ("%d %i %u", &[minus(5), 7, 0xffff_fffe], "-5 7 4294967294"),
        (
            "%ld %lld %lu %llu",
            &[minus(5), minus(6), minus(1), minus(2)],
            "-5 -6 18446744073709551615 18446744073709551614",
        ),
        ("%x %X %lx %llX", &[0xabc, 0xabc, 0xab_cdef, minus(1)], "abc ABC abcdef FFFFFFFFFFFFFFFF"),
        ("%5d|%-5d|%05d|%+d|% d", &[1, 2, minus(3), 4, 5], "    1|2    |-0003|+4| 5"),
        ("%+5d|%-05d|%+x", &[6, 7, 8], "   +6|7    |8"),
        ("%0+5d|%- 5d|% 05d", &[1, 2, 3], "+0001| 2   | 0003"),
        ("%c%c|%3c|%-3c|", &[65, 66, 67, 68], "AB|  C|D  |"),
        ("%ca", &[0], "\0a"),
        ("%p %p", &[0, minus(22)], "0000000000000000 ffffffffffffffea"),
        ("%p|%pK|%5p", &[5, 5, 5], "(____ptrval____)|(____ptrval____)|(____ptrval____)"),
        ("%5p|%20p|%-20p|", &[0; 3], "    0|                   0|0                   |"),
        ("%px|%20px|%05px", &[0x1234, 0x1234, 0x12], "0000000000001234|                1234|00012"),
        ("%ps|%pS|%pB", &[0x1234, 0, 0x1234], "0x1234|0x0|0x1234"),
        ("%10ps|%-10pS|%10pB", &[0x1234; 3], "    0x1234|0x1234    |0x1234"),
        ("%psabc %pxabc|%pI4abc|", &[1, 2, IPV4], "0x1 0000000000000002|127.0.0.1|"),
        ("%pI4|%pi4|%20pI4|", &[IPV4; 3], "127.0.0.1|127.000.000.001|127.0.0.1|"),
        ("%pI6c", &[IPV6], "2001:0db8:0000:0000:0000:0000:0000:0001"),
        ("%pi6", &[IPV6], "20010db8000000000000000000000001"),
        ("%pI4 %pI6", &[9, 9], "0.0.0.0 0000:0000:0000:0000:0000:0000:0000:0000"),
        ("%s|%5s|%-5s|%05s", &[KERNEL; 4], "abc|  abc|abc  |  abc"),
        ("%s%s.%s", &[KERNEL, 9, KERNEL], "abc.abc"),
        ("%pks|%pus|%10pks|%pks", &[KERNEL, KERNEL, KERNEL, 9], "abc|abc|abc|"),
        ("%d%d%d%d%d%d%d%d%d%d%d%d", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], "01234567891011"),
    ] {
        assert_eq!(text(template, numbers).as_deref(), Ok(expected), "{template}");
    }
    assert_eq!(text("%3000d", &[1]).unwrap(), "1".to_string().pad(3000));
    assert_eq!(text("%d%d%d%d%d%d%d%d%d%d%d%d", &[0; 13]), Err(EINVAL), "thirteen numbers");
}

trait Pad {
    fn pad(self, width: usize) -> String;
}

impl Pad for String {
    fn pad(self, width: usize) -> String {
        std::format!("{self:>width$}")
    }
}

#[test]
fn what_linux_refuses_is_no_template() {
    let good = |template: &[u8], numbers| {
        template::is_good(|at| template.get(at).copied().unwrap_or(0), numbers)
    };
    for bad in [
        "%#x",
        "%.3d",
        "%o",
        "%hd",
        "%hhd",
        "%5%|",
        "%",
        "%5",
        "%l",
        "%lld%",
        "%lllx",
        "%z",
        "%n",
        "%e",
        "%*d",
        "%pI5",
        "%pI",
        "%sa",
        "%pksa",
        "%pk",
        "%pka",
        "%pu",
        "%pa",
        "%p1",
        "%p%",
        "%lc",
        "%ls",
        "%-+ 0",
        "bell\u{7}",
        "%d\u{7f}",
        "%sé",
    ] {
        assert!(!good(bad.as_bytes(), 12), "{bad}");
        assert_eq!(text(bad, &[0; 12]), Err(EINVAL), "{bad}");
    }
    assert!(good(b"%d %s.%p,", 3) && !good(b"%d %s.%p,", 2));
    assert!(good(b"%s%s", 2) && good(b"%p\xa1%p\xa0", 2) && good(b"\x80\xff", 0));
}

#[test]
fn text_is_cut_where_its_place_ends_and_measured_whole() {
    let services = services();
    let numbers = [1u64, 2, 3, 4, 5];
    let template = "%d %d %d %d %d";
    let print = |out: &mut [u8]| snprintf(&services, template, &numbers, out);
    let mut out = [0xaa; 8];
    assert_eq!(print(&mut out), 10, "all of it, with its end");
    assert_eq!(&out, b"1 2 3 4\0");
    let mut long = [0xaa; 12];
    assert_eq!(print(&mut long), 10);
    assert_eq!(&long[..11], b"1 2 3 4 5\0\xaa");
    assert_eq!(print(&mut long[..9]), 10);
    assert_eq!(&long[..9], b"1 2 3 4 \0");
    assert_eq!(print(&mut long[..1]), 10);
    assert_eq!(long[0], 0);
    assert_eq!(print(&mut []), 10, "only measured");
    // Width has a bound, and takes no time behind the end.
    assert_eq!(snprintf(&services, "%099999999999d", &[1], &mut long), 8_388_608);
    assert_eq!(&long, b"00000000000\0");
    // An error leaves the place alone.
    let mut out = [0xaa; 8];
    assert_eq!(snprintf(&services, template, &numbers[..4], &mut out), EINVAL);
    let words = [address_mut(&mut out), 8, address(&b"%d\0"[..]), address(&numbers), 7];
    assert_eq!(call(&services, id::SNPRINTF, &words), EINVAL);
    assert_eq!(out, [0xaa; 8]);
}

#[test]
fn the_strings_of_one_call_share_a_bounded_place() {
    let x = |count| "x".repeat(count);
    assert_eq!(text("%s|%s", &[LONG; 2]).unwrap(), [x(300), x(210)].join("|"));
    assert_eq!(text("%s%s%d", &[LONG, LONG, 1]).unwrap(), x(510) + "1");
    assert_eq!(text("%s%s%s", &[LONG; 3]), Err(ENOSPC));
    assert_eq!(text("%s%s%pI4", &[LONG, LONG, IPV4]), Err(ENOSPC));
}

#[test]
fn lines_are_printed_with_three_numbers_or_an_array() {
    let services = services();
    let printed = || services.printed.lock().unwrap().pop();
    let printk = |template: &[u8], numbers: [u64; 3]| {
        let [a, b, c] = numbers;
        call(&services, id::TRACE_PRINTK, &[address(template), template.len() as u64, a, b, c])
    };
    assert_eq!(printk(b"%s is %d of %d\0", [KERNEL, 1, 2]), 13);
    assert_eq!(printed().unwrap(), "abc is 1 of 2");
    assert_eq!(printk(b"%d %d %d %d\0", [0; 3]), EINVAL, "more than three");
    assert_eq!(printk(b"no end", [0; 3]), EINVAL);
    assert_eq!(printed(), None);
    assert_eq!(printk(b"%1500d\0", [7, 0, 0]), 1500);
    assert_eq!(printed().unwrap().len(), 1023);
    let numbers: Vec<u64> = (1..=5).collect();
    let template = b"%d %d %d %d %d\0";
    let words = [address(&template[..]), template.len() as u64, address(&numbers[..]), 40];
    assert_eq!(call(&services, id::TRACE_VPRINTK, &words), 9);
    assert_eq!(printed().unwrap(), "1 2 3 4 5");
}

/// What is printed is read by nothing else, and is declared nowhere as an argument.
#[test]
fn programs_print_what_their_registers_hold() {
    let text = "r2 = 0x6425206425 ll
                *(u64 *)(r10 - 8) = r2
                r7 = 5
                r3 = *(u64 *)(r1 + 8)
                r7 += r3
                r4 = r7
                r4 <<= 3
                r7 ^= r4
                r1 = r10
                r1 += -8
                r2 = 6
                call 6
                r0 = r7
                exit";
    let mut program = Program::new(assemble(text).unwrap(), ProgType::RawTracepoint, Vec::new());
    program.gpl_compatible = true;
    let program: Verified<Program<Arc<Map>>> = verify(program, &CloudProfile::verify_options())
        .unwrap_or_else(|refused| panic!("{refused}"));
    let services = Mock::default();
    let mut context = [0; 64];
    context[8] = 9;
    let check = |result: Option<u64>| {
        assert_eq!(result, Some(14 ^ 14 << 3));
        assert_eq!(services.printed.lock().unwrap().pop().unwrap(), "9 112");
    };
    let ready = Interpreter::<CloudProfile>::new(&program).unwrap();
    check(ready.run(&mut context, &services));
    #[cfg(feature = "host-jit")]
    for way in &crate::jit::tests::options() {
        use crate::jit::{Compiled, host::Native};
        // SAFETY: this is the machine that the test runs on.
        let compiled = unsafe { Compiled::new::<CloudProfile, Native>(&program, way) }.unwrap();
        check(compiled.run(&mut context, &services));
    }
}

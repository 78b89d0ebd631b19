/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a BPF program in C needs beside its context: sections, map declarations, helpers.
 * The names are libbpf's, so programs written for it compile with this, and the other way.
 *
 *     clang -target bpf -g -O2 -c program.bpf.c -o program.o
 */
#ifndef BPF_HELPERS_H
#define BPF_HELPERS_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef signed short __s16;
typedef unsigned short __u16;
typedef signed int __s32;
typedef unsigned int __u32;
typedef signed long long __s64;
typedef unsigned long long __u64;

/* Puts a function, a map or the licence into a section: what it is goes by the name. */
#define SEC(name) __attribute__((section(name), used))

/* Fields of a map's declaration in SEC(".maps"): a number, a type, what is inside. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]

/* What the kernel provides: its configuration, its symbols. A weak one may be absent. */
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#ifndef __weak
#define __weak __attribute__((weak))
#endif

/* A static function that stays a function of its own. */
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* enum bpf_map_type */
enum {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_PROG_ARRAY = 3,
    BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
    BPF_MAP_TYPE_PERCPU_HASH = 5,
    BPF_MAP_TYPE_PERCPU_ARRAY = 6,
    BPF_MAP_TYPE_STACK_TRACE = 7,
    BPF_MAP_TYPE_LRU_HASH = 9,
    BPF_MAP_TYPE_LRU_PERCPU_HASH = 10,
    BPF_MAP_TYPE_LPM_TRIE = 11,
    BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
    BPF_MAP_TYPE_HASH_OF_MAPS = 13,
    BPF_MAP_TYPE_QUEUE = 22,
    BPF_MAP_TYPE_STACK = 23,
    BPF_MAP_TYPE_RINGBUF = 27,
    BPF_MAP_TYPE_TASK_STORAGE = 29,
    BPF_MAP_TYPE_BLOOM_FILTER = 30,
};

/* Flags of map declarations and of updates. */
enum {
    BPF_F_NO_PREALLOC = 1 << 0,
    BPF_F_RDONLY_PROG = 1 << 7,
    BPF_F_WRONLY_PROG = 1 << 8,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };
enum { BPF_F_USER_STACK = 1 << 8 };
#define BPF_F_CURRENT_CPU 0xffffffffULL
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };

/* Helpers, by Linux's numbers. */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
                                         __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_trace_printk)(const char *format, __u32 size, ...) = (void *)6;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static long (*const bpf_tail_call)(void *context, void *programs, __u32 index) = (void *)12;
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static __u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
static long (*const bpf_get_current_comm)(void *name, __u32 size) = (void *)16;
static long (*const bpf_perf_event_output)(void *context, void *events, __u64 flags, void *data,
                                           __u64 size) = (void *)25;
static long (*const bpf_get_stackid)(void *context, void *stacks, __u64 flags) = (void *)27;
static long (*const bpf_map_push_elem)(void *map, const void *value, __u64 flags) = (void *)87;
static long (*const bpf_map_pop_elem)(void *map, void *value) = (void *)88;
static long (*const bpf_map_peek_elem)(void *map, void *value) = (void *)89;
static long (*const bpf_probe_read_user)(void *to, __u32 size, const void *from) = (void *)112;
static long (*const bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;
static long (*const bpf_probe_read_user_str)(void *to, __u32 size, const void *from) = (void *)114;
static long (*const bpf_probe_read_kernel_str)(void *to, __u32 size,
                                               const void *from) = (void *)115;
static long (*const bpf_strtol)(const char *text, __u32 size, __u64 base, long *result) = (void *)105;
static long (*const bpf_strtoul)(const char *text, __u32 size, __u64 base,
                                 unsigned long *result) = (void *)106;
static __u64 (*const bpf_jiffies64)(void) = (void *)118;
static long (*const bpf_ringbuf_output)(void *ring, void *data, __u64 size,
                                        __u64 flags) = (void *)130;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *data, __u64 flags) = (void *)133;
static __u64 (*const bpf_ringbuf_query)(void *ring, __u64 what) = (void *)134;

struct task_struct;
static void *(*const bpf_task_storage_get)(void *map, struct task_struct *task, void *initial,
                                           __u64 flags) = (void *)156;
static long (*const bpf_task_storage_delete)(void *map, struct task_struct *task) = (void *)157;
static struct task_struct *(*const bpf_get_current_task_btf)(void) = (void *)158;
static long (*const bpf_for_each_map_elem)(void *map, void *callback, void *context,
                                           __u64 flags) = (void *)164;
static long (*const bpf_loop)(__u32 rounds, void *callback, void *context,
                              __u64 flags) = (void *)181;
static long (*const bpf_snprintf)(char *text, __u32 size, const char *format, __u64 *numbers,
                                  __u32 numbers_size) = (void *)165;
static void *(*const bpf_map_lookup_percpu_elem)(void *map, const void *key,
                                                 __u32 cpu) = (void *)195;

/* Prints a line with up to three numbers to the kernel's log. */
#define bpf_printk(format, args...)                                     \
    ({                                                                  \
        static const char bpf_printk_format[] = format;                 \
        bpf_trace_printk(bpf_printk_format, sizeof(bpf_printk_format), ##args); \
    })

#endif

/* SPDX-License-Identifier: MIT OR GPL-2.0-only
 *
 * One record for each task of the host, in the order of thread ids: what `/proc/TID/{stat,schedstat,io}` say, without a
 * file, a lock or a line of text. Read by src/kernel/tier/, which knows the same layout (`record.rs`).
 *
 * Nothing here may block or take a lock of a task: fields are read as they are, by loads that cannot fault.
 *
 * Self-contained: the few fields that are needed are declared below and found by name when the object is loaded (CO-RE), so
 * one object serves every kernel from 5.8 on that carries BTF. Built from this folder, and checked in beside this file so
 * that nobody needs clang to build whytop, with clang 14:
 *
 *	clang -O2 -g -target bpfel -c tasks.bpf.c -o tasks.bpf.o && llvm-strip -g tasks.bpf.o
 *
 * tests/tiers.rs compiles it again where clang is installed and compares what both objects give.
 */

typedef unsigned char u8;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define BY_NAME __attribute__((preserve_access_index))
/* BPF_FIELD_EXISTS: a constant once the object is loaded, so the verifier never sees the other branch. */
#define exists(field) __builtin_preserve_field_info(field, 2)

/* The kernel's types, as far as they are read. */

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} BY_NAME;

struct upid {
	s32 nr;
} BY_NAME;

struct pid {
	struct upid numbers[1];
} BY_NAME;

struct tty_driver {
	s32 major;
	s32 minor_start;
} BY_NAME;

struct tty_struct {
	struct tty_driver *driver;
	s32 index;
} BY_NAME;

struct task_io_accounting {
	u64 rchar;
	u64 wchar;
	u64 read_bytes;
	u64 write_bytes;
	u64 cancelled_write_bytes;
} BY_NAME;

/* enum pid_type since 4.19: PID, TGID, PGID, SID. */
#define PGID 2
#define SID 3

struct signal_struct {
	s32 nr_threads;
	struct pid *pids[4];
	struct tty_struct *tty;
	struct task_io_accounting ioac;
} BY_NAME;

struct sched_info {
	unsigned long pcount;
	unsigned long long run_delay;
} BY_NAME;

struct sched_entity {
	u64 sum_exec_runtime;
} BY_NAME;

struct task_struct {
	u32 __state;
	u32 flags;
	s32 static_prio;
	struct sched_entity se;
	struct sched_info sched_info;
	s32 exit_state;
	s32 pid;
	s32 tgid;
	struct task_struct *real_parent;
	u64 start_boottime;
	char comm[16];
	struct signal_struct *signal;
	struct task_io_accounting ioac;
} BY_NAME;

/* Before 5.14. */
struct task_struct___old {
	volatile long state;
} BY_NAME;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} BY_NAME;

static long (*bpf_seq_write)(struct seq_file *seq, const void *data, u32 length) = (void *)127;

/* The record: no padding, and nothing in it changes while a task sleeps. */

#define MAGIC 0x77740001
/* The flags of a task that are handed on: what else is in there comes and goes with each page fault. */
#define PF_WQ_WORKER 0x00000020
#define PF_FORKNOEXEC 0x00000040
#define PF_KTHREAD 0x00200000
/* Not the kernel's: this kernel accounts I/O. */
#define HAS_IO 0x00000001

struct record {
	u32 magic;
	s32 tgid;
	s32 tid;
	s32 parent;
	s32 group;
	s32 session;
	s32 tty;
	u32 flags;
	u32 state;
	u32 exit_state;
	s32 nice;
	s32 threads;
	char comm[16];
	u64 start;
	u64 run;
	u64 delay;
	u64 slices;
	/* Of the first task: with what the ended ones have left behind. */
	u64 rchar;
	u64 wchar;
	u64 read;
	u64 written;
	u64 cancelled;
};

SEC("iter/task")
int tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct signal_struct *signal;
	struct tty_struct *tty;
	struct pid *pid;
	struct record record = { .magic = MAGIC };

	/* The call after the last task. */
	if (!task)
		return 0;
	signal = task->signal;
	/* Taken off the list of tasks since the iterator found it: it is gone. */
	pid = signal->pids[PGID];
	if (!pid)
		return 0;
	record.group = pid->numbers[0].nr;
	pid = signal->pids[SID];
	if (pid)
		record.session = pid->numbers[0].nr;
	record.tgid = task->tgid;
	record.tid = task->pid;
	record.parent = task->real_parent->tgid;
	tty = signal->tty;
	if (tty) {
		u32 minor = tty->driver->minor_start + tty->index;

		/* new_encode_dev() */
		record.tty = (minor & 0xff) | tty->driver->major << 8 | (minor & ~0xff) << 12;
	}
	record.flags = task->flags & (PF_WQ_WORKER | PF_FORKNOEXEC | PF_KTHREAD);
	if (exists(task->__state))
		record.state = task->__state;
	else
		record.state = ((struct task_struct___old *)task)->state;
	record.exit_state = task->exit_state;
	record.nice = task->static_prio - 120;
	record.threads = signal->nr_threads;
	*(u64 *)&record.comm[0] = *(u64 *)&task->comm[0];
	*(u64 *)&record.comm[8] = *(u64 *)&task->comm[8];
	record.start = task->start_boottime;
	record.run = task->se.sum_exec_runtime;
	if (exists(task->sched_info.run_delay)) {
		record.delay = task->sched_info.run_delay;
		record.slices = task->sched_info.pcount;
	}
	if (exists(task->ioac.rchar) && exists(task->ioac.read_bytes)) {
		record.flags |= HAS_IO;
		record.rchar = task->ioac.rchar;
		record.wchar = task->ioac.wchar;
		record.read = task->ioac.read_bytes;
		record.written = task->ioac.write_bytes;
		record.cancelled = task->ioac.cancelled_write_bytes;
		if (record.tgid == record.tid) {
			record.rchar += signal->ioac.rchar;
			record.wchar += signal->ioac.wchar;
			record.read += signal->ioac.read_bytes;
			record.written += signal->ioac.write_bytes;
			record.cancelled += signal->ioac.cancelled_write_bytes;
		}
	}
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

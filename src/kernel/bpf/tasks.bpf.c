/* SPDX-License-Identifier: MIT OR GPL-2.0-only
 *
 * `tasks`: one record for each task of the host, in the order of thread ids: what `/proc/TID/{stat,schedstat,io}` say, without a
 * file, a lock or a line of text. Read by src/kernel/tier/, which knows the same layout (`record.rs`).
 *
 * `stuck`: lines of text about the tasks in uninterruptible sleep: what `/proc/TID/{syscall,stack}` say. Those files wait for a lock
 * that a process holds while it calls exec (`exec_update_lock`), which may itself be stuck then; this takes none. Needs
 * Linux 5.15; where it does not load, the files are read (`tier/stuck.rs`).
 *
 * Nothing here may block or take a lock of a task: fields are read as they are, by loads that cannot fault.
 *
 * Self-contained: the few fields that are needed are declared below and found by name when the object is loaded (CO-RE), so
 * one object serves every kernel from 5.8 on that carries BTF. Built from this folder, and checked in beside this file so
 * that nobody needs clang to build whytop, with clang 14:
 *
 *	clang -O2 -g -target bpfel -fdebug-prefix-map="$PWD"=. -c tasks.bpf.c -o tasks.bpf.o && llvm-strip -g tasks.bpf.o
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
	u64 exec_start;
	u64 sum_exec_runtime;
} BY_NAME;

struct kernfs_node {
	u64 id;
} BY_NAME;

struct cgroup {
	struct kernfs_node *kn;
} BY_NAME;

struct css_set {
	struct cgroup *dfl_cgrp;
} BY_NAME;

/* `cpu` since 5.16; `status` on x86 only. */
struct thread_info {
	u32 cpu;
	u32 status;
} BY_NAME;

/* The system call on its way in. x86: arguments in di, si, dx, r10, r8, r9. */
struct pt_regs {
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
} BY_NAME;

/* aarch64: x0 is overwritten by the result, so there is a copy. */
struct pt_regs___arm64 {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
} BY_NAME;

struct task_struct {
	struct thread_info thread_info;
	u32 __state;
	s32 on_cpu;
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
	struct css_set *cgroups;
	struct task_io_accounting ioac;
} BY_NAME;

/* Before 5.14, and before 5.16. */
struct task_struct___old {
	volatile long state;
	u32 cpu;
} BY_NAME;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} BY_NAME;

static long (*bpf_seq_printf)(struct seq_file *seq, const char *format, u32 size, const void *data, u32 length) = (void *)126;
static long (*bpf_seq_write)(struct seq_file *seq, const void *data, u32 length) = (void *)127;
static long (*bpf_get_task_stack)(struct task_struct *task, void *frames, u32 size, u64 flags) = (void *)141;
static struct pt_regs *(*bpf_task_pt_regs)(struct task_struct *task) = (void *)175;

static inline u32 state_of(struct task_struct *task)
{
	if (exists(task->__state))
		return task->__state;
	return ((struct task_struct___old *)task)->state;
}

/* The record: no padding, and nothing in it changes while a task sleeps, but for its group. */

#define MAGIC 0x77740002
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
	/* The clock of the CPU that it ran on last, as of then: 0 if it never ran. */
	u64 clock;
	/* In the default hierarchy (version 2). */
	u64 cgroup;
	s32 cpu;
	s32 on_cpu;
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
	record.state = state_of(task);
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
	record.clock = task->se.exec_start;
	if (exists(task->thread_info.cpu))
		record.cpu = task->thread_info.cpu;
	else
		record.cpu = ((struct task_struct___old *)task)->cpu;
	if (exists(task->on_cpu))
		record.on_cpu = task->on_cpu;
	if (exists(task->cgroups->dfl_cgrp))
		record.cgroup = task->cgroups->dfl_cgrp->kn->id;
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

/* Of the state: uninterruptible, waits for a lock (PREEMPT_RT), is frozen; sleeps without counting in the load. */
#define TASK_REPORT 0x7f
#define TASK_UNINTERRUPTIBLE 0x0002
#define TASK_NOLOAD 0x0400
#define TASK_LOCK_OR_FROZEN 0x9000
#define TS_COMPAT 0x0002
#define FRAMES 16

/* A line `TID NUMBER ARGUMENTS` (six, hexadecimal), or `TID -1` outside of any system call and in a 32-bit one, which has another
 * number; then a line for each frame.
 */
SEC("iter/task")
int stuck(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	u64 frames[FRAMES];
	u64 call[8] = {};
	char short_line[] = "%d -1\n";
	char line[] = "%d %d %llx %llx %llx %llx %llx %llx\n";
	char frame[] = " %pB\n";
	struct pt_regs *regs;
	long length;
	u32 state;

	if (!task)
		return 0;
	state = state_of(task);
	if (!(state & TASK_LOCK_OR_FROZEN) && (state & (TASK_REPORT | TASK_NOLOAD)) != TASK_UNINTERRUPTIBLE)
		return 0;
	call[0] = task->pid;
	call[1] = -1;
	if (!(task->flags & PF_KTHREAD)) {
		regs = bpf_task_pt_regs(task);
		if (exists(regs->orig_ax)) {
			if (!exists(task->thread_info.status) || !(task->thread_info.status & TS_COMPAT))
				call[1] = regs->orig_ax;
			call[2] = regs->di;
			call[3] = regs->si;
			call[4] = regs->dx;
			call[5] = regs->r10;
			call[6] = regs->r8;
			call[7] = regs->r9;
		} else if (exists(((struct pt_regs___arm64 *)regs)->syscallno)) {
			struct pt_regs___arm64 *arm64 = (void *)regs;

			call[1] = arm64->syscallno;
			call[2] = arm64->orig_x0;
			call[3] = arm64->regs[1];
			call[4] = arm64->regs[2];
			call[5] = arm64->regs[3];
			call[6] = arm64->regs[4];
			call[7] = arm64->regs[5];
		}
	}
	if ((s32)call[1] < 0)
		bpf_seq_printf(ctx->meta->seq, short_line, sizeof(short_line), call, sizeof(call[0]));
	else
		bpf_seq_printf(ctx->meta->seq, line, sizeof(line), call, sizeof(call));
	length = bpf_get_task_stack(task, frames, sizeof(frames), 0);
#pragma unroll
	for (int i = 0; i < FRAMES; i++) {
		if (length < (i + 1) * (long)sizeof(frames[0]))
			break;
		bpf_seq_printf(ctx->meta->seq, frame, sizeof(frame), &frames[i], sizeof(frames[i]));
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

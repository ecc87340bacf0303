// SPDX-License-Identifier: GPL-2.0
/*
 * The load of scripts/soak, and the proof that it loses nothing.
 *
 * soak SEED SECONDS [origin|snapshot|reload]: an origin on ram0 with up to SLOTS
 * snapshots, and everything that can be done with these at once; what that is
 * say the tables of actions below. Each thread here that takes decisions, and
 * each writer, has a generator of its own, started from SEED: the same SEED
 * makes each of them choose the same. When they get to do it isn't replayed,
 * nor that a choice comes to nothing (there can't be two merges). Prints how
 * often what was done. With "origin" or "snapshot", a block of that is
 * overwritten on purpose with one that isn't its content any more. With "reload",
 * the origin isn't suspended while a snapshot's table is reloaded.
 *
 * stamp DEVICE COUNT STAMP [WRITERS]: WRITERS processes (default 1) write the
 * first COUNT blocks of DEVICE, each with its own number and STAMP. Prints how
 * many of these writes succeeded; those that fail are no error.
 *
 * compare DEVICE COUNT STAMP [NEWER]: the first COUNT blocks of DEVICE are what
 * "stamp" wrote with STAMP (0: zeroes), or with NEWER. Prints how many are NEWER.
 *
 * hog: takes memory until it is killed for it, before anyone else is.
 *
 * The name it is called by decides. Exit status: 0; 1 if contents differ, or
 * a system call failed; 2 if called wrongly.
 *
 * What a block must contain. A write puts the block's number and a stamp in it
 * that no other write has. For each block of a device, memory that all share
 * has two words:
 *
 *   pending	the stamp of the last write that was begun
 *   settled	the stamp of the last one that is known to be done
 *
 * The content is always one of the two. A block belongs to one writer, so that
 * no more than one write to it is in flight. A writer that was killed leaves
 * them different; the next one reads the block to learn which one it is, and
 * that it is one of them. A snapshot takes over the origin's words, while that
 * is suspended: "pending" first, so that a write that is done but whose writer
 * has yet to say so can't fall between. Where they are equal, the snapshot must
 * have exactly that content; all but the blocks in flight at that moment.
 *
 * A merge gives the origin the snapshot's words, by the same reasoning; writes
 * that were in flight then must not be taken for what the origin has now, so
 * "settled" has an epoch in its upper bits, and a writer exchanges the word
 * only if the epoch is still that in which its write began.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define BLOCKS 1024		/* of an origin */
#define SECTORS (BLOCKS * 8)
#define COW_SECTORS (SECTORS * 2)	/* room for metadata, too */
#define SLOTS 8
#define ORIGIN_WRITERS 24
#define SLOT_WRITERS 3
#define BATCH 16		/* blocks that are read at once to be compared */
#define LIMIT "/sys/module/dm_snapshot/parameters/snapshot_cow_threshold"

static bool discards_work;

struct device {
	char name[16], path[32];
	bool may_discard;
	atomic_bool stop;	/* tells its writers to */
	_Atomic uint64_t settled[BLOCKS];
	_Atomic uint64_t pending[BLOCKS];
};

#define EPOCH_SHIFT 48
#define STAMP_OF(settled) ((settled) & ((1ULL << EPOCH_SHIFT) - 1))
#define EPOCH_OF(settled) ((settled) >> EPOCH_SHIFT << EPOCH_SHIFT)

/* What is counted */
#define EVENTS(X) \
	X(origin_writes) X(snapshot_writes) X(discards) X(settled_by_reading) \
	X(seen_throttled) X(limits_set) X(origin_suspends) X(origin_reloads) \
	X(suspends_while_merging) X(created) X(snapshot_suspends) X(snapshot_reloads) \
	X(stalls) X(killed) X(compared) X(merges) X(merges_by_handover) X(removed) \
	X(removed_while_stalled) X(blocks_compared) X(blocks_in_flight)
#define X(name) name,
enum { EVENTS(X) NEVENTS };
#undef X
#define X(name) #name,
static const char *const event_name[] = { EVENTS(X) };
#undef X

static struct shared {
	_Atomic uint64_t stamp;
	atomic_bool stop;
	atomic_bool failed;
	atomic_ulong count[NEVENTS];
	struct device origin, snapshot[SLOTS];
} *sh;

static uint64_t seed;
static const char *spoil = "";
static atomic_bool spoilt;
static bool live_reload;
static int control;

static void count(int event)
{
	atomic_fetch_add(&sh->count[event], 1);
}

/* The first failure ends it all; it is reported at once. */
static void failed(const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	n = n < (int)sizeof(line) - 1 ? n : (int)sizeof(line) - 2;
	line[n] = '\n';
	if (write(STDERR_FILENO, line, n + 1) < 0)
		_exit(1);
	if (sh) {
		atomic_store(&sh->failed, true);
		atomic_store(&sh->stop, true);
	}
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	failed("%s: %s", what, strerror(errno));
	exit(1);
}

static bool stopping(void)
{
	return atomic_load(&sh->stop);
}

static void ms(unsigned int n)
{
	struct timespec t = { n / 1000, n % 1000 * 1000000 };

	while (nanosleep(&t, &t))
		;
}

/* --- choices (splitmix64) */

struct rng {
	uint64_t state;
};

static uint64_t draw(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned int below(struct rng *r, unsigned int n)
{
	return draw(r) % n;
}

/* A generator for who is the nth of its kind, in its so many-th life */
static struct rng generator(char kind, int nth, int life)
{
	struct rng r = { seed };
	uint64_t who = (uint64_t)kind << 56 | (uint64_t)nth << 32 | life;

	r.state = draw(&r) ^ who;
	r.state = draw(&r);
	return r;
}

/* --- blocks */

struct record {
	uint64_t block, stamp;
};

static void fill(void *buf, uint64_t block, uint64_t stamp)
{
	struct record *r = buf;
	unsigned int i;

	for (i = 0; i < BLOCK / sizeof(*r); i++) {
		r[i].block = block;
		r[i].stamp = stamp;
	}
}

/* The stamp of a block, 0 if it is zeroes. False if it is no one's content. */
static bool read_stamp(const void *buf, uint64_t block, uint64_t *stamp)
{
	static const char zeroes[BLOCK];
	const struct record *r = buf;
	unsigned int i;

	*stamp = r[0].stamp;
	if (!*stamp)
		return !memcmp(buf, zeroes, BLOCK);
	for (i = 0; i < BLOCK / sizeof(*r); i++)
		if (r[i].block != block || r[i].stamp != *stamp)
			return false;
	return true;
}

static void differs(const char *device, uint64_t block, const void *buf,
		    uint64_t want, uint64_t or)
{
	const struct record *r = buf, *last = r + BLOCK / sizeof(*r) - 1;

	failed("contents differ: %s, block %llu: wanted stamp %llu or %llu; has block %llu stamp %llu (at its end block %llu stamp %llu)",
	       device, (unsigned long long)block, (unsigned long long)want,
	       (unsigned long long)or, (unsigned long long)r->block,
	       (unsigned long long)r->stamp, (unsigned long long)last->block,
	       (unsigned long long)last->stamp);
}

/* --- device mapper */

struct request {
	struct dm_ioctl head;
	struct dm_target_spec spec;
	char text[1024];
};

static int dm(struct request *q, unsigned long command, const char *name, unsigned int flags)
{
	q->head.version[0] = DM_VERSION_MAJOR;
	q->head.version[1] = 0;
	q->head.version[2] = 0;
	q->head.data_size = sizeof(*q);
	q->head.data_start = offsetof(struct request, spec);
	q->head.flags = flags;
	snprintf(q->head.name, sizeof(q->head.name), "%s", name);
	return ioctl(control, command, q);
}

static void dm_must(unsigned long command, const char *what, const char *name, unsigned int flags)
{
	struct request q = { 0 };

	if (dm(&q, command, name, flags)) {
		failed("%s %s: %s", what, name, strerror(errno));
		exit(1);
	}
}

static void load(const char *name, unsigned int sectors, const char *type, const char *format, ...)
{
	struct request q = { 0 };
	va_list args;

	q.head.target_count = 1;
	q.spec.length = sectors;
	snprintf(q.spec.target_type, sizeof(q.spec.target_type), "%s", type);
	va_start(args, format);
	vsnprintf(q.text, sizeof(q.text), format, args);
	va_end(args);
	if (dm(&q, DM_TABLE_LOAD, name, 0)) {
		failed("load %s, %s %s: %s", name, type, q.text, strerror(errno));
		exit(1);
	}
}

static void suspend(const char *name, unsigned int flags)
{
	dm_must(DM_DEV_SUSPEND, "suspend", name, DM_SUSPEND_FLAG | flags);
}

static void resume(const char *name)
{
	dm_must(DM_DEV_SUSPEND, "resume", name, 0);
}

static void create(const char *name, char *path)
{
	struct request q = { 0 };

	if (dm(&q, DM_DEV_CREATE, name, 0)) {
		failed("create %s: %s", name, strerror(errno));
		exit(1);
	}
	sprintf(path, "/dev/dm-%u", minor(q.head.dev));
}

/* A child that was just forked may have it open for a moment. */
static void remove_device(const char *name)
{
	struct request q = { 0 };

	while (dm(&q, DM_DEV_REMOVE, name, 0)) {
		if (errno != EBUSY) {
			failed("remove %s: %s", name, strerror(errno));
			exit(1);
		}
		ms(5);
	}
}

static void status(const char *name, char *text, size_t size)
{
	struct request q = { 0 };
	char *at = (char *)&q + offsetof(struct request, spec) + sizeof(q.spec);

	must(!dm(&q, DM_TABLE_STATUS, name, 0), "status");
	snprintf(text, size, "%s", at);
}

/* --- writers */

static int open_device(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT);

	if (fd < 0)
		failed("open %s: %s", path, strerror(errno));
	return fd;
}

/* What the block has, if its writer was killed: one of its two words. */
static bool settle(struct device *d, int fd, unsigned int b, void *buf, uint64_t *settled)
{
	uint64_t old, pending, got;

	for (;;) {
		old = atomic_load(&d->settled[b]);
		pending = atomic_load(&d->pending[b]);
		*settled = old;
		if (STAMP_OF(old) == pending)
			return true;
		if (pread(fd, buf, BLOCK, (off_t)b * BLOCK) != BLOCK) {
			failed("read %s: %s", d->name, strerror(errno));
			return false;
		}
		if (atomic_load(&d->settled[b]) != old)
			continue;	/* a merge, meanwhile */
		if (!read_stamp(buf, b, &got) || (got != STAMP_OF(old) && got != pending)) {
			differs(d->name, b, buf, STAMP_OF(old), pending);
			return false;
		}
		count(settled_by_reading);
		if (atomic_compare_exchange_strong(&d->settled[b], &old, EPOCH_OF(old) | got))
			atomic_compare_exchange_strong(&d->pending[b], &pending, got);
	}
}

static void discard(struct device *d, int fd, uint64_t from)
{
	uint64_t range[2] = { from, BLOCK };

	if (ioctl(fd, BLKDISCARD, range))
		failed("discard on %s: %s", d->name, strerror(errno));
	count(discards);
}

static void write_one(struct device *d, int fd, unsigned int b, void *buf)
{
	uint64_t old, stamp;

	if (!settle(d, fd, b, buf, &old))
		return;
	stamp = atomic_fetch_add(&sh->stamp, 1) + 1;
	fill(buf, b, stamp);
	atomic_store(&d->pending[b], stamp);
	if (pwrite(fd, buf, BLOCK, (off_t)b * BLOCK) != BLOCK) {
		failed("write to %s: %s", d->name, strerror(errno));
		return;
	}
	atomic_compare_exchange_strong(&d->settled[b], &old, EPOCH_OF(old) | stamp);
	count(d == &sh->origin ? origin_writes : snapshot_writes);
}

static void discard_one(struct device *d, int fd, unsigned int b, void *buf, bool across)
{
	uint64_t old;

	if (across) {
		/* No chunk is covered, so nothing changes */
		discard(d, fd, b * (uint64_t)BLOCK + BLOCK / 2);
	} else if (settle(d, fd, b, buf, &old)) {
		/* Zeroes, or nothing if it is no whole chunk, or had no exception */
		atomic_store(&d->pending[b], 0);
		discard(d, fd, b * (uint64_t)BLOCK);
	}
}

static char one_block[BLOCK] __attribute__((aligned(BLOCK)));

static _Noreturn void writer(struct device *d, int nth, int of, struct rng r)
{
	unsigned int b, hot;
	int fd;

	close_range(3, ~0U, 0);
	fd = open_device(d->path, O_RDWR);
	while (fd >= 0 && !atomic_load(&d->stop) && !stopping()) {
		/* Half of the writes go to the same eighth as all other's */
		hot = below(&r, 2);
		b = below(&r, (hot ? BLOCKS / 8 : BLOCKS) / of) * of + nth;
		if (!d->may_discard || below(&r, 4))
			write_one(d, fd, b, one_block);
		else
			discard_one(d, fd, b, one_block, b < BLOCKS - 1 && below(&r, 2));
		ms(below(&r, 16));
	}
	_exit(0);
}

static pid_t start_writer(struct device *d, int nth, int of, struct rng r)
{
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (!pid)
		writer(d, nth, of, r);
	return pid;
}

static void reap(pid_t pid)
{
	int wstatus;

	must(waitpid(pid, &wstatus, 0) == pid, "waitpid");
	if (WIFSIGNALED(wstatus) && WTERMSIG(wstatus) != SIGKILL)
		failed("a writer died of signal %d", WTERMSIG(wstatus));
}

/* Reads all of it and compares. Nobody writes to it, so all is settled then. */
static bool compare_all(struct device *d)
{
	char *buf = aligned_alloc(BLOCK, BATCH * BLOCK);
	int fd = open_device(d->path, O_RDONLY | O_CLOEXEC);
	uint64_t old, pending, got;
	unsigned int b;

	must(buf, "memory");
	for (b = 0; fd >= 0 && b < BLOCKS; b++) {
		char *at = buf + b % BATCH * BLOCK;

		if (b % BATCH == 0 &&
		    pread(fd, buf, BATCH * BLOCK, (off_t)b * BLOCK) != BATCH * BLOCK) {
			failed("read %s: %s", d->name, strerror(errno));
			break;
		}
		old = atomic_load(&d->settled[b]);
		pending = atomic_load(&d->pending[b]);
		if (!read_stamp(at, b, &got) || (got != STAMP_OF(old) && got != pending)) {
			differs(d->name, b, at, STAMP_OF(old), pending);
			break;
		}
		count(blocks_compared);
		if (STAMP_OF(old) != pending)
			count(blocks_in_flight);
		atomic_store(&d->settled[b], EPOCH_OF(old) | got);
		atomic_store(&d->pending[b], got);
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	count(compared);
	return b == BLOCKS;
}

/* A block gets valid content, but such as isn't its own any more: a stale one. */
static void spoil_one(struct device *d, struct rng *r)
{
	static char buf[BLOCK] __attribute__((aligned(BLOCK)));
	unsigned int b = below(r, BLOCKS);
	int fd = open_device(d->path, O_RDWR | O_CLOEXEC);

	fill(buf, b, atomic_fetch_add(&sh->stamp, 1) + 1);
	must(fd >= 0 && pwrite(fd, buf, BLOCK, (off_t)b * BLOCK) == BLOCK, "spoil");
	close(fd);
	printf("overwrote block %u of %s on purpose\n", b, d->name);
}

/* --- the origin, its writers, and its table */

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;	/* the origin's */
static bool merging;
static pid_t origin_writer[ORIGIN_WRITERS];
static _Atomic pid_t sampled;	/* one of them, to look at */

static void load_origin(void)
{
	load("origin", SECTORS, "snapshot-origin", "/dev/ram0");
}

static unsigned int suspend_flags(unsigned int random)
{
	return (random & 1 ? DM_SKIP_LOCKFS_FLAG : 0) | (random & 2 ? DM_NOFLUSH_FLAG : 0);
}

/* Each thread notes what it chose at first, to show that a seed replays it. */
#define NOTED 24
static char noted[SLOTS + 2][NOTED + 1];

static void note(int thread, char what)
{
	size_t n = strlen(noted[thread]);

	if (n < NOTED)
		noted[thread][n] = what;
}

static void *origin_thread(void *arg)
{
	struct rng r = generator('o', 0, 0);
	int lives = 0;

	while (!stopping()) {
		unsigned int what = below(&r, 4), pause = below(&r, 300);
		unsigned int length = below(&r, 60), which = below(&r, ORIGIN_WRITERS);
		unsigned int flags = suspend_flags(below(&r, 4));

		note(SLOTS, "srkk"[what]);
		ms(pause);
		if (what >= 2) {	/* kill a writer */
			kill(origin_writer[which], SIGKILL);
			reap(origin_writer[which]);
			origin_writer[which] = start_writer(&sh->origin, which, ORIGIN_WRITERS,
							    generator('w', which, ++lives));
			count(killed);
			atomic_store(&sampled, origin_writer[below(&r, ORIGIN_WRITERS)]);
			continue;
		}
		below(&r, ORIGIN_WRITERS);
		pthread_mutex_lock(&table);
		if (what == 1 && !merging) {	/* reload the table */
			load_origin();
			resume("origin");
			count(origin_reloads);
		} else {		/* suspend */
			suspend("origin", flags);
			ms(length);
			resume("origin");
			count(merging ? suspends_while_merging : origin_suspends);
		}
		pthread_mutex_unlock(&table);
	}
	return arg;
}

/* --- the limit; and how many are seen to wait because of it */

static void *limit_thread(void *arg)
{
	static const char *const limits[] = { "0", "1", "1", "16", "16", "2048", "4294967295" };
	struct rng r = generator('l', 0, 0);
	char path[64], stack[2048];
	ssize_t n;
	int fd;

	while (!stopping()) {
		unsigned int which = below(&r, sizeof(limits) / sizeof(*limits));
		unsigned int pause = below(&r, 200);

		note(SLOTS + 1, "011662U"[which]);
		fd = open(LIMIT, O_WRONLY | O_CLOEXEC);
		must(fd >= 0 && write(fd, limits[which], strlen(limits[which])) > 0, LIMIT);
		close(fd);
		count(limits_set);
		ms(pause);
		snprintf(path, sizeof(path), "/proc/%d/stack", atomic_load(&sampled));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, stack, sizeof(stack) - 1);
		close(fd);
		stack[n > 0 ? n : 0] = 0;
		if (strstr(stack, "wait_for_in_progress+"))
			count(seen_throttled);
	}
	return arg;
}

/* --- the snapshots */

struct slot {
	int nr, lives, nwriters;
	struct rng r;
	struct device *d;
	char cow[16], cow_path[32], table[128];
	bool live, persistent;
	pid_t writer[SLOT_WRITERS];
};

static void start_writers(struct slot *s, int n)
{
	int i;

	for (i = 0; i < n; i++)
		s->writer[i] = start_writer(s->d, i, SLOT_WRITERS,
					    generator('a' + s->nr, i, ++s->lives));
	s->nwriters = n;
}

static void stop_writers(struct slot *s, bool by_force)
{
	int i;

	atomic_store(&s->d->stop, true);
	for (i = 0; i < s->nwriters; i++) {
		if (by_force) {
			kill(s->writer[i], SIGKILL);
			count(killed);
		}
		reap(s->writer[i]);
	}
	s->nwriters = 0;
	atomic_store(&s->d->stop, false);
}

/* As LVM does it: the origin is suspended while the snapshot comes to life. */
static void make_snapshot(struct slot *s, unsigned int how, unsigned int flags, int writers)
{
	static const char *const stores[] = { "N", "P", "PO" };
	static const int chunks[] = { 8, 8, 16, 32 };
	static const char zeroes[16 * BLOCK] __attribute__((aligned(BLOCK)));
	int chunk = chunks[how % 4], fd;
	const char *store = stores[how / 4 % 3];
	struct device *d = s->d;
	unsigned int b;

	pthread_mutex_lock(&table);
	if (merging) {	/* no snapshot can be made of a merging origin */
		pthread_mutex_unlock(&table);
		return;
	}
	fd = open_device(s->cow_path, O_RDWR | O_CLOEXEC);
	must(fd >= 0 && pwrite(fd, zeroes, sizeof(zeroes), 0) == sizeof(zeroes), s->cow_path);
	close(fd);
	s->persistent = *store == 'P';
	d->may_discard = discards_work;
	snprintf(s->table, sizeof(s->table), "/dev/ram0 %s %s %d%s", s->cow_path, store, chunk,
		 d->may_discard ? " 1 discard_zeroes_cow" : "");
	create(d->name, d->path);
	load(d->name, SECTORS, "snapshot", "%s", s->table);
	suspend("origin", flags);
	for (b = 0; b < BLOCKS; b++) {
		uint64_t pending = atomic_load(&sh->origin.pending[b]);

		atomic_store(&d->settled[b], STAMP_OF(atomic_load(&sh->origin.settled[b])));
		atomic_store(&d->pending[b], pending);
	}
	resume(d->name);
	resume("origin");
	pthread_mutex_unlock(&table);
	s->live = true;
	count(created);
	start_writers(s, writers);
}

struct stall {
	const char *cow;
	unsigned int length;
	pthread_t thread;
};

static void *end_stall(void *arg)
{
	struct stall *stall = arg;

	ms(stall->length);
	resume(stall->cow);
	return arg;
}

/* The COW device doesn't answer for so long. */
static void begin_stall(struct stall *stall, struct slot *s, unsigned int length)
{
	stall->cow = s->cow;
	stall->length = length;
	suspend(s->cow, DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG);
	must(!pthread_create(&stall->thread, NULL, end_stall, stall), "thread");
	count(stalls);
}

static void until_stall_ends(struct stall *stall)
{
	pthread_join(stall->thread, NULL);
}

static void must_be_valid(const char *name)
{
	char text[128];

	status(name, text, sizeof(text));
	if (text[0] < '0' || text[0] > '9')
		failed("%s: status '%s'", name, text);
}

static void compare_slot(struct slot *s, bool by_force)
{
	stop_writers(s, by_force);
	must_be_valid(s->d->name);
	if (!strcmp(spoil, "snapshot") && !atomic_exchange(&spoilt, true))
		spoil_one(s->d, &s->r);
	compare_all(s->d);
}

static void remove_snapshot(struct slot *s, bool by_force, unsigned int stalled)
{
	struct stall stall;

	compare_slot(s, by_force);
	if (stalled) {
		begin_stall(&stall, s, stalled);
		ms(stalled / 2);	/* let the origin's writers run into it */
		count(removed_while_stalled);
	}
	remove_device(s->d->name);
	if (stalled)
		until_stall_ends(&stall);
	s->live = false;
	count(removed);
}

/* The origin's words become the snapshot's, see the head of this file. */
static void take_over(struct device *from)
{
	struct device *o = &sh->origin;
	uint64_t old, v;
	unsigned int b;

	for (b = 0; b < BLOCKS; b++) {
		v = STAMP_OF(atomic_load(&from->settled[b]));
		old = atomic_exchange(&o->settled[b],
				      (EPOCH_OF(atomic_load(&o->settled[b])) + (1ULL << EPOCH_SHIFT)) | v);
		old = STAMP_OF(old);
		atomic_compare_exchange_strong(&o->pending[b], &old, v);
	}
}

static void merge(struct slot *s, bool by_force, bool handover)
{
	unsigned long allocated = 1, total, metadata = 0;
	char text[128], merge_table[128];

	pthread_mutex_lock(&table);
	if (!s->persistent || merging) {
		pthread_mutex_unlock(&table);
		return;
	}
	merging = true;
	pthread_mutex_unlock(&table);

	compare_slot(s, by_force);
	snprintf(merge_table, sizeof(merge_table), "%s", s->table);
	pthread_mutex_lock(&table);
	if (handover)	/* of the exceptions, as LVM does it */
		load("origin", SECTORS, "snapshot-merge", "%s", merge_table);
	suspend("origin", 0);
	if (handover) {
		suspend(s->d->name, 0);
		count(merges_by_handover);
	} else {	/* they are read from the COW device */
		remove_device(s->d->name);
		load("origin", SECTORS, "snapshot-merge", "%s", merge_table);
	}
	take_over(s->d);
	resume("origin");
	if (handover)
		remove_device(s->d->name);
	pthread_mutex_unlock(&table);
	s->live = false;
	count(merges);

	while (allocated != metadata) {
		ms(20);
		pthread_mutex_lock(&table);
		status("origin", text, sizeof(text));
		pthread_mutex_unlock(&table);
		if (sscanf(text, "%lu/%lu %lu", &allocated, &total, &metadata) != 3) {
			failed("merge: status '%s'", text);
			return;
		}
	}
	pthread_mutex_lock(&table);
	load_origin();
	resume("origin");
	merging = false;
	pthread_mutex_unlock(&table);
}

static void *slot_thread(void *arg)
{
	struct slot *s = arg;
	struct stall stall;

	while (!stopping()) {
		unsigned int what = below(&s->r, 16), how = below(&s->r, 12);
		unsigned int flags = below(&s->r, 4), pause = below(&s->r, 300);
		unsigned int length = 1 + below(&s->r, 100), n = below(&s->r, SLOT_WRITERS + 1);
		unsigned int which = below(&s->r, SLOT_WRITERS);
		bool by_force = below(&s->r, 2), variant = below(&s->r, 2);

		note(s->nr, "ssrrttttkkccmmxx"[what]);
		ms(pause);
		if (!s->live) {
			make_snapshot(s, how, suspend_flags(flags), n);
			continue;
		}
		switch (what) {
		case 0: case 1:		/* suspend and resume */
			suspend(s->d->name, suspend_flags(flags));
			ms(length);
			resume(s->d->name);
			count(snapshot_suspends);
			break;
		case 2: case 3:		/* reload: a new one takes over the exceptions */
			/* With the origin suspended, as LVM does it, or not */
			pthread_mutex_lock(&table);
			load(s->d->name, SECTORS, "snapshot", "%s", s->table);
			if (!live_reload)
				suspend("origin", 0);
			resume(s->d->name);
			if (!live_reload)
				resume("origin");
			pthread_mutex_unlock(&table);
			count(snapshot_reloads);
			break;
		case 4: case 5: case 6: case 7:	/* its COW device stalls */
			begin_stall(&stall, s, length);
			until_stall_ends(&stall);
			break;
		case 8: case 9:		/* kill a writer */
			if ((int)which >= s->nwriters)
				break;
			kill(s->writer[which], SIGKILL);
			reap(s->writer[which]);
			s->writer[which] = start_writer(s->d, which, SLOT_WRITERS,
							generator('a' + s->nr, which, ++s->lives));
			count(killed);
			break;
		case 10: case 11:	/* compare it, and go on */
			compare_slot(s, by_force);
			start_writers(s, n);
			break;
		case 12: case 13:	/* merge it */
			merge(s, by_force, variant);
			break;
		case 14: case 15:	/* remove it */
			remove_snapshot(s, by_force, variant ? length : 0);
			break;
		}
	}
	if (s->live)
		remove_snapshot(s, false, 0);
	return arg;
}

/* --- all of it */

static void report(int seconds)
{
	int i;

	printf("soak: %d s:", seconds);
	for (i = 0; i < NEVENTS; i++)
		printf(" %s %lu", event_name[i], atomic_load(&sh->count[i]));
	printf("\n");
	fflush(stdout);
}

static int soak(int seconds)
{
	static struct slot slots[SLOTS];
	pthread_t slot[SLOTS], origin, limit;
	int i, t;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(sh != MAP_FAILED, "memory");
	control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	must(control >= 0, "/dev/mapper/control");

	strcpy(sh->origin.name, "origin");
	create("origin", sh->origin.path);
	load_origin();
	resume("origin");
	for (i = 0; i < SLOTS; i++) {
		struct slot *s = &slots[i];

		s->nr = i;
		s->r = generator('s', i, 0);
		s->d = &sh->snapshot[i];
		sprintf(s->d->name, "snap%d", i);
		sprintf(s->cow, "cow%d", i);
		create(s->cow, s->cow_path);
		load(s->cow, COW_SECTORS, "linear", "/dev/ram1 %d", i * COW_SECTORS);
		resume(s->cow);
	}

	for (i = 0; i < ORIGIN_WRITERS; i++)
		origin_writer[i] = start_writer(&sh->origin, i, ORIGIN_WRITERS,
						generator('w', i, 0));
	atomic_store(&sampled, origin_writer[0]);
	must(!pthread_create(&origin, NULL, origin_thread, NULL) &&
	     !pthread_create(&limit, NULL, limit_thread, NULL), "thread");
	for (i = 0; i < SLOTS; i++)
		must(!pthread_create(&slot[i], NULL, slot_thread, &slots[i]), "thread");

	for (t = 0; t < seconds && !stopping(); t++) {
		ms(1000);
		if (t % 30 == 29)
			report(t + 1);
	}
	atomic_store(&sh->stop, true);
	for (i = 0; i < SLOTS; i++)
		pthread_join(slot[i], NULL);
	pthread_join(origin, NULL);
	pthread_join(limit, NULL);
	for (i = 0; i < ORIGIN_WRITERS; i++)
		reap(origin_writer[i]);
	if (!strcmp(spoil, "origin")) {
		struct rng r = generator('x', 0, 0);

		spoil_one(&sh->origin, &r);
	}
	if (!atomic_load(&sh->failed))
		compare_all(&sh->origin);
	remove_device("origin");

	for (i = 0; i < SLOTS + 2; i++)
		printf("choices of %s %d: %s\n", i < SLOTS ? "snapshot" : i == SLOTS ?
		       "origin" : "limit", i < SLOTS ? i : 0, noted[i]);
	report(t);
	if (!atomic_load(&sh->failed) && !atomic_load(&sh->count[seen_throttled]))
		failed("nobody was ever seen throttled");
	return atomic_load(&sh->failed);
}

/* --- for the scenarios */

static int stamp_blocks(const char *device, int blocks, uint64_t stamp, int writers)
{
	_Atomic int *done = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int i, b, fd;

	must(done != MAP_FAILED, "memory");
	for (i = 0; i < writers; i++) {
		pid_t pid = fork();

		must(pid >= 0, "fork");
		if (pid)
			continue;
		fd = open_device(device, O_WRONLY);
		if (fd < 0)
			_exit(1);
		for (b = i; b < blocks; b += writers) {
			fill(one_block, b, stamp);
			if (pwrite(fd, one_block, BLOCK, (off_t)b * BLOCK) == BLOCK)
				atomic_fetch_add(done, 1);
		}
		_exit(0);
	}
	for (i = 0; i < writers; i++) {
		int wstatus;

		must(wait(&wstatus) > 0, "wait");
		if (wstatus)
			return 1;
	}
	printf("%d\n", atomic_load(done));
	return 0;
}

static int compare_blocks(const char *device, int blocks, uint64_t stamp, uint64_t newer)
{
	int b, n = 0, fd = open_device(device, O_RDONLY);
	uint64_t got;

	if (fd < 0)
		return 1;
	for (b = 0; b < blocks; b++) {
		if (pread(fd, one_block, BLOCK, (off_t)b * BLOCK) != BLOCK) {
			failed("read %s, block %d: %s", device, b, strerror(errno));
			return 1;
		}
		if (!read_stamp(one_block, b, &got) || (got != stamp && got != newer)) {
			differs(device, b, one_block, stamp, newer);
			return 1;
		}
		n += got == newer;
	}
	printf("%d\n", n);
	return 0;
}

static _Noreturn void hog(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);

	must(fd >= 0 && write(fd, "1000", 4) == 4, "oom_score_adj");
	for (;;)
		if (mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
			ms(1);
}

static bool have_discards(void) /* Ram disks don't take them up to 6.6 */
{
	int fd = open("/sys/block/ram0/queue/discard_max_bytes", O_RDONLY | O_CLOEXEC);
	char max = '0';

	must(fd >= 0 && read(fd, &max, 1) == 1, "discard_max_bytes");
	close(fd);
	return max != '0';
}

int main(int argc, char **argv)
{
	const char *name = basename(argv[0]);
	int n;

	if (!strcmp(name, "soak") && (argc == 3 || argc == 4)) {
		seed = strtoull(argv[1], NULL, 10);
		n = atoi(argv[2]);
		spoil = argc > 3 ? argv[3] : "";
		live_reload = !strcmp(spoil, "reload");
		discards_work = have_discards();
		if (n > 0 && (!*spoil || live_reload || !strcmp(spoil, "origin") ||
			      !strcmp(spoil, "snapshot")))
			return soak(n);
	}
	if (!strcmp(name, "stamp") && (argc == 4 || argc == 5)) {
		n = argc > 4 ? atoi(argv[4]) : 1;
		if (n > 0)
			return stamp_blocks(argv[1], atoi(argv[2]), strtoull(argv[3], NULL, 10), n);
	}
	if (!strcmp(name, "compare") && (argc == 4 || argc == 5)) {
		uint64_t stamp = strtoull(argv[3], NULL, 10);

		return compare_blocks(argv[1], atoi(argv[2]), stamp,
				      argc > 4 ? strtoull(argv[4], NULL, 10) : stamp);
	}
	if (!strcmp(name, "hog"))
		hog();
	fprintf(stderr, "usage: soak SEED SECONDS [origin|snapshot|reload]\n"
		"       stamp DEVICE COUNT STAMP [WRITERS]\n"
		"       compare DEVICE COUNT STAMP [NEWER]\n       hog\n");
	return 2;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the copy-on-write throttle of dm-snapshot: the state machine
 * of account_start_copy(), account_end_copy(), may_start_copy(),
 * wait_for_in_progress() and put_grant(). Included by dm-snap.c, because all of
 * these are static.
 *
 * What must happen to a writer that needs a copy, by state of its snapshot and
 * itself. "n" is in_progress: copies in flight plus grants.
 *
 *  state     copy      copy      limit     limit     snapshot  spurious
 *            starts    ends      raised    lowered   removed   wake-up
 *  -------------------------------------------------------------------
 *  far       n+1       n-1       -         -         passes    [3]
 *            passes    passes    passes    waits
 *  below     n+1       n-1       -         -         passes    [3]
 *            waits     passes    passes    waits
 *  at        n+1       n-1       -         -         passes    -
 *            waits     passes    passes    waits               waits
 *  over      n+1       n-1       -         -         passes    -
 *            waits     waits     waits     waits               waits
 *  waiting   n+1       n-1       -         -         passes    -
 *            waits     passes    waits [1] waits               waits
 *  granted   n+1       n-1       -         -         n-1       -
 *            passes    passes    passes    passes    passes    passes
 *  gone      n+1 [2]   n-1       -         -         [3]       -
 *            passes    passes    passes    passes              passes
 *
 * [1] until the next copy ends or the next writer comes
 * [2] can't happen, but would be counted
 * [3] can't happen: it isn't registered, or nobody sleeps
 *
 * In the first four states the writer comes after the event, but before a
 * wake-up; a removal leaves it nothing to ask. In "far" less than half of the
 * limit is used: it passes without w, and without the lock; in "below" it takes
 * a grant. In "granted" and "gone" it has been woken, by a copy that ended and
 * by the snapshot's removal, but didn't get to run yet: it still waits for
 * _origins_lock, and it is there that a spurious wake-up finds it. While it is
 * "waiting", a change of the limit is seen by nobody.
 *
 * The snapshots here are no more than what a write to their origin looks at,
 * registered for an origin of their own. Their store pretends that an exception
 * is being copied as soon as it is there, so that nothing ever is; whether that
 * counts as a copy is up to the test. A "direct" writer does to a snapshot what
 * snapshot_map_throttled() does, and may take its time to start a copy.
 *
 * No test depends on time: each waits for a state, and fails if it doesn't
 * come about for a long while. Not for PREEMPT_RT: its rwsem_is_contended() does
 * not tell that somebody waits.
 */

#include <kunit/test.h>
#include <linux/debug_locks.h>
#include <linux/kthread.h>
#include <linux/prandom.h>

#include "../dm-core.h"		/* for a table that has a size */

#define LONG_WHILE (30 * HZ)
#define MAX_WRITERS 16
#define CHUNK_SECTORS 8
#define STORM 500

struct test_snapshot {
	struct dm_snapshot s;
	struct dm_dev origin;
	struct dm_dev cow;
	struct block_device cow_bdev;
	struct dm_exception_store store;
	struct dm_target ti;
	struct dm_table table;
	sector_t high;
	bool counts;			/* an exception is a copy in flight */
	bool full;			/* ... or can't be made */
	struct rw_semaphore gate;	/* ... or allocated */
	unsigned int exceptions;	/* asked for */
	bool registered;
};

struct test_writer {
	struct throttle_test *t;
	struct task_struct *task;
	struct dm_snapshot *direct;	/* NULL: it writes to the origin, ... */
	chunk_t chunk;			/* here */
	struct bio *bio;
	int r;
	bool maps;			/* by the target's map function: ... */
	enum req_op op;			/* ... the first chunk */
	bool starts_copy;
	bool hold;			/* until let_go, when it has passed */
	unsigned int storm;		/* that many writes, their copies end */
	unsigned int ends;		/* no writer: ends that many copies, */
	struct test_snapshot *removes;	/* ... or removes this */
	struct completion go;		/* one more write */
	struct completion let_go;
	bool stop;
	unsigned int passed;		/* the how-manieth to pass, 0: not yet */
	bool idle;
};

struct throttle_test {
	struct block_device origin_bdev;
	struct dm_dev origin;
	struct test_snapshot *snap[2];
	struct test_writer writer[MAX_WRITERS];
	atomic_t passes;
	atomic_t chunks;
	long old_threshold;
};

static void set_limit(long limit)
{
	WRITE_ONCE(cow_threshold, limit);
}

static void start_copies(struct dm_snapshot *s, unsigned int n)
{
	while (n--)
		account_start_copy(s);
}

static void end_copies(struct dm_snapshot *s, unsigned int n)
{
	while (n--)
		account_end_copy(s);
}

/* As it is when the chunk's copy has ended */
static void set_copied(struct kunit *test, struct dm_snapshot *s, chunk_t chunk)
{
	struct dm_exception *e = alloc_completed_exception(GFP_KERNEL);
	struct dm_exception_table_lock lock;

	KUNIT_ASSERT_NOT_NULL(test, e);
	e->old_chunk = chunk;
	e->new_chunk = 1;
	dm_exception_table_lock_init(s, chunk, &lock);
	dm_exception_table_lock(&lock);
	dm_insert_exception(&s->complete, e);
	dm_exception_table_unlock(&lock);
}

static unsigned int in_progress(struct dm_snapshot *s)
{
	return READ_ONCE(s->in_progress);
}

static unsigned int __length(struct list_head *head)
{
	struct list_head *pos;
	unsigned int n = 0;

	list_for_each(pos, head)
		n++;

	return n;
}

/* What is in progress, but for grants */
static unsigned int in_flight(struct dm_snapshot *s)
{
	unsigned int n;

	spin_lock(&s->in_progress_lock);
	n = s->in_progress - __length(&s->granted_writers);
	spin_unlock(&s->in_progress_lock);

	return n;
}

static unsigned int length(struct dm_snapshot *s, struct list_head *head)
{
	unsigned int n;

	spin_lock(&s->in_progress_lock);
	n = __length(head);
	spin_unlock(&s->in_progress_lock);

	return n;
}

static unsigned int waiting(struct dm_snapshot *s)
{
	return length(s, &s->throttled_writers);
}

static unsigned int granted(struct dm_snapshot *s)
{
	return length(s, &s->granted_writers);
}

/*
 * For a state that comes about at once, or almost. Once the test has failed,
 * less time is spent on what else doesn't.
 */
#define settles(condition)						\
({									\
	unsigned long give_up = jiffies +				\
		LONG_WHILE / (test->status == KUNIT_FAILURE ? 10 : 1);	\
	bool settled, late;						\
									\
	for (;;) {							\
		late = time_after(jiffies, give_up);			\
		settled = (condition);					\
		if (settled || late)					\
			break;						\
		schedule();						\
	}								\
	settled;							\
})

#define expect_soon(test, condition)					\
do {									\
	bool settled = settles(condition);				\
									\
	KUNIT_EXPECT_TRUE_MSG(test, settled, "never: " #condition);	\
} while (0)

static void remove_test_snapshot(struct test_snapshot *f)
{
	unregister_snapshot(&f->s);
	f->registered = false;
}

static void map_once(struct test_writer *tw)
{
	struct {
		char before[512];	/* of dm.c, and the target's data */
		struct bio bio;
	} b = { };

	b.bio.bi_opf = tw->op;
	b.bio.bi_iter.bi_size = CHUNK_SECTORS << SECTOR_SHIFT;
	tw->direct->ti->type->map(tw->direct->ti, &b.bio);
	WRITE_ONCE(tw->passed, atomic_inc_return(&tw->t->passes));
}

static void write_once(struct test_writer *tw)
{
	struct throttle_test *t = tw->t;
	struct throttled_writer w = { .snap = NULL };

	if (!tw->direct) {
		tw->bio->bi_iter.bi_sector = chunk_to_sector(&t->snap[0]->store, tw->chunk);
		tw->r = do_origin_throttled(&t->origin, tw->bio);
		tw->chunk = atomic_inc_return(&t->chunks);
		WRITE_ONCE(tw->passed, atomic_inc_return(&t->passes));
		return;
	}

	if (!may_start_copy(tw->direct, NULL))
		while (!may_start_copy(tw->direct, &w))
			wait_for_in_progress(&w);
	WRITE_ONCE(tw->passed, atomic_inc_return(&t->passes));
	if (tw->hold)
		wait_for_completion(&tw->let_go);
	if (tw->starts_copy)
		account_start_copy(tw->direct);
	put_grant(&w);
}

static void write_storm(struct test_writer *tw)
{
	while (tw->storm--) {
		write_once(tw);
		if (tw->direct)
			account_end_copy(tw->direct);
	}
}

static int writer_thread(void *data)
{
	struct test_writer *tw = data;

	for (;;) {
		wait_for_completion(&tw->go);
		if (tw->stop)
			break;
		if (tw->ends)
			end_copies(tw->direct, tw->ends);
		else if (tw->removes)
			remove_test_snapshot(tw->removes);
		else if (tw->storm)
			write_storm(tw);
		else if (tw->maps)
			map_once(tw);
		else
			write_once(tw);
		/* Pairs with idle(): what it has done can be looked at */
		smp_store_release(&tw->idle, true);
	}
	while (!kthread_should_stop())
		schedule_timeout_uninterruptible(1);

	return 0;
}

static struct test_writer *writer(struct kunit *test, int i, struct dm_snapshot *direct)
{
	struct throttle_test *t = test->priv;
	struct test_writer *tw = &t->writer[i];

	if (!tw->task) {
		struct bio *bio = kzalloc(sizeof(*bio), GFP_KERNEL);
		struct task_struct *task;

		KUNIT_ASSERT_NOT_NULL(test, bio);
		tw->bio = bio;
		tw->t = t;
		init_completion(&tw->go);
		init_completion(&tw->let_go);
		task = kthread_run(writer_thread, tw, "throttle-%d", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
		tw->task = task;
	}
	tw->direct = direct;
	tw->chunk = atomic_inc_return(&t->chunks);
	tw->storm = 0;
	tw->ends = 0;
	tw->removes = NULL;
	tw->maps = false;
	tw->hold = false;
	tw->passed = 0;
	tw->idle = false;

	return tw;
}

/* Writer i writes: to the origin, or directly to a snapshot */
static void writes(struct kunit *test, int i, struct dm_snapshot *direct,
		   bool starts_copy, bool hold)
{
	struct test_writer *tw = writer(test, i, direct);

	tw->starts_copy = starts_copy;
	tw->hold = hold;
	complete(&tw->go);
}

/* ... to a certain chunk of the origin */
static void writes_chunk(struct kunit *test, int i, chunk_t chunk)
{
	struct test_writer *tw = writer(test, i, NULL);

	tw->chunk = chunk;
	complete(&tw->go);
}

/* ... over and over, with copies that end */
static void storms(struct kunit *test, int i, struct dm_snapshot *direct)
{
	struct test_writer *tw = writer(test, i, direct);

	tw->starts_copy = true;
	tw->storm = STORM;
	complete(&tw->go);
}

/* ... or comes by the target's map function */
static void maps(struct kunit *test, int i, struct dm_snapshot *s, enum req_op op)
{
	struct test_writer *tw = writer(test, i, s);

	tw->maps = true;
	tw->op = op;
	complete(&tw->go);
}

/* ... or by either way to a copy: the origin's, or the map of its snapshot */
static void writes_by(struct kunit *test, int i, bool map)
{
	struct throttle_test *t = test->priv;
	struct test_snapshot *f = t->snap[0];

	f->full = map;			/* start_copy() isn't for tests */
	if (map)
		maps(test, i, &f->s, REQ_OP_WRITE);
	else
		writes(test, i, NULL, false, false);
}

/* ... or is no writer, but ends n copies */
static void ends(struct kunit *test, int i, struct dm_snapshot *s, unsigned int n)
{
	struct test_writer *tw = writer(test, i, s);

	tw->ends = n;
	complete(&tw->go);
}

/* ... or removes snapshot n */
static void removes(struct kunit *test, int i, int n)
{
	struct throttle_test *t = test->priv;
	struct test_writer *tw = writer(test, i, NULL);

	tw->removes = t->snap[n];
	complete(&tw->go);
}

static unsigned int passed(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	return READ_ONCE(t->writer[i].passed);
}

/* ... and how many have */
static unsigned int all_passed(struct kunit *test)
{
	struct throttle_test *t = test->priv;

	return atomic_read(&t->passes);
}

static bool idle(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	/* Pairs with writer_thread() */
	return smp_load_acquire(&t->writer[i].idle);
}

static void let_go(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	complete(&t->writer[i].let_go);
}

/* The first n write, one after the other, and all of them wait for s */
static void writers_queue(struct kunit *test, struct dm_snapshot *s, int n,
			  struct dm_snapshot *direct, bool starts_copy, bool hold)
{
	int i;

	for (i = 0; i < n; i++) {
		writes(test, i, direct, starts_copy, hold);
		expect_soon(test, waiting(s) == i + 1);
	}
}

static int test_prepare_exception(struct dm_exception_store *store, struct dm_exception *e)
{
	struct dm_snap_pending_exception *pe;
	struct test_snapshot *f = container_of(store, struct test_snapshot, store);

	WRITE_ONCE(f->exceptions, f->exceptions + 1);
	if (f->full)
		return -ENOSPC;

	e->new_chunk = 0;		/* for one chunk: see dm_consecutive_chunk_count() */
	pe = container_of(e, struct dm_snap_pending_exception, e);
	pe->started = 1;
	if (f->counts)
		account_start_copy(&f->s);

	return 0;
}

static void *test_alloc(gfp_t gfp_mask, void *data)
{
	struct test_snapshot *f = data;

	down_read(&f->gate);
	up_read(&f->gate);

	return mempool_alloc_slab(gfp_mask, pending_cache);
}

static void test_free(void *element, void *data)
{
	mempool_free_slab(element, pending_cache);
}

static struct dm_exception_store_type test_store = {
	.name = "test",
	.prepare_exception = test_prepare_exception,
};

/*
 * Neither this nor the writers are KUnit's to free: who sleeps for good still uses
 * them. See throttle_test_exit().
 */
static void add_snapshot(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;
	struct test_snapshot *f = kzalloc(sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, f);
	f->origin.bdev = &t->origin_bdev;
	f->cow.bdev = &f->cow_bdev;
	f->store.type = &test_store;
	f->store.chunk_size = CHUNK_SECTORS;
	f->store.chunk_mask = CHUNK_SECTORS - 1;
	f->store.chunk_shift = 3;
	f->high = LONG_MAX;
	f->table.num_targets = 1;
	f->table.highs = &f->high;
	f->ti.type = &snapshot_target;
	f->ti.table = &f->table;
	f->ti.private = &f->s;
	f->s.origin = &f->origin;
	f->s.cow = &f->cow;
	f->s.store = &f->store;
	f->s.ti = &f->ti;
	f->s.valid = 1;
	f->s.active = 1;
	init_rwsem(&f->s.lock);
	spin_lock_init(&f->s.pe_allocation_lock);
	INIT_LIST_HEAD(&f->s.list);
	init_rwsem(&f->gate);
	f->s.in_progress = 0x6b;	/* kmalloc() doesn't clear it */
	init_throttle(&f->s);
	KUNIT_ASSERT_EQ(test, init_hash_tables(&f->s), 0);
	KUNIT_ASSERT_EQ(test, mempool_init(&f->s.pending_pool, 1, test_alloc, test_free, f), 0);
	KUNIT_ASSERT_EQ(test, register_snapshot(&f->s), 0);
	f->registered = true;
	t->snap[i] = f;
}

static struct dm_snapshot *snap(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	return &t->snap[i]->s;
}

static void remove_snapshot(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	remove_test_snapshot(t->snap[i]);
}

static void free_snapshot(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;
	struct test_snapshot *f = t->snap[i];

	dm_exception_table_exit(&f->s.pending, pending_cache);
	dm_exception_table_exit(&f->s.complete, exception_cache);
	mempool_exit(&f->s.pending_pool);
	memset(f, 0x6b, sizeof(*f));
	kfree(f);
	t->snap[i] = NULL;
}

static unsigned int exceptions(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	return READ_ONCE(t->snap[i]->exceptions);
}

static bool snapshots_exist(void)
{
	bool exist = false;
	int i;

	down_read(&_origins_lock);
	for (i = 0; i < ORIGIN_HASH_SIZE; i++)
		exist |= !list_empty(&_origins[i]);
	up_read(&_origins_lock);

	return exist;
}

/* The limit is every snapshot's: none but ours may be there */
static const char *reason_to_skip(void)
{
	/* KUnit of older kernels runs a module's tests before its init function */
	if (!_origins || !pending_cache)
		return "not for a module that isn't initialised yet";
	if (snapshots_exist())
		return "not on a machine that has snapshots";

	return NULL;
}

static int throttle_test_init(struct kunit *test)
{
	struct throttle_test *t;
	const char *reason;

	/* For throttle_test_exit(), which comes even if the test is skipped */
	test->priv = NULL;

	/* It stays until throttle_test_exit() */
	if (!try_module_get(THIS_MODULE))
		kunit_skip(test, "not for a module that is being removed");
	reason = reason_to_skip();
	t = reason ? NULL : kzalloc(sizeof(*t), GFP_KERNEL);
	if (!t)
		module_put(THIS_MODULE);
	if (reason)
		kunit_skip(test, "%s", reason);
	KUNIT_ASSERT_NOT_NULL(test, t);
	t->origin.bdev = &t->origin_bdev;
	t->old_threshold = cow_threshold;
	test->priv = t;
	add_snapshot(test, 0);

	return 0;
}

static bool origins_lock_is_free(void)
{
	if (!down_write_trylock(&_origins_lock))
		return false;
	up_write(&_origins_lock);

	return true;
}

/*
 * All writers must come to an end, now that nothing is in flight and there is
 * no limit, and leave nothing behind. If one doesn't, the removal of its snapshot
 * may help; if not, all that it uses stays. Where it has _origins_lock, that is
 * the snapshots, too, and the tests after this one are skipped.
 */
static void throttle_test_exit(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	bool stuck;
	int i;

	if (!t)
		return;

	for (i = 0; i < MAX_WRITERS; i++)
		if (t->writer[i].task)
			complete_all(&t->writer[i].let_go);
	set_limit(0);
	for (i = 0; i < ARRAY_SIZE(t->snap); i++)
		if (t->snap[i])
			end_copies(snap(test, i), in_flight(snap(test, i)));
	for (i = 0; i < MAX_WRITERS; i++)
		if (t->writer[i].task)
			expect_soon(test, idle(test, i));

	stuck = !settles(origins_lock_is_free());
	for (i = 0; i < ARRAY_SIZE(t->snap) && !stuck; i++)
		if (t->snap[i] && t->snap[i]->registered)
			remove_snapshot(test, i);
	for (i = 0; i < MAX_WRITERS && !stuck; i++) {
		struct test_writer *tw = &t->writer[i];

		if (!tw->task)
			continue;
		stuck = !settles(idle(test, i));
		if (stuck)
			break;
		tw->stop = true;
		complete(&tw->go);
		kthread_stop(tw->task);
	}
	set_limit(t->old_threshold);
	if (stuck) {
		KUNIT_FAIL(test, "a writer sleeps for good");
		return;
	}

	for (i = 0; i < ARRAY_SIZE(t->snap); i++) {
		if (!t->snap[i])
			continue;
		/* What writers started after the first look */
		end_copies(snap(test, i), in_progress(snap(test, i)));
		KUNIT_EXPECT_EQ(test, waiting(snap(test, i)), 0);
		KUNIT_EXPECT_EQ(test, granted(snap(test, i)), 0);
		free_snapshot(test, i);
	}
	for (i = 0; i < MAX_WRITERS; i++)
		kfree(t->writer[i].bio);
	kfree(t);
	module_put(THIS_MODULE);
}

/* The table at the head of this file */

enum state { FAR, BELOW, AT, OVER, WAITING, GRANTED, GONE };
enum event { STARTS, ENDS, RAISED, LOWERED, REMOVED, SPURIOUS };

struct cell {
	enum state state;
	enum event event;
	unsigned int n;		/* in_progress once the writer has settled */
	bool passes;
};

/* The limit is 2, in "far" 4; it is raised by 1, or lowered to 1 */
static const struct cell cells[] = {
	{ FAR,     STARTS,   2, true },
	{ FAR,     ENDS,     0, true },
	{ FAR,     RAISED,   1, true },
	{ FAR,     LOWERED,  1, false },
	{ FAR,     REMOVED,  1, true },
	{ BELOW,   STARTS,   2, false },
	{ BELOW,   ENDS,     0, true },
	{ BELOW,   RAISED,   1, true },
	{ BELOW,   LOWERED,  1, false },
	{ BELOW,   REMOVED,  1, true },
	{ AT,      STARTS,   3, false },
	{ AT,      ENDS,     1, true },
	{ AT,      RAISED,   2, true },
	{ AT,      LOWERED,  2, false },
	{ AT,      REMOVED,  2, true },
	{ AT,      SPURIOUS, 2, false },
	{ OVER,    STARTS,   4, false },
	{ OVER,    ENDS,     2, false },
	{ OVER,    RAISED,   3, false },
	{ OVER,    LOWERED,  3, false },
	{ OVER,    REMOVED,  3, true },
	{ OVER,    SPURIOUS, 3, false },
	{ WAITING, STARTS,   3, false },
	{ WAITING, ENDS,     1, true },
	{ WAITING, RAISED,   2, false },
	{ WAITING, LOWERED,  2, false },
	{ WAITING, REMOVED,  2, true },
	{ WAITING, SPURIOUS, 2, false },
	{ GRANTED, STARTS,   2, true },
	{ GRANTED, ENDS,     0, true },
	{ GRANTED, RAISED,   1, true },
	{ GRANTED, LOWERED,  1, true },
	{ GRANTED, REMOVED,  1, true },
	{ GRANTED, SPURIOUS, 1, true },
	{ GONE,    STARTS,   3, true },
	{ GONE,    ENDS,     1, true },
	{ GONE,    RAISED,   2, true },
	{ GONE,    LOWERED,  2, true },
	{ GONE,    SPURIOUS, 2, true },
};

static void cell_name(const struct cell *c, char *name)
{
	static const char * const states[] = {
		"far", "below", "at", "over", "waiting", "granted", "gone"
	};
	static const char * const events[] = {
		"copy starts", "copy ends", "limit raised", "limit lowered",
		"snapshot removed", "spurious wake-up"
	};

	snprintf(name, KUNIT_PARAM_DESC_SIZE, "%s, %s", states[c->state], events[c->event]);
}

KUNIT_ARRAY_PARAM(cell, cells, cell_name);

/*
 * Wakes writer 0 for nothing, and waits until it sleeps again. No signal does
 * that: what it waits for has its stack on a list.
 */
static void wake_up_for_nothing(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	struct task_struct *task = t->writer[0].task;
	unsigned long sleeps;

	expect_soon(test, READ_ONCE(task->__state) == TASK_UNINTERRUPTIBLE);
	sleeps = READ_ONCE(task->nvcsw);
	KUNIT_EXPECT_TRUE(test, wake_up_process(task));
	expect_soon(test, READ_ONCE(task->nvcsw) != sleeps);
}

/* What unregister_snapshot() does under the lock, for a test that has it */
static void remove_locked(struct dm_snapshot *s)
{
	release_writers(s);
	list_del_init(&s->list);
}

static void state_and_event(struct kunit *test)
{
	const struct cell *c = test->param_value;
	struct dm_snapshot *s = snap(test, 0);

	set_limit(c->state == FAR ? 4 : 2);
	switch (c->state) {
	case FAR:
	case BELOW:
		start_copies(s, 1);
		break;
	case AT:
		start_copies(s, 2);
		break;
	case OVER:
		start_copies(s, 3);
		break;
	case WAITING:
	case GRANTED:
	case GONE:
		start_copies(s, 2);
		writes(test, 0, NULL, false, false);
		expect_soon(test, waiting(s) == 1);
		break;
	}
	if (c->state > WAITING) {
		/* So that it doesn't get any further than its look-up */
		down_write(&_origins_lock);
		if (c->state == GRANTED)
			end_copies(s, 1);
		else
			remove_locked(s);
		KUNIT_EXPECT_EQ(test, waiting(s), 0);
		KUNIT_EXPECT_EQ(test, granted(s), c->state == GRANTED);
		KUNIT_EXPECT_EQ(test, in_progress(s), 2);
	}

	switch (c->event) {
	case STARTS:
		start_copies(s, 1);
		break;
	case ENDS:
		end_copies(s, 1);
		break;
	case RAISED:
		set_limit(cow_threshold + 1);
		break;
	case LOWERED:
		set_limit(1);
		break;
	case REMOVED:
		if (c->state > WAITING)
			remove_locked(s);
		else
			remove_snapshot(test, 0);
		break;
	case SPURIOUS:
		if (c->state > OVER)
			wake_up_for_nothing(test);
		break;
	}
	if (c->state > WAITING) {
		KUNIT_EXPECT_EQ(test, granted(s), c->state == GRANTED && c->event != REMOVED);
		KUNIT_EXPECT_EQ(test, passed(test, 0), 0);
		up_write(&_origins_lock);
	}

	if (c->state <= OVER)
		writes(test, 0, NULL, false, false);
	if (c->passes) {
		expect_soon(test, idle(test, 0));
		KUNIT_EXPECT_EQ(test, waiting(s), 0);
	} else {
		expect_soon(test, waiting(s) == 1);
		if (c->event == SPURIOUS && c->state <= OVER)
			wake_up_for_nothing(test);
		KUNIT_EXPECT_EQ(test, waiting(s), 1);
		KUNIT_EXPECT_FALSE(test, passed(test, 0));
	}
	KUNIT_EXPECT_EQ(test, granted(s), 0);
	KUNIT_EXPECT_EQ(test, in_progress(s), c->n);
}

/* The last one is 1, if a long is taken for an int that is shorter */
static const long limits[] = { 16, 0, -1, LONG_MAX, LONG_MAX / 2 + 2 };

static void limit_name(const long *limit, char *name)
{
	snprintf(name, KUNIT_PARAM_DESC_SIZE, "limit %ld", *limit);
}

KUNIT_ARRAY_PARAM(limit, limits, limit_name);

/* A second lock of a spinlock that we hold doesn't return, or is complained of */
static void far_from_the_limit_takes_no_lock(struct kunit *test)
{
	const long *limit = test->param_value;
	struct dm_snapshot *s = snap(test, 0);
	int no_complaint = debug_locks;
	bool passes;

	if (!IS_ENABLED(CONFIG_SMP) &&
	    !(IS_ENABLED(CONFIG_DEBUG_SPINLOCK) && debug_locks))
		kunit_skip(test, "spinlocks are nothing without SMP or DEBUG_SPINLOCK");

	set_limit(*limit);
	start_copies(s, 1);
	spin_lock(&s->in_progress_lock);
	passes = may_start_copy(s, NULL);
	spin_unlock(&s->in_progress_lock);
	KUNIT_EXPECT_TRUE(test, passes);
	KUNIT_EXPECT_EQ(test, debug_locks, no_complaint);
}

static void origins_lock_is_free_while_asleep(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	set_limit(1);
	start_copies(s, 1);
	writes(test, 0, NULL, false, false);
	expect_soon(test, waiting(s) == 1);
	expect_soon(test, origins_lock_is_free());

	/* However long that takes */
	schedule_timeout_uninterruptible(3);
	KUNIT_EXPECT_EQ(test, waiting(s), 1);
	KUNIT_EXPECT_FALSE(test, passed(test, 0));
}

/* Each copy that ends lets in the one writer that has waited longest */
static void one_for_one_in_order(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);
	int i, n = MAX_WRITERS;

	set_limit(4);
	start_copies(s, 4);
	writers_queue(test, s, n, s, true, false);
	for (i = 0; i < n; i++) {
		end_copies(s, 1);
		expect_soon(test, idle(test, i));
		KUNIT_EXPECT_EQ(test, passed(test, i), i + 1);
		KUNIT_EXPECT_EQ(test, waiting(s), n - i - 1);
		KUNIT_EXPECT_EQ(test, in_progress(s), 4);
	}
}

/* A grant keeps its place until its writer is through */
static void a_grant_counts_as_a_copy(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	set_limit(1);
	start_copies(s, 1);
	writes(test, 0, s, true, true);
	expect_soon(test, waiting(s) == 1);
	end_copies(s, 1);
	expect_soon(test, passed(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(s), 1);
	KUNIT_EXPECT_EQ(test, granted(s), 1);

	/* A newcomer finds the limit reached, though nothing is in flight */
	writes(test, 1, NULL, false, false);
	expect_soon(test, waiting(s) == 1);

	let_go(test, 0);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(s), 1);
	KUNIT_EXPECT_EQ(test, granted(s), 0);
	KUNIT_EXPECT_EQ(test, waiting(s), 1);
	end_copies(s, 1);
	expect_soon(test, idle(test, 1));
}

/* Near is where half of the limit is used */
static void grants_begin_near_the_limit(struct kunit *test)
{
	static const unsigned int halves[] = { 2, 8 };
	struct dm_snapshot *s = snap(test, 0);
	unsigned int half;
	int i;

	for (i = 0; i < ARRAY_SIZE(halves); i++) {
		half = halves[i];
		set_limit(2 * half);
		start_copies(s, half - 1);
		writes(test, 0, s, false, true);
		expect_soon(test, passed(test, 0));
		KUNIT_EXPECT_EQ(test, granted(s), 0);
		KUNIT_EXPECT_EQ(test, in_progress(s), half - 1);
		start_copies(s, 1);
		writes(test, 1, s, false, true);
		expect_soon(test, passed(test, 1));
		KUNIT_EXPECT_EQ(test, granted(s), 1);
		KUNIT_EXPECT_EQ(test, in_progress(s), half + 1);
		let_go(test, 0);
		let_go(test, 1);
		expect_soon(test, idle(test, 0) && idle(test, 1));
		KUNIT_EXPECT_EQ(test, granted(s), 0);
		KUNIT_EXPECT_EQ(test, in_progress(s), half);
		end_copies(s, half);
	}
}

/* Of writers that have yet to start their copies, only so many are let in */
static void who_was_let_in_counts(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);
	int i;

	set_limit(4);
	start_copies(s, 2);
	for (i = 0; i < 4; i++)
		writes(test, i, s, true, true);
	expect_soon(test, waiting(s) == 2);
	expect_soon(test, all_passed(test) == 2);
	KUNIT_EXPECT_EQ(test, granted(s), 2);
	KUNIT_EXPECT_EQ(test, in_progress(s), 4);
	for (i = 0; i < 4; i++)
		let_go(test, i);
	expect_soon(test, !granted(s));
	KUNIT_EXPECT_EQ(test, waiting(s), 2);
	KUNIT_EXPECT_EQ(test, in_progress(s), 4);
	end_copies(s, 2);
	for (i = 0; i < 4; i++)
		expect_soon(test, idle(test, i));
	KUNIT_EXPECT_EQ(test, in_progress(s), 4);
}

static void newcomers_do_not_overtake(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	set_limit(1);
	start_copies(s, 1);
	writers_queue(test, s, 2, s, false, true);

	/* There is room for one, which is for the first of those who wait */
	set_limit(2);
	writes(test, 2, s, false, true);
	expect_soon(test, passed(test, 0));
	expect_soon(test, waiting(s) == 2);
	KUNIT_EXPECT_FALSE(test, passed(test, 1));
	KUNIT_EXPECT_FALSE(test, passed(test, 2));

	let_go(test, 0);
	expect_soon(test, passed(test, 1));
	KUNIT_EXPECT_FALSE(test, passed(test, 2));
	KUNIT_EXPECT_EQ(test, waiting(s), 1);
	let_go(test, 1);
	expect_soon(test, passed(test, 2));
	let_go(test, 2);
	expect_soon(test, idle(test, 2));
}

/* ... whether they come by the origin or by the snapshot */
static void newcomers_look_at_the_queue(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);
	int i;

	s->store->userspace_supports_overflow = true;
	for (i = 0; i < 2; i++) {
		set_limit(1);
		start_copies(s, 1);
		writes(test, 0, s, false, true);
		expect_soon(test, waiting(s) == 1);

		/* Four would be far from the limit, but for the one who waits */
		set_limit(4);
		writes_by(test, 1, i);
		expect_soon(test, passed(test, 0));
		KUNIT_EXPECT_EQ(test, waiting(s), 1);
		KUNIT_EXPECT_FALSE(test, passed(test, 1));
		let_go(test, 0);
		expect_soon(test, idle(test, 0) && idle(test, 1));
		end_copies(s, in_progress(s));
	}
}

/* One copy ends, and of the writers that sleep none needs one */
static void who_needs_no_copy_wakes_the_next(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);
	int i;

	set_limit(1);
	start_copies(s, 1);
	for (i = 0; i < 8; i++) {
		if (i & 1)
			writes(test, i, s, false, false);
		else
			writes_chunk(test, i, 4711);
		expect_soon(test, waiting(s) == i + 1);
	}
	end_copies(s, 1);
	for (i = 0; i < 8; i++)
		expect_soon(test, idle(test, i));
	KUNIT_EXPECT_EQ(test, in_progress(s), 0);
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 1);
}

/* A chunk that is being copied, or has been */
static void rewrites_are_not_throttled(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	set_limit(1);
	writes_chunk(test, 0, 4711);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 1);
	start_copies(s, 1);
	writes_chunk(test, 1, 4711);
	expect_soon(test, idle(test, 1));

	set_copied(test, s, 815);
	writes_chunk(test, 0, 815);
	expect_soon(test, idle(test, 0));

	writes_chunk(test, 0, 42);
	expect_soon(test, waiting(s) == 1);
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 1);

	/* Nor while somebody waits */
	writes_chunk(test, 2, 4711);
	expect_soon(test, idle(test, 2));
	writes_chunk(test, 2, 815);
	expect_soon(test, idle(test, 2));
	KUNIT_EXPECT_EQ(test, waiting(s), 1);
}

/* The next copy that ends lets all in for whom there is room now */
static void limit_changes_while_asleep(struct kunit *test)
{
	const long *limit = test->param_value;
	struct dm_snapshot *s = snap(test, 0);
	int i;

	set_limit(2);
	start_copies(s, 2);
	writers_queue(test, s, 8, s, true, false);
	set_limit(*limit);
	end_copies(s, 1);
	for (i = 0; i < 8; i++)
		expect_soon(test, idle(test, i));
	KUNIT_EXPECT_EQ(test, in_progress(s), 9);
}

/* ... one after the other: a copy that ends wakes no more than one */
static void one_copy_wakes_one(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);
	int i;

	set_limit(2);
	start_copies(s, 2);
	writers_queue(test, s, 4, s, false, true);
	set_limit(16);
	end_copies(s, 1);
	KUNIT_EXPECT_EQ(test, granted(s), 1);
	KUNIT_EXPECT_EQ(test, waiting(s), 3);
	KUNIT_EXPECT_EQ(test, in_progress(s), 2);
	for (i = 0; i < 4; i++) {
		let_go(test, i);
		expect_soon(test, idle(test, i));
	}
	KUNIT_EXPECT_EQ(test, in_progress(s), 1);
}

/* ... and so does the next writer, if no copy ever ends */
static void newcomer_tells_of_a_raised_limit(struct kunit *test)
{
	const long *limit = test->param_value;
	struct dm_snapshot *s = snap(test, 0);
	int i;

	set_limit(2);
	start_copies(s, 2);
	writers_queue(test, s, 4, s, true, false);
	set_limit(*limit);
	writes(test, 4, s, true, false);
	for (i = 0; i < 5; i++)
		expect_soon(test, idle(test, i));
	KUNIT_EXPECT_EQ(test, in_progress(s), 7);
}

static void lowered_limit_holds(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	set_limit(4);
	start_copies(s, 4);
	writes(test, 0, s, true, false);
	expect_soon(test, waiting(s) == 1);
	set_limit(2);
	end_copies(s, 2);
	KUNIT_EXPECT_EQ(test, in_progress(s), 2);
	KUNIT_EXPECT_EQ(test, waiting(s), 1);
	end_copies(s, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(s), 2);
}

static void limit_is_the_limit(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	/* Of one, the first is near */
	set_limit(1);
	writes(test, 0, s, true, true);
	expect_soon(test, passed(test, 0));
	KUNIT_EXPECT_EQ(test, granted(s), 1);
	writes(test, 1, s, true, false);
	expect_soon(test, waiting(s) == 1);
	let_go(test, 0);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(s), 1);
	KUNIT_EXPECT_EQ(test, waiting(s), 1);
}

/* The target's own way in: what needs a copy waits, and nothing else */
static void map_waits_for_a_copy_only(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	struct dm_snapshot *s = snap(test, 0);

	t->snap[0]->full = true;	/* start_copy() isn't for tests */
	s->store->userspace_supports_overflow = true;
	set_limit(1);
	start_copies(s, 1);
	maps(test, 0, s, REQ_OP_WRITE);
	expect_soon(test, waiting(s) == 1);
	maps(test, 1, s, REQ_OP_WRITE);
	expect_soon(test, waiting(s) == 2);
	/* It keeps its grant until snapshot_map() is through */
	down_write(&s->lock);
	end_copies(s, 1);
	expect_soon(test, rwsem_is_contended(&s->lock));
	KUNIT_EXPECT_EQ(test, granted(s), 1);
	KUNIT_EXPECT_EQ(test, waiting(s), 1);
	up_write(&s->lock);
	expect_soon(test, idle(test, 0) && idle(test, 1));
	KUNIT_EXPECT_EQ(test, granted(s), 0);
	KUNIT_EXPECT_EQ(test, in_progress(s), 0);

	/* The snapshot is full: writes get no further, so they needn't wait */
	KUNIT_EXPECT_TRUE(test, s->snapshot_overflowed);
	start_copies(s, 1);
	maps(test, 0, s, REQ_OP_WRITE);
	expect_soon(test, idle(test, 0));

	/* So is a discard of what isn't there */
	s->snapshot_overflowed = 0;
	maps(test, 0, s, REQ_OP_DISCARD);
	expect_soon(test, idle(test, 0));

	/* One of what is there writes zeroes; stop it before it does */
	set_copied(test, s, 0);
	maps(test, 0, s, REQ_OP_DISCARD);
	expect_soon(test, waiting(s) == 1);
	down_write(&s->lock);
	s->valid = 0;
	up_write(&s->lock);
	end_copies(s, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, granted(s), 0);
	KUNIT_EXPECT_EQ(test, in_progress(s), 0);
}

/* A writer may sleep for long until it has an exception: it asks when it has */
static void others_come_while_it_allocates(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	struct test_snapshot *f = t->snap[0];
	struct dm_snapshot *s = &f->s;
	int i;

	s->store->userspace_supports_overflow = true;
	set_limit(4);
	for (i = 0; i < 2; i++) {
		down_write(&f->gate);
		writes_by(test, 0, i);
		expect_soon(test, rwsem_is_contended(&f->gate));
		start_copies(s, 4);
		up_write(&f->gate);
		expect_soon(test, waiting(s) == 1);
		KUNIT_EXPECT_EQ(test, exceptions(test, 0), 0);
		end_copies(s, 1);
		expect_soon(test, idle(test, 0));
		KUNIT_EXPECT_EQ(test, in_progress(s), 3);
		end_copies(s, 3);
		f->exceptions = 0;
	}
}

/* It starts no more copies; those in flight may take long */
static void an_invalid_snapshot_has_no_limit(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);
	int i;

	set_limit(2);
	start_copies(s, 2);
	for (i = 0; i < 3; i++) {
		writes(test, i, i ? NULL : s, false, false);
		expect_soon(test, waiting(s) == i + 1);
	}
	down_write(&s->lock);
	__invalidate_snapshot(s, -EIO);
	up_write(&s->lock);
	for (i = 0; i < 3; i++)
		expect_soon(test, idle(test, i));
	writes(test, 0, s, false, false);
	expect_soon(test, idle(test, 0));
	writes(test, 0, NULL, false, false);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(s), 2);
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 0);
}

static void two_snapshots(struct kunit *test, long limit,
			  struct dm_snapshot **first, struct dm_snapshot **second)
{
	add_snapshot(test, 1);
	*first = snap(test, 0);
	*second = snap(test, 1);
	set_limit(limit);
}

static void two_full_snapshots(struct kunit *test, long limit,
			       struct dm_snapshot **first, struct dm_snapshot **second)
{
	two_snapshots(test, limit, first, second);
	start_copies(*first, limit);
	start_copies(*second, limit);
}

/*
 * Both snapshots are at their limit. The writer that waited for the first
 * must not keep its grant while it waits for the second: whoever needs only
 * the first would wait for the second, too. Its copy has been started.
 */
static void no_grant_is_held_asleep(struct kunit *test)
{
	struct dm_snapshot *first, *second;

	two_full_snapshots(test, 1, &first, &second);
	writers_queue(test, first, 1, NULL, false, false);
	writes(test, 1, first, true, false);
	expect_soon(test, waiting(first) == 2);

	end_copies(first, 1);
	expect_soon(test, waiting(second) == 1);
	expect_soon(test, idle(test, 1));
	KUNIT_EXPECT_EQ(test, in_progress(first), 1);
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 1);
	KUNIT_EXPECT_EQ(test, exceptions(test, 1), 0);
	KUNIT_EXPECT_FALSE(test, passed(test, 0));

	/* The first is full again, but has done its part */
	end_copies(second, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(second), 0);
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 1);
	KUNIT_EXPECT_EQ(test, exceptions(test, 1), 1);
}

/* Nor any longer than it takes to start the copy */
static void a_grant_goes_back_at_once(struct kunit *test)
{
	struct dm_snapshot *first, *second;

	two_snapshots(test, 4, &first, &second);
	start_copies(first, 2);
	down_write(&second->lock);
	writes(test, 0, NULL, false, false);
	expect_soon(test, rwsem_is_contended(&second->lock));
	KUNIT_EXPECT_EQ(test, granted(first), 0);
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 1);
	KUNIT_EXPECT_EQ(test, in_progress(first), 2);
	up_write(&second->lock);
	expect_soon(test, idle(test, 0));

	/* Nor if somebody else has made the copy meanwhile */
	set_limit(2);
	writes_chunk(test, 0, 815);
	expect_soon(test, waiting(first) == 1);
	set_copied(test, first, 815);
	down_write(&second->lock);
	end_copies(first, 1);
	expect_soon(test, rwsem_is_contended(&second->lock));
	KUNIT_EXPECT_EQ(test, granted(first), 0);
	KUNIT_EXPECT_EQ(test, in_progress(first), 1);
	up_write(&second->lock);
	expect_soon(test, idle(test, 0));
}

/* Each lets in as many as it may, whatever the other does, and in order */
static void each_has_its_own_limit(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	struct dm_snapshot *first, *second;
	int i;

	two_full_snapshots(test, 1, &first, &second);
	t->snap[0]->counts = true;
	t->snap[1]->counts = true;
	writers_queue(test, first, 3, NULL, false, false);
	for (i = 0; i < 3; i++) {
		end_copies(first, 1);
		expect_soon(test, waiting(second) == i + 1);
		KUNIT_EXPECT_EQ(test, waiting(first), 2 - i);
		KUNIT_EXPECT_EQ(test, in_progress(first), 1);
		KUNIT_EXPECT_EQ(test, granted(first), 0);
	}
	for (i = 0; i < 3; i++) {
		end_copies(second, 1);
		expect_soon(test, idle(test, i));
		KUNIT_EXPECT_EQ(test, passed(test, i), i + 1);
		KUNIT_EXPECT_EQ(test, in_progress(second), 1);
	}
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 3);
	KUNIT_EXPECT_EQ(test, exceptions(test, 1), 3);
}

static unsigned int bios_queued(struct dm_snapshot *s, chunk_t chunk)
{
	struct dm_snap_pending_exception *pe = __lookup_pending_exception(s, chunk);
	struct bio *bio = pe ? bio_list_peek(&pe->origin_bios) : NULL;
	unsigned int n;

	/* One that has been queued twice is followed by itself */
	for (n = 0; bio && n < MAX_WRITERS; n++)
		bio = bio->bi_next;

	return n;
}

/*
 * kcopyd's callback retries what is queued: a bio must not be there as long as
 * its writer sleeps, and may go on only when all its copies have ended.
 */
static void bio_is_queued_once(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	struct dm_snapshot *first, *second;

	two_snapshots(test, 1, &first, &second);

	/* Both need a copy, the second one has to wait for it */
	start_copies(second, 1);
	writes_chunk(test, 0, 4711);
	expect_soon(test, waiting(second) == 1);
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 1);
	KUNIT_EXPECT_EQ(test, bios_queued(first, 4711), 0);
	end_copies(second, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, exceptions(test, 1), 1);
	KUNIT_EXPECT_EQ(test, bios_queued(first, 4711), 0);
	KUNIT_EXPECT_EQ(test, bios_queued(second, 4711), 1);
	KUNIT_EXPECT_EQ(test, t->writer[0].r, DM_MAPIO_SUBMITTED);

	/* The second has been copied */
	set_copied(test, second, 815);
	writes_chunk(test, 0, 815);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 2);
	KUNIT_EXPECT_EQ(test, exceptions(test, 1), 1);
	KUNIT_EXPECT_EQ(test, bios_queued(first, 815), 1);
	KUNIT_EXPECT_EQ(test, t->writer[0].r, DM_MAPIO_SUBMITTED);

	/* There is nothing to copy */
	remove_snapshot(test, 0);
	writes_chunk(test, 0, 815);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, t->writer[0].r, DM_MAPIO_REMAPPED);
}

/* Both are near their limit: the writer counts for one, and for none afterwards */
static void one_grant_at_most(struct kunit *test)
{
	struct dm_snapshot *first, *second;

	two_snapshots(test, 2, &first, &second);
	start_copies(first, 1);
	start_copies(second, 1);
	writes(test, 0, NULL, false, false);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(first), 1);
	KUNIT_EXPECT_EQ(test, in_progress(second), 1);
	KUNIT_EXPECT_EQ(test, granted(first), 0);
	KUNIT_EXPECT_EQ(test, granted(second), 0);
}

/* The one that is full counts, whichever is looked at first */
static void far_from_one_limit_is_not_enough(struct kunit *test)
{
	struct dm_snapshot *full;
	int i;

	add_snapshot(test, 1);
	set_limit(4);
	for (i = 0; i < 2; i++) {
		full = snap(test, i);
		start_copies(full, 4);
		writes(test, 0, NULL, false, false);
		expect_soon(test, waiting(full) == 1);
		end_copies(full, 4);
		expect_soon(test, idle(test, 0));
	}
}

/* A newcomer, too, gives its grant back before it waits elsewhere */
static void a_newcomer_leaves_its_grant(struct kunit *test)
{
	struct dm_snapshot *first, *second;

	two_full_snapshots(test, 2, &first, &second);
	end_copies(first, 1);
	writes(test, 0, NULL, false, false);
	expect_soon(test, waiting(second) == 1);
	KUNIT_EXPECT_EQ(test, granted(first), 0);
	KUNIT_EXPECT_EQ(test, in_progress(first), 1);
	end_copies(second, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(first), 1);
	KUNIT_EXPECT_EQ(test, in_progress(second), 1);
}

/* Another one came meanwhile, and comes first: the grant must go back, too */
static void a_new_snapshot_comes_first(struct kunit *test)
{
	struct dm_snapshot *old = snap(test, 0), *new;

	set_limit(1);
	start_copies(old, 1);
	writes(test, 0, NULL, false, false);
	expect_soon(test, waiting(old) == 1);
	add_snapshot(test, 1);
	new = snap(test, 1);
	new->store->chunk_size *= 2;	/* the largest chunks come first */
	reregister_snapshot(new);
	start_copies(new, 1);

	end_copies(old, 1);
	expect_soon(test, waiting(new) == 1);
	KUNIT_EXPECT_EQ(test, granted(old), 0);
	KUNIT_EXPECT_EQ(test, in_progress(old), 0);
	end_copies(new, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, exceptions(test, 0), 1);
	KUNIT_EXPECT_EQ(test, exceptions(test, 1), 1);
	KUNIT_EXPECT_EQ(test, in_progress(old), 0);
	KUNIT_EXPECT_EQ(test, in_progress(new), 0);
}

/* The exception can't be made: the snapshot is invalid, and the grant goes back */
static void no_room_for_an_exception(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	struct dm_snapshot *s = snap(test, 0);

	set_limit(1);
	start_copies(s, 1);
	t->snap[0]->full = true;
	writes(test, 0, NULL, false, false);
	expect_soon(test, waiting(s) == 1);
	end_copies(s, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_FALSE(test, s->valid);
	KUNIT_EXPECT_EQ(test, granted(s), 0);
	KUNIT_EXPECT_EQ(test, in_progress(s), 0);
	KUNIT_EXPECT_EQ(test, t->writer[0].r, DM_MAPIO_REMAPPED);
}

/* The snapshot goes while its writers sleep; the other one is still there */
static void one_of_two_is_removed(struct kunit *test)
{
	struct dm_snapshot *first, *second;
	int i;

	two_full_snapshots(test, 1, &first, &second);
	writers_queue(test, first, 4, NULL, false, false);
	remove_snapshot(test, 0);
	expect_soon(test, waiting(second) == 4);
	KUNIT_EXPECT_EQ(test, waiting(first), 0);
	KUNIT_EXPECT_EQ(test, in_progress(first), 1);
	end_copies(first, 1);

	remove_snapshot(test, 1);
	for (i = 0; i < 4; i++)
		expect_soon(test, idle(test, i));
	KUNIT_EXPECT_EQ(test, in_progress(second), 1);
}

/* All grants are void */
static void removed_with_two_grants(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);
	int i;

	set_limit(2);
	start_copies(s, 2);
	writers_queue(test, s, 2, NULL, false, false);
	down_write(&_origins_lock);
	end_copies(s, 2);
	KUNIT_EXPECT_EQ(test, granted(s), 2);
	remove_locked(s);
	KUNIT_EXPECT_EQ(test, granted(s), 0);
	KUNIT_EXPECT_EQ(test, in_progress(s), 0);
	up_write(&_origins_lock);
	for (i = 0; i < 2; i++)
		expect_soon(test, idle(test, i));
}

/* Nothing of a snapshot may be looked at once it has been removed and freed */
static void removed_and_freed_while_asleep(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	set_limit(1);
	start_copies(s, 1);
	writes(test, 0, NULL, false, false);
	expect_soon(test, waiting(s) == 1);
	remove_snapshot(test, 0);
	end_copies(s, 1);
	free_snapshot(test, 0);
	expect_soon(test, idle(test, 0));
}

/* Its writer was on the way to the queue, and is there before the removal */
static void who_queues_late_is_released(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	set_limit(1);
	start_copies(s, 1);
	down_write(&s->lock);
	writes(test, 0, NULL, false, false);
	expect_soon(test, rwsem_is_contended(&s->lock));
	removes(test, 1, 0);
	expect_soon(test, rwsem_is_contended(&_origins_lock));
	up_write(&s->lock);
	expect_soon(test, idle(test, 0) && idle(test, 1));
	KUNIT_EXPECT_EQ(test, in_progress(s), 1);
}

static bool all_idle(struct kunit *test, int writers)
{
	while (writers--)
		if (!idle(test, writers))
			return false;

	return true;
}

/* Called over and over, for it to change while others look at it */
static bool limit_alternates(void)
{
	set_limit(cow_threshold == 2 ? 3 : 2);

	return true;
}

/*
 * What the lock is for: writers to an origin and to its snapshot at once, and
 * beside it another snapshot that comes and goes while copies of it end, and a
 * limit that goes up and down. The last of these copies let writers in: how many
 * there are decides how far the removal is by then.
 */
static void all_at_once(struct kunit *test)
{
	struct dm_snapshot *first = snap(test, 0);
	unsigned int i;

	set_limit(2);
	for (i = 0; i < 8; i++)
		storms(test, i, i & 1 ? first : NULL);
	for (i = 0; !all_idle(test, 8) && !test->status; i++) {
		unsigned int copies = 4 + 5 * i % 64;
		struct dm_snapshot *second;

		add_snapshot(test, 1);
		second = snap(test, 1);
		start_copies(second, copies);
		expect_soon(test, limit_alternates() && (waiting(second) || all_idle(test, 8)));
		ends(test, 8, second, copies);
		expect_soon(test, in_progress(second) < copies);
		remove_snapshot(test, 1);
		expect_soon(test, limit_alternates() && idle(test, 8));
		KUNIT_EXPECT_EQ(test, in_progress(second), 0);
		if (idle(test, 8))
			free_snapshot(test, 1);
	}
	KUNIT_EXPECT_EQ(test, waiting(first), 0);
	KUNIT_EXPECT_EQ(test, in_progress(first), 0);
	KUNIT_EXPECT_EQ(test, granted(first), 0);
}

/* Warns, once, and leaves the count alone. The warning is expected. */
static void unbalanced_end(struct kunit *test)
{
	struct dm_snapshot *s = snap(test, 0);

	kunit_info(test, "the following warning is expected");
	end_copies(s, 2);
	KUNIT_EXPECT_EQ(test, in_progress(s), 0);
}

/*
 * 10,000 steps at random against a plain model: a queue, a counter, a limit.
 * Copies that end and writers that come let in whoever there is room for.
 */
struct model {
	unsigned int copies, head, tail;
	struct {
		int writer;
		bool starts_copy;
	} queue[MAX_WRITERS + 1];
	bool asleep[MAX_WRITERS];
	long limit;
};

static void model_let_in(struct model *m)
{
	while (m->head != m->tail && (m->limit <= 0 || m->copies < m->limit)) {
		m->asleep[m->queue[m->head].writer] = false;
		m->copies += m->queue[m->head].starts_copy;
		m->head = (m->head + 1) % ARRAY_SIZE(m->queue);
	}
}

static bool as_in_model(struct kunit *test, const struct model *m, unsigned int writers)
{
	struct dm_snapshot *s = snap(test, 0);
	unsigned int i, asleep = 0;

	for (i = 0; i < writers; i++) {
		if (idle(test, i) == m->asleep[i])
			return false;
		asleep += m->asleep[i];
	}

	return waiting(s) == asleep && !granted(s) && in_progress(s) == m->copies;
}

static void random_steps(struct kunit *test)
{
	static const long some_limits[] = { 1, 2, 3, 5, 8, 16, 0, -1, LONG_MAX };
	struct model m = { .limit = 2 };
	struct dm_snapshot *s = snap(test, 0);
	const unsigned int writers = 8;
	struct rnd_state rnd;
	unsigned int i, step;

	prandom_seed_state(&rnd, 20191002);
	set_limit(m.limit);
	for (i = 0; i < writers; i++) {
		writes(test, i, s, false, false);
		expect_soon(test, idle(test, i));
	}
	for (step = 0; step < 10000; step++) {
		u32 r = prandom_u32_state(&rnd);

		i = (r >> 8) % writers;
		switch (r % 16) {
		case 0:
			m.limit = some_limits[(r >> 8) % ARRAY_SIZE(some_limits)];
			set_limit(m.limit);
			break;
		case 1:
			if (m.copies < 32) {
				m.copies++;
				start_copies(s, 1);
			}
			break;
		case 2 ... 8:
			if (m.copies) {
				m.copies--;
				model_let_in(&m);
				end_copies(s, 1);
			}
			break;
		default:
			if (!m.asleep[i]) {
				bool starts_copy = r & 0x80000000;

				m.queue[m.tail].writer = i;
				m.queue[m.tail].starts_copy = starts_copy;
				m.tail = (m.tail + 1) % ARRAY_SIZE(m.queue);
				m.asleep[i] = true;
				model_let_in(&m);
				writes(test, i, s, starts_copy, false);
			}
		}
		if (!settles(as_in_model(test, &m, writers))) {
			KUNIT_FAIL(test, "step %u: %u in progress, %u waiting; model: %u copies",
				   step, in_progress(s), waiting(s), m.copies);
			return;
		}
	}
}

static struct kunit_case throttle_test_cases[] = {
	/* The first, as most others need that lock */
	KUNIT_CASE(origins_lock_is_free_while_asleep),
	KUNIT_CASE_PARAM(state_and_event, cell_gen_params),
	KUNIT_CASE_PARAM(far_from_the_limit_takes_no_lock, limit_gen_params),
	KUNIT_CASE(limit_is_the_limit),
	KUNIT_CASE(map_waits_for_a_copy_only),
	KUNIT_CASE(others_come_while_it_allocates),
	KUNIT_CASE(an_invalid_snapshot_has_no_limit),
	KUNIT_CASE(one_for_one_in_order),
	KUNIT_CASE(a_grant_counts_as_a_copy),
	KUNIT_CASE(grants_begin_near_the_limit),
	KUNIT_CASE(who_was_let_in_counts),
	KUNIT_CASE(newcomers_do_not_overtake),
	KUNIT_CASE(newcomers_look_at_the_queue),
	KUNIT_CASE(who_needs_no_copy_wakes_the_next),
	KUNIT_CASE(rewrites_are_not_throttled),
	KUNIT_CASE_PARAM(limit_changes_while_asleep, limit_gen_params),
	KUNIT_CASE(one_copy_wakes_one),
	KUNIT_CASE_PARAM(newcomer_tells_of_a_raised_limit, limit_gen_params),
	KUNIT_CASE(lowered_limit_holds),
	KUNIT_CASE(no_grant_is_held_asleep),
	KUNIT_CASE(a_grant_goes_back_at_once),
	KUNIT_CASE(each_has_its_own_limit),
	KUNIT_CASE(bio_is_queued_once),
	KUNIT_CASE(one_grant_at_most),
	KUNIT_CASE(far_from_one_limit_is_not_enough),
	KUNIT_CASE(a_newcomer_leaves_its_grant),
	KUNIT_CASE(a_new_snapshot_comes_first),
	KUNIT_CASE(no_room_for_an_exception),
	KUNIT_CASE(one_of_two_is_removed),
	KUNIT_CASE(removed_with_two_grants),
	KUNIT_CASE(removed_and_freed_while_asleep),
	KUNIT_CASE(who_queues_late_is_released),
	KUNIT_CASE(all_at_once),
	KUNIT_CASE(unbalanced_end),
	KUNIT_CASE(random_steps),
	{ }
};

static struct kunit_suite throttle_test_suite = {
	.name = "dm_snapshot_throttle",
	.init = throttle_test_init,
	.exit = throttle_test_exit,
	.test_cases = throttle_test_cases,
};

kunit_test_suite(throttle_test_suite);

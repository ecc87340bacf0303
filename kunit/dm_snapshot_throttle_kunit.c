// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the copy-on-write throttle of dm-snapshot: the state machine
 * of account_start_copy() and account_end_copy(), and the ways to it. Included
 * by dm-snap.c, because all of these are static.
 *
 * What must happen, by state of a snapshot, when the limit is 3: in_progress
 * right after the event, and whether a newcomer passes (p) or waits (w) then. In
 * the last two states a writer waits already; what it does comes first.
 *
 *            nothing  copy       copy   limit      limit       limit
 *            happens  starts[1]  ends   raised[2]  lowered[2]  removed
 *  ---------------------------------------------------------------------
 *  below     2 p      3 w        1 p    2 p        2 w         2 p
 *  at        3 w      4 w        2 p    3 p        3 w         3 p
 *  over[3]   4 w      5 w        3 w    4 w        4 w         4 p
 *  queued    3 ww     4 ww       3 pw   3 pw[4]    3 ww        3 pp[4]
 *  queued,
 *   over[3]  4 ww     5 ww       3 ww   4 ww       4 ww        4 pp[4]
 *
 * [1] one that isn't throttled, as of kcopyd's callbacks
 * [2] by one
 * [3] the limit was lowered while 4 copies were in flight
 * [4] once the newcomer has come: nobody looks before
 *
 * "queued, copy ends": the slot is handed over, the writer counts before it runs.
 *
 * The snapshots here are registered for an origin of their own, and have a real
 * kcopyd client. Their chunks have 8 sectors, but chunk_size is 0: kcopyd has
 * nothing to read or write, and calls copy_callback() from its worker. It ends
 * there in the test's exception store, which lets a copy end when the test says
 * so. Bios are REQ_NOWAIT, which the devices don't support: submitting one ends
 * it. A bio of size 0 fills a chunk. A "direct" writer is no more than a call of
 * account_start_copy(), and its copy ends with a call of account_end_copy().
 *
 * No test depends on time: each waits for a state, and fails if it doesn't
 * come about for a long while.
 */

#include <kunit/test.h>
#include <linux/prandom.h>
#include <linux/workqueue.h>

#include "../dm-core.h"

#define LONG_WHILE (30 * HZ)
#define MAX_WRITERS 16
#define MERGING 3		/* this snapshot is, it is not registered */
#define MAX_SNAPSHOTS 4
#define CHUNK_SECTORS 8
#define STORM 200

/* How to get to the throttle, and what else a "writer" may do */
enum way {
	DIRECT, MERGE, ORIGIN, MERGING_ORIGIN, SNAPSHOT, FULL_CHUNK, DISCARD, WAYS,
	RETRY, REMOVAL
};

static const char * const way_names[WAYS] = {
	"direct", "merge", "origin", "merging origin", "snapshot", "full chunk", "discard"
};

struct test_snapshot {
	struct dm_snapshot s;
	struct dm_dev cow;
	struct block_device cow_bdev;
	struct dm_exception_store store;
	struct dm_target ti;
	struct dm_table table;
	sector_t high;
	atomic_t direct;		/* copies that kcopyd knows nothing of */
	bool full;
	struct completion may_end;	/* one more copy */
	unsigned int inserted;		/* exceptions */
	unsigned int started;		/* copies that kcopyd has got */
	unsigned int answers;		/* see copies_started() */
	bool registered;
};

struct test_writer {
	struct throttle_test *t;
	struct work_struct work;
	struct task_struct *task;
	struct test_snapshot *f;
	enum way way;
	blk_opf_t opf;
	unsigned int size;
	chunk_t chunk;
	unsigned int storm;		/* so many writes, their copies end */
	int r;
	bool idle;
	unsigned int bios, ended;
	struct completion bio_ended;
	struct dm_snap_tracked_chunk tracked;	/* as dm_per_bio_data() expects */
	struct dm_target_io tio;
};

struct throttle_test {
	struct request_queue queue;
	struct gendisk disk;
	struct block_device origin_bdev;
	struct dm_dev origin;
	struct dm_origin dm_origin;
	struct dm_target origin_ti;
	struct workqueue_struct *wq;
	wait_queue_head_t begun_or_done;	/* for wait_for_writers() */
	struct test_snapshot *snap[MAX_SNAPSHOTS];
	struct test_writer *writer[MAX_WRITERS];
	atomic_t chunks;
	unsigned int old_threshold;
};

static void set_limit(unsigned int limit)
{
	WRITE_ONCE(cow_threshold, limit);
}

static void start_copies(struct test_snapshot *f, int n)
{
	atomic_add(n, &f->direct);
	while (n--)
		account_start_copy_nowait(&f->s, false);
}

static void end_copies(struct test_snapshot *f, int n)
{
	atomic_sub(n, &f->direct);
	while (n--)
		account_end_copy(&f->s);
}

static unsigned int in_progress(struct test_snapshot *f)
{
	unsigned int n;

	spin_lock(&f->s.in_progress_lock);
	n = f->s.in_progress;
	spin_unlock(&f->s.in_progress_lock);

	return n;
}

static int pending(struct test_snapshot *f)
{
	return atomic_read(&f->s.pending_exceptions_count);
}

static unsigned int waiting(struct test_snapshot *f)
{
	struct list_head *pos;
	unsigned int n = 0;

	spin_lock(&f->s.in_progress_lock);
	list_for_each(pos, &f->s.throttled_writers)
		n++;
	spin_unlock(&f->s.in_progress_lock);

	return n;
}

/*
 * Until a writer has begun or is done, or for a tick. schedule() may not let it
 * run before the next one, as sched_clock() of UML only counts them.
 */
static void wait_for_writers(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	DEFINE_WAIT(wait);

	prepare_to_wait(&t->begun_or_done, &wait, TASK_UNINTERRUPTIBLE);
	schedule_timeout(1);
	finish_wait(&t->begun_or_done, &wait);
}

/*
 * For a state that comes about at once, or almost. Once the test has failed,
 * less time is spent on what else doesn't.
 */
#define settles(condition)						\
({									\
	unsigned long give_up = jiffies +				\
		LONG_WHILE / (test->status == KUNIT_FAILURE ? 10 : 1);	\
	unsigned int looks = 0;						\
	bool settled, late;						\
									\
	for (;;) {							\
		late = time_after(jiffies, give_up);			\
		settled = (condition);					\
		if (settled || late)					\
			break;						\
		if (++looks % 16)					\
			schedule();					\
		else							\
			wait_for_writers(test);				\
	}								\
	settled;							\
})

#define expect_soon(test, condition)					\
do {									\
	bool settled = settles(condition);				\
									\
	KUNIT_EXPECT_TRUE_MSG(test, settled, "never: " #condition);	\
} while (0)

/* As it is when the chunk's copy has ended */
static void set_copied(struct kunit *test, struct dm_snapshot *s, chunk_t chunk)
{
	struct dm_exception *e = alloc_completed_exception(GFP_KERNEL);
	struct dm_exception_table_lock lock;

	KUNIT_ASSERT_NOT_NULL(test, e);
	e->old_chunk = chunk;
	e->new_chunk = 0;
	dm_exception_table_lock_init(s, chunk, &lock);
	dm_exception_table_lock(&lock);
	dm_insert_exception(&s->complete, e);
	dm_exception_table_unlock(&lock);
}

/* The exception store */

static int test_prepare_exception(struct dm_exception_store *store, struct dm_exception *e)
{
	struct test_snapshot *f = container_of(store, struct test_snapshot, store);

	if (f->full)
		return -ENOSPC;
	WRITE_ONCE(f->inserted, f->inserted + 1);
	e->new_chunk = 0;		/* for one chunk: see dm_consecutive_chunk_count() */

	return 0;
}

static void test_commit_exception(struct dm_exception_store *store, struct dm_exception *e,
				  int valid, void (*callback)(void *context, int success),
				  void *context)
{
	struct test_snapshot *f = container_of(store, struct test_snapshot, store);

	WRITE_ONCE(f->started, f->started + 1);
	wait_for_completion(&f->may_end);
	callback(context, 1);
}

static struct dm_exception_store_type test_store = {
	.name = "test",
	.prepare_exception = test_prepare_exception,
	.commit_exception = test_commit_exception,
};

static void kcopyd_answers(int read_err, unsigned long write_err, void *context)
{
	struct test_snapshot *f = context;

	WRITE_ONCE(f->answers, f->answers + 1);
}

/*
 * How many copies kcopyd has got, or 1 if it is at the first one. It does one job
 * after the other: if it gets to ours, it has got nothing else before that.
 */
static unsigned int copies_started(struct kunit *test, struct test_snapshot *f)
{
	void *job = dm_kcopyd_prepare_callback(f->s.kcopyd_client, kcopyd_answers, f);
	unsigned int answers = READ_ONCE(f->answers);

	dm_kcopyd_do_callback(job, 0, 0);
	expect_soon(test, READ_ONCE(f->answers) != answers || READ_ONCE(f->started));

	return READ_ONCE(f->started);
}

/* Writers */

static void bio_ended(struct bio *bio)
{
	struct test_writer *w = container_of(bio, struct test_writer, tio.clone);

	WRITE_ONCE(w->ended, w->ended + 1);
	complete(&w->bio_ended);
}

static void write_once(struct test_writer *w)
{
	struct dm_target *ti = w->way == ORIGIN ? &w->t->origin_ti :
		w->way == MERGING_ORIGIN ? &w->t->snap[MERGING]->ti : &w->f->ti;
	struct bio *bio = &w->tio.clone;
	sector_t sector = w->chunk * CHUNK_SECTORS;

	switch (w->way) {
	case DIRECT:
		account_start_copy(&w->f->s);
		atomic_inc(&w->f->direct);
		return;
	case MERGE:
		w->r = origin_write_extent(&w->t->snap[MERGING]->s, sector, CHUNK_SECTORS);
		return;
	case REMOVAL:
		/* As snapshot_dtr() does */
		unregister_snapshot(&w->f->s);
		WRITE_ONCE(w->f->registered, false);
		while (pending(w->f))
			fsleep(1000);
		return;
	default:
		break;
	}

	bio_init(bio, &w->t->origin_bdev, NULL, 0, w->opf | REQ_NOWAIT);
	bio->bi_end_io = bio_ended;
	bio->bi_iter.bi_sector = sector;
	bio->bi_iter.bi_size = w->size;
	WRITE_ONCE(w->bios, w->bios + 1);
	/* A retry is what kcopyd's callback does */
	w->r = w->way == RETRY ? do_origin(&w->t->origin, bio, false) : ti->type->map(ti, bio);
	if (w->r != DM_MAPIO_SUBMITTED) {
		if (ti->type->end_io)
			ti->type->end_io(ti, bio, &bio->bi_status);
		bio_endio(bio);
	}
}

static void write_all(struct work_struct *work)
{
	struct test_writer *w = container_of(work, struct test_writer, work);

	w->task = current;
	wake_up(&w->t->begun_or_done);
	if (!w->storm)
		write_once(w);
	for (; w->storm; w->storm--) {
		write_once(w);
		if (w->way == DIRECT)
			end_copies(w->f, 1);
		else
			wait_for_completion(&w->bio_ended);
		w->chunk = atomic_inc_return(&w->t->chunks);
	}
	/* Pairs with idle(): what it has done can be looked at */
	smp_store_release(&w->idle, true);
	wake_up(&w->t->begun_or_done);
}

static bool idle(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	/* Pairs with write_all() */
	return smp_load_acquire(&t->writer[i]->idle);
}

/* Of the first n writers */
static int count_idle(struct kunit *test, int n)
{
	int count = 0;

	while (n--)
		count += idle(test, n);

	return count;
}

static struct test_snapshot *snap(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	return t->snap[i];
}

/* Writer i, which is about to write a chunk that nobody has written before */
static struct test_writer *writer(struct kunit *test, int i, struct test_snapshot *f, enum way way)
{
	struct throttle_test *t = test->priv;
	struct test_writer *w = t->writer[i];

	w->f = f;
	w->way = way;
	w->opf = way == DISCARD ? REQ_OP_DISCARD : REQ_OP_WRITE;
	w->size = way == DISCARD || way == FULL_CHUNK ? 0 : SECTOR_SIZE;
	w->chunk = atomic_inc_return(&t->chunks);
	w->storm = 0;
	w->idle = false;

	return w;
}

/* Writer i writes to f, or, as f has it, to its origin, and needs a copy */
static void writes(struct kunit *test, int i, struct test_snapshot *f, enum way way)
{
	struct test_writer *w = writer(test, i, f, way);

	if (way == DISCARD)
		set_copied(test, &f->s, w->chunk);
	queue_work(w->t->wq, &w->work);
}

/* ... and waits for its copy, as the last of n writers */
static void queues(struct kunit *test, int i, struct test_snapshot *f, enum way way,
		   unsigned int n)
{
	writes(test, i, f, way);
	expect_soon(test, waiting(f) == n);
}

static unsigned int bios_ended(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;

	return READ_ONCE(t->writer[i]->ended);
}

/*
 * Neither this nor the writers are KUnit's to free: a writer that sleeps for good
 * still uses them. See throttle_test_exit().
 */
static struct test_snapshot *add_snapshot(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;
	struct test_snapshot *f = kzalloc(sizeof(*f), GFP_KERNEL);
	struct dm_snapshot *s = &f->s;

	KUNIT_ASSERT_NOT_NULL(test, f);
	f->cow.bdev = &f->cow_bdev;
	f->cow_bdev.bd_disk = &t->disk;
	f->cow_bdev.bd_queue = &t->queue;
	f->store.type = &test_store;
	f->store.chunk_mask = CHUNK_SECTORS - 1;
	f->store.chunk_shift = ilog2(CHUNK_SECTORS);
	f->high = LONG_MAX;
	f->table.num_targets = 1;
	f->table.highs = &f->high;
	f->ti.type = i == MERGING ? &merge_target : &snapshot_target;
	f->ti.max_io_len = CHUNK_SECTORS;
	f->ti.table = &f->table;
	f->ti.per_io_data_size = sizeof(struct dm_snap_tracked_chunk);
	f->ti.private = s;
	init_completion(&f->may_end);
	s->origin = &t->origin;
	s->cow = &f->cow;
	s->store = &f->store;
	s->ti = &f->ti;
	s->valid = i != MERGING;	/* it redirects all writes to the origin */
	s->active = 1;
	s->out_of_order_tree = RB_ROOT;
	init_rwsem(&s->lock);
	spin_lock_init(&s->pe_allocation_lock);
	spin_lock_init(&s->tracked_chunk_lock);
	INIT_LIST_HEAD(&s->list);
	spin_lock_init(&s->in_progress_lock);
	INIT_LIST_HEAD(&s->throttled_writers);
	KUNIT_ASSERT_EQ(test, init_hash_tables(s), 0);
	KUNIT_ASSERT_EQ(test, mempool_init_slab_pool(&s->pending_pool, 1, pending_cache), 0);
	s->kcopyd_client = dm_kcopyd_client_create(NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, s->kcopyd_client);
	f->registered = i != MERGING;
	if (f->registered)
		KUNIT_ASSERT_EQ(test, register_snapshot(s), 0);
	t->snap[i] = f;

	return f;
}

/* What is left for snapshot_dtr() to do when no exception is pending any more */
static void free_snapshot(struct kunit *test, int i)
{
	struct throttle_test *t = test->priv;
	struct test_snapshot *f = t->snap[i];

	t->snap[i] = NULL;
	if (f->registered)
		unregister_snapshot(&f->s);
	__free_exceptions(&f->s);
	mempool_exit(&f->s.pending_pool);
	KUNIT_EXPECT_EQ(test, waiting(f), 0);
	KUNIT_EXPECT_EQ(test, in_progress(f), 0);
	KUNIT_EXPECT_EQ(test, f->started, f->inserted);
	memset(f, 0x6b, sizeof(*f));
	kfree(f);
}

/* The limit is every snapshot's: none but ours may be there */
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

static int throttle_test_init(struct kunit *test)
{
	struct throttle_test *t;
	int i;

	/* For throttle_test_exit(), which comes even if the test is skipped */
	test->priv = NULL;

	/* KUnit of older kernels runs a module's tests before its init function */
	if (!_origins || !pending_cache)
		kunit_skip(test, "not for a module that isn't initialised yet");
	if (snapshots_exist())
		kunit_skip(test, "not on a machine that has snapshots");
	/* It stays until throttle_test_exit() */
	if (!try_module_get(THIS_MODULE))
		kunit_skip(test, "not for a module that is being removed");
	t = krealloc(NULL, sizeof(*t), GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, t);
	t->disk.queue = &t->queue;
	t->origin_bdev.bd_disk = &t->disk;
	t->origin_bdev.bd_queue = &t->queue;
	t->origin.bdev = &t->origin_bdev;
	t->dm_origin.dev = &t->origin;
	t->dm_origin.split_boundary = CHUNK_SECTORS;
	t->origin_ti.type = &origin_target;
	t->origin_ti.private = &t->dm_origin;
	t->old_threshold = cow_threshold;
	test->priv = t;
	init_waitqueue_head(&t->begun_or_done);
	t->wq = alloc_workqueue("throttle_test", WQ_UNBOUND, 0);
	KUNIT_ASSERT_NOT_NULL(test, t->wq);
	for (i = 0; i < MAX_WRITERS; i++) {
		struct test_writer *w = kzalloc(sizeof(*w), GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, w);
		w->t = t;
		w->idle = true;
		INIT_WORK(&w->work, write_all);
		init_completion(&w->bio_ended);
		t->writer[i] = w;
	}
	add_snapshot(test, MERGING);
	add_snapshot(test, 0);

	return 0;
}

static bool lock_is_free(struct rw_semaphore *lock)
{
	if (!down_write_trylock(lock))
		return false;
	up_write(lock);

	return true;
}

/* Ends the copies that kcopyd knows nothing of, until all writers have come home */
static bool all_has_ended(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	bool ended = true;
	int i;

	/* First: a writer that is idle has added its copy to "direct" */
	for (i = 0; i < MAX_WRITERS && t->writer[i]; i++)
		ended &= idle(test, i) && bios_ended(test, i) >= t->writer[i]->bios;
	for (i = 0; i < MAX_SNAPSHOTS; i++) {
		if (!t->snap[i])
			continue;
		while (atomic_dec_if_positive(&t->snap[i]->direct) >= 0)
			account_end_copy(&t->snap[i]->s);
		ended &= !pending(t->snap[i]);
	}

	return ended;
}

/*
 * All writers must come to an end, now that there is no limit, and all copies may
 * end, and leave nothing behind. If one doesn't, all that it uses stays. Where it
 * has _origins_lock, that is the snapshots, too, and the tests after this one are
 * skipped.
 */
static void throttle_test_exit(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	bool stuck;
	int i;

	if (!t)
		return;

	set_limit(0);
	for (i = 0; i < MAX_SNAPSHOTS; i++)
		if (t->snap[i])
			complete_all(&t->snap[i]->may_end);
	stuck = !settles(all_has_ended(test));
	set_limit(t->old_threshold);
	if (stuck) {
		KUNIT_FAIL(test, "a writer sleeps for good");
		if (!settles(lock_is_free(&_origins_lock)))
			return;
		for (i = 0; i < MAX_SNAPSHOTS; i++)
			if (t->snap[i] && t->snap[i]->registered)
				unregister_snapshot(&t->snap[i]->s);
		return;
	}

	if (t->wq)
		destroy_workqueue(t->wq);
	for (i = 0; i < MAX_SNAPSHOTS; i++)
		if (t->snap[i])
			free_snapshot(test, i);
	for (i = 0; i < MAX_WRITERS && t->writer[i]; i++) {
		KUNIT_EXPECT_EQ(test, t->writer[i]->ended, t->writer[i]->bios);
		kfree(t->writer[i]);
	}
	kfree(t);
	module_put(THIS_MODULE);
}

/* The table at the head of this file, by each way */

enum state { BELOW, AT, OVER, QUEUED, QUEUED_OVER, STATES };
enum event { NOTHING, STARTS, ENDS, RAISED, LOWERED, REMOVED, EVENTS };

/* What is in progress and who waits, after the event and after the newcomer */
static const struct cell {
	unsigned int n, waiting, new_n, new_waiting;
} cells[STATES][EVENTS] = {
	[BELOW] =	{ { 2, 0, 3, 0 }, { 3, 0, 3, 1 }, { 1, 0, 2, 0 },
			  { 2, 0, 3, 0 }, { 2, 0, 2, 1 }, { 2, 0, 3, 0 } },
	[AT] =		{ { 3, 0, 3, 1 }, { 4, 0, 4, 1 }, { 2, 0, 3, 0 },
			  { 3, 0, 4, 0 }, { 3, 0, 3, 1 }, { 3, 0, 4, 0 } },
	[OVER] =	{ { 4, 0, 4, 1 }, { 5, 0, 5, 1 }, { 3, 0, 3, 1 },
			  { 4, 0, 4, 1 }, { 4, 0, 4, 1 }, { 4, 0, 5, 0 } },
	[QUEUED] =	{ { 3, 1, 3, 2 }, { 4, 1, 4, 2 }, { 3, 0, 3, 1 },
			  { 3, 1, 4, 1 }, { 3, 1, 3, 2 }, { 3, 1, 5, 0 } },
	[QUEUED_OVER] =	{ { 4, 1, 4, 2 }, { 5, 1, 5, 2 }, { 3, 1, 3, 2 },
			  { 4, 1, 4, 2 }, { 4, 1, 4, 2 }, { 4, 1, 6, 0 } },
};

/* A parameter is its position in an array that has nothing in it */
static const char by_way[WAYS];
static const char by_exception[DISCARD];	/* for those that the store can stop */
static const char cell_by_way[STATES * EVENTS * WAYS];

static void way_name(const char *param, char *name)
{
	strscpy(name, way_names[param - by_way], KUNIT_PARAM_DESC_SIZE);
}

static void exception_name(const char *param, char *name)
{
	strscpy(name, way_names[param - by_exception], KUNIT_PARAM_DESC_SIZE);
}

static void cell_name(const char *param, char *name)
{
	static const char * const states[] = { "below", "at", "over", "queued", "queued, over" };
	static const char * const events[] = {
		"nothing happens", "copy starts", "copy ends",
		"limit raised", "limit lowered", "limit removed"
	};
	int n = param - cell_by_way;

	snprintf(name, KUNIT_PARAM_DESC_SIZE, "%s, %s, by %s", states[n / EVENTS % STATES],
		 events[n % EVENTS], way_names[n / EVENTS / STATES]);
}

KUNIT_ARRAY_PARAM(way, by_way, way_name);
KUNIT_ARRAY_PARAM(exception, by_exception, exception_name);
KUNIT_ARRAY_PARAM(cell, cell_by_way, cell_name);

static enum way param_way(struct kunit *test)
{
	return (const char *)test->param_value - by_way;
}

static void state_and_event(struct kunit *test)
{
	static const unsigned int limit_after[EVENTS] = { 3, 3, 3, 4, 2, 0 };
	int param = (const char *)test->param_value - cell_by_way;
	enum event event = param % EVENTS;
	enum state state = param / EVENTS % STATES;
	enum way way = param / EVENTS / STATES;
	const struct cell *c = &cells[state][event];
	struct test_snapshot *f = snap(test, 0);
	bool over = state == OVER || state == QUEUED_OVER;
	bool queued = state >= QUEUED;

	/* One that kcopyd doesn't get past, and no other copy either */
	set_limit(3);
	writes(test, 15, f, SNAPSHOT);
	expect_soon(test, idle(test, 15));
	start_copies(f, state == BELOW ? 1 : over ? 3 : 2);
	if (queued)
		queues(test, 0, f, way, 1);

	set_limit(limit_after[event]);
	if (event == STARTS)
		start_copies(f, 1);
	else if (event == ENDS)
		end_copies(f, 1);
	KUNIT_EXPECT_EQ(test, in_progress(f), c->n);
	KUNIT_EXPECT_EQ(test, waiting(f), c->waiting);
	if (queued && !c->waiting)
		expect_soon(test, idle(test, 0));

	writes(test, queued, f, way);
	if (!c->new_waiting)
		expect_soon(test, idle(test, queued));
	expect_soon(test, waiting(f) == c->new_waiting);
	if (queued && c->new_waiting < 2)
		expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, in_progress(f), c->new_n);
	KUNIT_EXPECT_EQ(test, idle(test, queued), !c->new_waiting);
	if (queued)
		KUNIT_EXPECT_EQ(test, idle(test, 0), c->new_waiting < 2);
}

/* A writer that sleeps has its exception, holds no lock, and sleeps on */
static void asleep(struct kunit *test)
{
	enum way way = param_way(test);
	struct throttle_test *t = test->priv;
	struct test_snapshot *f = snap(test, 0);
	struct task_struct *task;
	unsigned long sleeps;

	set_limit(1);
	start_copies(f, 1);
	queues(test, 0, f, way, 1);
	expect_soon(test, lock_is_free(&_origins_lock));
	expect_soon(test, lock_is_free(&f->s.lock));
	expect_soon(test, lock_is_free(&snap(test, MERGING)->s.lock));
	/* On the way of the origin, s is also kept until start_copy() has returned */
	KUNIT_EXPECT_EQ(test, f->inserted, way != DIRECT && way != DISCARD);
	KUNIT_EXPECT_EQ(test, pending(f), f->inserted + (way >= MERGE && way <= MERGING_ORIGIN));

	/* No signal wakes it; if it is woken for nothing, it goes on sleeping */
	task = t->writer[0]->task;
	expect_soon(test, READ_ONCE(task->__state) == TASK_UNINTERRUPTIBLE);
	sleeps = READ_ONCE(task->nvcsw);
	KUNIT_EXPECT_TRUE(test, wake_up_process(task));
	expect_soon(test, READ_ONCE(task->nvcsw) != sleeps);

	/* However long that takes */
	schedule_timeout_uninterruptible(3);
	KUNIT_EXPECT_EQ(test, waiting(f), 1);
	KUNIT_EXPECT_FALSE(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, copies_started(test, f), 0);

	end_copies(f, 1);
	expect_soon(test, idle(test, 0));
}

/* Each copy that ends wakes the one writer that has waited longest */
static void one_for_one_in_order(struct kunit *test)
{
	enum way way = (const char *)test->param_value - by_exception;
	struct test_snapshot *f = snap(test, 0);
	int i;

	set_limit(4);
	for (i = 0; i < MAX_WRITERS; i++) {
		writes(test, i, f, way);
		expect_soon(test, i < 4 ? idle(test, i) : waiting(f) == i - 3);
	}
	for (i = 4; i < MAX_WRITERS + 4; i++) {
		int left = MAX_WRITERS - i + 3;

		if (way == DIRECT)
			end_copies(f, 1);
		else
			complete(&f->may_end);
		expect_soon(test, i >= MAX_WRITERS || idle(test, i));
		expect_soon(test, in_progress(f) == min(left, 4));
		KUNIT_EXPECT_EQ(test, waiting(f), max(left - 4, 0));
	}
}

/* The limit is exact */
static void many_at_once(struct kunit *test)
{
	enum way way = param_way(test);
	struct test_snapshot *f = snap(test, 0);
	int i;

	set_limit(5);
	writes(test, 0, f, SNAPSHOT);	/* see state_and_event() */
	expect_soon(test, idle(test, 0));
	for (i = 1; i < MAX_WRITERS; i++)
		writes(test, i, f, way);
	expect_soon(test, waiting(f) == MAX_WRITERS - 5);
	expect_soon(test, count_idle(test, MAX_WRITERS) == 5);
	KUNIT_EXPECT_EQ(test, in_progress(f), 5);
}

/* What needs no copy doesn't wait, whoever does */

enum chunk_state { NEW, PENDING, COPIED };
enum flaw { NONE, INVALID, NO_SPACE };

static const struct no_copy {
	const char *name;
	enum way way;
	blk_opf_t opf;
	unsigned int size;
	enum chunk_state chunk;
	enum flaw flaw;
	int r;
} no_copies[] = {
	{ "read", SNAPSHOT, REQ_OP_READ, 512, NEW, NONE, DM_MAPIO_REMAPPED },
	{ "flush", SNAPSHOT, REQ_OP_WRITE | REQ_PREFLUSH, 0, NEW, NONE, DM_MAPIO_REMAPPED },
	{ "rewrite", SNAPSHOT, REQ_OP_WRITE, 512, COPIED, NONE, DM_MAPIO_REMAPPED },
	{ "rewrite of the chunk", SNAPSHOT, REQ_OP_WRITE, 0, COPIED, NONE, DM_MAPIO_REMAPPED },
	{ "write to a pending chunk", SNAPSHOT, REQ_OP_WRITE, 512, PENDING, NONE,
	  DM_MAPIO_SUBMITTED },
	{ "write of a pending chunk", SNAPSHOT, REQ_OP_WRITE, 0, PENDING, NONE,
	  DM_MAPIO_SUBMITTED },
	{ "discard of nothing", SNAPSHOT, REQ_OP_DISCARD, 0, NEW, NONE, DM_MAPIO_SUBMITTED },
	{ "discard of a part", SNAPSHOT, REQ_OP_DISCARD, 512, COPIED, NONE, DM_MAPIO_SUBMITTED },
	{ "write to an invalid snapshot", SNAPSHOT, REQ_OP_WRITE, 512, NEW, INVALID,
	  DM_MAPIO_KILL },
	{ "write to a full one", SNAPSHOT, REQ_OP_WRITE, 512, NEW, NO_SPACE, DM_MAPIO_KILL },
	{ "origin, rewrite", ORIGIN, REQ_OP_WRITE, 512, COPIED, NONE, DM_MAPIO_REMAPPED },
	{ "origin, pending chunk", ORIGIN, REQ_OP_WRITE, 512, PENDING, NONE, DM_MAPIO_SUBMITTED },
	{ "origin, read", ORIGIN, REQ_OP_READ, 512, NEW, NONE, DM_MAPIO_REMAPPED },
	{ "origin of an invalid snapshot", ORIGIN, REQ_OP_WRITE, 512, NEW, INVALID,
	  DM_MAPIO_REMAPPED },
	{ "origin of a full one", ORIGIN, REQ_OP_WRITE, 512, NEW, NO_SPACE, DM_MAPIO_REMAPPED },
	{ "merging origin, rewrite", MERGING_ORIGIN, REQ_OP_WRITE, 512, COPIED, NONE,
	  DM_MAPIO_REMAPPED },
	{ "merging origin, pending chunk", MERGING_ORIGIN, REQ_OP_WRITE, 512, PENDING, NONE,
	  DM_MAPIO_SUBMITTED },
};

static void no_copy_name(const struct no_copy *n, char *name)
{
	strscpy(name, n->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(no_copy, no_copies, no_copy_name);

static void without_a_copy_nobody_waits(struct kunit *test)
{
	const struct no_copy *n = test->param_value;
	struct test_snapshot *f = snap(test, 0);
	struct throttle_test *t = test->priv;
	struct test_writer *w;

	set_limit(1);
	writes(test, 0, f, SNAPSHOT);
	expect_soon(test, idle(test, 0));
	queues(test, 1, f, ORIGIN, 1);
	f->full = n->flaw == NO_SPACE;
	f->s.valid = n->flaw != INVALID;

	w = writer(test, 2, f, n->way);
	w->opf = n->opf;
	w->size = n->size;
	if (n->chunk == PENDING)
		w->chunk = t->writer[0]->chunk;
	else if (n->chunk == COPIED)
		set_copied(test, &f->s, w->chunk);
	queue_work(w->t->wq, &w->work);
	expect_soon(test, idle(test, 2));
	KUNIT_EXPECT_EQ(test, w->r, n->r);
	KUNIT_EXPECT_EQ(test, in_progress(f), 1);
	KUNIT_EXPECT_EQ(test, waiting(f), 1);
	KUNIT_EXPECT_EQ(test, f->inserted, 2);
}

/* The next copy that ends, or else the next writer, notices */
static void limit_changes_while_asleep(struct kunit *test)
{
	/* The last one is 1, if it is taken for something shorter or signed */
	static const unsigned int limits[] = { 16, 0, INT_MAX, UINT_MAX, 0x80000001 };
	struct test_snapshot *f = snap(test, 0);
	int i, j;

	for (i = 0; i < 2 * ARRAY_SIZE(limits); i++) {
		set_limit(2);
		start_copies(f, 2);
		for (j = 0; j < 8; j++)
			queues(test, j, f, DIRECT, j + 1);
		set_limit(limits[i / 2]);
		KUNIT_EXPECT_EQ(test, in_progress(f), 2);
		if (i % 2)
			end_copies(f, 1);
		else
			writes(test, 8, f, DIRECT);
		expect_soon(test, count_idle(test, 9) == 9);
		KUNIT_EXPECT_EQ(test, in_progress(f), i % 2 ? 9 : 11);
		end_copies(f, in_progress(f));
	}
}

/* Several snapshots, each of which is below its limit, at its limit, or needs no copy */

enum snapshot_state { ROOM, NO_ROOM, HAS_COPY, SNAPSHOT_STATES };

static const char three_snapshots[SNAPSHOT_STATES * SNAPSHOT_STATES * SNAPSHOT_STATES];

/* Of snapshot i */
static enum snapshot_state state_of(const char *param, int i)
{
	static const int divide_by[] = { 1, SNAPSHOT_STATES, SNAPSHOT_STATES * SNAPSHOT_STATES };

	return (param - three_snapshots) / divide_by[i] % SNAPSHOT_STATES;
}

static void three_name(const char *param, char *name)
{
	static const char * const states[] = { "room", "no room", "has a copy" };

	snprintf(name, KUNIT_PARAM_DESC_SIZE, "%s, %s, %s", states[state_of(param, 0)],
		 states[state_of(param, 1)], states[state_of(param, 2)]);
}

KUNIT_ARRAY_PARAM(three, three_snapshots, three_name);

/* How many bios there are for the origin when the chunk has been copied */
static unsigned int bios_queued(struct test_snapshot *f, chunk_t chunk)
{
	struct dm_snap_pending_exception *pe;
	struct dm_exception_table_lock lock;
	struct bio *bio;
	unsigned int n;

	dm_exception_table_lock_init(&f->s, chunk, &lock);
	dm_exception_table_lock(&lock);
	pe = __lookup_pending_exception(&f->s, chunk);
	bio = pe ? bio_list_peek(&pe->origin_bios) : NULL;
	/* One that has been queued twice is followed by itself */
	for (n = 0; bio && n < MAX_WRITERS; n++)
		bio = bio->bi_next;
	dm_exception_table_unlock(&lock);

	return n;
}

/*
 * Writer 0 waits for one snapshot after the other, and always for a copy that it
 * has not started, the only one. Its bio is queued once, when all its copies
 * have been started, or their last one is about to be.
 */
static void each_snapshot_in_turn(struct kunit *test)
{
	const char *param = test->param_value;
	struct test_writer *w;
	int i, j, queued_on = -1;

	add_snapshot(test, 1);
	add_snapshot(test, 2);
	set_limit(1);
	w = writer(test, 0, snap(test, 0), ORIGIN);
	for (i = 2; i >= 0; i--) {
		if (state_of(param, i) == HAS_COPY) {
			set_copied(test, &snap(test, i)->s, w->chunk);
			continue;
		}
		if (queued_on != 2)
			queued_on = i;
		if (state_of(param, i) == NO_ROOM)
			start_copies(snap(test, i), 1);
	}
	queue_work(w->t->wq, &w->work);
	for (i = 0; i < 3; i++) {
		if (state_of(param, i) != NO_ROOM)
			continue;
		expect_soon(test, waiting(snap(test, i)) == 1);
		expect_soon(test, lock_is_free(&_origins_lock));
		for (j = 0; j < 3; j++) {
			bool copy = state_of(param, j) != HAS_COPY;
			struct test_snapshot *f = snap(test, j);

			KUNIT_EXPECT_EQ(test, f->inserted, copy && j <= i);
			KUNIT_EXPECT_EQ(test, copies_started(test, f), copy && j < i);
			KUNIT_EXPECT_EQ(test, bios_queued(f, w->chunk),
					j == i && j == 2);
		}
		end_copies(snap(test, i), 1);
	}
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, w->r, queued_on < 0 ? DM_MAPIO_REMAPPED : DM_MAPIO_SUBMITTED);
	KUNIT_EXPECT_EQ(test, bios_ended(test, 0), queued_on < 0);
	for (j = 0; j < 3; j++) {
		struct test_snapshot *f = snap(test, j);

		KUNIT_EXPECT_EQ(test, in_progress(f), state_of(param, j) != HAS_COPY);
		KUNIT_EXPECT_EQ(test, copies_started(test, f), state_of(param, j) != HAS_COPY);
		KUNIT_EXPECT_EQ(test, bios_queued(f, w->chunk), j == queued_on);
	}

	/* The bio goes on when all copies have ended, the last snapshot's first */
	for (j = 2; j >= 0; j--) {
		KUNIT_EXPECT_EQ(test, bios_ended(test, 0), queued_on < 0);
		complete(&snap(test, j)->may_end);
		expect_soon(test, !pending(snap(test, j)));
		for (i = 0, queued_on = -1; i < j; i++)
			if (state_of(param, i) != HAS_COPY)
				queued_on = i;
	}
	KUNIT_EXPECT_EQ(test, bios_ended(test, 0), 1);
}

/* kcopyd's worker must not wait for itself */
static void callbacks_never_wait(struct kunit *test)
{
	struct test_snapshot *first = snap(test, 0), *f;
	int i;

	set_limit(1);
	writes(test, 0, first, ORIGIN);
	expect_soon(test, idle(test, 0));

	/* When the first copy has ended, the bio needs two others */
	for (i = 1; i < 3; i++) {
		f = add_snapshot(test, i);
		start_copies(f, 1);
		queues(test, i, f, DIRECT, 1);
	}
	complete(&first->may_end);
	for (i = 1; i < 3; i++) {
		f = snap(test, i);
		expect_soon(test, in_progress(f) == 2);
		KUNIT_EXPECT_EQ(test, waiting(f), 1);
	}
	expect_soon(test, !in_progress(first));
	KUNIT_EXPECT_EQ(test, bios_ended(test, 0), 0);

	/* One that overtakes an older one ends, if its exception isn't complete yet */
	f = snap(test, 2);
	queues(test, 4, f, SNAPSHOT, 2);
	writes(test, 5, f, RETRY);
	expect_soon(test, idle(test, 5));
	complete(&f->may_end);
	expect_soon(test, in_progress(f) == 1);
	KUNIT_EXPECT_EQ(test, waiting(f), 2);
	KUNIT_EXPECT_EQ(test, pending(f), 2);
}

/*
 * A snapshot is removed while writers wait for it: that takes until they have had
 * their copies, but the stuck copies of another snapshot don't matter.
 */
static void removed_while_asleep(struct kunit *test)
{
	struct test_snapshot *removed = snap(test, 0), *other = add_snapshot(test, 1);
	int i;

	set_limit(1);
	start_copies(removed, 1);
	start_copies(other, 1);
	for (i = 0; i < 3; i++)
		queues(test, i, removed, ORIGIN, i + 1);
	writes(test, 3, removed, REMOVAL);
	expect_soon(test, !READ_ONCE(removed->registered));
	queues(test, 4, other, ORIGIN, 1);
	end_copies(removed, 1);
	for (i = 0; i < 3; i++) {
		expect_soon(test, waiting(other) == i + 2);
		KUNIT_EXPECT_EQ(test, waiting(removed), 2 - i);
		KUNIT_EXPECT_EQ(test, in_progress(removed), 1);
		expect_soon(test, READ_ONCE(removed->started) == i + 1);
		KUNIT_EXPECT_FALSE(test, idle(test, 3));
		complete(&removed->may_end);
	}
	expect_soon(test, idle(test, 3));
	if (idle(test, 3))
		free_snapshot(test, 0);

	end_copies(other, 1);
	complete_all(&other->may_end);
	expect_soon(test, count_idle(test, 5) == 5 && !in_progress(other));
	KUNIT_EXPECT_EQ(test, other->inserted, 4);
}

/* A writer that was to walk on finds no snapshot any more */
static void all_removed_while_asleep(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	struct test_snapshot *first = snap(test, 0), *last = add_snapshot(test, 1);

	set_limit(1);
	start_copies(first, 1);
	queues(test, 0, first, ORIGIN, 1);
	writes(test, 1, first, REMOVAL);
	writes(test, 2, last, REMOVAL);
	expect_soon(test, !READ_ONCE(first->registered) && idle(test, 2));
	end_copies(first, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, t->writer[0]->r, DM_MAPIO_REMAPPED);
	KUNIT_EXPECT_EQ(test, copies_started(test, first), 1);
	KUNIT_EXPECT_FALSE(test, idle(test, 1));
}

/* A walk starts over if the list has changed, unless the bio is queued already */
static void moved_while_asleep(struct kunit *test)
{
	struct throttle_test *t = test->priv;
	struct test_snapshot *first = snap(test, 0), *last = add_snapshot(test, 1);
	struct test_writer *w = writer(test, 2, first, ORIGIN);

	set_limit(1);
	start_copies(first, 1);
	start_copies(last, 1);
	set_copied(test, &last->s, w->chunk);
	queues(test, 0, first, ORIGIN, 1);
	queues(test, 1, first, MERGE, 2);
	reregister_snapshot(&first->s);	/* is the last one now */
	queue_work(t->wq, &w->work);
	expect_soon(test, waiting(first) == 3);
	KUNIT_EXPECT_EQ(test, bios_queued(first, w->chunk), 1);

	end_copies(first, 1);
	expect_soon(test, waiting(last) == 1);
	complete(&first->may_end);
	expect_soon(test, idle(test, 1));
	KUNIT_EXPECT_EQ(test, t->writer[1]->r, 1);	/* must come back */
	reregister_snapshot(&last->s);
	complete(&first->may_end);
	expect_soon(test, idle(test, 2));
	KUNIT_EXPECT_EQ(test, w->r, DM_MAPIO_SUBMITTED);
	KUNIT_EXPECT_EQ(test, bios_queued(first, w->chunk), 1);

	end_copies(last, 1);
	expect_soon(test, idle(test, 0));
	KUNIT_EXPECT_EQ(test, first->inserted, 3);
	KUNIT_EXPECT_EQ(test, last->inserted, 1);
}

/* ... also if it changes as late as between the writer's copy and its next look at it */
static void moved_when_woken(struct kunit *test)
{
	struct test_snapshot *first = snap(test, 0), *last = add_snapshot(test, 1);

	set_limit(1);
	start_copies(first, 1);
	start_copies(last, 1);
	queues(test, 0, first, ORIGIN, 1);
	down_write(&_origins_lock);
	end_copies(first, 1);
	expect_soon(test, pending(first) == 1);	/* the writer has let go of it */
	list_del(&first->s.list);
	__insert_snapshot(__lookup_origin(first->s.origin->bdev), &first->s);
	up_write(&_origins_lock);
	expect_soon(test, waiting(last) == 1);
}

/* A writer that waits gets its turn in a snapshot that has become invalid, too */
static void invalidated_while_asleep(struct kunit *test)
{
	struct test_snapshot *f = snap(test, 0);
	int i;

	set_limit(1);
	start_copies(f, 1);
	for (i = 0; i < 4; i++)
		queues(test, i, f, i + ORIGIN, i + 1);
	invalidate_snapshot(&f->s, -EIO);
	KUNIT_EXPECT_EQ(test, waiting(f), 4);
	end_copies(f, 1);
	for (i = 0; i < 4; i++) {
		expect_soon(test, idle(test, i));
		KUNIT_EXPECT_EQ(test, waiting(f), 3 - i);
		KUNIT_EXPECT_EQ(test, in_progress(f), 1);
		complete(&f->may_end);
		expect_soon(test, bios_ended(test, i) == 1);
	}
}

/* Called over and over, for it to change while others look at it */
static bool limit_alternates(void)
{
	set_limit(cow_threshold == 2 ? 3 : 2);

	return true;
}

/*
 * What the lock is for: writers to an origin and to its snapshot at once, and
 * beside it another snapshot that comes and goes, and a limit that goes up and
 * down.
 */
static void all_at_once(struct kunit *test)
{
	static const enum way ways[] = { DIRECT, ORIGIN, SNAPSHOT, FULL_CHUNK };
	struct test_snapshot *first = snap(test, 0);
	bool finished;
	int i;

	set_limit(2);
	complete_all(&first->may_end);
	for (i = 0; i < 8; i++) {
		struct test_writer *w = writer(test, i, first, ways[i % ARRAY_SIZE(ways)]);

		w->storm = STORM;
		queue_work(w->t->wq, &w->work);
	}
	for (finished = false; !finished && !test->status;) {
		struct test_snapshot *second = add_snapshot(test, 1);

		complete_all(&second->may_end);
		start_copies(second, 3);
		expect_soon(test, limit_alternates() &&
			    (waiting(second) || count_idle(test, 8) == 8));
		finished = count_idle(test, 8) == 8;
		end_copies(second, 3);
		writes(test, 8, second, REMOVAL);
		expect_soon(test, limit_alternates() && idle(test, 8));
		if (idle(test, 8))
			free_snapshot(test, 1);
	}
}

/* 10,000 steps at random against a plain model: a queue, a counter, a limit */

#define MODEL_WRITERS 8

static const u64 seeds[] = { 20191002, 20191010, 20261109, 20261128 };

KUNIT_ARRAY_PARAM(seed, seeds, NULL);

struct model {
	unsigned int copies, limit, waiting;
	int queue[MODEL_WRITERS + 1];
};

static void model_hands_out(struct model *m)
{
	while (m->waiting && (!m->limit || m->copies < m->limit)) {
		m->copies++;
		memmove(m->queue, m->queue + 1, --m->waiting * sizeof(*m->queue));
	}
}

static bool as_in_model(struct kunit *test, const struct model *m)
{
	int i, asleep = 0;

	for (i = 0; i < m->waiting; i++)
		asleep += !idle(test, m->queue[i]);

	return asleep == m->waiting && count_idle(test, MODEL_WRITERS) == MODEL_WRITERS - asleep &&
	       waiting(snap(test, 0)) == asleep && in_progress(snap(test, 0)) == m->copies;
}

static void random_steps(struct kunit *test)
{
	static const unsigned int some_limits[] = { 1, 2, 3, 5, 8, 16, 0, UINT_MAX };
	struct model m = { .limit = 2 };
	struct test_snapshot *f = snap(test, 0);
	struct rnd_state rnd;
	int i, step;

	prandom_seed_state(&rnd, *(const u64 *)test->param_value);
	set_limit(m.limit);
	for (step = 0; step < 10000 / ARRAY_SIZE(seeds); step++) {
		u32 r = prandom_u32_state(&rnd);

		i = (r >> 8) % MODEL_WRITERS;
		if (r % 16 == 0) {
			m.limit = some_limits[i];
			set_limit(m.limit);
		} else if (r % 16 == 1 && m.copies < 32) {
			m.copies++;
			start_copies(f, 1);
		} else if (r % 16 < 9 && m.copies) {
			m.copies--;
			model_hands_out(&m);
			end_copies(f, 1);
		} else if (idle(test, i)) {
			m.queue[m.waiting++] = i;
			model_hands_out(&m);
			writes(test, i, f, DIRECT);
		}
		if (!settles(as_in_model(test, &m))) {
			KUNIT_FAIL(test, "step %u: %u in progress, %u waiting; model: %u, %u",
				   step, in_progress(f), waiting(f), m.copies, m.waiting);
			return;
		}
	}
}

static struct kunit_case throttle_test_cases[] = {
	/* The first, as most others need the locks */
	KUNIT_CASE_PARAM(asleep, way_gen_params),
	KUNIT_CASE_PARAM(state_and_event, cell_gen_params),
	KUNIT_CASE_PARAM(one_for_one_in_order, exception_gen_params),
	KUNIT_CASE_PARAM(many_at_once, way_gen_params),
	KUNIT_CASE_PARAM(without_a_copy_nobody_waits, no_copy_gen_params),
	KUNIT_CASE(limit_changes_while_asleep),
	KUNIT_CASE_PARAM(each_snapshot_in_turn, three_gen_params),
	KUNIT_CASE(callbacks_never_wait),
	KUNIT_CASE(removed_while_asleep),
	KUNIT_CASE(all_removed_while_asleep),
	KUNIT_CASE(moved_while_asleep),
	KUNIT_CASE(moved_when_woken),
	KUNIT_CASE(invalidated_while_asleep),
	KUNIT_CASE_PARAM(random_steps, seed_gen_params),
	KUNIT_CASE(all_at_once),
	{ }
};

static struct kunit_suite throttle_test_suite = {
	.name = "dm_snapshot_throttle",
	.init = throttle_test_init,
	.exit = throttle_test_exit,
	.test_cases = throttle_test_cases,
};

kunit_test_suite(throttle_test_suite);

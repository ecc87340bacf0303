/*
 * How drivers/md/dm-snap.c limits its copies in flight, for spin to explore.
 *
 * Read it beside the C code: names are those of the C code, and so is the
 * order of steps. README says what is left out, and what was found.
 *
 * Which code: one of
 *	SEMAPHORE	721b1d98fb51
 *	UPSTREAM	b21555786f18
 *	neither		ours; TRAP=1..13 builds one mistake into it
 * What happens: WRITERS tasks, WRITES writes each, the last one LAST_WRITES, to the
 * origin of SNAPSHOTS snapshots (the last writer's to snapshot 0 with
 * SNAPSHOT_MAP), at a limit of LIMIT; beside them, if defined,
 *	CTR	snapshot_ctr() for another origin, then snapshot_resume() of
 *		snapshot 0
 *	CREATE	snapshot_ctr() and snapshot_resume() of snapshot 1, which does
 *		not exist before
 *	DTR	snapshot_dtr() of the last snapshot
 *	SET	a change of the limit to SET, or to SET2
 *	SPURIOUS as many wake-ups from nowhere
 *	STUCK	the snapshot whose copies never end: who writes to the other one
 *		must get through (with SNAPSHOT_MAP, and pan -E)
 * How closely: FINE makes every statement below in_progress_lock a step of its
 * own; without, what is done below it is one step.
 * What else is checked: BOUND (with AT_ONCE), ONCE, FOREVER: see there.
 */
#ifndef WRITERS
#define WRITERS		3
#endif
#ifndef WRITES
#define WRITES		1
#endif
#ifndef LAST_WRITES
#define LAST_WRITES	WRITES
#endif
#ifndef SNAPSHOTS
#define SNAPSHOTS	2
#endif
#ifndef LIMIT
#define LIMIT		1
#endif
#ifndef TRAP
#define TRAP		0
#endif
#ifndef SPURIOUS
#define SPURIOUS	0
#endif
#if !defined(SEMAPHORE) && !defined(UPSTREAM)
#define OURS
#endif
#if defined(OURS) && TRAP >= 1 && TRAP <= 3
#define AUTOREMOVE	/* sleeps on a wait queue, not for a completion */
#endif

#ifdef CREATE
#define CTRS		1	/* what snapshot_ctr() makes, or snapshot_resume() moves */
#else
#define CTRS		0
#endif

#define NULL		SNAPSHOTS
#define TASKS		(WRITERS + SNAPSHOTS)	/* kcopyd's workers, too */
#define BIT(n)		(1 << (n))

/* Variables of no meaning beyond a step are not part of the state. */
#ifdef FINE
#define step
#define SCRATCH		byte x, n, s_, overtaken, woken;
#else
#define step		atomic
#define SCRATCH
hidden byte x, n, s_, overtaken, woken;
#endif

/* Local variables of what writers and kcopyd's workers have in common. */
#define LOCALS							\
	byte s, i, nr, first, pe_to_start_now, pe_to_start_last, g;	\
	byte r;							\
	bool throttled, with_w, bio, needs_copy, may, passes;	\
	SCRATCH

/* --- what the C code has in memory ---------------------------------------- */

typedef dm_snapshot {
	bool	freed;			/* kfree(s) */
	bool	is_active;		/* C: active, complete; Promela has those words */
	bool	in_progress_lock;
	byte	in_progress;
	byte	granted_writers;	/* a set of writers */
	byte	pending_exceptions_count;
	byte	pending;		/* sets of chunks: each has a pe, */
	byte	completed;		/* or was copied */
	byte	origin_bios;		/* the pe that a chunk's bio waits for */
	byte	jobs;			/* handed to kcopyd */
	byte	nr_jobs;		/* kcopyd's, until its callback is done */
	byte	users;			/* of its table, in map() */
	byte	copies;			/* what in_progress should count */
	byte	on_their_way;		/* see BOUND */
};
dm_snapshot snap[SNAPSHOTS];

/* s->throttled_writers, or the wait queue, or the semaphore's list */
chan throttled_writers[SNAPSHOTS] = [TASKS] of { byte };

typedef throttled_writer {		/* on the writer's stack */
	bool	on_stack;
	byte	snap;
	bool	granted;		/* the completion: done, */
	bool	granted_lock;		/* and its lock */
	bool	linked;			/* AUTOREMOVE: !list_empty(&wait.entry) */
	byte	waits_for;		/* since first queued, until let in */
	byte	older;			/* writers that waited for it before */
	byte	waited;			/* see ONCE */
};
throttled_writer w[WRITERS];

short cow_threshold = LIMIT;

byte nr_snapshots, first_snapshot;	/* o->snapshots, in order */

byte in_hand;		/* chunks whose bio is in a task's hands, and on no list */

/* --- what it stands on ---------------------------------------------------- */

#define TASK_RUNNING		0
#define TASK_UNINTERRUPTIBLE	1
bit state[TASKS];
byte spurious_wakeups;

inline schedule(me)
{
	if
	:: state[me] == TASK_RUNNING
	:: d_step {
		state[me] != TASK_RUNNING && spurious_wakeups ->
		spurious_wakeups--;
		state[me] = TASK_RUNNING
	   }
	fi
}

/* A rwsem: no reader passes a writer that waits. */
byte origins_readers, origins_waiting;
bool origins_writer;

inline down_read(me)	/* &_origins_lock, and so below; o->snapshots can't change */
{
	d_step {
		!origins_writer && !origins_waiting ->
		origins_readers++;
		if
		:: me < WRITERS && !w[me].on_stack ->
			w[me].on_stack = true;
			in_hand = in_hand | chunk	/* the write's bio */
		:: else
		fi;
		nr = nr_snapshots;
		first = first_snapshot
	}
}
#define nth_snapshot(i)	(i == 0 -> first : 1 - first)
inline up_read()
{
	origins_readers--
}
inline down_write()	/* in two steps: origins_waiting++ comes first */
{
	d_step {
		!origins_writer && !origins_readers ->
		origins_waiting--;
		origins_writer = true
	}
}
inline up_write()
{
	origins_writer = false
}

/* Whoever touches s: */
#define use(s)	assert(!snap[s].freed)

inline spin_lock(s)	/* &s->in_progress_lock */
{
	d_step { !snap[s].in_progress_lock -> use(s); snap[s].in_progress_lock = true }
}
inline spin_unlock(s)
{
	d_step { use(s); snap[s].in_progress_lock = false }
}

/* swake_up_locked() comes before the lock's release, which is the last touch. */
inline complete(x)
{
	d_step {
		assert(w[x].on_stack);
		w[x].granted_lock = true;
		w[x].granted = true;
		state[x] = TASK_RUNNING
	}
	d_step { assert(w[x].on_stack); w[x].granted_lock = false }
}

#ifndef FINE
inline wait_for_completion_io(me)
{
	d_step { w[me].granted -> w[me].granted = false }
}
#else
inline wait_for_completion_io(me)
{
	do
	:: atomic {
		!w[me].granted_lock ->
		if
		:: w[me].granted -> w[me].granted = false; break
		:: else -> state[me] = TASK_UNINTERRUPTIBLE
		fi
	   }
	   schedule(me)
	od
}
#endif

/* --- the throttle --------------------------------------------------------- */

#if defined(SEMAPHORE)

/*
 * down() and up() of s->cow_count, whose lock nothing else depends on. up()
 * gives the count to who has waited longest.
 */
inline account_start_copy(s, me)
{
	atomic {
		use(s);
		if
		:: snap[s].in_progress < LIMIT -> snap[s].in_progress++
		:: else ->
			throttled_writers[s]!me;
			state[me] = TASK_UNINTERRUPTIBLE
		fi
	}
	do
	:: throttled_writers[s]??[eval(me)] ->
		schedule(me);
		state[me] = (throttled_writers[s]??[eval(me)] -> TASK_UNINTERRUPTIBLE : TASK_RUNNING)
	:: else -> break
	od;
	atomic { use(s); snap[s].copies++ }
}

inline account_end_copy(s)
{
	d_step {
		use(s);
		snap[s].copies--;
		if
		:: nempty(throttled_writers[s]) -> throttled_writers[s]?x; state[x] = TASK_RUNNING
		:: empty(throttled_writers[s]) -> snap[s].in_progress--
		fi;
		x = 0
	}
}

#else

#ifdef UPSTREAM
#define too_many_copies(s)	(snap[s].in_progress > cow_threshold)
#else
#define too_many_copies(s)	(cow_threshold > 0 && snap[s].in_progress >= cow_threshold)
#define half_is_free(s)		(cow_threshold <= 0 || snap[s].in_progress < cow_threshold / 2)
#endif

inline account_start_copy(s, me)
{
	step {
		spin_lock(s);
		d_step { snap[s].in_progress++; snap[s].copies++ }
		spin_unlock(s)
	}
}

#endif

#ifdef UPSTREAM

inline account_end_copy(s)
{
	step {
		spin_lock(s);
		d_step {
			assert(snap[s].in_progress);	/* BUG_ON() */
			snap[s].in_progress--;
			snap[s].copies--
		}
		if
		:: snap[s].in_progress <= cow_threshold ->
			/* wake_up_locked(): all, and nobody is unlinked */
			n = len(throttled_writers[s]);
			do
			:: n > 0 ->
				d_step {
					use(s);
					throttled_writers[s]?x;
					throttled_writers[s]!x;
					assert(w[x].on_stack);
					state[x] = TASK_RUNNING;
					n--
				}
			:: else -> break
			od
		:: else
		fi;
		spin_unlock(s)
	}
}

/* Whether there is room is left in "may". */
inline wait_for_in_progress(s, me, unlock_origins)
{
	d_step { use(s); may = !too_many_copies(s) }
	if
	:: may
	:: else ->
		step {
			spin_lock(s);
			if
			:: too_many_copies(s) ->
				throttled_writers[s]!me;	/* __add_wait_queue() */
				state[me] = TASK_UNINTERRUPTIBLE
			:: else -> may = true
			fi;
			spin_unlock(s)
		}
		if
		:: may
		:: else ->
			if
			:: unlock_origins -> up_read()
			:: else
			fi;
			schedule(me);		/* io_schedule() */
			step {		/* remove_wait_queue() */
				spin_lock(s);
				throttled_writers[s]??eval(me);
				spin_unlock(s)
			}
		fi
	fi
}

#endif

/*
 * BOUND: so many copies of a snapshot more than the limit may be in flight. They
 * are those of writers that were let in without a grant. These are on_their_way
 * until they have claimed their copy, or wait for a grant, or are through; of one
 * snapshot, no more than AT_ONCE at a time.
 */
#ifdef BOUND
#define POPCOUNT(x)	(((x) & 1) + (((x) >> 1) & 1) + (((x) >> 2) & 1))
hidden byte within_the_bound;

inline let_in_without_grant(s, me)
{
	if
	:: may && !(snap[s].granted_writers & BIT(me)) ->
		snap[s].on_their_way = snap[s].on_their_way | BIT(me)
	:: else
	fi
}

inline not_on_its_way(me)
{
	snap[0].on_their_way = snap[0].on_their_way & ~BIT(me);
	snap[SNAPSHOTS - 1].on_their_way = snap[SNAPSHOTS - 1].on_their_way & ~BIT(me)
}
#else
#define let_in_without_grant(s, me)	skip
#define not_on_its_way(me)		skip
#endif
#ifndef AT_ONCE
#define may_be_on_its_way(s)	true
#else
#define may_be_on_its_way(s)	(POPCOUNT(snap[s].on_their_way) < AT_ONCE || !half_is_free(s))
#endif

#ifdef OURS

/*
 * First come, first served: let_in() is told whom the throttle of s lets in.
 * Nobody who has waited for s since before this one came may still be waiting.
 */
#define older(v, me)	(w[v].waits_for == s_ && v != me && \
			 (w[me].waits_for != s_ || (w[me].older & BIT(v))))
#define no_longer_older(v, me)	w[v].older = w[v].older & ~BIT(me)
#if WRITERS == 2
#define overtakes(me)	(older(0, me) || older(1, me))
#define who_waits_for(s)	((w[0].waits_for == s) | (w[1].waits_for == s) << 1)
#else
#define overtakes(me)	(older(0, me) || older(1, me) || older(2, me))
#define who_waits_for(s)	((w[0].waits_for == s) | (w[1].waits_for == s) << 1 | \
			 (w[2].waits_for == s) << 2)
#endif
#define first_come_first_served	!overtaken

inline waits_no_longer(me)
{
	w[me].waits_for = NULL;
	w[me].older = 0;
	no_longer_older(0, me);
	no_longer_older(1, me);
	no_longer_older(WRITERS - 1, me)
}

inline let_in(s, me)
{
	s_ = s;
	overtaken = overtakes(me);
	waits_no_longer(me);
	assert(first_come_first_served)
}

/*
 * The answer is left in "may". Without the lock each look is a step: others may
 * queue in between. Half of 1 is 0: whatever they do, it isn't far then.
 */
#if LIMIT == 1 && !defined(SET)
#define NEVER_FAR
#else
inline far_from_limit(s, me)
{
	d_step {	/* list_empty() ... */
		use(s);
		may = len(throttled_writers[s]) == 0 || TRAP == 6;
		s_ = s;
		passes = may && overtakes(me)	/* if it gets in */
	}
	if
	:: may ->
		d_step {	/* ... && in_progress < limit / 2 */
			may_be_on_its_way(s) ->
			use(s);
			may = half_is_free(s);
			overtaken = may && passes;
			passes = false;
			assert(first_come_first_served);
			if
			:: may -> waits_no_longer(me)
			:: else
			fi;
			let_in_without_grant(s, me)
		}
	:: else
	fi
}
#endif

inline get_grant(s, me)
{
#if TRAP != 7
	snap[s].in_progress++;
#endif
	d_step {
		use(s);
		w[me].snap = s;
		snap[s].granted_writers = snap[s].granted_writers | BIT(me)	/* list_add_tail() */
	}
}

inline grant_oldest(s)
{
	if
	:: len(throttled_writers[s]) == 0 || too_many_copies(s)
	:: else ->
#ifdef AUTOREMOVE
		/* autoremove_wake_function(): wakes, and unlinks whom it woke */
		d_step {
			use(s);
			throttled_writers[s]?<x>;
			woken = (state[x] == TASK_UNINTERRUPTIBLE);
			state[x] = TASK_RUNNING
		}
		if
		:: woken ->
			d_step {
				use(s);
				throttled_writers[s]?x;
				w[x].linked = false;
				let_in(s, x)
			}
			get_grant(s, x)
		:: else
		fi;
		x = 0
#elif TRAP == 6
		/* woken, with nothing in hand */
		d_step { use(s); throttled_writers[s]?x; w[x].snap = NULL }
		complete(x);
		x = 0
#else
		d_step {	/* list_del() */
			use(s);
			throttled_writers[s]?x;
			let_in(s, x)
		}
		get_grant(s, x);
		complete(x);
		x = 0
#endif
	fi
}

inline __put_in_progress(s)
{
	d_step { assert(snap[s].in_progress); snap[s].in_progress-- }	/* WARN_ON_ONCE() */
	grant_oldest(s)
}

inline account_end_copy(s)
{
	step {
		spin_lock(s);
		snap[s].copies--;
		__put_in_progress(s);
		spin_unlock(s)
	}
}

inline __put_grant(me)
{
	g = w[me].snap;
	step {
		spin_lock(g);
		d_step {	/* list_del() */
			assert(snap[g].granted_writers & BIT(me));
			snap[g].granted_writers = snap[g].granted_writers & ~BIT(me);
			w[me].snap = NULL
		}
#if TRAP == 4
		snap[g].in_progress--;
#elif TRAP == 7
		grant_oldest(g);
#else
		__put_in_progress(g);
#endif
		spin_unlock(g)
	}
}

inline put_grant(me)
{
	step {
#if TRAP == 5
		g = 0;
		do
		:: g < SNAPSHOTS && !snap[g].freed && (snap[g].granted_writers & BIT(me)) ->
			w[me].snap = g;
			__put_grant(me);
			g++
		:: g < SNAPSHOTS && (snap[g].freed || !(snap[g].granted_writers & BIT(me))) -> g++
		:: g == SNAPSHOTS -> break
		od;
#else
		if
		:: w[me].snap != NULL -> __put_grant(me)
		:: else
		fi;
#endif
		g = 0
	}
}

inline release_writers(s)
{
	step {
		spin_lock(s);
		n = 0;
		do
		:: n < WRITERS ->
			d_step {
				if
				:: snap[s].granted_writers & BIT(n) ->
					assert(w[n].on_stack);
					snap[s].granted_writers = snap[s].granted_writers & ~BIT(n);
					w[n].snap = NULL;
					snap[s].in_progress--
				:: else
				fi;
				n++
			}
		:: else -> break
		od;
		n = 0;
		do
		:: len(throttled_writers[s]) > 0 ->
			d_step {
				throttled_writers[s]?x;
				assert(w[x].on_stack);
				w[x].snap = NULL;
				waits_no_longer(x)
			}
#ifdef AUTOREMOVE
			state[x] = TASK_RUNNING;
			w[x].linked = false
#else
			complete(x)
#endif
		:: else -> break
		od;
		x = 0;
		spin_unlock(s)
	}
}

#if TRAP == 5
#define has_grant(s, me)	((snap[s].granted_writers & BIT(me)) != 0)
#define must_put(s, me)		false
#else
#define has_grant(s, me)	(w[me].snap == s)
#define must_put(s, me)		(w[me].snap != s && w[me].snap != NULL)
#endif

inline enqueue(s, me)
{
	d_step {
		use(s);
#ifdef ONCE
		waited_twice = w[me].waited & BIT(s);
		assert(!waited_twice);
		w[me].waited = w[me].waited | BIT(s);
#endif
		w[me].snap = s;
		if
		:: w[me].waits_for != s -> w[me].older = who_waits_for(s); w[me].waits_for = s
		:: else
		fi;
		w[me].granted = false;		/* init_completion() */
		throttled_writers[s]!me;	/* list_add_tail() */
#ifdef AUTOREMOVE
		w[me].linked = true;
#if TRAP != 1
		state[me] = TASK_UNINTERRUPTIBLE;
#endif
#endif
		not_on_its_way(me)
	}
	grant_oldest(s)
}

/* The part of may_start_copy() below in_progress_lock. */
inline take_or_queue(s, me)
{
	spin_lock(s);
	d_step {
		may = (len(throttled_writers[s]) == 0 || TRAP == 6) && !too_many_copies(s);
		if
		:: may -> let_in(s, me)
		:: else
		fi
	}
	if
#if TRAP == 8
	:: may -> let_in_without_grant(s, me)
#else
	:: may -> get_grant(s, me)
#endif
	:: else -> enqueue(s, me)
	fi;
	spin_unlock(s);
	if
	:: !may && throttled -> up_read()	/* the next that its caller does */
	:: else
	fi
}

/* The answer is left in "may". */
inline may_start_copy(s, me)
{
	do
#ifndef NEVER_FAR
	:: !with_w -> far_from_limit(s, me); break
#endif
	:: step { with_w && has_grant(s, me) -> may = true; break }
	:: step { with_w && must_put(s, me) -> put_grant(me) }
	:: step { with_w && !has_grant(s, me) && !must_put(s, me) -> take_or_queue(s, me); break }
	od
}

#if TRAP == 1
inline wait_for_in_progress(me)
{
	state[me] = TASK_UNINTERRUPTIBLE;
	schedule(me)
}
#elif TRAP == 2
inline wait_for_in_progress(me)
{
	do
	:: w[me].linked ->
		schedule(me);
		state[me] = TASK_UNINTERRUPTIBLE
	:: else -> break
	od;
	state[me] = TASK_RUNNING
}
#elif TRAP == 3
inline wait_for_in_progress(me)
{
	schedule(me);
	if			/* finish_wait(); there is one snapshot */
	:: w[me].linked ->
		step {
			spin_lock(s);
			w[me].linked = false;
			spin_unlock(s)
		}
	:: else
	fi
}
#else
inline wait_for_in_progress(me)
{
	wait_for_completion_io(me)
}
#endif

#else
inline may_start_copy(s, me) { may = true }	/* not called */
#endif

/* --- who uses it ---------------------------------------------------------- */

/*
 * ONCE: a writer waits for each snapshot once at most, as long as their list
 * doesn't change.
 */
#ifdef ONCE
hidden byte waited_twice;
#endif

/*
 * FOREVER: writers write again and again, each as soon as its last write is
 * through, and a chunk that was not written before. Without an end, nothing but
 * a cycle can be wrong: one in which the first writer gets nothing through.
 */
#ifdef FOREVER
/* No copy is in flight for ever; that it is passed over is not what we look for. */
#define ends_next(chunk)	(chunk == BIT(0) && (snap[snapshot].jobs & chunk))
#else
#define ends_next(chunk)	false
#endif

/* A write's bio is on one list at most, and submitted once: after all its copies. */
hidden byte in_two_hands, written_too_early;

inline leaves_hand(chunk)
{
	in_two_hands = !(in_hand & chunk);
	assert(!in_two_hands);
	in_hand = in_hand & ~chunk
}

#ifdef CREATE	/* resumed without a suspended origin, what is it owed? */
#define is_copied(s, chunk)	(s == CTRS || (snap[s].completed & chunk))
#else
#define is_copied(s, chunk)	((snap[s].completed & chunk) != 0)
#endif
inline submit_bio(chunk)	/* to the origin */
{
	d_step {
		leaves_hand(chunk);
		written_too_early = !((nr == 0 || is_copied(nth_snapshot(0), chunk)) &&
				      (nr < 2 || is_copied(nth_snapshot(1), chunk)));
		assert(!written_too_early)
	}
}

inline claim_copy(s, me)
{
	account_start_copy(s, me);
#ifdef BOUND
	atomic {
		snap[s].on_their_way = snap[s].on_their_way & ~BIT(me);
		within_the_bound = snap[s].copies <= LIMIT + BOUND;
		assert(within_the_bound)
	}
#endif
}

inline start_copy(s, me, chunk)
{
#ifndef OURS
	claim_copy(s, me);	/* is nothing but account_start_copy(), and here */
#endif
	/* dm_kcopyd_copy() */
	d_step { use(s); snap[s].nr_jobs++; snap[s].jobs = snap[s].jobs | chunk }
}

#define DM_MAPIO_SUBMITTED	0
#define DM_MAPIO_REMAPPED	1
#define EAGAIN			2	/* is negative in the C code */

#if TRAP == 9
#define may_leave_hand		true
#else
#define may_leave_hand		(!throttled || i == nr)		/* list_is_last() */
#endif

inline queue_bio(s, chunk)
{
	r = DM_MAPIO_SUBMITTED;
	if
	:: bio && may_leave_hand ->
		leaves_hand(chunk);
		snap[s].origin_bios = snap[s].origin_bios | chunk;
		bio = false
	:: else
	fi
}

/*
 * A chunk that nobody has looked up yet may have been copied long ago; or while
 * this writer slept, for another one. Or another writer's pe is there, which makes
 * no difference to the throttle.
 */
inline look_up_exception(s, chunk)
{
	use(s);
	if
	:: !snap[s].is_active || (snap[s].completed & chunk)
	:: snap[s].is_active && (snap[s].pending & chunk) -> queue_bio(s, chunk)
	:: else ->
		if
		:: snap[s].completed = snap[s].completed | chunk
		:: needs_copy = true
		fi
	fi
}

/* After alloc_pending_exception(), for which the table's lock was released: */
inline __insert_pending_exception(s, me, chunk)
{
	if
	:: snap[s].completed & chunk			/* e */
	:: !(snap[s].completed & chunk) && (snap[s].pending & chunk) ->	/* pe2 */
		queue_bio(s, chunk)
	:: !(snap[s].completed & chunk) && !(snap[s].pending & chunk) ->	/* no "else" */
		snap[s].pending = snap[s].pending | chunk;
		snap[s].pending_exceptions_count++;
#ifdef OURS
		claim_copy(s, me);
#endif
		if
		:: bio && may_leave_hand -> pe_to_start_last = s
		:: else -> pe_to_start_now = s
		fi;
		queue_bio(s, chunk)
	fi
}

/* Up to the next snapshot that needs a copy; each below the exception table's lock. */
inline look_up_next(chunk)
{
	do
	:: !needs_copy && i < nr ->
		atomic {
			s = nth_snapshot(i);
			i++;
			look_up_exception(s, chunk)
		}
	:: else -> break
	od
}

/* The first part of __origin_write(), in one step with what comes before it. */
inline begin_origin_write(is_throttled, has_w, chunk)
{
	throttled = is_throttled;
	with_w = has_w;
	r = DM_MAPIO_REMAPPED;
	i = 0;
	bio = true;
	pe_to_start_now = NULL;
	pe_to_start_last = NULL;
	look_up_next(chunk)
}

inline start_last(me, chunk)
{
	if
	:: !needs_copy && pe_to_start_last != NULL ->
		start_copy(pe_to_start_last, me, chunk);
		pe_to_start_last = NULL
	:: else
	fi
}

inline end_origin_write(chunk)
{
	if
	:: r == DM_MAPIO_REMAPPED -> submit_bio(chunk)
	:: else
	fi
}

#if TRAP == 12
#define second_round	false
#else
#define second_round	(throttled && bio && r == DM_MAPIO_SUBMITTED)
#endif
#define ends_here	(!needs_copy && pe_to_start_last == NULL && !second_round)

/* What is returned is left in "r". */
inline __origin_write(me, chunk)
{
	do
	:: needs_copy && throttled && !may ->
		may_start_copy(s, me);
		if
		:: may
		:: !may && with_w -> r = EAGAIN; forget(); break
		:: !may && !with_w -> r = EAGAIN; needs_copy = false; break
		fi
	:: step {
		needs_copy && (!throttled || may) ->
		if
#ifdef OURS
		:: throttled && has_grant(s, me) ->	/* another writer was faster */
			snap[s].completed = snap[s].completed | chunk
#endif
#if TRAP == 11
		:: throttled -> r = DM_MAPIO_SUBMITTED
		:: !throttled -> __insert_pending_exception(s, me, chunk)
#else
		:: __insert_pending_exception(s, me, chunk)
#endif
		fi;
		needs_copy = false;
		may = false;
		if
		:: pe_to_start_now != NULL ->
			start_copy(pe_to_start_now, me, chunk);
			pe_to_start_now = NULL
		:: else
		fi;
#if defined(OURS) && TRAP != 5 && TRAP != 10
		if
		:: throttled && has_grant(s, me) -> put_grant(me)
		:: else
		fi;
#endif
		look_up_next(chunk);
		start_last(me, chunk);
		if
		:: ends_here -> end_origin_write(chunk); break
		:: else
		fi
	   }
	:: step {
		!needs_copy ->
		start_last(me, chunk);
		if
		:: ends_here -> end_origin_write(chunk); break
#if TRAP == 13
		:: else -> throttled = false; r = DM_MAPIO_REMAPPED
#else
		:: else -> begin_origin_write(false, false, chunk)	/* it calls itself, w is NULL */
#endif
		fi
	   }
	od
}

/* Never waits but for the lock: kcopyd's callbacks use it, too. */
inline do_origin(me, chunk)
{
	step { down_read(me); begin_origin_write(false, false, chunk) }
	__origin_write(me, chunk);
	up_read()
}

#ifdef SEMAPHORE
inline do_origin_throttled(me, chunk)
{
	step { down_read(me); begin_origin_write(false, false, chunk) }
	__origin_write(me, chunk)
}
#elif defined(UPSTREAM)
inline do_origin_throttled(me, chunk)
{
	do
	:: step {
		down_read(me);
		i = 0;
		may = true
	   }
	   do
	   :: may && i < nr ->
		s = nth_snapshot(i);
		i++;
		wait_for_in_progress(s, me, true)
	   :: else -> break
	   od;
	   s = 0;
	   if
	   :: may -> break
	   :: else -> i = 0; nr = 0; first = 0		/* goto again */
	   fi
	od;
	step { may = false; begin_origin_write(false, false, chunk) }
	__origin_write(me, chunk)
}
#else
/* The loop is, from its second turn on (NEVER_FAR: from the first), __do_origin_throttled(). */
inline do_origin_throttled(me, chunk)
{
#ifdef NEVER_FAR	/* the first turn would be in vain */
	step { down_read(me); begin_origin_write(true, true, chunk) }
#else
	step { down_read(me); begin_origin_write(true, false, chunk) }
#endif
	do
	:: __origin_write(me, chunk);
	   if
	   :: r != EAGAIN -> break
#ifndef NEVER_FAR
	   :: step { r == EAGAIN && !with_w -> begin_origin_write(true, true, chunk) }
#endif
	   :: r == EAGAIN && with_w ->
		wait_for_in_progress(me);
		step { down_read(me); begin_origin_write(true, true, chunk) }
	   fi
	od;
#if TRAP == 10
	if
	:: r == DM_MAPIO_REMAPPED
	:: else -> put_grant(me)
	fi
#else
	put_grant(me)
#endif
}
#endif

#ifdef SNAPSHOT_MAP
inline snapshot_map_throttled(me, chunk)
{
	d_step { use(0); snap[0].users++; w[me].on_stack = true }	/* dm_get_live_table() */
#ifdef UPSTREAM
	do
	:: wait_for_in_progress(0, me, false);
	   if
	   :: may -> break
	   :: else
	   fi
	od;
#endif
#ifdef OURS
#ifdef NEVER_FAR
	with_w = true;
#endif
	do
	:: may_start_copy(0, me);
	   if
	   :: may -> break
	   :: !may && with_w -> wait_for_in_progress(me)
	   :: !may && !with_w -> with_w = true	/* __snapshot_map_throttled() */
	   fi
	od;
#endif
	may = false;
	if
	:: d_step { snap[0].pending = snap[0].pending | chunk; snap[0].pending_exceptions_count++ }
#ifdef OURS
	   claim_copy(0, me);
#endif
	   start_copy(0, me, chunk)
	:: skip			/* needs no copy */
	fi;
#ifdef OURS
	put_grant(me);
#endif
	d_step { use(0); snap[0].users-- }
}
#endif

/* Local variables that nobody reads any more would only make states differ. */
inline forget()
{
	s = 0;
	i = 0;
	nr = 0;
	first = 0;
	bio = false;
	needs_copy = false;
	pe_to_start_now = 0;
	pe_to_start_last = 0
}

/* The stack frame of do_origin_throttled() or snapshot_map_throttled() is gone. */
inline end_of_write(me)
{
	d_step {
		w[me].on_stack = false;
		w[me].snap = NULL;
#ifdef OURS
		waits_no_longer(me);
#endif
		w[me].granted = false;
		w[me].waited = 0;
		not_on_its_way(me);
#ifndef FOREVER
		chunk = chunk << (WRITES == 1 -> 1 : WRITERS);	/* the next of its own */
		write++;
#endif
		forget();
		throttled = false;
		with_w = false;
		r = 0
	}
}

proctype writer(byte me)
{
	byte chunk = BIT(me), write;
	LOCALS

	do
#ifdef FOREVER
	:: atomic {
		!(in_hand & chunk) && !(snap[0].origin_bios & chunk) &&
		!(snap[SNAPSHOTS - 1].origin_bios & chunk) ->
		snap[0].completed = snap[0].completed & ~chunk;
		snap[SNAPSHOTS - 1].completed = snap[SNAPSHOTS - 1].completed & ~chunk
	   }
	   if
	   :: me == 0 ->
progress:	skip
	   :: else
	   fi;
#else
	:: write < (me == WRITERS - 1 -> LAST_WRITES : WRITES) ->
#endif
#ifdef SNAPSHOT_MAP
		if
		:: me == WRITERS - 1 -> snapshot_map_throttled(me, chunk)
		:: else -> do_origin_throttled(me, chunk)
		fi;
#else
		do_origin_throttled(me, chunk);
#endif
		step {
			if
#ifdef SNAPSHOT_MAP
			:: me == WRITERS - 1
#endif
			:: else -> up_read()
			fi;
			end_of_write(me)
		}
#ifndef FOREVER
	:: else -> break
#endif
	od
}

/* The worker of s->kcopyd_client. */
proctype kcopyd(byte snapshot)
{
	byte chunk;
	bool retry;
	LOCALS

end:	do
	:: atomic {	/* a copy has ended, any: copy_callback(), pending_complete() */
		snap[snapshot].jobs;
		use(snapshot);
		chunk = 1;
		do
		:: snap[snapshot].jobs & chunk -> break
		:: (snap[snapshot].jobs & ~(chunk | (chunk - 1))) && !ends_next(chunk) ->
			chunk = chunk << 1
		od;
		snap[snapshot].jobs = snap[snapshot].jobs & ~chunk;
		assert(snap[snapshot].pending & chunk);
		snap[snapshot].pending = snap[snapshot].pending & ~chunk;
		snap[snapshot].completed = snap[snapshot].completed | chunk;
		retry = (snap[snapshot].origin_bios & chunk) != 0;
		snap[snapshot].origin_bios = snap[snapshot].origin_bios & ~chunk;
		if
		:: retry ->
			in_two_hands = (in_hand & chunk) != 0;
			assert(!in_two_hands);
			in_hand = in_hand | chunk
		:: else
		fi
	   }
	   if
	   :: retry -> do_origin(WRITERS + snapshot, chunk)	/* retry_origin_bios() */
	   :: else
	   fi;
	   step {
		d_step {	/* free_pending_exception() */
			use(snapshot);
			snap[snapshot].pending_exceptions_count--
		}
		account_end_copy(snapshot)
	   }
	   d_step {		/* the end of kcopyd's run_complete_job() */
		use(snapshot);
		snap[snapshot].nr_jobs--;
		forget();
		r = 0;
		chunk = 0;
		retry = false
	   }
	od
}

inline __insert_snapshot(s)
{
	if
	:: nr_snapshots == 0 -> first_snapshot = s
	:: else
	fi;
	nr_snapshots++
}

inline list_del_snapshot(s)
{
	nr_snapshots--;
	if
	:: nr_snapshots == 0 -> first_snapshot = 0
	:: nr_snapshots != 0 && first_snapshot == s -> first_snapshot = 1 - s
	:: else
	fi
}

proctype snapshot_ctr()
{
	/* register_snapshot() */
	origins_waiting++;
	step {
		down_write();
#ifdef CREATE
		d_step { __insert_snapshot(CTRS) };
#endif
		up_write()
	}
#if SNAPSHOTS == 2
	/* snapshot_resume() */
#ifdef OURS
	snap[CTRS].is_active = true;
#endif
	/* reregister_snapshot() */
	origins_waiting++;
	step {
		down_write();
		d_step { list_del_snapshot(CTRS); __insert_snapshot(CTRS) }
		up_write()
	}
#ifndef OURS
	snap[CTRS].is_active = true
#endif
#endif
}

proctype snapshot_dtr()
{
	byte s = SNAPSHOTS - 1;
	SCRATCH

	/* unregister_snapshot() */
	origins_waiting++;
	step {
		down_write();
#ifdef OURS
		release_writers(s);
#endif
		d_step { list_del_snapshot(s) }
		up_write()
	}

	/* the one waited for first, the other in dm_kcopyd_client_destroy() */
	!snap[s].pending_exceptions_count && !snap[s].nr_jobs && !snap[s].users;
	d_step {
#ifndef SEMAPHORE
		assert(!snap[s].in_progress);	/* WARN_ON() */
#endif
#ifdef OURS
		assert(len(throttled_writers[s]) == 0 && !snap[s].granted_writers);
#endif
		snap[s].freed = true;
		snap[s].completed = 0
	}
}

#ifdef SET
proctype param_set()
{
	if
	:: cow_threshold = SET
#ifdef SET2
	:: cow_threshold = SET2
#endif
	fi
}
#endif

/*
 * Nothing can happen any more: whoever has not come to an end never will.
 */
#define asleep(me)	(w[me].on_stack)
#define holds_other(me)	(asleep(me) && ((w[me].waits_for != 0 && (snap[0].granted_writers & BIT(me))) || \
			 (w[me].waits_for != 1 && (snap[SNAPSHOTS - 1].granted_writers & BIT(me)))))
#if WRITERS == 2
#define some(what)	(what(0) || what(1))
#else
#define some(what)	(what(0) || what(1) || what(2))
#endif
hidden byte deadlock_behind_origins_lock, holds_and_waits, asleep_for_ever, bio_lost;

proctype at_rest()
{
	atomic {
		timeout;
		deadlock_behind_origins_lock = origins_waiting;
#if TRAP == 5
		holds_and_waits = some(holds_other);
#endif
#ifdef STUCK
		asleep_for_ever = asleep(WRITERS - 1)
#else
		asleep_for_ever = some(asleep);
		bio_lost = in_hand || snap[0].origin_bios || snap[SNAPSHOTS - 1].origin_bios
#endif
	}
	assert(!deadlock_behind_origins_lock);
	assert(!holds_and_waits);
	assert(!asleep_for_ever);
	assert(!bio_lost)
}

init {
	SCRATCH

	atomic {
		n = 0;
		do
		:: n < WRITERS -> w[n].snap = NULL; w[n].waits_for = NULL; n++
		:: else -> break
		od;
		if
		:: spurious_wakeups = SPURIOUS
		:: SPURIOUS > 0 -> spurious_wakeups = 0
		fi;
#ifdef CREATE
		__insert_snapshot(0);
		snap[0].is_active = true;
#else
		if
		:: n = 0;
		   do
		   :: n < SNAPSHOTS -> __insert_snapshot(n); snap[n].is_active = true; n++
		   :: else -> break
		   od
#if SNAPSHOTS == 2 && defined(DTR) && defined(CTR)
		:: __insert_snapshot(1); __insert_snapshot(0);
		   snap[0].is_active = true; snap[1].is_active = true
#endif
		fi;
#endif
		n = 0;
		do
		:: n < WRITERS -> run writer(n); n++
		:: else -> break
		od;
		n = 0;
		do
#ifdef STUCK
		:: n == STUCK -> n++
		:: n < SNAPSHOTS && n != STUCK -> run kcopyd(n); n++
#else
		:: n < SNAPSHOTS -> run kcopyd(n); n++
#endif
		:: else -> break
		od;
		n = 0;
#if defined(CTR) || defined(CREATE)
		run snapshot_ctr();
#endif
#ifdef DTR
		run snapshot_dtr();
#endif
#ifdef SET
		run param_set();
#endif
#if !defined(FOREVER) && !defined(ENDS)
		run at_rest();
#endif
	}
}

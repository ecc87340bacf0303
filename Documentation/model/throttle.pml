/*
 * How drivers/md/dm-snap.c limits its copies in flight, for spin to explore.
 * Read it beside the C code. README says how, and what is left out.
 *
 * The code is that of this series, with TRAP=<name> for a mistake that is built
 * in; the first one is the semaphore's (721b1d98fb51). With UPSTREAM it is
 * mainline's (b21555786f18); if that is FIXED, a sleeping writer keeps its snapshot.
 *
 * WRITERS tasks write to the origin of SNAPSHOTS snapshots, each a chunk of its
 * own (SHARED: the last one the first one's), at a limit of LIMIT, and do it once,
 * or FOREVER. With MAP=s the last one writes to snapshot s instead. Beside them:
 *	CTR		snapshot_ctr() for another origin
 *	HANDOVER	snapshot 1 takes over the exceptions of snapshot 0
 *	DTR=s		snapshot s is removed
 *	INVALID=s	snapshot s becomes invalid
 *	SET=n		the limit changes to n, then to none
 *	MERGE=s		snapshot s merges, and needs copies in the other one
 *	STUCK=s		no copy of snapshot s ever ends (pan -E)
 *	PERSISTENT	exceptions are committed in batches
 * FINE makes each statement under in_progress_lock a step.
 */
#ifndef WRITERS
#define WRITERS		3
#endif
#ifndef SNAPSHOTS
#define SNAPSHOTS	2
#endif
#ifndef LIMIT
#define LIMIT		1
#endif
/* The mistakes. The six after the first are ones in upstream's throttle. */
#define SLEEP_WITH_LOCK		1	/* start_origin_copy() doesn't drop it */
#define STATE_AFTER_UNLOCK	2	/* TASK_UNINTERRUPTIBLE set too late */
#define UNTIL_OFF_LIST		3	/* sleeps until it is off the list */
#define FINISH_WAIT		4	/* for remove_wait_queue() */
#define WAKE_ONE		5	/* an exclusive wake-up */
#define UNPIN_EARLY		6	/* s is kept, but not until it left the queue */
#define PIN_LATE		7	/* s is kept, but not from under _origins_lock */
#define NOT_COUNTED		8	/* a slot is handed over, not counted */
#define OVERTAKE		9	/* a newcomer doesn't look at the queue */
#define END_WAKES_NOBODY	10
#define COMPLETE_FIRST		11	/* list_del() comes after complete() */
#define NOWAIT_NO_LIMIT		12	/* _nowait() looks at the queue only */
#define STARTED_AGAIN		13	/* start_origin_copy() doesn't return */
#define EAGAIN_NOT_STARTED	14	/* the list has changed, so it isn't started */
#define QUEUED_EARLY		15	/* the bio, on an earlier snapshot */
#define LAST_DECIDES		16	/* no second turn: it is remapped */
#define NO_SECOND_TURN		17	/* no second turn: it is submitted */
#define CALLBACK_WAITS		18	/* retry_origin_bios() throttles */
#define EAGAIN_AT_THE_END	19	/* the list has changed, but the bio is queued */
#define RAISED_UNNOTICED	20	/* a newcomer queues and sleeps */
#define NOT_PINNED		21	/* s may go while dm_kcopyd_copy() runs */
#define MERGE_UNTHROTTLED	22	/* as it was before */
#define GOES_ON			23	/* in a list that has changed */
#define LOOKS_UNLOCKED		24	/* whether it has changed, too early */
#ifndef TRAP
#define TRAP			0
#endif
#define UNLESS(trap, n)		(TRAP == trap -> 0 : n)
#ifdef FINE
#define step
#else
#define step			atomic
#endif
#define IF(cond)		if :: (cond) ->
#define FI			:: else fi
/* What must never be. Always 0, for their names: pan prints the expression. */
hidden byte use_after_free, overtaken, over_the_limit, hold_and_wait, kcopyd_waits,
	room_unnoticed, started_twice, never_started, bio_in_two_hands,
	written_too_early, bio_lost, warn_on, deadlock_behind_origins_lock,
	asleep_for_ever, removal_hangs;
#define never(name, bad)	assert(!(bad) || name)

#ifndef SET
#define SET		LIMIT
#endif
#ifndef MERGE
#define MERGE		NULL
#endif
#ifndef STUCK
#define STUCK		NULL
#endif
#ifndef MAP
#define MAP		NULL
#endif
#define NULL		SNAPSHOTS
#define TASKS		(WRITERS + SNAPSHOTS + 1)	/* kcopyd's workers, the merge */
#define BIT(n)		(1 << (n))
#define MERGER		(TASKS - 1)
#define ALL		(BIT(WRITERS) - 1)
#ifndef FIXED
#define FIXED		false
#endif
#ifndef FOREVER
#define FOREVER		0
#endif
#ifndef SHARED
#define SHARED		0
#endif
#define chunk_of(me)	BIT(SHARED && (me) == WRITERS - 1 -> 0 : (me))
#define bios_of(chunk)	(SHARED && (chunk) == 1 -> 1 | BIT(WRITERS - 1) : (chunk))

/* --- what the C code has in memory ---------------------------------------- */
typedef dm_snapshot {
	bool freed, valid, in_progress_lock;
	bool is_active;			/* C: active, a word of Promela's */
	byte in_progress, pending_exceptions_count;
	byte pending, completed;	/* sets of chunks */
	byte out_of_order_tree;		/* chunks that have been copied, still pending */
	byte jobs, nr_jobs;		/* kcopyd's: chunks to copy; all */
	byte origin_bios, snapshot_bios;/* sets; a bio has its writer's number */
	byte copies;			/* for checks: what in_progress must be */
};
dm_snapshot snap[SNAPSHOTS];
chan throttled_writers[SNAPSHOTS] = [TASKS] of { byte };	/* or the wait queue */
chan in_order[SNAPSHOTS] = [WRITERS + 1] of { byte };	/* pe->exception_sequence */

typedef throttled_writer {
	bool on_stack, may_start;
	bit state;			/* UPSTREAM: of its task */
	byte unstarted;			/* for checks: its exceptions */
};
throttled_writer w[TASKS];
short cow_threshold = LIMIT;
byte nr_snapshots, first_snapshot;	/* o->snapshots */
byte _origins_changes;
#define nth_snapshot(i)	(i == 0 -> first_snapshot : 1 - first_snapshot)
bool suspended;			/* the origin, */
byte in_map;			/* and who is in its map function */
/* For checks: bios with a task; bios submitted; the queue as it must be. */
byte in_hand, submitted;
chan arrived[SNAPSHOTS] = [TASKS] of { byte };

/* --- what it stands on ---------------------------------------------------- */
#define use(s)	never(use_after_free, snap[s].freed)
/* A rwsem: no reader passes a writer that waits. */
byte origins_readers, origins_waiting;
bool origins_writer;
inline down_read() {		/* &_origins_lock; so are the others */
	d_step { !origins_writer && !origins_waiting -> origins_readers++ }
}
#define up_read()		origins_readers--
inline down_write() {
	origins_waiting++;
	d_step { !origins_writer && !origins_readers -> origins_waiting--; origins_writer = true }
}
#define up_write()		origins_writer = false
inline spin_lock(s) {		/* &s->in_progress_lock */
	d_step { !snap[s].in_progress_lock -> use(s); snap[s].in_progress_lock = true }
}
#define spin_unlock(s)		d_step { use(s); snap[s].in_progress_lock = false }
#define complete(x)		d_step { use_stack(x); w[x].may_start = true }
#define use_stack(x)		never(use_after_free, !w[x].on_stack)
inline wait_for_completion_io(me) {
	d_step { w[me].may_start -> w[me].may_start = false; w[me].on_stack = false }
}
#define TASK_RUNNING		0	/* UPSTREAM */
#define TASK_UNINTERRUPTIBLE	1
#define schedule(me)		w[me].state == TASK_RUNNING

/* dm_kcopyd_copy(): from push() on the copy may end. wake() is still to come. */
inline start_copy(s, me, chunk) {
	d_step {
		use(s);
		never(started_twice, !(snap[s].pending & chunk) ||
				     ((snap[s].jobs | snap[s].out_of_order_tree) & chunk));
		snap[s].nr_jobs++; snap[s].jobs = snap[s].jobs | chunk;
		w[me].unstarted--
	}
}

/* --- the throttle --------------------------------------------------------- */
#define pin(s)		snap[s].pending_exceptions_count
/* For checks. A copy of s is counted for me; first come, first served. */
#define EXACT	(LIMIT > 0 && SET == LIMIT)
inline has_slot(s, me) {
	d_step {
		use(s);
		snap[s].copies++;
		never(over_the_limit, EXACT && snap[s].copies > LIMIT);
		if :: arrived[s]?[eval(me)] -> arrived[s]?eval(me)
		   :: else -> never(overtaken, len(arrived[s]) > 0) fi
	}
}
inline arrives(s, me) {
	d_step {
		never(kcopyd_waits, WRITERS <= me && me < MERGER);
		never(hold_and_wait, w[me].unstarted > 1);
		w[me].on_stack = true;
		if :: arrived[s]??[eval(me)] :: else -> arrived[s]!me fi
	}
}
/* A copy that isn't throttled. None goes over the limit: a retry needs no new one. */
inline increment(s) {
	d_step {
		snap[s].in_progress++; snap[s].copies++;
		never(over_the_limit, EXACT && TRAP != CALLBACK_WAITS && !FOREVER && snap[s].copies > LIMIT)
	}
}
inline decrement(s) {
	d_step { never(warn_on, snap[s].in_progress == 0); snap[s].in_progress--; snap[s].copies-- }
}
#ifdef UPSTREAM
#define too_many_copies(s)	(snap[s].in_progress > cow_threshold)
#define still_used(s)		(snap[s].in_progress)
#define AUTOREMOVE		(TRAP == UNTIL_OFF_LIST || TRAP == FINISH_WAIT)

inline account_start_copy_nowait(s, me, throttle) {	/* account_start_copy() */
	step { spin_lock(s); increment(s); spin_unlock(s); ok = true }
}

inline account_end_copy(s) {
	step {
		spin_lock(s);
		decrement(s);
		n = (snap[s].in_progress <= cow_threshold -> len(throttled_writers[s]) : 0);
		do	/* wake_up_locked() */
		:: n > 0 ->
			d_step {
				throttled_writers[s]?<x>;
				use_stack(x);
				ok = (AUTOREMOVE && w[x].state == TASK_UNINTERRUPTIBLE);
				w[x].state = TASK_RUNNING; n = UNLESS(WAKE_ONE, n - 1)
			}
			d_step {	/* list_del_init(); or on to the next one */
				IF(TRAP != WAKE_ONE) throttled_writers[s]?x FI;
				IF(TRAP != WAKE_ONE && !ok) throttled_writers[s]!x FI
			}
		:: else -> break
		od;
		x = 0; ok = false;
		spin_unlock(s)
	}
}

#define keep(s, n)	d_step { use(s); pin(s) = pin(s) + n }
#define on_list(s, me)	(throttled_writers[s]??[eval(me)])
/* False, in "ok", if it has slept. _origins_lock is dropped then. */
inline wait_for_in_progress(s, me) {
	d_step { use(s); ok = !too_many_copies(s) }
	IF(!ok)
		step {
			spin_lock(s);
			ok = !too_many_copies(s);
			IF(!ok)
				arrives(s, me);
				throttled_writers[s]!me;	/* __add_wait_queue() */
				w[me].state = UNLESS(STATE_AFTER_UNLOCK, TASK_UNINTERRUPTIBLE)
			FI;
			spin_unlock(s)
		}
	FI;
	IF(!ok)
		IF(FIXED && TRAP != PIN_LATE) keep(s, 1) FI;
		up_read();
		IF(FIXED && TRAP == PIN_LATE) keep(s, 1) FI;
		IF(TRAP == STATE_AFTER_UNLOCK) w[me].state = TASK_UNINTERRUPTIBLE FI;
		schedule(me);		/* io_schedule() */
		do
		:: TRAP == UNTIL_OFF_LIST && on_list(s, me) ->
			w[me].state = TASK_UNINTERRUPTIBLE; schedule(me)
		:: else -> break
		od;
		IF(FIXED && TRAP == UNPIN_EARLY) keep(s, -1) FI;
		IF(!AUTOREMOVE || on_list(s, me))
			step {		/* remove_wait_queue() */
				spin_lock(s);
				IF(on_list(s, me)) throttled_writers[s]??eval(me) FI;
				spin_unlock(s)
			}
		FI;
		atomic { w[me].on_stack = false; arrived[s]??eval(me) }
		IF(FIXED && TRAP != UNPIN_EARLY) keep(s, -1) FI
	FI
}
#else
#define too_many_copies(s)	(cow_threshold && snap[s].in_progress >= cow_threshold)
#define still_used(s)		(snap[s].in_progress || len(throttled_writers[s]) > 0)
#define room(s)			(len(throttled_writers[s]) > 0 && !too_many_copies(s))

/* The answer is left in "ok". */
inline account_start_copy_nowait(s, me, throttle) {
	step {
		spin_lock(s);
		if
		:: throttle ->
			ok = (len(throttled_writers[s]) == 0 || TRAP == OVERTAKE) &&
			     (!too_many_copies(s) || TRAP == NOWAIT_NO_LIMIT);
			IF(ok) snap[s].in_progress++; has_slot(s, me) FI
		:: else -> increment(s); ok = true
		fi;
		spin_unlock(s)
	}
}

/* With the lock. It is dropped for each wake-up, and at the end. */
inline wake_throttled_writers(s, if_any) {
	do
	:: step {
		if_any && room(s) ->
		throttled_writers[s]?<x>;
		IF(TRAP != COMPLETE_FIRST) throttled_writers[s]?x FI;	/* list_del() */
		snap[s].in_progress = snap[s].in_progress + UNLESS(NOT_COUNTED, 1);
		has_slot(s, x);
		spin_unlock(s)
	   }
	   complete(x);
	   step {
		spin_lock(s);
		IF(TRAP == COMPLETE_FIRST) use_stack(x); throttled_writers[s]?x FI
	   }
	:: atomic {
		!(if_any && room(s)) ->
		never(room_unnoticed, room(s));
		spin_unlock(s);
		x = 0; break
	   }
	od
}

inline wait_for_in_progress(s, me) {
	step {
		spin_lock(s);
		arrives(s, me);
		throttled_writers[s]!me
	}
	wake_throttled_writers(s, TRAP != RAISED_UNNOTICED);
	wait_for_completion_io(me)
}

inline account_end_copy(s) {
	step { spin_lock(s); decrement(s) }
	if :: TRAP == END_WAKES_NOBODY -> spin_unlock(s)
	   :: else -> wake_throttled_writers(s, true) fi
}
#endif

inline account_start_copy(s, me) {
	account_start_copy_nowait(s, me, true);
	IF(!ok) wait_for_in_progress(s, me) FI
}

/* --- what uses it --------------------------------------------------------- */
#define DM_MAPIO_SUBMITTED	0
#define DM_MAPIO_REMAPPED	1
#define EAGAIN			2	/* is negative in the C code */
#define LOCALS	/* of all that call __origin_write() */			\
	byte s, i, r, n, x, chunk, bio, changes;			\
	byte pe_to_start_now = NULL, pe_to_start_last = NULL;		\
	bool throttle, ok;

inline __insert_pending_exception(s, me, chunk) {
	snap[s].pending = snap[s].pending | chunk; snap[s].pending_exceptions_count++;
	in_order[s]!chunk;
	w[me].unstarted++
}

/* A bio is with one task, or on one list, and is submitted when all copies exist. */
inline out_of_hand(bio) {
	never(bio_in_two_hands, (in_hand & bio) != bio);
	in_hand = in_hand & ~bio
}

#define is_pending(s)	(snap[s].pending & chunk)
#define skips(s)	(s == MERGE || !snap[s].valid || !snap[s].is_active || \
			 (snap[s].completed & chunk))

inline submit_bio(bio, chunk) {	/* to the origin */
	d_step {
		out_of_hand(bio);
		submitted = submitted | bio;
		never(written_too_early, nr_snapshots > 0 && !skips(nth_snapshot(0)) ||
					 nr_snapshots > 1 && !skips(nth_snapshot(1)))
	}
}

/* start_origin_copy(), if nobody need wait; else "ok" is false */
inline start_origin_copy(s, me) {
	account_start_copy_nowait(s, me, throttle);
	IF(ok) start_copy(s, me, chunk) FI
}

/* The rest of it. What is returned is left in "ok". */
inline wait_and_start_it(s, me) {
	changes = _origins_changes;
	IF(TRAP != SLEEP_WITH_LOCK) up_read() FI;
	step {
		pin(s) = pin(s) + UNLESS(NOT_PINNED, 1);
		wait_for_in_progress(s, me)
	}
	IF(TRAP != EAGAIN_NOT_STARTED || changes == _origins_changes)
		start_copy(s, me, chunk)
	FI;
	step {
		use(s);		/* wake() */
		pin(s) = pin(s) - UNLESS(NOT_PINNED, 1)
	}
	IF(TRAP == LOOKS_UNLOCKED) ok = (changes == _origins_changes) FI;
	IF(TRAP != SLEEP_WITH_LOCK) down_read() FI;
	IF(TRAP == STARTED_AGAIN) start_copy(s, me, chunk) FI;
	IF(TRAP != LOOKS_UNLOCKED) ok = (changes == _origins_changes || TRAP == GOES_ON) FI;
	changes = 0
}

/* The caller holds _origins_lock. What is returned is left in "r". */
inline __origin_write(me) {
	d_step { r = DM_MAPIO_REMAPPED; i = 0 }
	do
	:: step {
		i < nr_snapshots ->
		atomic {	/* s->lock, and the exception table's lock */
			s = nth_snapshot(i); i++;
			use(s);
			if
			:: skips(s)
			:: !skips(s) && !is_pending(s) ->	/* it was copied long ago */
				snap[s].completed = snap[s].completed | chunk
			:: !skips(s) ->
				IF(!is_pending(s))
					__insert_pending_exception(s, me, chunk);
					pe_to_start_now = s
				FI;
				r = DM_MAPIO_SUBMITTED;
				IF(bio && (!throttle || i == nr_snapshots || TRAP == QUEUED_EARLY))
					out_of_hand(bio);
					snap[s].origin_bios = snap[s].origin_bios | bio;
					bio = 0; pe_to_start_last = pe_to_start_now;
					pe_to_start_now = NULL
				FI
			fi
		}
		IF(pe_to_start_now != NULL)
			start_origin_copy(s, me);
			IF(ok) pe_to_start_now = NULL FI
		FI
	   }
	   IF(pe_to_start_now != NULL)
		pe_to_start_now = NULL;
		wait_and_start_it(s, me);
		IF(!ok) r = EAGAIN; break FI;
		use(s)		/* list_for_each_entry() goes on from there */
	   FI
	:: step {
		i == nr_snapshots ->
		IF(pe_to_start_last != NULL)
			start_origin_copy(pe_to_start_last, me);
			IF(ok) pe_to_start_last = NULL FI
		FI;
		if
		:: TRAP != NO_SECOND_TURN && TRAP != LAST_DECIDES &&
		   throttle && bio && r == DM_MAPIO_SUBMITTED ->	/* it calls itself */
			throttle = false; r = DM_MAPIO_REMAPPED; i = 0
		:: else ->
			IF(bio && (r == DM_MAPIO_REMAPPED || TRAP == LAST_DECIDES))
				submit_bio(bio, chunk) FI;
			break
		fi
	   }
	od;
	IF(pe_to_start_last != NULL)	/* and bio is queued, so there was no second turn */
		wait_and_start_it(pe_to_start_last, me);
		pe_to_start_last = NULL;
		IF(TRAP == EAGAIN_AT_THE_END && !ok) r = EAGAIN FI
	FI
}

/* Variables that nobody reads any more would only make states differ. */
inline forget() {
	s = 0; i = 0; r = 0; n = 0; x = 0; chunk = 0; bio = 0; ok = false; throttle = false
}

inline do_origin(me, the_bio, throttled) {
	do
	:: down_read();
	   bio = the_bio; throttle = throttled;
#ifdef UPSTREAM
	   i = 0; ok = true;
	   do
	   :: throttle && ok && i < nr_snapshots ->
		s = nth_snapshot(i); i++;
		wait_for_in_progress(s, me)
	   :: else -> throttle = false; break
	   od;
	   if :: ok -> __origin_write(me); up_read() :: else -> r = EAGAIN fi;
#else
	   __origin_write(me);
	   up_read();
#endif
	   IF(r != EAGAIN) break FI
	od
}

inline snapshot_map(me, snapshot) {
	atomic {	/* s->lock, and the exception table's lock */
		s = snapshot;
		out_of_hand(BIT(me));
		if
		:: !snap[s].valid || (snap[s].completed & chunk) -> submitted = submitted | BIT(me)
		:: else ->
			snap[s].snapshot_bios = snap[s].snapshot_bios | BIT(me);
			IF(!is_pending(s))
				__insert_pending_exception(s, me, chunk);
				pe_to_start_now = s
			FI
		fi
	}
	IF(pe_to_start_now != NULL)
		pe_to_start_now = NULL;
		account_start_copy(s, me);
		start_copy(s, me, chunk)
	FI
}

proctype writer(byte me) {
	LOCALS
	do
	::
	   IF(FOREVER && me == 0) progress: skip FI;
	   atomic {
		!suspended && (submitted & BIT(me)) ->
		in_map++; chunk = chunk_of(me); submitted = submitted & ~BIT(me);
		/*
		 * Each write is to a new chunk. A retry that still walks takes it
		 * for its own, and starts a copy that the code wouldn't.
		 */
		IF(FOREVER) snap[0].completed = snap[0].completed & ~chunk;
			snap[SNAPSHOTS - 1].completed = snap[SNAPSHOTS - 1].completed & ~chunk FI;
		in_hand = in_hand | BIT(me)
	   }
	   if :: MAP < NULL && me == WRITERS - 1 -> snapshot_map(me, MAP)
	      :: else -> do_origin(me, BIT(me), true) fi;
	   atomic { in_map--; forget(); IF(!FOREVER) break FI }
	od
}

#ifdef PERSISTENT	/* all at once, when none is left that isn't copied */
#define commits(k)	(snap[k].out_of_order_tree == snap[k].pending -> WRITERS + 1 : 0)
#else
#define commits(k)	(WRITERS + 1)
#endif
/* That a copy is passed over for ever is not what is looked for. */
#define may_pass(chunk)	(!FOREVER || chunk != 1 || !(snap[k].jobs & chunk))

/* Up to retry_origin_bios(), in the order of pe->exception_sequence. */
inline pending_complete(k) {
	d_step {
		use(k);
		in_order[k]?chunk; left--;
		snap[k].out_of_order_tree = snap[k].out_of_order_tree & ~chunk;
		snap[k].pending = snap[k].pending & ~chunk;
		IF(snap[k].valid) snap[k].completed = snap[k].completed | chunk FI;
		submitted = submitted | (snap[k].snapshot_bios & bios_of(chunk));
		snap[k].snapshot_bios = snap[k].snapshot_bios & ~bios_of(chunk);
		bios = snap[k].origin_bios & bios_of(chunk);
		snap[k].origin_bios = snap[k].origin_bios & ~bios;
		never(bio_in_two_hands, in_hand & bios);
		in_hand = in_hand | bios
	}
}

/* The worker of s->kcopyd_client, for snapshot k. */
proctype kcopyd(byte k) {
	LOCALS
	byte bios, left;
end:	do
	:: atomic {	/* a copy has ended, any: copy_callback() */
		snap[k].jobs ->
		use(k);
		chunk = 1;
		do
		:: snap[k].jobs & chunk -> break
		:: (snap[k].jobs & ~(chunk | (chunk - 1))) && may_pass(chunk) -> chunk = chunk << 1
		od;
		snap[k].jobs = snap[k].jobs & ~chunk;
		snap[k].out_of_order_tree = snap[k].out_of_order_tree | chunk;
		left = commits(k)
	   }
	   do
	   :: step {
		chunk = 0;
		IF(left && len(in_order[k]) > 0) in_order[k]?<chunk> FI;
		if :: snap[k].out_of_order_tree & chunk -> pending_complete(k)
		   :: else -> break fi
	      }
	      do	/* retry_origin_bios() */
	      :: bios ->
		do_origin(WRITERS + k, (bios & 1 -> 1 : bios), TRAP == CALLBACK_WAITS);
		bios = (bios & 1 -> bios & ~1 : 0)
	      :: else -> break
	      od;
	      atomic { use(k); snap[k].pending_exceptions_count-- }	/* free_pending_exception() */
	   od;
	   account_end_copy(k);
	   atomic { use(k); snap[k].nr_jobs--; forget(); left = 0 }	/* run_complete_job() */
	od
}

proctype snapshot_ctr() { down_write(); up_write() }	/* of another origin */
proctype snapshot_resume() {	/* of snapshot 1, which has the COW device of snapshot 0 */
	suspended = (TRAP != CALLBACK_WAITS);	/* dm_internal_suspend_fast() */
	!suspended || !in_map && !in_hand && !snap[0].origin_bios && !snap[1].origin_bios;
	down_read();
	d_step {		/* __handover_exceptions() */
		snap[1].completed = snap[0].completed; snap[0].valid = false;
		snap[1].is_active = true
	}
	up_read();
	suspended = false
}

proctype snapshot_dtr(byte s) {
	/* unregister_snapshot() */
	down_write();
	d_step {
		nr_snapshots--; _origins_changes++;
		first_snapshot = (nr_snapshots && first_snapshot == s -> 1 - s : first_snapshot)
	}
	up_write();
	!snap[s].pending_exceptions_count;
	!snap[s].nr_jobs;	/* dm_kcopyd_client_destroy() */
	d_step {
		never(warn_on, still_used(s));
		snap[s].freed = true; snap[s].completed = 0
	}
}

#define merged		(1 | BIT(WRITERS))	/* two chunks of the other snapshot */

proctype merge() {	/* the worker of the merging snapshot */
	LOCALS
	bool must_wait;
	do
	:: /* origin_write_extent() */
	   down_read();
	   chunk = 1; must_wait = false;
	   do
	   :: throttle = (TRAP != MERGE_UNTHROTTLED);
	      __origin_write(MERGER);
	      atomic {
		must_wait = must_wait || r != DM_MAPIO_REMAPPED;
		IF(chunk == BIT(WRITERS)) break FI;
		chunk = BIT(WRITERS)
	      }
	   od;
	   up_read();
	   IF(!must_wait) break FI;
	   /* _pending_exceptions_done */
	   !((snap[0].pending | snap[SNAPSHOTS - 1].pending) & merged)
	od;
	forget()
}

proctype invalidate_snapshot(byte s) { snap[s].valid = false }
proctype param_set() { cow_threshold = SET; cow_threshold = 0 }

/* Nothing can happen any more. */
#define not_started(s)	(snap[s].pending & ~(snap[s].jobs | snap[s].out_of_order_tree))

proctype at_rest() {
	timeout;
	never(deadlock_behind_origins_lock, origins_waiting);
#ifdef DTR
	never(removal_hangs, !snap[DTR].freed);
#endif
	never(asleep_for_ever, MAP < NULL && w[WRITERS - 1].on_stack);
	IF(STUCK == NULL)
		never(asleep_for_ever, w[0].on_stack || w[1].on_stack ||
				       w[WRITERS - 1].on_stack || w[MERGER].on_stack);
		never(never_started, not_started(0) || not_started(SNAPSHOTS - 1));
		never(bio_lost, submitted != ALL)
	FI
}

init {
	byte n;
	atomic {
		submitted = ALL; nr_snapshots = SNAPSHOTS;
		for (n : 0 .. WRITERS - 1) { run writer(n) }
		for (n : 0 .. SNAPSHOTS - 1) {
			snap[n].valid = true; snap[n].is_active = true;
			IF(n != STUCK) run kcopyd(n) FI
		}
		IF(MERGE < NULL) run merge() FI;
		IF(SET != LIMIT) run param_set() FI;
#ifdef CTR
		run snapshot_ctr();
#endif
#ifdef HANDOVER
		snap[1].is_active = false;
		run snapshot_resume();
#endif
#ifdef DTR
		run snapshot_dtr(DTR);
#endif
#ifdef INVALID
		run invalidate_snapshot(INVALID);
#endif
		run at_rest();
		n = 0
	}
}

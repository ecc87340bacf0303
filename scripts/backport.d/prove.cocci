// What must hold of the result, whatever it was made of. Every line that this
// prints is a violation: a function, and what is wrong with it.

@initialize:python@
@@
def wrong(p, what):
    print("%s() %s" % (p[0].current_element, what))

handed_over, ended = set(), set()

// A copy is counted before it is handed to kcopyd, on whatever way, and nothing
// else is counted. start_copy() has its callers count it.

@pair@
position start;
@@
account_start_copy@start(...);
... when != account_start_copy(...)
    when strict
(
start_copy(...)
|
dm_kcopyd_zero(...)
|
dm_kcopyd_prepare_callback(...)
)

@no_job@
identifier f;
position p != pair.start;
@@
f(...)
{
	<+...
	account_start_copy@p(...);
	...+>
}

@script:python@
p << no_job.p;
@@
wrong(p, "counts a copy that it does not hand to kcopyd")

@some_way exists@
identifier f;
position p;
@@
f(...)
{
	... when != account_start_copy(...)
	    when != account_start_copy_nowait(...)
(
	start_copy@p(...)
|
	dm_kcopyd_zero@p(...)
|
	dm_kcopyd_prepare_callback@p(...)
)
	... when any
}

@script:python@
p << some_way.p;
@@
wrong(p, "hands kcopyd a copy that it does not count")

// The merge's own job isn't counted: there is one at a time, and nobody waits
// for it.

@the_merge@
symbol merge_callback;
position p;
@@
dm_kcopyd_copy@p(..., merge_callback, ...)

@other_job@
identifier f != start_copy;
position p != the_merge.p;
@@
f(...)
{
	<+...
	dm_kcopyd_copy@p(...)
	...+>
}

@script:python@
p << other_job.p;
@@
wrong(p, "hands kcopyd a copy that it does not count")

// Each of kcopyd's callbacks counts one end, on whatever way it takes, and
// nothing else does.

@callback@
expression kc, from, n, to, flags, context;
identifier f != merge_callback;
@@
(
dm_kcopyd_copy(kc, from, n, to, flags, f, context)
|
dm_kcopyd_zero(kc, n, to, flags, f, context)
|
dm_kcopyd_prepare_callback(kc, f, context)
)

@script:python@
f << callback.f;
@@
handed_over.add(f)

@end@
identifier f;
position p;
@@
f(...)
{
	... when != account_end_copy(...)
	    when strict
	account_end_copy@p(...);
	... when != account_end_copy(...)
	    when strict
}

@script:python@
f << end.f;
@@
ended.add(f)

@stray@
position p != end.p;
@@
account_end_copy@p(...);

@script:python@
p << stray.p;
@@
wrong(p, "does not count the end of a copy on every way, and once")

// The throttle is set up before anything can use it.

@early exists@
symbol s;
position p;
@@
snapshot_ctr(...)
{
	... when != INIT_LIST_HEAD(&s->throttled_writers)
(
	dm_kcopyd_client_create@p(...)
|
	register_snapshot@p(...)
|
	unregister_snapshot@p(...)
)
	... when any
}

@script:python@
p << early.p;
@@
wrong(p, "uses the throttle before it is initialised")

// Nobody waits with a lock held that kcopyd's callbacks want. The caller of
// start_origin_copy() holds one.

@held exists@
symbol true;
position p;
@@
(
down_read(...)
|
down_write(...)
|
mutex_lock(...)
)
... when != up_read(...)
    when != up_write(...)
    when != mutex_unlock(...)
(
account_start_copy@p(...)
|
start_full_bio@p(...)
|
zero_exception@p(...)
|
do_origin@p(..., true)
)

@script:python@
p << held.p;
@@
wrong(p, "waits with a lock held")

@kept exists@
symbol _origins_lock;
position p;
@@
start_origin_copy(...)
{
	... when != up_read(&_origins_lock)
	wait_for_in_progress@p(...)
	... when any
}

@script:python@
p << kept.p;
@@
wrong(p, "waits with a lock held")

// Of those that call do_origin(), only map functions wait: kcopyd's callbacks would wait
// for themselves.

@waiter@
symbol true;
position p;
@@
do_origin@p(..., true)

@script:python@
p << waiter.p;
@@
if p[0].current_element not in ("origin_map", "snapshot_merge_map"):
    wrong(p, "waits, but is no target's map function")

// A snapshot is active before the origin is resumed.

@resumed exists@
identifier s;
position p;
@@
snapshot_resume(...)
{
	... when != s->active = 1
	dm_internal_resume_fast@p(...)
	... when any
}

@script:python@
p << resumed.p;
@@
wrong(p, "resumes the origin before the snapshot is active")

@finalize:python@
@@
for f in sorted(handed_over - ended):
    print("%s() does not count the end of a copy on every way, and once" % f)
for f in sorted(ended - handed_over):
    print("%s() counts the end of a copy, but is no callback of kcopyd's" % f)

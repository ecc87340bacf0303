// What must hold of the result, whatever it was made of. Every line that this
// prints is a violation: a function, and what is wrong with it.

virtual active_first, claims

@initialize:python@
@@
def wrong(p, what):
    print("%s() %s" % (p[0].current_element, what))

handed_over, ended = set(), set()

// Each start of a copy is followed by one job for kcopyd, and each job preceded
// by a start. From the patch on that brings it, claim_copy() counts the start of what
// start_copy() and start_full_bio() do, and whoever calls these two claims it.

@pair@
expression s;
position start, job;
@@
account_start_copy@start(s);
... when != account_start_copy(...)
    when strict
(
dm_kcopyd_copy@job(s->kcopyd_client, ...)
|
dm_kcopyd_zero@job(s->kcopyd_client, ...)
|
dm_kcopyd_prepare_callback@job(s->kcopyd_client, ...)
)

@claim depends on claims@
expression pe;
position p;
@@
claim_copy(...)
{
	pe->started = 1;
	account_start_copy@p(pe->snap);
}

@claimed depends on claims@
identifier f = {start_copy, start_full_bio};
position p;
@@
f(...)
{
	<+...
(
	dm_kcopyd_copy@p(...)
|
	dm_kcopyd_prepare_callback@p(...)
)
	...+>
}

@unclaimed depends on claims@
expression pe;
position p;
identifier f != claim_copy;
@@
f(...)
{
	<+...
	pe@p->started = 1
	...+>
}

@script:python@
p << unclaimed.p;
@@
wrong(p, "starts a copy that it does not claim")

@no_job@
position p != { pair.start, claim.p };
@@
account_start_copy@p(...);

@script:python@
p << no_job.p;
@@
wrong(p, "counts a copy that it does not hand to kcopyd")

// The merge's own job isn't counted: there is one at a time, and nobody waits
// for it.

@the_merge@
position p;
@@
dm_kcopyd_copy@p(..., merge_callback, ...)

@no_start@
position p != { pair.job, the_merge.p, claimed.p };
@@
(
dm_kcopyd_copy@p(...)
|
dm_kcopyd_zero@p(...)
|
dm_kcopyd_prepare_callback@p(...)
)

@script:python@
p << no_start.p;
@@
wrong(p, "hands kcopyd a copy that it does not count")

@some_way exists@
identifier f;
position p != { the_merge.p, claimed.p };
@@
f(...)
{
	... when != account_start_copy(...)
(
	dm_kcopyd_copy@p(...)
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
position p;
@@
snapshot_ctr(...)
{
	... when != init_throttle(...)
(
	dm_kcopyd_client_create@p(...)
|
	register_snapshot@p(...)
|
	unregister_snapshot@p(...)
)
	...
}

@script:python@
p << early.p;
@@
wrong(p, "uses the throttle before it is initialised")

// Nobody waits with the snapshot's lock held, which kcopyd's callbacks want.

@held exists@
expression s;
position p;
@@
(
down_read(&s->lock)
|
down_write(&s->lock)
|
mutex_lock(&s->lock)
)
... when != up_read(&s->lock)
    when != up_write(&s->lock)
    when != mutex_unlock(&s->lock)
(
wait_for_in_progress@p(...)
|
do_origin_throttled@p(...)
)

@script:python@
p << held.p;
@@
wrong(p, "waits with the snapshot's lock held")

// Only map functions wait: kcopyd's callbacks would wait for themselves.

@waiter@
position p;
@@
do_origin_throttled@p(...)

@script:python@
p << waiter.p;
@@
if p[0].current_element not in ("origin_map", "snapshot_merge_map"):
    wrong(p, "waits, but is no target's map function")

// A snapshot is active before the origin is resumed, from the patch on that
// changes that.

@resumed depends on active_first exists@
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

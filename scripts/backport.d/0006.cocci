// The lock that is taken again after the allocation, below which a writer asks and
// its copy is claimed, is the exception table's or the snapshot's. What stands
// between it and the next look-up may differ, too.

@asks_in_map@
@@
snapshot_map(...)
{
	<+...
	may_start_copy(...)
	...+>
}

@depends on !asks_in_map@
identifier s, chunk, e, pe;
@@
snapshot_map(...)
{
	<...
	pe = alloc_pending_exception(s);
	... when != e
+	/* Others may have come meanwhile */
+	if (!may_start_copy(s, w)) {
+		free_pending_exception(pe);
+		r = -EAGAIN;
+		goto out_unlock;
+	}
+
	e = dm_lookup_exception(&s->complete, chunk);
	...>
}

@@
identifier ti, bio;
@@
-snapshot_map(struct dm_target *ti, struct bio *bio)
+snapshot_map(struct dm_target *ti, struct bio *bio, struct throttled_writer *w)
{
	...
}

@frees_in_origin@
identifier snap, w, pe;
@@
__origin_write(...)
{
	<+...
	if (w && !may_start_copy(snap, w)) {
		free_pending_exception(pe);
		...
	}
	...+>
}

@looks_again depends on !frees_in_origin@
identifier snap, chunk, pe, pe2;
@@
__origin_write(...)
{
	<+...
	pe = alloc_pending_exception(snap);
	... when != pe2
+	/* Others may have come meanwhile */
+	if (w && !may_start_copy(snap, w)) {
+		free_pending_exception(pe);
+		r = -EAGAIN;
+		goto next_snapshot;
+	}
+
	pe2 = __lookup_pending_exception(snap, chunk);
	...+>
}

@depends on !frees_in_origin && !looks_again@
identifier snap, chunk, e, pe;
@@
__origin_write(...)
{
	<...
	pe = alloc_pending_exception(snap);
	... when != e
+	/* Others may have come meanwhile */
+	if (w && !may_start_copy(snap, w)) {
+		free_pending_exception(pe);
+		r = -EAGAIN;
+		goto next_snapshot;
+	}
+
	e = dm_lookup_exception(&snap->complete, chunk);
	...>
}

@@
identifier pe, f = {snapshot_map, __origin_write};
@@
f(...)
{
	<...
-	pe->started = 1
+	claim_copy(pe)
	;
	...>
}

@@
identifier s, f = {start_copy, start_full_bio};
@@
f(...)
{
	<...
-	account_start_copy(s);
	...>
}

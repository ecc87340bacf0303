// Between the look for an exception and the allocation of one there may be a lock
// to release, of the table or of the snapshot, or none.

@there@
@@
__origin_write(...)
{
	<+...
	may_start_copy(...)
	...+>
}

@depends on !there@
identifier snap, chunk, e, pe;
@@
__origin_write(...)
{
	<...
	e = dm_lookup_exception(&snap->complete, chunk);
	if (e)
		goto next_snapshot;
+
+	if (w && !may_start_copy(snap, w)) {
+		r = -EAGAIN;
+		goto next_snapshot;
+	}
+
	... when != e
	pe = alloc_pending_exception(snap);
	...>
}

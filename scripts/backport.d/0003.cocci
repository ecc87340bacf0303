// What surrounds these lines differs: there is no exception table lock before
// v5.1, and init_throttle() has other neighbours.

@there@
@@
init_throttle(...)
{
	...
	INIT_LIST_HEAD(&s->granted_writers);
}

@depends on !there@
identifier s;
@@
init_throttle(struct dm_snapshot *s)
{
	...
	INIT_LIST_HEAD(&s->throttled_writers);
+	INIT_LIST_HEAD(&s->granted_writers);
}

@declared@
@@
snapshot_map(...)
{
	...
	init_throttled_writer(&w);
	...
}

@behind_lock depends on !declared exists@
identifier lock;
@@
snapshot_map(...)
{
	...
	struct dm_exception_table_lock lock;
+	struct throttled_writer w;
	...
+	init_throttled_writer(&w);
	init_tracked_chunk(...);
	...
}

@depends on !declared && !behind_lock exists@
symbol pe;
@@
snapshot_map(...)
{
	...
	struct dm_snap_pending_exception *pe = NULL;
+	struct throttled_writer w;
	...
+	init_throttled_writer(&w);
	init_tracked_chunk(...);
	...
}

@@
expression s;
@@
snapshot_map(...)
{
	<...
-	wait_for_in_progress(s, false)
+	wait_for_in_progress(s, &w, false)
	...>
}

// All ways that lead on from the wait end here.

@given_back@
@@
snapshot_map(...)
{
	<+...
	put_grant(...);
	...+>
}

@depends on !given_back@
local idexpression r;
@@
snapshot_map(...)
{
	<...
+	put_grant(&w);
+
	return r;
	...>
}

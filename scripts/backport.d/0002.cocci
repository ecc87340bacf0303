// Trees before v5.3 have no features to parse, and so nothing that this function
// could stand behind.

@there@
@@
init_throttle(...) {...}

@depends on !there@
@@
+static void init_throttle(struct dm_snapshot *s)
+{
+	spin_lock_init(&s->in_progress_lock);
+	s->in_progress = 0;
+	INIT_LIST_HEAD(&s->throttled_writers);
+}
+
snapshot_ctr(...) {...}

@@
expression s;
@@
- sema_init(&s->cow_count, ...);
+ init_throttle(s);

// A writer to an origin waits when all is known of the bio.

@@
expression o, bio;
@@
origin_map(...)
{
	<...
-	do_origin(o->dev, bio)
+	do_origin_throttled(o->dev, bio)
	...>
}

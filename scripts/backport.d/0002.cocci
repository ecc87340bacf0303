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

// A writer to a snapshot waits before it takes s->lock for the first time,
// which may be a mutex or a rwsem.

@waits@
@@
snapshot_map(...)
{
	...
	wait_for_in_progress(...)
	...
}

@depends on !waits exists@
identifier ti, bio, s;
expression e;
symbol false;
@@
snapshot_map(struct dm_target *ti, struct bio *bio)
{
	... when != \(down_read\|down_write\|mutex_lock\)(...)
	if (!s->valid)
		return e;
+
+	/* @MAP@ holds the table, and so s, until we return */
+	if (bio_data_dir(bio) == WRITE)
+		while (!wait_for_in_progress(s, false))
+			;
	\(down_read\|down_write\|mutex_lock\)(&s->lock);
	...
}

// And one to an origin when all is known of the bio.

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

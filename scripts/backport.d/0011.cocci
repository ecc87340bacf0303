// The snapshot becomes active, under its lock, a rwsem or a mutex, before the origin
// is resumed. What stands between the two may differ as well, as long as it has
// nothing to do with the origin and no way ends there.

@rwsem@
expression s;
identifier md, restart, merging;
@@
snapshot_resume(...)
{
	... when any
+	/*
+	 * Before the origin is resumed: since the handover no other snapshot
+	 * takes the copies that writes to the origin, and the merge, have to
+	 * make for s. But reregister after that, as a reader of _origins_lock
+	 * may wait for a bio of the origin.
+	 */
+	down_write(&s->lock);
+	s->active = 1;
+	up_write(&s->lock);
+
	if (md) {
		if (restart)
			start_merge(merging);
		dm_internal_resume_fast(md);
		dm_put(md);
	}
	... when != md
	    when strict
-	down_write(&s->lock);
-	s->active = 1;
-	up_write(&s->lock);
}

@mutex depends on !rwsem@
expression s;
identifier md, restart, merging;
@@
snapshot_resume(...)
{
	... when any
+	/*
+	 * Before the origin is resumed: since the handover no other snapshot
+	 * takes the copies that writes to the origin, and the merge, have to
+	 * make for s. But reregister after that, as a reader of _origins_lock
+	 * may wait for a bio of the origin.
+	 */
+	mutex_lock(&s->lock);
+	s->active = 1;
+	mutex_unlock(&s->lock);
+
	if (md) {
		if (restart)
			start_merge(merging);
		dm_internal_resume_fast(md);
		dm_put(md);
	}
	... when != md
	    when strict
-	mutex_lock(&s->lock);
-	s->active = 1;
-	mutex_unlock(&s->lock);
}

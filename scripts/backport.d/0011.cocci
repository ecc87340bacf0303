// The origin's resume goes behind the lock, a mutex or a rwsem, under which the
// snapshot became active. What stands between the two may differ as well, as
// long as it has nothing to do with the origin and no way ends there.

@moved@
expression s;
identifier md, restart, merging;
@@
snapshot_resume(...)
{
	... when any
-	if (md) {
-		if (restart)
-			start_merge(merging);
-		dm_internal_resume_fast(md);
-		dm_put(md);
-	}
	... when != md
	    when strict
	s->active = 1;
	\(up_write\|mutex_unlock\)(&s->lock);
+
+	/*
+	 * Not before this: since the handover no other snapshot takes the
+	 * copies that writes to the origin, and the merge, have to make for s.
+	 */
+	if (md) {
+		if (restart)
+			start_merge(merging);
+		dm_internal_resume_fast(md);
+		dm_put(md);
+	}
}

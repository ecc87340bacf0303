// The locks that are released before the zeroes are written differ.

@asks@
expression s, w;
@@
snapshot_map(...)
{
	<+...
	!w || !may_start_copy(s, w)
	...+>
}

@depends on !asks@
expression s, e, bio, chunk;
@@
snapshot_map(...)
{
	<...
	if (e) {
-		remap_exception(s, e, bio, chunk);
+		/* Zeroes don't count below this lock: only with a grant */
		if (unlikely(bio_op(bio) == REQ_OP_DISCARD) &&
		    io_overlaps_chunk(s, bio)) {
+			if (!w || !may_start_copy(s, w)) {
+				r = -EAGAIN;
+				goto out_unlock;
+			}
+
+			remap_exception(s, e, bio, chunk);
			...
		}
+		remap_exception(s, e, bio, chunk);
		goto out_unlock;
	}
	...>
}

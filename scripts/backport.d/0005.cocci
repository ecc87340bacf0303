// s->lock, which may be a mutex or a rwsem, is released just before.

@@
expression s, bio;
@@
snapshot_merge_map(...)
{
	<...
-	do_origin(s->origin, bio)
+	do_origin_throttled(s->origin, bio)
	...>
}

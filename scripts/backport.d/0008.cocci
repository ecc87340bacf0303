// See 0006.cocci: what surrounds the question differs.

@@
identifier snap, w;
@@
__origin_write(...)
{
	<...
-	w && !may_start_copy(snap, w)
+	throttled && !may_start_copy(snap, w)
	...>
}

// See 0006.cocci: what surrounds the questions differs. Only the second one is for
// those without w, too.

@@
identifier snap, w, pe;
@@
__origin_write(...)
{
	<...
-	if (w && !may_start_copy(snap, w)) {
+	if (throttled && !may_start_copy(snap, w)) {
		free_pending_exception(pe);
		...
	}
	...>
}

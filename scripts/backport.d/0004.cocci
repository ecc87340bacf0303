// init_throttle() has other neighbours before v5.3.

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

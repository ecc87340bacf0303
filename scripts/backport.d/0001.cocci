// The calls of the semaphore, wherever they are, but for the two helpers that
// the patch has just brought: one start, one end.

@start@
identifier s;
position p;
@@
account_start_copy(...)
{
	down@p(&s->cow_count);
}

@end@
identifier s;
position p;
@@
account_end_copy(...)
{
	up@p(&s->cow_count);
}

@@
expression s;
position p != start.p;
@@
- down@p(&s->cow_count);
+ account_start_copy(s);

@@
expression s;
position p != end.p;
@@
- up@p(&s->cow_count);
+ account_end_copy(s);

# copies that end out of order wait in a list, not in a tree (before 4.19)
s/struct rb_root out_of_order_tree/struct list_head out_of_order_list/
s/struct rb_node out_of_order_node/struct list_head out_of_order_entry/
s/s->out_of_order_tree = RB_ROOT/INIT_LIST_HEAD(\&s->out_of_order_list)/
/^static void copy_callback/,/^}/{
	/struct rb_node \*next/,/^$/d
	/next = rb_first/,/cond_resched/c\
		while (!list_empty(&s->out_of_order_list)) {\
			pe = list_first_entry(&s->out_of_order_list,\
					struct dm_snap_pending_exception, out_of_order_entry);\
			if (pe->exception_sequence != s->exception_complete_sequence)\
				break;\
			s->exception_complete_sequence++;\
			list_del(&pe->out_of_order_entry);\
			complete_exception(pe);
	/struct rb_node \*parent/,/rb_insert_color/c\
		struct list_head *pos;\
\
		list_for_each_prev(pos, &s->out_of_order_list)\
			if (list_entry(pos, struct dm_snap_pending_exception,\
				       out_of_order_entry)->exception_sequence <\
			    pe->exception_sequence)\
				break;\
		list_add(&pe->out_of_order_entry, pos);
}

# s->lock protects the exceptions, too: no other lock (before 5.1)
/^struct dm_exception_table_lock \{/,/^}/d
/^static void dm_exception_table_(un)?lock(_init)?\(/,/^}/d
/dm_exception_table_(un)?lock/d
/^static int (snapshot_map|__origin_write)/,/^}/{
	/^\t\t\tup_read\(&s->lock\);$/{N;s/\n$//}
	s/(down|up)_read\(&(s|snap)->lock\)/\1_write(\&\2->lock)/
}

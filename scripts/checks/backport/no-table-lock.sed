# s->lock protects the exceptions, too: no other lock (before 5.1)
/^static int snapshot_map/,/^}/{
	/struct dm_exception_table_lock lock;/d
	/dm_exception_table_(un)?lock(_init)?\(/d
	s/(down|up)_read\(&s->lock\)/\1_write(\&s->lock)/
}

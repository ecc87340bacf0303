# s->lock is a mutex (4.19 to 5.0)
s/\b(down|up)_(read|write)(_nested)?\(&(s|snap|snap_src|snap_dest)->lock/\1_mutex\3(\&\4->lock/
s/\bdown_mutex/mutex_lock/
s/\bup_mutex/mutex_unlock/
s/init_rwsem\(&s->lock\)/mutex_init(\&s->lock)/
/^struct dm_snapshot \{/,/^}/s/struct rw_semaphore lock/struct mutex lock/
/^static void snapshot_dtr/,/^}/s/^\tdm_exception_store_destroy\(s->store\);/&\n\n\tmutex_destroy(\&s->lock);/

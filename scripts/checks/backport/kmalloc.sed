# the snapshot is not zeroed when it is allocated (up to 4.14)
/^static int snapshot_ctr/,/^}/s/kzalloc\(sizeof\(\*s\)/kmalloc(sizeof(*s)/
s/^\tspin_lock_init\(&s->in_progress_lock\);/&\n\ts->in_progress = 0;/

# a bio has no iterator, a wait queue is a typedef, no writes are split (RHEL 7)
s/bi_iter\.bi_/bi_/
s/struct wait_queue_head in/wait_queue_head_t in/
/^static int origin_map/,/^}/s/^\treturn do_origin\(o->dev, bio(.*)\);/\treturn (bio_rw(bio) == WRITE) ? do_origin(o->dev, bio\1) : DM_MAPIO_REMAPPED;/

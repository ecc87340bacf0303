# a flush is known by bi_rw (before 4.8)
s/bi_opf & REQ_PREFLUSH/bi_rw \& REQ_FLUSH/

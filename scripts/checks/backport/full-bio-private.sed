# a bio of a whole chunk has its bi_private put back, too (before 4.5)
s/^\tbio_end_io_t \*full_bio_end_io;/&\n\tvoid *full_bio_private;/
s/^\t\tfull_bio->bi_end_io = pe->full_bio_end_io;/&\n\tif (full_bio)\n\t\tfull_bio->bi_private = pe->full_bio_private;/
s/^\tpe->full_bio_end_io = bio->bi_end_io;/&\n\tpe->full_bio_private = bio->bi_private;/

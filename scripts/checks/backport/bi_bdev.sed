# a bio's device is a plain field (before 4.14)
s/bio_set_dev\(bio, (.*)\);/bio->bi_bdev = \1;/

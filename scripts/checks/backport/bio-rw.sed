# the direction of a bio is asked for with bio_rw() (before 4.8)
s/bio_data_dir\(bio\) (== WRITE(\)+ \{| &&$)|!= WRITE)/bio_rw(bio) \1/
# not so in upstream's throttle
/^\tif \(bio_rw\(bio\) == WRITE\) \{$/{N;/wait_for_in_progress/s/bio_rw/bio_data_dir/}
s/^(\t\tif \()bio_data_dir(\(bio\) == WRITE\))$/\1bio_rw\2/

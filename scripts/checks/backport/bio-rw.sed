# the direction of a bio is asked for with bio_rw() (before 4.8)
s/bio_data_dir\(bio\) (== WRITE(\)+ \{| &&$)|!= WRITE)/bio_rw(bio) \1/
s/^(\t\tif \()bio_data_dir(\(bio\) == WRITE\))$/\1bio_rw\2/

# bios are submitted with this (before 5.9)
s/submit_bio_noacct/generic_make_request/

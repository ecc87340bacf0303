# discards don't come here, and nothing is zeroed (before 5.3)
/^static void zero_callback/,/^}/d
/^static void zero_exception/,/^}/d
/^static int snapshot_map/,/^}/{
	/Zeroes don't count/d
	/^\t\tif \(unlikely\(bio_op\(bio\) == REQ_OP_DISCARD\)/,/^\t\t}/d
}

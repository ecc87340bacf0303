# no optional arguments, so nothing that parses them, and no discards (before 5.3)
/^static int parse_snapshot_features/,/^}/d
/^bad_features:$/d
/r = parse_snapshot_features/,/^$/d
/^ \* Construct a snapshot mapping:/{N;s/:\n.*/: <origin_dev> <COW-dev> <p|po|n> <chunk-size>/}
/^static void snapshot_io_hints/,/^}/d
/\.io_hints/d
/^static int snapshot_map/,/^}/{
	/^\tif \(unlikely\(bio_op\(bio\) == REQ_OP_DISCARD\)\) \{/,/^\t\}/d
}

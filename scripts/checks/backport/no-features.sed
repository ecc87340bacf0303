# no optional arguments, so nothing that parses them (before 5.3)
/^static int parse_snapshot_features/,/^}/d
/^bad_features:$/d
/r = parse_snapshot_features/,/^$/d
/^ \* Construct a snapshot mapping:/{N;s/:\n.*/: <origin_dev> <COW-dev> <p|po|n> <chunk-size>/}

# no blank lines after some declarations of upstream's throttle (before 6.1.170)
/DECLARE_WAITQUEUE\(wait, current\);/{n;d}
/^static int do_origin\(.*bool limit\)$/,/^}/{/struct dm_snapshot \*s;/{n;d}}

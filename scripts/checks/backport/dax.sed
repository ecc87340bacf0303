# a function without a comment follows origin_map() (4.9 to 5.0)
/^static int origin_map/,/^}/s/^}/&\n\nstatic inline long origin_dax_access(struct dm_target *ti)\n{\n\treturn -EIO;\n}/

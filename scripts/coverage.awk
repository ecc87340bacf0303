# coverage.awk: lines and branches of some functions that were executed, by
# gcov -b's annotated source. functions="NAME NAME..." Prints what wasn't
# executed, then two figures: "N of N lines, M of M branches". Exit status: 0 if
# that was all, else 1. Branches of a WARN_ON() don't count: no test warns.
BEGIN {
	FS = ":"
	n = split(functions, f, " ")
	for (i = 1; i <= n; i++)
		ours[f[i]] = 1
}
/^ *[0-9#=*-]+\*?: *[0-9]+:/ {
	source = $0
	sub(/^[^:]*:[^:]*:/, "", source)
	if (source ~ /^[a-z].*\(/) {
		name = source
		sub(/\(.*/, "", name)
		sub(/.*[ *]/, "", name)
		inside = (name in ours) && source !~ /;$/
		if (inside)
			seen[name] = 1
	} else if (source ~ /^}/) {
		last = inside
		inside = 0
	}
	if (inside && $1 !~ /-/) {
		lines++
		if ($1 ~ /#/)
			print "never executed:" $2 ":" source
		else
			hit++
	}
	at = $2 ":" source
}
/^branch/ && inside && at !~ /WARN_ON/ {
	branches++
	if (/never executed|taken 0/)
		print "never taken:" at
	else
		taken++
}
END {
	for (name in ours) {
		if (!(name in seen)) {
			print "no such function: " name
			missing++
		}
	}
	printf("%d of %d lines, %d of %d branches\n", hit, lines, taken, branches)
	exit missing > 0 || hit < lines || taken < branches
}

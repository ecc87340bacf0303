# shellcheck shell=bash
# Group "mutants" of scripts/check: faults that the KUnit tests must notice.

# Each mutant must be noticed: a test fails, the kernel says that something is
# wrong, or the tests don't come to an end.
group_mutants() {
	local f name why said log=$LOGS/mutant.log
	kunit_tree || { not_ok "mutants: no tree with series.upstream"; return; }
	for f in "$TOP"/kunit/mutants/*.patch; do
		name=${f##*/}
		name=${name%.patch}
		why=$(head -n 1 "$f")
		git -C "$TREE" checkout -q -f HEAD
		if ! git -C "$TREE" apply "$f" 2>"$log"; then
			not_ok "$name: applies no longer: $(head -n 1 "$log")"
		elif ! kunit_py build 6.12 >"$log" 2>&1; then
			not_ok "$name: does not compile: $log"
		elif said=$(killed_by); then
			ok "$name ($why): $said"
		else
			not_ok "$name ($why): survives"
		fi
	done
	at "$TREE" base
}

# killed_by: the first thing that the tests in the UML kernel which was just
# built say against it. Fails if they all pass.
killed_by() {
	local out=$LOGS/mutant.console start=$SECONDS pid said=
	local bad='not ok [0-9]+ [a-z]|list_(add|del) corruption|BUG|Kernel panic|Oops'
	: >"$out"
	setsid "$BUILD/kunit-6.12/linux" kunit.enable=1 mem=1G console=tty \
		kunit_shutdown=halt >"$out" 2>&1 </dev/null 9>&- &
	pid=$!
	CHILDREN+=("$pid")
	while [ -z "$said" ]; do
		sleep 0.3
		said=$(grep -Eom1 "$bad.*" "$out" | tr -d '\r')
		grep -q '^ok 1 dm_snapshot_throttle' "$out" && break
		kill -0 "$pid" 2>/dev/null || said=${said:-the kernel died}
		((SECONDS - start > 40)) && said=${said:-the tests hang}
	done
	kill -KILL -- "-$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	CHILDREN=("${CHILDREN[@]/$pid/}")
	echo "${said#not ok * }"
	[ -n "$said" ]
}

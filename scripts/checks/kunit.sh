# shellcheck shell=bash
# Group "kunit" of scripts/check: the throttle's KUnit tests by kunit.py.

# kunit.py COMMAND V [OPTION...]: in TREE, on UML, with build/kunit-V.
kunit_py() {
	local command=$1 v=$2
	shift 2
	(cd "$TREE" && tools/testing/kunit/kunit.py "$command" --kunitconfig=drivers/md \
		--build_dir="$BUILD/kunit-$v" --jobs="$JOBS" "$@")
}

# One target is enough on UML: a kernel takes minutes to build, and the same
# tests run on every target in group vm.
kunit_tree() {
	need "${BUILD_PACKAGES[@]}" python3
	tree 6.12 && apply_list "$TREE" series.upstream >"$LOGS/check-apply-kunit.log" &&
		git -C "$TREE" clean -fdxq
}

group_kunit() {
	local out=$LOGS/kunit.log
	kunit_tree || { not_ok "kunit: no tree with series.upstream"; return; }
	run "kunit.py on UML" "$out" kunit_py run 6.12 --timeout=300
	if grep -q 'Testing complete.* passed: [0-9]*$' "$out"; then
		ok "6.12: kunit.py on UML:$(sed -n 's/.*Testing complete.//p' "$out")"
	else
		not_ok "6.12: kunit.py on UML: $out"
	fi
	at "$TREE" base
}

# shellcheck shell=bash
# shellcheck source=../lib.sh disable=SC2153,SC2034
# Group "mutants" of scripts/check: faults that the KUnit tests must notice: a
# test fails, the kernel says that something is wrong, or the tests don't come to
# an end. Those below smp/ need more than one CPU, which UML doesn't have; those
# below kcsan/ are for KCSAN to see. What the KUnit tests don't get to, as it is
# outside the throttle, is for scenarios: vm/SCENARIO.NAME.patch.

# Only those that MUTANTS, a pattern, names, if the environment has it.
group_mutants() {
	local CONFIG_FROM=("${CONFIG_FROM[@]}")
	[ -n "$(chosen)$(chosen smp/)$(chosen vm/)$(chosen kcsan/)" ] ||
		{ not_ok "mutants: none is named '$MUTANTS'"; return; }
	if [ -n "$(chosen)" ]; then
		# The tree that group kunit builds for UML, or all would be built again
		impatient_tree in_work_tree || return
		run "build for UML" "$LOGS/mutant.log" uml_kernel ||
			{ not_ok "mutants: UML does not build: $LOGS/mutant.log"; return; }
		beside mutants_on_uml_2
		mutants_on_uml 1
		said_beside mutants_on_uml_2
		at "$TREE" base
	fi
	[ -n "$(chosen smp/)$(chosen vm/)$(chosen kcsan/)" ] || return 0
	impatient_tree tree || return
	need "${GUEST_PACKAGES[@]}"
	initramfs || { not_ok "mutants: no initramfs"; return; }
	each_mutant smp/ "guest_kernel mutant" killed_on_smp
	each_mutant vm/ "guest_kernel mutant" killed_in_vm
	# The tests as they are: KCSAN makes them slow
	kunit_tree 6.12 || return
	OBJ=$BUILD/guest-6.12-kcsan
	CONFIG_FROM=("$VM/config" "$VM/config.kcsan")
	initramfs "$VM/again" || { not_ok "mutants: no initramfs"; return; }
	each_mutant kcsan/ "guest_kernel mutant" killed_by_kcsan
	at "$TREE" base
}

# impatient_tree COMMAND: see kunit_tree. What doesn't happen on UML within three seconds
# won't in thirty.
impatient_tree() {
	kunit_tree 6.12 "$1" || return
	sed -i 's/LONG_WHILE (30 /LONG_WHILE (3 /' "$TREE/drivers/md/tests/dm_snapshot_throttle_kunit.c"
	git -C "$TREE" commit -qam "tests give up earlier"
}

# chosen [DIR/]: the names of the mutants there that MUTANTS allows.
chosen() {
	local name
	for name in $(cd "$TOP/kunit/mutants" && printf '%s\n' "${1:-}"*.patch); do
		name=${name%.patch}
		# shellcheck disable=SC2053 # a pattern
		[[ $name != ${MUTANTS:-*} ]] || echo "$name"
	done
}

# each_mutant DIR/ BUILD KILLED [NAMES]: BUILD and KILLED are commands; KILLED prints what
# killed it. Before and after come the tests, or those scenarios, without a fault.
each_mutant() {
	local name names unharmed=unharmed
	names=${4-$(chosen "$1")}
	[ -n "$names" ] || return
	[ "$1" != vm/ ] || unharmed=$(for name in $names; do echo "${name%%.*}.unharmed"; done | sort -u)
	for name in $unharmed; do
		unharmed "$2" "$3" "$name" || return
	done
	for name in $names; do
		mutant "$name" "$2" "$3"
	done
	for name in $unharmed; do
		unharmed "$2" "$3" "$name"
	done
}

# unharmed BUILD KILLED NAME: without a fault nothing kills it, or all that is
# said of the mutants is worth nothing.
unharmed() {
	local said
	if ! $1 >"$LOGS/mutant.log" 2>&1; then
		not_ok "without a fault: does not compile: $LOGS/mutant.log"
	elif said=$($2 "$3"); then
		not_ok "$3: without a fault: $said"
	else
		ok "$3: without a fault all tests pass"
		return
	fi
	return 1
}

# mutant NAME BUILD KILLED
mutant() {
	local f=$TOP/kunit/mutants/$1.patch why said log=$LOGS/mutant.log old
	why=$(head -n 1 "$f")
	old=$(git -C "$TREE" rev-parse HEAD)
	if ! git -C "$TREE" apply --index "$f" 2>"$log"; then
		not_ok "$1: applies no longer: $(head -n 1 "$log")"
	elif ! { git -C "$TREE" commit -qm "$1" && $2; } >"$log" 2>&1; then
		not_ok "$1: does not compile: $log"
	elif said=$(killed "$3" "$1"); then
		ok "$1 ($why): $said"
	else
		not_ok "$1 ($why): survives"
	fi
	at "$TREE" "$old"
}

# killed KILLED NAME: what kills it. Where that is time, of which a busy host may
# not give enough, it has to do so twice.
killed() {
	local said
	said=$($1 "$2") || return
	case $said in
	"the tests hang" | "the kernel died" | "timed out"* | died*) said=$($1 "$2") && said+=", twice" ;;
	esac
	echo "$said"
	[ -n "$said" ]
}

# mutants_on_uml N: every other mutant, from the Nth on, in a sparse tree, and with
# objects, of its own.
mutants_on_uml() {
	local whole=$TREE dir=$BUILD/mutants-$1 LOGS=$LOGS/mutants-$1
	local TREE=$dir/tree OBJ=$dir/obj
	rm -rf "$dir" && mkdir -p "$dir" "$LOGS" && cp -r "$BUILD/kunit-6.12" "$OBJ" &&
		git -C "$whole" worktree prune &&
		git -C "$whole" worktree add --quiet --no-checkout --detach "$TREE" HEAD &&
		git -C "$TREE" sparse-checkout set drivers/md && git -C "$TREE" checkout --quiet ||
		{ not_ok "mutants: cannot make $dir"; return; }
	each_mutant '' uml_build killed_on_uml "$(chosen | sed -n "$1~2p")"
	rm -r "$dir"
}
mutants_on_uml_2() { mutants_on_uml 2; }

# uml_kernel: builds it, in build/kunit-6.12; "commands" there has the two by which kbuild
# compiles dm-snap.c and links. kbuild itself looks into every directory first, and links
# thrice, so that the addresses of functions in a trace are right.
# uml_build: those, for a mutant.
uml_kernel() {
	kunit_py build 6.12 && touch "$TREE/$SNAP" || return
	make -C "$TREE" ARCH=um O="$BUILD/kunit-6.12" V=1 linux 2>&1 | tee /dev/stderr |
		sed -nE "s,$TREE/drivers/md/,\$TREE/drivers/md/,g; s/^(  |\+ )(gcc .*(dm-snap\.c *|-o vmlinux .*))$/\2/p" \
			>"$BUILD/kunit-6.12/commands" && [ "$(wc -l <"$BUILD/kunit-6.12/commands")" = 2 ]
}
uml_build() {
	(cd "$OBJ" && rm -f vmlinux && TREE=$TREE sh -e ./commands)
}

# killed_on_uml: the first thing that the tests in the UML kernel which was just
# built say against it. Fails if they all pass.
killed_on_uml() {
	local out=$LOGS/mutant.console start=$SECONDS pid said=
	local bad='not ok [0-9]+ [a-z]|list_(add|del) corruption|\bBUG\b|Kernel panic|Oops'
	: >"$out"
	# exec: UML begins a process group, which must be that of CHILD to be killed
	in_background exec "$OBJ/vmlinux" "${UML_ARGS[@]}" >"$out" 2>&1
	pid=$CHILD
	while [ -z "$said" ]; do
		sleep 0.2
		# Up to the end of a line: the last one may still be on its way
		said=$(tr '\n' '\r' <"$out" | grep -aEom1 "($bad)[^"$'\r'"]*"$'\r' | head -n 1 | tr -d '\r')
		grep -aq '^ok 1 dm_snapshot_throttle' "$out" && break
		kill -0 "$pid" 2>/dev/null || said=${said:-the kernel died}
		((SECONDS - start > 25)) && said=${said:-the tests hang}
	done
	kill -KILL -- "-$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	echo "${said#not ok * }"
	[ -n "$said" ]
}

# killed_on_smp NAME: likewise, in a guest with four CPUs, KASAN, and lockdep;
# killed_by_kcsan NAME: by KCSAN, which sees one race in many unless it looks often.
# A race can only be likely, so the guest is booted until it has been seen, at most six
# times; they say at which boot.
MOST_BOOTS=6
killed_on_smp() {
	local SCENARIO_LIMIT=300
	until_seen "$1" killed_in_guest kunit "$1"
}
killed_by_kcsan() { until_seen "$1" raced "$1"; }
raced() {
	GUEST_ARGS="again=10 kunit.filter_glob=*.all_at_once kcsan.skip_watch=50" SCENARIO_LIMIT=600 killed_in_guest again "$1" >/dev/null
	data_races "$LOGS/mutant-${1//\//-}.console" | head -n 1 | sed 's/^ *[0-9]* *//' | grep . && return
	[ "$1" = unharmed ] && [ "$RESULT" != ok ] && echo "$RESULT"
}
until_seen() { # NAME KILLED...
	local n said name=$1
	shift
	for ((n = 1; n <= MOST_BOOTS; n++)); do
		said=$("$@") && { echo "$said, at boot $n"; return; }
		[ "$name" != unharmed ] || return
	done
	return 1
}
killed_in_vm() { # vm/SCENARIO.NAME
	local name=${1#vm/}
	killed_in_guest "${name%%.*}" "$1"
}
killed_in_guest() { # SCENARIO NAME
	local log=$LOGS/mutant-${2//\//-}.console
	scenario "$KERNEL" "$1" "$log" >&2
	[ "$RESULT$SPLATS" != ok ] || return
	if [ -n "$SPLATS" ]; then
		echo "$SPLATS"
	else
		grep -aEo 'not ok [0-9]+ [a-z].*' "$log" | head -n 1 | tr -d '\r' |
			sed 's/not ok [0-9]* //' | grep . || echo "$RESULT"
	fi
}

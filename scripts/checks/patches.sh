# shellcheck shell=bash
# shellcheck source=../lib.sh disable=SC2153,SC2154
# Group "patches" of scripts/check: the lists apply, build at every step, meet.

KUNIT_TEST=dm_snapshot_throttle_kunit.c

patch_lists() {
	local list p rc=0
	for list in series series.upstream series.revert; do
		while read -r p; do
			[ -f "$TOP/patches/$p" ] || { echo "$list names $p, which is not there"; rc=1; }
		done < <(patches_of "$list")
		patches_of "$list" | sort | uniq -d | grep . && { echo "twice in $list"; rc=1; }
	done
	while read -r p; do
		case $p in
		upstream/*) want=series.upstream ;;
		revert/*) want=series.revert ;;
		000[12]-*) want=series ;;
		*) want="series series.upstream" ;;
		esac
		got=$(cd "$TOP" && grep -lxF "$p" series series.upstream series.revert | xargs)
		[ "$got" = "$want" ] || { echo "$p is in '$got', not in '$want'"; rc=1; }
	done < <(all_patches "$TOP/patches")
	[ "$(patches_of series | grep -v '^000[12]-')" = "$(patches_of series.upstream | grep -v ^upstream/)" ] ||
		{ echo "what series and series.upstream share is in another order"; rc=1; }
	return $rc
}

# checkpatch PATCH, by the target's own rules. Debian's tree has no history in which to
# look commits up, and 6.1's rules don't know that Closes: is a link.
checkpatch() {
	local script=$TREE/scripts/checkpatch.pl said
	local ignore=UNKNOWN_COMMIT_ID
	grep -q Closes "$script" || ignore+=,COMMIT_LOG_LONG_LINE
	# Debian's python has the modules that its SPDX check needs. Silent means
	# that it hasn't got a word to say.
	said=$(cd "$TREE" && PATH=/usr/bin:/bin "$script" --strict --quiet \
		--ignore "$ignore" --show-types "$TOP/patches/$1" 2>&1)
	printf '%s\n' "$said"
	[ -z "$said" ]
}

# quilt_list LIST REV: as a user of quilt would: push ends in REV's files, to the
# last new one, and pop in those of before. Git's index is what they are compared
# with, as a diff against a commit doesn't look at files that git doesn't know.
quilt_list() {
	(cd "$TREE" && export QUILT_PATCHES=$TOP/patches QUILT_SERIES=$TOP/$1 QUILT_PC=$BUILD/pc &&
		rm -rf "$BUILD/pc" && quilt push -a --fuzz=0 &&
		git reset -q "$2" -- . && git diff --exit-code && quilt pop -a &&
		git reset -q && git diff --exit-code && ! git ls-files --others | grep .)
}

# again OUT KEY COMMAND...: compiles TREE's dm-snap.c in OBJ, by COMMAND, which has make
# print what it does (V=1). It takes kbuild a minute to get to those two commands, so the
# next time they are repeated as it printed them, with the configuration that it had, as
# long as KEY is the same. What is said is in OUT.
again() {
	local out=$1 how
	how=$OBJ/again/$(sha256sum <<<"$(git -C "$TREE" rev-parse base) $2" | cut -c 1-16)
	shift 2
	rm -f "$OBJ/drivers/md/dm-snap.o"
	if [ -e "$how/commands" ]; then
		(cd "$OBJ" && sh -e "$how/commands") >"$out" 2>&1
	else
		"$@" >"$out" 2>&1 && mkdir -p "$how/generated" &&
			cp "$OBJ/include/generated/autoconf.h" "$how/generated" &&
			sed -nE "s, -nostdinc,& -I$how,; / .*\/dm-snap\.c( |;|\$)/p" "$out" | grep '^ ' >"$how/commands"
	fi && [ -e "$OBJ/drivers/md/dm-snap.o" ] ||
		{ rm -f "$how/commands"; cat "$out"; return 1; }
}

# warnings: what W=1 and sparse say, without line numbers, of TREE's dm-snap.c,
# which is all that the patches compile. Fails if it doesn't compile.
warnings() {
	local out=$LOGS/check-warnings.log
	again "$out" "$(git -C "$TREE" rev-parse HEAD:drivers/md/Kconfig) $(guest_flags)" \
		checked_snap || return
	sed -En "/(warning|error): /{ s,^$TREE/,,; s/:[0-9]+:[0-9]+:/:/p }" "$out" | sort
}
checked_snap() {
	guest_config && guest_make V=1 W=1 C=2 drivers/md/dm-snap.o
}

# exported FILE: what dm-snap.c, which may be a module, wants from elsewhere in
# the kernel is among FILE, the exported symbols, or in another file of the module.
exported() {
	nm -u "$OBJ/drivers/md/dm-snap.o" | awk '{ print $2 }' |
		grep -Ev '^(param_ops_|__asan_|__stack_chk_|__x86_|__fentry__|dm_.*_snapshot_|dm_exception_store_)' |
		sort -u | comm -23 - "$1"
}

exports() {
	git -C "$TREE" grep -ohE 'EXPORT_(PER_CPU_|TRACEPOINT_)?SYMBOL[_A-Z]*\(\w+' -- '*.[chS]' |
		sed -E 's/.*TRACEPOINT.*\(/__tracepoint_/; s/.*\(//' | sort -u
}

BUILDS=
# builds BASE: no warning that the file BASE, of the tree without our patches,
# doesn't have (mainline has two of sparse's), and nothing that the kernel lacks.
# Group targets links and boots each step, group vm what all patches make.
builds() {
	local id
	id=$(git -C "$TREE" rev-parse 'HEAD^{tree}')
	[[ $BUILDS == *" $g:$id "* ]] && { echo "the source was built a moment ago"; return; }
	warnings >"$1.now" || { cat "$1.now"; return 1; }
	echo "warnings that the patches add:"
	! comm -13 "$1" "$1.now" | grep . || return 1
	echo "wanted of the kernel, and not exported:"
	! exported "$1.exports" | grep . || return 1
	[ "$g" != targets ] || boots || return
	BUILDS+=" $g:$id "
}

boots() {
	local console=$LOGS/check-boots.console
	guest_kernel "$(git -C "$TREE" rev-parse --short HEAD)" && initramfs || return
	scenario "$KERNEL" boot "$console"
	verdict "$console" | tee /dev/stderr | grep -qx passes
}

at_every_step() { # LIST V: applies LIST, a test for every patch of it
	local p log
	while read -r p; do
		log=builds-$2-$1-${p//\//-}
		if ! git -C "$TREE" am --quiet "$TOP/patches/$p" >"$LOGS/check-$log.log" 2>&1; then
			not_ok "$2: git am of ${p%.patch}: $LOGS/check-$log.log"
			return
		fi
		t "$2: builds without a new warning after ${p%.patch}" "$log" \
			builds "$LOGS/check-warnings-$2.log"
	done < <(patches_of "$1")
}

# each_alone V BASE LIST: whatever stable picks of LIST's patches fits BASE and
# builds, without the others. Only patches/0002 needs another one.
each_alone() {
	local v=$1 base=$2 list=$3 p log files
	while read -r p; do
		for_stable "$p" && [[ $p != 0001-* ]] || continue
		files=("$TOP/patches/$p")
		[[ $p != 0002-* ]] || files=("$TOP"/patches/0001-*.patch "${files[@]}")
		log=alone-$v-$list-${p//\//-}
		at "$TREE" "$base"
		if ! am_patches "$TREE" "${files[@]}" >"$LOGS/check-$log.log"; then
			not_ok "$v: ${p%.patch} fits without what comes before it: $LOGS/check-$log.log"
			continue
		fi
		t "$v: ${p%.patch} fits and builds alone" "$log" builds "$LOGS/check-warnings-$v.log"
	done < <(patches_of "$list")
}

patches_of_target() {
	local v=$1 list p tip
	for list in series.revert series series.upstream; do
		[ "$list" = series.upstream ] && at "$TREE" base
		tip=$(git -C "$TREE" rev-parse HEAD)
		t "$v: git am of $list" "am-$v-$list" apply_list "$TREE" "$list"
		git -C "$TREE" tag -f "tip-$list" >/dev/null
		at "$TREE" "$tip"
		t "$v: quilt push -a of $list" "quilt-$v-$list" quilt_list "$list" "tip-$list"
		at "$TREE" "tip-$list"
	done
	while read -r p; do
		t "$v: checkpatch --strict ${p%.patch}" "checkpatch-$v-${p//\//-}" checkpatch "$p"
	done < <(all_patches "$TOP/patches")
	t "$v: kunit/ has the bytes that the series brings" "kunit-bytes-$v" \
		diff -u "$TOP/kunit/$KUNIT_TEST" "$TREE/drivers/md/tests/$KUNIT_TEST"
	t "$v: the routes meet" "meet-$v" meet
	sed 's/^/        /' "$LOGS/check-meet-$v.log"
	at "$TREE" base
	if thorough "$v"; then
		t "$v: builds as Debian ships it" "builds-$v-base" guest_kernel upstream
	fi
	t "$v: dm-snap.c compiles as Debian ships it" "warnings-$v" warnings
	exports >"$LOGS/check-warnings-$v.log.exports"
	grep -q '^  *sparse ' "$OBJ"/again/*/commands ||
		skip "$v: sparse: this kernel wants a newer one than Debian has; W=1 only"
	at_every_step series.revert "$v"
	at_every_step series "$v"
	at "$TREE" base
	at_every_step series.upstream "$v"
	each_alone "$v" base series.upstream
	each_alone "$v" tip-series.revert series
	at "$TREE" base
}

meet() {
	local list
	for list in series series.upstream; do
		printf '%-16s %s\n' "$list" "$(git -C "$TREE" rev-parse "tip-$list^{tree}")"
	done
	git -C "$TREE" diff --exit-code tip-series tip-series.upstream
}

group_patches() {
	need "${BUILD_PACKAGES[@]}" quilt sparse python3-ply python3-git
	t "every patch is in the lists it belongs to" lists patch_lists
	rm -rf "$BUILD/export"
	t "patches/ is what its commits export" export "$TOP/scripts/refresh" check "$BUILD/export"
	each_target patches patches_of_target
}

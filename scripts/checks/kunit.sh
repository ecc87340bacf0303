# shellcheck shell=bash
# shellcheck source=../lib.sh disable=SC2153,SC2034
# Groups "kunit", "arches", "races" of scripts/check: the throttle's KUnit tests by
# kunit.py, their coverage, on other architectures, and over and over.

# What kunit.py has in a UML kernel of 6.12 and no test here needs: a sixth of what is
# compiled. 7.3 insists on some of it.
UML_WITHOUT=(EXPERT=y {INPUT,HID_SUPPORT,PCI,VIRTIO_UML,UML_PCI_OVER_VIRTIO,IO_URING,SUSPEND}"=n")

# kunit_py COMMAND V [OPTION...]: kunit.py in TREE, with build/kunit-V.
kunit_py() {
	local command=$1 v=$2
	shift 2
	[ "$v" != 6.12 ] || set -- "$@" "${UML_WITHOUT[@]/#/--kconfig_add=CONFIG_}"
	(cd "$TREE" && tools/testing/kunit/kunit.py "$command" --kunitconfig=drivers/md \
		--build_dir="$BUILD/kunit-$v" --jobs="$JOBS" "$@")
}

# kunit_tree V [COMMAND]: TREE, from COMMAND ("tree" by default), has series.upstream.
KUNIT_PACKAGES=("${BUILD_PACKAGES[@]}" python3)
kunit_tree() {
	need "${KUNIT_PACKAGES[@]}"
	"${2:-tree}" "$1" && apply_list "$TREE" series.upstream >"$LOGS/check-apply-kunit.log" && return
	not_ok "kunit: no $1 with series.upstream: $LOGS/check-apply-kunit.log"
	return 1
}

# while_tested CONSOLE...: what they have from the first test on to the last. UML of
# 6.1 has a warning of its own before that.
while_tested() {
	cat "$@" | sed -n '/# Subtest: dm_snapshot_throttle/,/ok 1 dm_snapshot_throttle/p'
}

# kunit_passes NAME KEY OPTION...: kunit.py runs the tests, all pass, and the
# kernel has nothing to say against it.
kunit_passes() {
	local name=$1 out=$LOGS/kunit-$2.log console=$LOGS/kunit-$2.console
	shift
	rm -f "$BUILD/kunit-$1/test.log"
	run "kunit.py, $name" "$out" kunit_py run "$@"
	while_tested "$BUILD/kunit-$1/test.log" >"$console"
	if ! grep -q 'Testing complete.* passed: [1-9][0-9]*$' "$out"; then
		not_ok "$name: $out"
		tail -n 10 "$out" | sed 's/^/        | /'
	elif ! grep -q ' ok 1 ' "$console" || "$VM/splats" "$console" >>"$out"; then
		not_ok "$name: all pass, but see $console"
	else
		ok "$name:$(sed -n 's/.*Testing complete.//p' "$out")"
	fi
}

# What a UML kernel is to be told for the KUnit tests, which need no input.
UML_ARGS=(kunit.enable=1 mem=1G console=tty kunit_shutdown=halt)

group_kunit() {
	kunit_tree 6.12 in_work_tree || return
	kunit_passes "6.12: kunit.py on UML" 6.12 --timeout=300
	t "6.12: the tests execute every line and branch of the throttle" coverage coverage
	tail -n 1 "$LOGS/check-coverage.log" | sed 's/^/        /'
	t "6.12: dm-snap.o is the same with the tests off" kunit-off same_when_off
	t "6.12: every mutant applies and compiles (group mutants tries them)" mutants-compile mutants_compile
	at "$TREE" base
}

# mutants_compile: every mutant applies, and is compiled as dm-snap.o was in
# build/kunit-6.12, each in a copy of what it includes.
mutants_compile() {
	local obj=$BUILD/kunit-6.12 dir=$BUILD/mutants
	rm -rf "$dir" && mkdir "$dir" || return
	sed -n 's/^savedcmd_[^ ]* := \(.*\) -Wp,-MMD,[^ ]*\(.*\) -c -o .*/\1\2 -fsyntax-only/p' \
		"$obj/drivers/md/.dm-snap.o.cmd" >"$dir/compile" && [ -s "$dir/compile" ] || return
	printf '%s\n' "$TOP"/kunit/mutants/{,*/}*.patch |
		GIT_CEILING_DIRECTORIES=$dir xargs -P "$JOBS" -I{} sh -c '
			copy=$(mktemp -d "$2/XXXXXX") && cd "$1/drivers/md" &&
				cp -r dm-snap.c *.h tests "$copy" &&
				git -C "$copy" apply -p3 "$4" && cd "$3" &&
				eval "$(cat "$2/compile") $copy/dm-snap.c" && rm -r "$copy" ||
				{ echo "$4"; false; }' sh "$TREE" "$dir" "$obj" {}
}

# --- coverage

THROTTLE="too_many_copies wake_throttled_writers account_start_copy_nowait wait_for_in_progress
	account_start_copy account_end_copy start_copy start_full_bio zero_exception
	retry_origin_bios start_origin_copy do_origin"

# coverage: of THROTTLE, by gcov, in the UML kernel of build/kunit-6.12 with only
# dm-snap.c instrumented, and nothing of it inlined, or each copy would have
# branches of its own. UML is linked with libgcov, one of whose symbols is
# also the kernel's; and its linker script drops the destructor that would write
# the figures in the end.
coverage() {
	local obj=$BUILD/kunit-6.12 lib=$BUILD/gcov out=$LOGS/coverage.console
	mkdir -p "$lib"
	objcopy --redefine-sym mangle_path=gcov_mangle_path \
		"$(gcc -print-file-name=libgcov.a)" "$lib/libgcov.a" &&
		printf '%s\n' 'void __gcov_dump(void);' \
			'__attribute__((destructor)) static void at_exit(void) { __gcov_dump(); }' |
		gcc -xc -c -o "$lib/at_exit.o" - &&
		make -C "$TREE" ARCH=um O="$obj" -s -j"$JOBS" CFLAGS_dm-snap.o="--coverage -fno-inline" \
			LINK_WRAPS="-Wl,--wrap,malloc -Wl,--wrap,free -Wl,--wrap,calloc --coverage -L$lib $lib/at_exit.o" \
			linux || return
	rm -f "$obj/drivers/md/dm-snap.gcda"
	"$obj/linux" "${UML_ARGS[@]}" >"$out" 2>&1 </dev/null
	grep -q '^ok 1 dm_snapshot_throttle' "$out" || { echo "tests failed: $out"; return 1; }
	(cd "$lib" && gcov -b -c -o "$obj/drivers/md" dm-snap.gcda >/dev/null) &&
		awk -v functions="$THROTTLE" -f "$TOP/scripts/coverage.awk" "$lib/dm-snap.c.gcov"
}

# same_when_off: with the option off, dm-snap.o has the bytes that it had
# before the patch that brings the tests.
same_when_off() {
	local obj=$BUILD/kunit-6.12 tip rev i
	tip=$(git -C "$TREE" rev-parse HEAD)
	for i in without with; do
		rev=$tip
		[ $i = with ] || rev=$(git -C "$TREE" log -1 --format=%H -- drivers/md/tests)~1
		at "$TREE" "$rev" &&
			"$TREE/scripts/config" --file "$obj/.config" -d DM_SNAPSHOT_THROTTLE_KUNIT_TEST &&
			make -C "$TREE" ARCH=um O="$obj" -s olddefconfig &&
			make -C "$TREE" ARCH=um O="$obj" -s drivers/md/dm-snap.o &&
			cp "$obj/drivers/md/dm-snap.o" "$obj/$i.o" || return
	done
	(cd "$obj" && sha256sum without.o with.o && cmp without.o with.o)
}

# --- other kernels, architectures, and as a module

# kunit.py of 7.3 takes KVM if it opens, and that may never run a guest: TCG, then.
arches_of_target() {
	kunit_tree "$1" || return
	sed -i "/'-accel', '\(kvm\|hvf\)'/d" "$TREE/tools/testing/kunit/kunit_kernel.py"
	kunit_passes "$1: kunit.py on UML" "$1" --timeout=300
	kunit_passes "$1: kunit.py on x86_64, 4 CPUs" "$1-x86_64" --arch=x86_64 \
		--kconfig_add CONFIG_SMP=y --qemu_args="-smp 4" --timeout=600
	kunit_passes "$1: kunit.py on i386" "$1-i386" --arch=i386 --timeout=600
	kunit_passes "$1: kunit.py on arm64" "$1-arm64" --arch=arm64 \
		--cross_compile=aarch64-linux-gnu- --timeout=600
	module_passes "$1"
	at "$TREE" base
}

group_arches() {
	need "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}" python3 qemu-system-arm \
		gcc-aarch64-linux-gnu libc6-dev-arm64-cross
	each_target arches arches_of_target
}

# module_passes V: dm-snapshot with the tests in it is a module; in a guest with four
# CPUs it is loaded, which runs them, and removed. KUnit of 6.1 does that too early,
# and they are skipped.
module_passes() {
	local log=$LOGS/kunit-$1-module name="$1: as a module on x86_64, 4 CPUs"
	local obj=$BUILD/kunit-$1-x86_64
	if ! run "build dm-snapshot as a module" "$log.log" build_module "$obj" ||
	   ! initramfs "$VM/module" "$obj"/drivers/md/dm-{bufio,snapshot}.ko; then
		not_ok "$name: does not build: $log.log"
		return
	fi
	scenario "$obj/arch/x86/boot/bzImage" module "$log.console"
	if [ "$RESULT$SPLATS" = ok ]; then
		ok "$name: $(tr -d '\r' <"$log.console" | sed -n 's/.*# Totals: //p')"
	else
		not_ok "$name: $RESULT${SPLATS:+, $SPLATS}: $log.console"
	fi
}

build_module() { # OBJ
	"$TREE/scripts/config" --file "$1/.config" -e MODULES -e MODULE_UNLOAD \
		-e BLK_DEV_INITRD -e DEVTMPFS -e TMPFS -m DM_SNAPSHOT &&
		make -C "$TREE" O="$1" -s olddefconfig &&
		grep CONFIG_DM_SNAPSHOT "$1/.config" &&
		grep -qx CONFIG_DM_SNAPSHOT=m "$1/.config" &&
		grep -qx CONFIG_DM_SNAPSHOT_THROTTLE_KUNIT_TEST=y "$1/.config" &&
		make -C "$TREE" O="$1" -s -j"$JOBS" W=1 all >"$1/module.log" 2>&1 &&
		! grep -E 'drivers/md/(dm-snap|tests/)[^ ]*:[0-9]+:.*(warning|error):' "$1/module.log"
}

# --- again and again

RUNS_UML=1000 RUNS_SMP=100

group_races() {
	local n CONFIG_FROM=("$VM/config" "$VM/config.kcsan")
	local GUEST_ARGS=again=$RUNS_SMP SCENARIO_LIMIT=3600
	need "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}" python3
	kunit_tree 6.12 in_work_tree || return
	run "build for UML" "$LOGS/kunit-6.12.log" kunit_py build 6.12 ||
		{ not_ok "6.12: does not build for UML"; return; }
	run "$RUNS_UML runs on UML" "$LOGS/runs.log" many_runs
	while_tested "$LOGS"/runs/*.console >"$LOGS/runs.console"
	n=$(grep -c '^ok 1 dm_snapshot_throttle' "$LOGS/runs.console")
	if [ "$n" != $RUNS_UML ]; then
		not_ok "6.12: $n of $RUNS_UML runs on UML pass: $LOGS/runs/"
	elif "$VM/splats" "$LOGS/runs.console" >"$LOGS/runs.splats"; then
		not_ok "6.12: $n runs on UML pass, and the kernel complains: $LOGS/runs.splats"
	else
		ok "6.12: $n runs on UML, all pass"
	fi
	at "$TREE" base
	kunit_tree 6.12 || return
	OBJ=$BUILD/guest-6.12-kcsan
	guest_kernel series.upstream && initramfs "$VM/again" || { not_ok "6.12: no kernel with KCSAN"; return; }
	expect passes again
	at "$TREE" base
}

# A run sleeps most of the time, so there are many at once. What they say counts, not how UML
# ends: it may abort when it is halted, and xargs would stop.
many_runs() {
	rm -rf "$LOGS/runs" && mkdir -p "$LOGS/runs"
	seq $RUNS_UML | xargs -P $((JOBS * 8)) -I{} sh -c 'out=$1; shift; timeout 60 "$@" \
		</dev/null >"$out" 2>&1 || true' sh "$LOGS/runs/{}.console" "$BUILD/kunit-6.12/linux" "${UML_ARGS[@]}"
}

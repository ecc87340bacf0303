# shellcheck shell=bash disable=SC2034,SC2154
# Groups "vm" and "rt" of scripts/check: scenarios in guests.

# expect VERDICT SCENARIO [BOOTS]: boots KERNEL for SCENARIO; so many times at most, until
# it is seen, if it is only likely.
expect() {
	local want=$1 name=$2 boots=${3:-1} label log got n
	label=${OBJ##*/guest-}-${KERNEL##*/}
	log=$LOGS/vm-$label-$name.console
	# What passes may take its time on a busy host; what hangs does so for ever.
	[ "$want" != hangs ] || local GUEST_ARGS="$GUEST_ARGS hung_after=10"
	has_options "$name" || return
	for ((n = 1; n <= boots; n++)); do
		scenario "$KERNEL" "$name" "$log"
		got=$(verdict "$log")
		[ "$got" != "$want" ] || break
	done
	if [ "$got" = "$want" ]; then
		ok "$label: $name $want (${TOOK}s$( ((boots == 1)) || echo ", at boot $n of at most $boots"))"
	else
		not_ok "$label: $name: wanted '$want', got '$got': $log"
		tail -n 15 "$log" | sed 's/^/        | /'
	fi
}

has_options() { # SCENARIO: KERNEL's configuration has what its "needs" line names
	local o
	while read -r o; do
		grep -qx "CONFIG_$o=y" "$KERNEL.config" && continue
		not_ok "${OBJ##*/guest-}-${KERNEL##*/}: $1 needs CONFIG_$o, which this kernel lacks"
		return 1
	done < <(said_in needs "$1" | xargs -rn 1)
}

# expect_passes SCENARIO...: those that may share a guest do, the others ("alone" in the
# head says why; or their guest has its own "memory") get one each.
expect_passes() {
	local s shared=()
	for s; do
		has_options "$s" || continue
		if [ -n "$(said_in alone "$s")$(said_in memory "$s")" ]; then
			expect passes "$s"
		else
			shared+=("$s")
		fi
	done
	share_a_guest "${shared[@]}"
}

# share_a_guest SCENARIO...: they pass, one after the other. One that doesn't ends the
# guest and has failed. It runs again by itself, so that its console is its own, and the
# rest go on in a new guest.
share_a_guest() {
	local label=${OBJ##*/guest-}-${KERNEL##*/} log part name left=("$@") n=0
	while ((${#left[@]})); do
		log=$LOGS/vm-$label-shared$((n++)).console
		SCENARIO_LIMIT=$((300 + 90 * ${#left[@]})) \
			scenario "$KERNEL" "$(IFS=,; echo "${left[*]}"),boot" "$log"
		while ((${#left[@]})); do
			name=${left[0]} part=$LOGS/vm-$label-${left[0]}.console
			left=("${left[@]:1}")
			part_of "$name" "$log" >"$part"
			judge "$name" "$part"
			[ "$(verdict "$part")" = passes ] || break
			ok "$label: $name passes ($(sed -En "s/.*# $name took ([0-9]+) s.*/\1/p" "$part")s)"
		done
		[ "$(verdict "$part")" = passes ] && return
		not_ok "$label: $name: wanted 'passes' in a guest with others, got '$(verdict "$part")': $log"
		expect passes "$name"
	done
}

guest_kernel_with() { # LIST
	apply_list "$TREE" "$1" >"$LOGS/check-apply-$1.log" && guest_kernel "$1" && return
	not_ok "${TREE##*/}: no kernel with $1: $LOGS/check-apply-$1.log"
	return 1
}

# vm_beside: what goes wrong, does, and the rest passes, on upstream's kernel and on the
# one with the semaphore.
vm_beside() {
	KERNEL=$OBJ/upstream
	expect frees remove-under-throttle
	expect frees resume-under-merge
	expect herds herd
	expect overruns limit
	expect waits rewrite
	expect corrupts resume-under-write
	expect corrupts discard
	expect_passes deadlock nolimit remove-beside-stuck takers writer-kept-off-cpu
	[ "$g" != targets ] || expect_passes out-of-order many-sleepers
	KERNEL=$OBJ/series.revert
	expect hangs deadlock
	expect tells verify
	expect hangs verify-hang
	expect hangs remove-beside-stuck
	expect_passes out-of-order nolimit writer-kept-off-cpu
	[ "$g" != targets ] || { expect_passes many-sleepers; expect_by_taker; }
	expect_lvm hangs 4
}

# What is for four CPUs at once has both cores. The others are two guests at a time, each on
# one core: QEMU's CPUs lose so much to each other that this takes half the time.
vm_of_target() {
	local all TCG=multi
	guest_kernel upstream || { not_ok "$1: upstream's kernel does not build"; return; }
	guest_kernel_with series.revert && guest_kernel_with series || return
	expect_passes kunit
	expect_passes soak
	TCG=single
	beside vm_beside
	mapfile -t all < <(cd "$VM/scenarios" && ls -I boot -I kunit -I soak)
	expect_passes "${all[@]}"
	expect_lvm passes
	expect_reboot
	said_beside vm_beside
	t "$1: series.upstream is the source that series was just tried with" "vm-routes-$1" routes
	case $1 in
	6.1 | 6.12)
		for_real scripts/demo --linux "$1"
		for_real scripts/demo --upstream --linux "$1" ;;
	*) skip "$1: scripts/demo takes 6.1 and 6.12 only" ;;
	esac
}

# for_real COMMAND...: what README says to run does what it should, and no table
# that it prints lets more writers in than it should.
for_real() {
	local log
	log=$LOGS/check-$(tr ' /' - <<<"$*").log
	if run "$*" "$log" "$TOP/$1" "${@:2}" && ! grep -q ' admitted.*NOT REACHED' "$log"; then
		ok "$*"
		grep -E ' (deadlock|remove-under-throttle|admitted) ' "$log" | sed 's/^/        /'
	else
		not_ok "$*: $log"
	fi
}

# routes: what KERNEL was built from is what series.upstream gives.
routes() {
	at "$TREE" base && apply_list "$TREE" series.upstream && guest_kernel series.upstream &&
		cmp "$KERNEL.id" "$OBJ/series.id"
}

# The reproducer of the report, on one target: fio is 80 MB with its libraries,
# and slow to start.
expect_lvm() { # VERDICT [BOOTS]
	local INITRAMFS=$BUILD/initramfs-lvm
	[ "${OBJ##*/}" = guest-6.12 ] || { skip "${OBJ##*/guest-}: lvm: for 6.12 only"; return; }
	expect "$1" lvm "${2:-1}"
}

# The deadlock by each of those that write-lock _origins_lock.
expect_by_taker() {
	local GUEST_ARGS
	for GUEST_ARGS in taker={snapshot_{ctr,dtr,resume},origin_{resume,postsuspend}}; do
		echo "  $GUEST_ARGS:"
		expect hangs takers
	done
}

# A machine is reset, and boots again with the disk that it had.
expect_reboot() {
	local INITRAMFS=$BUILD/initramfs-reboot DISK=$BUILD/disk GUEST_ARGS=
	rm -f "$DISK" && truncate -s 64M "$DISK" || not_ok "no disk"
	expect passes reboot
	GUEST_ARGS=reboot=after
	expect passes reboot
}

# interrupted: Ctrl-C while a guest runs. No guest is left, and the next one runs.
interrupted() {
	local console=$LOGS/vm-interrupted.console pid status
	: >"$console"
	# A background job of a script ignores SIGINT, if nobody changes that.
	env --default-signal=INT bash -c '. "$1/scripts/lib.sh"; INITRAMFS=$2
		scenario "$3" soak "$4"' bash "$TOP" "$INITRAMFS" "$KERNEL" "$console" 9>&- &
	pid=$!
	until [ -s "$console" ]; do
		kill -0 $pid || { echo "there is no guest"; return 1; }
		sleep 1
	done
	guest_of "$console" || { echo "cannot see the guest"; kill $pid; return 1; }
	kill -INT $pid
	wait $pid
	status=$?
	[ $status = 130 ] || { echo "status $status"; return 1; }
	sleep 5
	guest_of "$console" && { echo "the guest is still there"; return 1; }
	scenario "$KERNEL" boot "$console"
	echo "the next one: $RESULT"
	[ "$RESULT" = ok ]
}
guest_of() { pgrep -f "qemu.*file:$1"; }

group_vm() {
	local v all=("${TARGETS[@]}") TARGETS=()
	for v in "${all[@]}"; do
		if thorough "$v"; then TARGETS+=("$v"); fi
	done
	((${#TARGETS[@]})) || { skip "vm: it is for 6.12, or one kernel; group targets is for all"; return; }
	need "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}" lvm2 fio procps
	PROGRAMS=(/sbin/lvm /usr/bin/fio)
	initramfs "$VM/lvm" && PROGRAMS=() && initramfs "$VM/reboot" && initramfs ||
		{ not_ok "no initramfs"; return; }
	each_target vm vm_of_target
	[ -z "${KERNEL:-}" ] ||
		t "a guest is interrupted: none is left, the next one runs" vm-interrupted interrupted
}

# On PREEMPT_RT, which x86_64 has since 6.12.
group_rt() {
	local CONFIG_FROM=("$VM/config" "$VM/config.rt")
	need "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}"
	tree 6.12 || { not_ok "rt: no source tree"; return; }
	OBJ=$BUILD/guest-6.12-rt
	initramfs && guest_kernel_with series.upstream || { not_ok "rt: no kernel, or no initramfs"; return; }
	expect_passes kunit deadlock limit remove-under-throttle soak
	at "$TREE" base
}

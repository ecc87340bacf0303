# shellcheck shell=bash disable=SC2034
# Group "vm" of scripts/check: scenarios in guests.

# expect VERDICT SCENARIO: boots KERNEL for SCENARIO.
expect() {
	local want=$1 name=$2 label log got
	label=${OBJ##*/guest-}-${KERNEL##*/}
	log=$LOGS/vm-$label-$name.console
	if ! has_options "$name"; then
		not_ok "$label: $name needs kernel options that scripts/vm/config lacks"
		return
	fi
	scenario "$KERNEL" "$name" "$log"
	got=$(verdict "$name" "$log")
	if [ "$got" = "$want" ]; then
		ok "$label: $name $want (${TOOK}s)"
	else
		not_ok "$label: $name: wanted '$want', got '$got': $log"
		tail -n 15 "$log" | sed 's/^/        | /'
	fi
}

has_options() { # SCENARIO: KERNEL's configuration has what its "needs" line names
	local o file=$VM/scenarios/$1
	[ -e "$file" ] || file=$VM/$1
	while read -r o; do
		grep -qx "CONFIG_$o=y" "$KERNEL.config" || return
	done < <(sed -n 's/^# needs: //p' "$file" | xargs -n 1)
}

guest_kernel_with() { # LIST
	apply_list "$TREE" "$1" >"$LOGS/check-apply-$1.log" && guest_kernel "$1" && return
	not_ok "${TREE##*/}: no kernel with $1: $LOGS/check-apply-$1.log"
	return 1
}

vm_of_target() {
	guest_kernel upstream || { not_ok "$1: upstream's kernel does not build"; return; }
	expect frees remove-under-throttle
	expect frees resume-under-merge
	expect passes deadlock
	expect herds herd
	expect overruns limit
	expect_lvm passes
	guest_kernel_with series.revert || return
	expect hangs deadlock
	expect_lvm hangs
	guest_kernel_with series || return
	vm_scenarios_of_ours
	expect_lvm passes
	at "$TREE" base
	guest_kernel_with series.upstream || return
	if cmp -s "$KERNEL.id" "$OBJ/series.id"; then
		ok "$1: series.upstream is the source that series was just tried with"
	else
		vm_scenarios_of_ours
	fi
}

# The reproducer of the report, on one target: fio is 80 MB with its libraries,
# and slow to start.
expect_lvm() { # VERDICT
	[ "${OBJ##*/}" = guest-6.12 ] || return
	PROGRAMS=(/sbin/lvm /usr/bin/fio)
	initramfs "$VM/lvm" && expect "$1" lvm || not_ok "no initramfs with lvm and fio"
	PROGRAMS=()
	initramfs
}

vm_scenarios_of_ours() {
	local s
	for s in "$VM"/scenarios/*; do
		[ "${s##*/}" = boot ] || expect passes "${s##*/}"
	done
}

group_vm() {
	need "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}" lvm2 fio
	initramfs || { not_ok "no initramfs"; return; }
	each_target vm vm_of_target
}

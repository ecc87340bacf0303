# shellcheck shell=bash
# shellcheck source=../lib.sh
# scripts/check trees DIR...: what the scripts make of real kernels. By hand, as it
# takes trees that Debian does not have.

version_of() { # TREE
	sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\|EXTRAVERSION\) = *//p' "$1/Makefile" 2>/dev/null |
		paste -sd. | sed 's/\.$//; s/\.-/-/'
}

# said OUTPUT STATUS: what scripts/apply --check said, in few words.
said() {
	if [ "$2" = 0 ]; then
		echo fits
	elif [[ $1 == *"does not fit as it is"* ]]; then
		sed -n 's/^apply: \(.*\)-dm-snapshot-.* does not fit as it is.*/\1 does not fit/p' <<<"$1"
	else
		sed -n 's/^apply: //p' <<<"$1"
	fi
}

row() { # TREE
	local tree=$1 out check stable how=refused compiled=no proof
	out=$("$TOP/scripts/apply" --check "$tree" 2>&1); check=$(said "$out" $?)
	out=$("$TOP/scripts/apply" --check --stable "$tree" 2>&1); stable=$(said "$out" $?)
	if out=$("$TOP/scripts/backport" "$tree" 2>&1); then
		how="as it is" proof=holds
		grep -q '\[ adapted' <<<"$out" && how=adapted
		[[ $out == *"has no throttle"* ]] && proof="(no throttle)"
	else
		proof=$(tail -n 1 <<<"$out" | sed 's/^backport: //')
	fi
	[[ $out == *"dm-snap.o with "* ]] && compiled=yes
	[[ $out == *"not compiled: "* ]] && compiled=$(sed -n 's/^  not compiled: //p' <<<"$out")
	printf '%s\t' "${tree##*/}" "$(version_of "$tree")" \
		"$(git -C "$tree" rev-parse --short=12 "HEAD:$SNAP")" "$(state_of "$tree/$SNAP")" \
		"$check" "$stable" "$how" "$compiled"
	echo "$proof"
}

trees() { # DIR...
	local dir tree found=()
	for dir; do
		[ -d "$dir" ] || misuse "$dir: no such directory"
		for tree in "$dir" "$dir"/*; do
			[ -e "$tree/.git" ] && [ -f "$tree/$SNAP" ] && found+=("$(realpath "$tree")")
		done
	done
	((${#found[@]})) || misuse "no git tree of a kernel is in $*"
	need git coccinelle python3
	printf 'tree\tversion\tdm-snap.c\tstate\tapply --check\twith --stable\tbackport\tcompiled\tproof\n'
	for tree in "${found[@]}"; do row "$tree"; done
}

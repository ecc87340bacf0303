# shellcheck shell=bash
# shellcheck source=../lib.sh
# scripts/check trees DIR...: what the scripts make of real kernels. By hand, as it
# takes trees that Debian does not have. Those that it has are in group targets.

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

# other_source SUITE PACKAGE[=VERSION]: the kernel's source that Debian has there is one
# that the patches fit, adapted or not, and that compiles with them.
other_source() {
	local APT_STATE=$BUILD/apt-other tree=$BUILD/linux-other-$1 suite=$1 package=$2 row
	echo "fetch $package from $suite"
	if [ "$(cat "$tree/.git/debian-version" 2>/dev/null)" != "$package" ]; then
		room 4
		rm -rf "${tree:?}" "$APT_STATE/x"
		apt_sources deb "$suite" && (fetch_source "$package") &&
			unpack "$APT_STATE"/x/usr/src/linux-source-*.tar.xz "$tree" "$package" || return
		rm -rf "$APT_STATE/x"
	fi
	at "$tree" base && row=$(row "$tree") && echo "$row"
	[[ $row == *$'\tyes\tholds' ]]
}

# other_sources: Debian's oldest 6.1 of bookworm, and its 5.10.
other_sources() {
	local oldest suite package
	need git coccinelle python3
	oldest=$(apt-cache madison linux-source-6.1 | awk '/ bookworm\/main / { v = $3 } END { print v }')
	while read -r -u 3 suite package; do
		t "fits and compiles: $package, $suite" "other-$suite" other_source "$suite" "$package"
		sed -n '$s/^/        /p' "$LOGS/check-other-$suite.log"
	done 3<<-END
		bookworm linux-source-6.1=$oldest
		bullseye linux-source-5.10
	END
}

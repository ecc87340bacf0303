# shellcheck shell=bash
# Functions that the scripts here share. Source it; it sets -u and pipefail.
#
# A "tree" is a kernel's source as Debian ships it, in a git repository of its
# own, build/linux-VERSION. Its tag "base" is the unpatched source; whatever
# else is checked out there is temporary. The guest kernel of a tree is built
# in build/guest-VERSION.

set -u -o pipefail
export LC_ALL=C.UTF-8 # git's words and sort's order are looked at

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$TOP/build
LOGS=$BUILD/logs
JOBS=$(nproc)

# The targets; the environment may name fewer. "newest" is whatever the newest
# Debian release's backports have.
# shellcheck disable=SC2034 # used by the scripts that source this
read -ra TARGETS <<<"${TARGETS:-6.1 6.12 newest}"
BACKPORTS=trixie-backports

# What it takes to build a guest's kernel, and to boot it.
# shellcheck disable=SC2034
BUILD_PACKAGES=(git gcc make flex bison bc libelf-dev xz-utils)
# shellcheck disable=SC2034
GUEST_PACKAGES=(qemu-system-x86 busybox-static dmsetup e2fsprogs libc6-dev)

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
misuse() { (die "$@"); exit 2; } # called wrongly

# usage [WHAT]: the same, with how to call it, from the head of the script.
usage() {
	misuse "${1:+$1; }usage: $(sed -n '/^# usage: /,/^#$/s/^#\( usage:\)\{0,1\} *//p' "$0" | paste -sd' ' | tr -s '\t ' ' ' | sed 's/ $//')"
}

# What holds for all scripts: --help prints their head, and no argument may be empty.
for arg; do
	case $arg in
	-h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;;
	'') usage "an argument is empty" ;;
	esac
done

# new_directory DIR: it isn't there yet, or is empty; else the script ends.
new_directory() { [ -z "$(ls -A "$1" 2>/dev/null)" ] || die "$1 is not empty; name a new directory"; }

# in_background COMMAND...: it runs in a process group of its own, CHILD, and is stopped
# when the script ends, by whatever way that ends.
CHILDREN=()
in_background() {
	set -m
	(trap cleanup EXIT
	trap 'exit 143' TERM
	"$@") </dev/null 9>&- &
	set +m
	CHILD=$!
	CHILDREN+=("$CHILD")
}
cleanup() {
	local pid
	for pid in "${CHILDREN[@]}"; do
		# If it has ended, its number may be another's.
		grep -qs "^PPid:	$BASHPID\$" "/proc/$pid/status" && kill -- "-$pid"
	done
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# lock_build: one script at a time works in build/; those that it calls may.
lock_build() {
	[ -n "${BUILD_LOCKED:-}" ] && return
	mkdir -p "$LOGS" 2>/dev/null && { exec 9>"$BUILD/lock"; } 2>/dev/null ||
		die "cannot write to $BUILD; become its owner, or remove it"
	flock --nonblock 9 ||
		die "another of these scripts is at work in $BUILD; wait for it to end"
	export BUILD_LOCKED=1
}

# room GIB: so much space is there for build/.
room() {
	local free
	mkdir -p "$BUILD"
	free=$(df --output=avail -B1M "$BUILD" | tail -n 1 | tr -cd 0-9)
	((${free:-0} >= $1 * 1024)) ||
		die "$BUILD has ${free:-0} MiB free and needs $1 GiB; make room, or move it and leave a link"
}

# need PACKAGE...: Debian packages that must be there. Installs the missing
# ones as root; says how to, and ends, as anyone else.
need() {
	local p missing=()
	for p; do
		dpkg-query -Wf '${db:Status-Status}\n' "$p" 2>/dev/null |
			grep -qx installed || missing+=("$p")
	done
	((${#missing[@]})) || return 0
	[ "$(id -u)" = 0 ] ||
		die "missing packages; as root: apt-get install ${missing[*]}"
	mkdir -p "$LOGS"
	run "install ${missing[*]}" "$LOGS/apt.log" sh -c '
		apt-get update &&
		DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends "$@"' sh "${missing[@]}" ||
		die "apt-get install failed; see $LOGS/apt.log"
}

# run WHAT LOG COMMAND...: runs COMMAND with its output in LOG, and says that
# it is running, once a minute (on a terminal: every second). Returns
# COMMAND's status, after the end of LOG if that is not 0.
run() {
	local what=$1 log=$2 start=$SECONDS rc
	shift 2
	mkdir -p "$(dirname "$log")"
	printf '  %s ...' "$what"
	in_background "$@" >"$log" 2>&1
	local pid=$CHILD
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		if [ -t 1 ]; then
			printf '\r\033[K  %s ... %ds: %.50s' "$what" \
				$((SECONDS - start)) "$(tail -n 1 "$log" | tr -cd '[:print:]')"
		elif (((SECONDS - start) % 60 == 59)); then
			printf ' %ds ...' $((SECONDS - start))
		fi
	done
	wait "$pid"
	rc=$?
	[ -t 1 ] && printf '\r\033[K  %s ...' "$what"
	printf ' %ds\n' $((SECONDS - start))
	if ((rc)); then
		tail -n 15 "$log" | sed 's/^/  | /'
		printf '  | (status %d; all of it: %s)\n' "$rc" "$log"
	fi
	return "$rc"
}

# --- patches ---------------------------------------------------------------

# all_patches DIR: those to the kernel that are there, of whatever list.
all_patches() {
	(cd "$1" && find . -name '*.patch' ! -path './blktests/*' -printf '%P\n' | sort)
}

# patches_of LIST: the patch files that a quilt series file names, in order.
patches_of() {
	sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$TOP/$1"
}

# patches_for TREE LIST: the same, without those that have nothing to change in
# TREE: the KUnit tests if its KUnit lacks what they need (v5.18 has it), the
# documentation if it isn't yet where it is since v5.3, the fixes of
# snapshot_resume() if that suspends nothing (before v4.0), and those of discards if
# it has none (before v5.3).
PAGE=Documentation/admin-guide/device-mapper/snapshot.rst
patches_for() {
	local p
	while read -r p; do
		case $p in
		*-kunit-*) has_kunit "$1" || continue ;;
		*-document-*) [ -e "$1/$PAGE" ] || continue ;;
		0003-* | 0004-*)
			in_function "$1/$SNAP" snapshot_resume dm_internal_suspend || continue ;;
		0005-* | 0006-*) grep -qw parse_snapshot_features "$1/$SNAP" || continue ;;
		esac
		echo "$p"
	done < <(patches_of "$2")
}

has_kunit() { grep -qsw KUNIT_ASSERT_NOT_NULL "$1/include/kunit/test.h"; } # TREE

# left_out TREE: says which of a list's patches patches_for() leaves out.
left_out() {
	has_kunit "$1" || echo "  without the KUnit tests, as its KUnit lacks what they need, or it has none"
	[ -e "$1/$PAGE" ] || echo "  without the documentation, as it has no $PAGE"
}

subject_of() { # PATCHFILE
	git mailinfo /dev/null /dev/null <"$1" | sed -n 's/^Subject: //p'
}

# top_of TREE WHAT-TO-DO: prints the top of the git tree that TREE is in; one line
# that says what to do if it is in none, or git doesn't trust it. Then it fails.
top_of() {
	local top
	if top=$(git -C "$1" rev-parse --show-toplevel 2>&1); then
		echo "$top"
	elif [[ $top == *"dubious ownership"* ]]; then
		die "git doesn't trust $1, which is another user's; git config --global --add safe.directory $(realpath "$1")"
	else
		die "$1 is not a git tree; $2"
	fi
}

# usable_tree TREE: ends the script unless TREE is the top of a kernel's git tree
# in which nothing is uncommitted, half-done or left over.
SNAP=drivers/md/dm-snap.c
usable_tree() {
	local tree=$1 top gitdir d f
	[ -d "$tree" ] || die "$tree: no such directory; name the top of a kernel's git tree"
	command -v git >/dev/null || die "git is not installed; as root: apt-get install git"
	top=$(top_of "$tree" "git init, add and commit it first, or use quilt (see README)") || exit
	[ "$top" = "$(realpath "$tree")" ] ||
		die "$tree is inside the git tree $top, not the top of one; give the kernel a git tree of its own"
	if [ ! -f "$tree/Kbuild" ] || [ ! -f "$tree/MAINTAINERS" ] || [ ! -f "$tree/$SNAP" ]; then
		die "$tree is not a Linux kernel: it has no Kbuild, MAINTAINERS or $SNAP"
	fi
	git -C "$tree" rev-parse --quiet --verify HEAD >/dev/null ||
		die "$tree has no commit yet; commit the kernel first"
	gitdir=$(git -C "$tree" rev-parse --absolute-git-dir)
	for d in rebase-apply rebase-merge MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD BISECT_START; do
		[ -e "$gitdir/$d" ] &&
			die "$tree is in the middle of a git am, rebase, merge, pick or bisect ($d); end that first"
	done
	for f in "$tree/$SNAP".rej "$tree/$SNAP".orig; do
		[ -e "$f" ] &&
			die "$f: left over from a patch that did not apply whole; sort that out and remove it"
	done
	[ -z "$(git -C "$tree" status --porcelain --untracked-files=no)" ] ||
		die "$tree has uncommitted changes; commit or stash them"
}

# function_of FILE NAME: the text of that function.
function_of() { sed -En "/^[a-z].*\b$2\([^;]*\$/,/^}/p" "$1"; }

in_function() { # FILE NAME REGEX: that function has a line like that
	grep -Eq -- "$3" <<<"$(function_of "$1" "$2")"
}

functions() { # FILE NAME...: those of the functions that FILE has
	local f=$1 name
	shift
	for name; do
		[ -n "$(function_of "$f" "$name")" ] && echo "$name"
	done
}

without() { # FILE REGEX FUNCTIONS: says which of them lack it
	local name
	for name in $3; do
		in_function "$1" "$name" "$2" || printf ', not in %s()' "$name"
	done
}

# state_of FILE: which throttle FILE, a dm-snap.c, has, fixed or not. One of
#   none		neither semaphore nor counter
#   semaphore		721b1d98fb51
#   upstream		b21555786f18, or that on its way to ours
#   ours		where series and series.upstream end
#   partial REASON	some of its parts, but not all
state_of() {
	local f=$1 start end starts ends copies callbacks

	if grep -Eqw 'struct semaphore cow_count' "$f"; then
		grep -Eqw 'in_progress_wait|throttled_writers' "$f" &&
			{ echo "partial both cow_count and another throttle"; return; }
		grep -q 'sema_init(&s->cow_count' "$f" ||
			{ echo "partial cow_count is never initialised"; return; }
		# One down() for each way into kcopyd, and one up() for each
		# of kcopyd's callbacks; or all of them behind the helpers.
		start='down\(&s->cow_count\)' end='up\(&s->cow_count\)'
		grep -q '^static void account_start_copy(' "$f" &&
			start='^	account_start_copy\(s\);' end='^	account_end_copy\(s\);'
		starts=$(grep -Ec "$start" "$f") ends=$(grep -Ec "$end" "$f")
		copies=$(functions "$f" start_copy start_full_bio zero_exception)
		callbacks=$(functions "$f" copy_callback zero_callback)
		if ((starts != $(wc -w <<<"$copies"))); then
			echo "partial $starts of $(wc -w <<<"$copies") copies are counted at their start$(
				without "$f" "$start" "$copies")"
		elif ((ends != $(wc -w <<<"$callbacks"))); then
			echo "partial $ends of $(wc -w <<<"$callbacks") callbacks count the end of a copy$(
				without "$f" "$end" "$callbacks")"
		else
			echo semaphore
		fi
	elif grep -Eqw 'in_progress_wait|throttled_writers' "$f"; then
		if ! grep -qw wait_for_in_progress "$f"; then
			echo "partial $(grep -Eow -m1 'in_progress_wait|throttled_writers' "$f") without wait_for_in_progress()"
		elif grep -qw throttled_writers "$f" && ! in_function "$f" __origin_write 'start_origin_copy\(pe'; then
			echo "partial throttled_writers, but __origin_write() does not start its copies through start_origin_copy()"
		elif grep -qw in_progress_wait "$f" || ! grep -q 'return limit && ' "$f" ||
		     ! in_function "$f" origin_write_extent 'NULL, true\)'; then
			echo upstream
		else
			echo ours
		fi
	elif grep -Eqw 'cow_count|in_progress' "$f"; then
		echo "partial $(grep -Eow -m1 'cow_count|in_progress' "$f") but no throttle that uses it"
	else
		echo none
	fi
}

# has TREE PATCH: TREE has PATCH already, as seen by what its code does: a tree
# may have picked any of them. "half" on standard output if it is a part only.
has() {
	local f=$1/$SNAP resume
	resume=$(function_of "$f" snapshot_resume)
	case $2 in
	0001-*) grep -q '^static void account_start_copy(' "$f" ;;
	0002-* | upstream/0008-*) grep -qw throttled_writers "$f" ;;
	0003-*)
		if grep -q 'find_running_merge(' <<<"$resume"; then
			return 0
		elif grep -q 'find_running_merge(' "$f"; then
			echo "half: find_running_merge() is there, but snapshot_resume() does not call it"
		fi
		return 1 ;;
	0004-*)
		grep -q 's->active = 1;' <<<"${resume%%dm_internal_resume*}" || return
		grep -q 's->active = 1;' <<<"${resume#*dm_internal_resume}" || return 0
		echo "half: snapshot_resume() activates the snapshot before and after the origin is resumed"
		return 1 ;;
	0005-*) in_function "$f" snapshot_map 'bi_sector & s->store->chunk_mask' ;;
	0006-*) in_function "$f" snapshot_io_hints 'discard_granularity.*SECTOR_SHIFT' ;;
	upstream/0001-*)
		grep -qw start_origin_copy "$f" && return
		in_function "$f" wait_for_in_progress 'atomic_inc\(&s->pending_exceptions_count\)' || return
		in_function "$f" wait_for_in_progress 'atomic_dec\(&s->pending_exceptions_count\)' && return
		echo "half: wait_for_in_progress() counts its writer, but never gives that back"
		return 1 ;;
	upstream/0002-*) in_function "$f" snapshot_merge_map 'do_origin\(s->origin, bio, true\)' ;;
	upstream/0007-*) grep -qw start_origin_copy "$f" ;;
	upstream/0009-*) grep -q 'return limit && ' "$f" ;;
	upstream/0010-*) in_function "$f" origin_write_extent 'NULL, true\)' ;;
	*-kunit-*) [ -e "$1/drivers/md/tests/dm_snapshot_throttle_kunit.c" ] ;;
	*-document-*) grep -q snapshot_cow_threshold "$1/$PAGE" ;;
	*) false ;;
	esac
}

# plan TREE STABLE: sets LIST, and PATCHES to what TREE lacks of it, with STABLE
# 1 only to what is for stable, and says so. Ends the script, with what to do, if
# that is nothing.
plan() {
	local tree=$1 stable=$2 state what p half have=() only=''
	state=$(state_of "$tree/$SNAP")
	LIST=series PATCHES=()
	case $state in
	semaphore) what="a semaphore that deadlocks" ;;
	upstream) what="upstream's throttle" LIST=series.upstream ;;
	ours) what="this throttle" ;;
	none) what="no throttle" ;;
	partial*) die "$tree has half of a throttle: ${state#partial }; complete that (see 721b1d98fb51 or b21555786f18), or revert it, then run this again" ;;
	esac
	while read -r p; do
		[[ $state = none && $p != 000[3-6]-* ]] && continue
		if half=$(has "$tree" "$p"); then
			have+=("${p%%-*}")
		elif [ -n "$half" ]; then
			die "$tree has half of patches/$p: ${half#half: }; complete that by hand as the patch has it, or revert it, then run this again"
		elif ((!stable)) || for_stable "$p"; then
			PATCHES+=("$p")
		fi
	done < <(patches_for "$tree" "$LIST")
	((!stable)) || only="that is for stable "
	if ((${#PATCHES[@]})); then
		[ "$state" != none ] || only="there is for such a tree, the fixes of snapshot_resume() and of discards, "
		echo "$tree has $what${have[*]:+ and already ${have[*]}}; what it lacks of $LIST ${only}is ${PATCHES[*]%%-*}"
		[[ $stable = 1 || $state = none ]] || left_out "$tree"
	elif ((${#have[@]})); then
		die "$tree has all of $LIST ${only}already (${have[*]}); nothing to do"
	else
		die "$tree has no throttle, its snapshot_resume() suspends no origin, and it has no discards; nothing here is for it"
	fi
}

# for_stable PATCH: it is for stable, or what such a one needs first.
for_stable() { [[ $1 == 0001-* ]] || grep -q '^Cc: stable@' "$TOP/patches/$1"; }

# apply_list TREE LIST: git am of every patch of LIST that is for TREE.
apply_list() {
	local files
	mapfile -t files < <(patches_for "$1" "$2" | sed "s,^,$TOP/patches/,")
	am_patches "$1" "${files[@]}"
}

# am_patches TREE FILE...: git am of them, naming each. The tree is back where it
# was if one fails; its name and git's words are printed.
am_patches() {
	local tree=$1 f out old
	shift
	old=$(git -C "$tree" rev-parse HEAD) || return
	for f; do
		if ! out=$(git -C "$tree" am --quiet "$f" 2>&1); then
			printf '  %s: does not apply:\n' "${f#"$TOP"/patches/}"
			printf '%s\n' "$out" | grep -v '^hint:' | sed 's/^/  | /'
			am_back "$tree" "$old"
			return 1
		fi
		printf '  %s\n' "$(subject_of "$f")"
	done
}
am_back() { # TREE REV
	git -C "$1" am --abort >/dev/null 2>&1
	git -C "$1" reset --quiet --keep "$2"
	[ "$(git -C "$1" rev-parse HEAD)" = "$2" ] ||
		die "$1 could not be taken back to what it was; run: git -C $1 reset --keep $2"
}

# am_for_good TREE FILE...: the same in a user's tree, and a signal takes them
# back as well. Ends the script if it fails.
am_for_good() {
	local tree=$1 old
	git -C "$tree" var GIT_COMMITTER_IDENT >/dev/null 2>&1 ||
		die "git knows no committer; set user.name and user.email (git config)"
	old=$(git -C "$tree" rev-parse HEAD)
	# shellcheck disable=SC2064 # TREE may mean another one by then
	trap "am_back ${tree@Q} $old; exit 130" INT
	# shellcheck disable=SC2064
	trap "am_back ${tree@Q} $old; exit 143" TERM HUP
	am_patches "$@" || die "$tree is as it was; see git's words above"
	echo "to take that back: git -C $tree reset --keep $old"
}

# --- trees -----------------------------------------------------------------

# What the machine's own sources don't have comes through an apt state below
# build/, so that these stay as they are. The mirror is the one that they name.
APT_STATE=$BUILD/apt
apt_here() {
	local tool=$1
	shift
	"$tool" -o Dir::Etc::sourcelist="$APT_STATE/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$APT_STATE/lists" \
		-o Dir::Cache="$APT_STATE/cache" \
		-o APT::Sandbox::User= "$@"
}

# apt_sources TYPE SUITE: APT_STATE knows that suite, and nothing else. TYPE is deb
# or deb-src. Fails with a reason on standard output.
apt_sources() {
	local mirror log=$LOGS/${APT_STATE##*/}-update.log
	mirror=$(apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
		head -n 1)
	[ -n "$mirror" ] || { echo "apt knows no Debian mirror; run apt-get update"; return 1; }
	mkdir -p "$APT_STATE"/lists/partial "$APT_STATE"/cache/archives/partial "$LOGS"
	printf '%s [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
		"$1" "$mirror" "$2" >"$APT_STATE/sources.list"
	apt_here apt-get -o APT::Update::Error-Mode=any update >"$log" 2>&1 ||
		{ echo "$2 can't be reached; see $log"; return 1; }
}

# newest: the version of the newest linux-source in $BACKPORTS. Asks the archive,
# twice a day at most. Fails with a reason on standard output.
newest() {
	local found
	if [ -n "$(find "$BUILD/newest" -mmin -720 2>/dev/null)" ]; then
		cat "$BUILD/newest"
		return
	fi
	apt_sources deb "$BACKPORTS" || return
	found=$(apt_here apt-cache search --names-only '^linux-source-[0-9.]+$' |
		sed 's/^linux-source-\([0-9.]*\) .*/\1/' | sort -V | tail -n 1)
	[ -n "$found" ] || { echo "$BACKPORTS has no linux-source"; return 1; }
	echo "$found" | tee "$BUILD/newest"
}

# tree VERSION: makes build/linux-VERSION, at its tag "base", and sets TREE and
# OBJ. Unpacking takes a minute; nothing is done again until Debian's package
# has another version.
tree() {
	local v=$1 tarball version
	TREE=$BUILD/linux-$v
	OBJ=$BUILD/guest-$v

	if [ -s "$BUILD/newest" ] && [ "$v" = "$(cat "$BUILD/newest")" ]; then
		tarball=$APT_STATE/x/usr/src/linux-source-$v.tar.xz
		version=$(apt_here apt-cache show "linux-source-$v" |
			sed -n 's/^Version: //p' | head -n 1)
	else
		need "linux-source-$v"
		tarball=/usr/src/linux-source-$v.tar.xz
		version=$(dpkg-query -Wf '${Version}' "linux-source-$v")
	fi
	if [ "$(cat "$TREE/.git/debian-version" 2>/dev/null)" != "$version" ]; then
		room 4
		# An older one has the same name.
		[[ $tarball != "$APT_STATE/"* ]] || rm -rf "$APT_STATE/x"
		if [ ! -e "$tarball" ]; then
			run "fetch linux-source-$v" "$LOGS/fetch-$v.log" \
				fetch_source "linux-source-$v" || return
		fi
		if git -C "$TREE" rev-parse -q --verify series >/dev/null 2>&1; then
			mv -T "$TREE" "$TREE.refreshed" || die "$TREE.refreshed has branches of scripts/refresh; remove it"
			echo "  the branches of scripts/refresh are in $TREE.refreshed now"
		fi
		rm -rf "${TREE:?}"
		run "unpack linux-source-$v $version" "$LOGS/unpack-$v.log" \
			unpack "$tarball" "$TREE" "$version" || return
	fi
	at "$TREE" base
}

# own_tree DIR NAME: TREE is a clone of a user's git tree, at its HEAD, in build/NAME.
# DIR is only read. One of another tree that is there goes: users may work in that of
# scripts/send, so tests have their own (OWN_TREE).
own_tree() {
	local top
	top=$(top_of "$1" "name the top of one, or leave it out") || exit
	[ -f "$top/$SNAP" ] || die "$1 is not a Linux kernel: it has no $SNAP"
	TREE=$BUILD/${OWN_TREE:-$2} OBJ=$BUILD/guest-own
	# It has its objects from there, so it is of no use for another tree.
	if [ "$(cat "$TREE/.git/clone-of" 2>/dev/null)" != "$top" ] ||
	   ! git -C "$TREE" cat-file -e 'base^{commit}' 2>/dev/null; then
		rm -rf "${TREE:?}"
		room 2
		run "clone $1" "$LOGS/clone.log" \
			git clone --shared --no-checkout "$top" "$TREE" || exit 1
		echo "$top" >"$TREE/.git/clone-of"
	fi
	git -C "$TREE" fetch --quiet "$top" HEAD && git -C "$TREE" tag -f base FETCH_HEAD >/dev/null &&
		at "$TREE" base || die "cannot clone $1; see git's words above"
	git -C "$TREE" config user.name "$(git -C "$1" config user.name || echo demo)"
	git -C "$TREE" config user.email "$(git -C "$1" config user.email || echo demo@localhost)"
}

fetch_source() { # PACKAGE[=VERSION]
	mkdir -p "$APT_STATE/x"
	cd "$APT_STATE" && rm -f "${1%=*}"_*.deb && apt_here apt-get download "$1" &&
		dpkg-deb -x "${1%=*}"_*.deb x && rm "${1%=*}"_*.deb
}

unpack() { # TARBALL TREE VERSION
	mkdir -p "$2" && tar -xJf "$1" -C "$2" --strip-components=1 && cd "$2" &&
		git init --quiet --initial-branch=main &&
		git config user.name "$(git -C "$TOP" config user.name || echo build)" &&
		git config user.email "$(git -C "$TOP" config user.email || echo build@localhost)" &&
		git config core.looseCompression 0 && git config gc.auto 0 &&
		git config advice.detachedHead false &&
		git add --force . && git commit --quiet --message "linux-source $3" &&
		git tag base && echo "$3" >.git/debian-version
}

# at TREE REV: checks REV out, detached, and nothing left over.
at() {
	git -C "$1" am --abort >/dev/null 2>&1
	git -C "$1" checkout --quiet --force --detach "$2" && git -C "$1" clean -fdxq
}

# --- guests ----------------------------------------------------------------

VM=$TOP/scripts/vm

# What guests' kernels are configured from; of two lines on an option, the last
# one counts.
CONFIG_FROM=("$VM/config")
fragment() {
	awk '{ s = $1 == "#" ? $2 : $1; sub(/=.*/, "", s) }
	     s ~ /^CONFIG_/ { if (!(s in line)) order[++n] = s; line[s] = $0 }
	     END { for (i = 1; i <= n; i++) print line[order[i]] }' "${CONFIG_FROM[@]}"
}

# guest_config: configures OBJ for TREE from tinyconfig and CONFIG_FROM, and
# fails if the kernel's Kconfig drops one of the options.
guest_config() {
	local line symbol
	if ! cmp -s <(fragment) "$OBJ/.config-from"; then
		make -C "$TREE" O="$OBJ" -s tinyconfig || return
	fi
	# Also if nothing changed there: patches bring options of their own.
	fragment >>"$OBJ/.config" &&
		make -C "$TREE" O="$OBJ" -s olddefconfig || return
	while read -r line; do
		symbol=${line#\# }
		symbol=${symbol%%[ =]*}
		case $line in
		CONFIG_*) grep -qxF "$line" "$OBJ/.config" && continue ;;
		*) grep -q "^$symbol=" "$OBJ/.config" || continue ;;
		esac
		# An option that this version doesn't have is not asked for.
		git -C "$TREE" grep -Eqw "^(menu)?config ${symbol#CONFIG_}" -- '*Kconfig*' ||
			continue
		echo "Kconfig does not do as ${CONFIG_FROM[*]##*/} in scripts/vm say: $line"
		return 1
	done < <(fragment)
	fragment >"$OBJ/.config-from"
}

# guest_make ARGUMENT...: make, for TREE in OBJ. KASAN and KCSAN watch device-mapper and what
# that hands its memory to: block layer, locks, work queues, mempools, trees; KASAN also wait
# queues, where KCSAN never looks. Where they watch everything, a scenario takes twice as long.
# See dev-tools/kasan.rst, the kernel's, on KASAN_SANITIZE.
guest_make() {
	local watched
	mapfile -t watched < <(git -C "$TREE" --glob-pathspecs ls-files drivers/md/dm\*.c block/\*.c \
		kernel/{locking/[mrs]\*,workqueue}.c mm/mempool.c lib/rbtree.c | sed 's,.*/,,; s/c$/o=y/')
	make -C "$TREE" O="$OBJ" -j"$JOBS" KASAN_SANITIZE=n "${watched[@]/#/KASAN_SANITIZE_}" \
		KASAN_SANITIZE_build_utility.o=y KCSAN_SANITIZE=n "${watched[@]/#/KCSAN_SANITIZE_}" "$@"
}
guest_flags() { { fragment; declare -f guest_make; } | sha256sum; }

# compile_snap [CONFIG [MAKE-VARIABLE...]]: drivers/md/dm-snap.o of TREE, in OBJ,
# with that configuration if it exists, else a minimal one.
compile_snap() {
	local o config=${1:-} make=(make -C "$TREE" O="$OBJ" ${CC:+CC="$CC"} -j"$JOBS" "${@:2}")
	if [ ! -e "$OBJ/.config" ]; then
		mkdir -p "$OBJ" && "${make[@]}" tinyconfig || return
		[ -e "$config" ] && cp "$config" "$OBJ/.config"
		for o in BLOCK MD BLK_DEV_DM DM_SNAPSHOT; do
			echo "CONFIG_$o=y"
		done >>"$OBJ/.config"
		"${make[@]}" olddefconfig || return
	fi
	"${make[@]}" drivers/md/dm-snap.o
}

# guest_kernel NAME: builds what TREE has checked out, as build/guest-V/NAME.
# Only what changed since the last one is compiled. Nothing is built if that
# very source was built before, under whatever name.
guest_kernel() {
	local name=$1 id log same
	KERNEL=$OBJ/$name
	log=$LOGS/build-${OBJ##*/}-$name.log
	mkdir -p "$OBJ"
	id=$(git -C "$TREE" rev-parse 'HEAD^{tree}')-$(guest_flags)
	[ -e "$KERNEL.config" ] && [ "$(cat "$KERNEL.id" 2>/dev/null)" = "$id" ] && return
	same=$(grep -lxF "$id" "$OBJ"/*.id 2>/dev/null | head -n 1)
	if [ -n "$same" ]; then
		cp "${same%.id}.config" "$KERNEL.config" && cp "${same%.id}" "$KERNEL" &&
			cp "$same" "$KERNEL.id"
		return
	fi
	room 1
	guest_config >"$log" 2>&1 ||
		{ grep -v override: "$log" | tail -n 5; return 1; }
	run "build ${TREE##*/} ($name)" "$log" guest_make bzImage || return
	cp "$OBJ/.config" "$KERNEL.config" && cp "$OBJ/arch/x86/boot/bzImage" "$KERNEL" &&
		echo "$id" >"$KERNEL.id"
}

# initramfs [FILE...]: INITRAMFS is build/initramfs, from Debian's busybox-static and
# DYNAMIC and from scripts/vm; or, with more scenarios, build/initramfs-NAME, after the
# first of them. More of Debian's PROGRAMS are in it, and what is in MODULES, below
# lib/modules. Made again whenever it is asked for; that takes a second.
PROGRAMS=()
MODULES=
DYNAMIC=(/sbin/dmsetup /bin/dd /sbin/mke2fs /sbin/e2fsck)
initramfs() {
	local root l
	INITRAMFS=$BUILD/initramfs${1:+-${1##*/}}
	root=$INITRAMFS.d
	rm -rf "$root"
	mkdir -p "$root"/{bin,proc,sys,dev,tmp} || return
	cp /bin/busybox "${DYNAMIC[@]}" "${PROGRAMS[@]}" "$root/bin/" &&
		cp "$VM/init" "$root/init" && cp -r "$VM/scenarios" "$root/" || return
	for l in writers load soak; do
		gcc -O2 -Wall -Wextra -Werror -static -pthread -o "$root/bin/$l" "$VM/$l.c" || return
	done
	for l in sh:busybox {spin,fifo,idle,states}:writers {cached,timed}:load {stamp,compare,hog}:soak; do
		ln -s "${l#*:}" "$root/bin/${l%:*}" || return
	done
	(($# == 0)) || cp "$@" "$root/scenarios/" || return
	[ -z "$MODULES" ] || { mkdir "$root/lib" && cp -r "$MODULES" "$root/lib/modules"; } || return
	awk '/^::$/ { on = 1; next } /^[^ ]/ { on = 0 } on' "$TOP/Documentation/backporting.rst" |
		sed 's/^  //' >"$root/scenarios/verify.sh"
	ldd "${DYNAMIC[@]}" "${PROGRAMS[@]}" | grep -o '^[[:space:]].*' | grep -o '/[^ ]*' | sort -u |
		while read -r l; do
			mkdir -p "$root/$(dirname "$l")" && cp "$l" "$root/$l"
		done
	# The same bytes each time, or under icount a boot is not the same one
	(cd "$root" && find . -exec touch -hd @0 {} + && find . | sort |
		busybox cpio -o -H newc --renumber-inodes --ignore-devno 2>/dev/null) >"$INITRAMFS"
}

# said_in WHAT SCENARIO: what its head says of that ("needs", "memory", "alone").
said_in() { sed -n "s/^# $1: //p" "$VM/scenarios/$2" "$VM/$2" 2>/dev/null; }

# qemu ACCEL SECONDS KERNEL SCENARIO CONSOLE: one boot, and no longer than
# SECONDS. Nothing of the host is reachable from the guest, unless QEMU_ARGS say
# so. ACCEL is kvm, tcg, or icount: one CPU, whose clock advances by 1 ns with each
# instruction. With icount, two boots with the same SEED, a number, are the same to the
# instruction: the time of day begins that many seconds later, and there is no other source
# of random numbers. With TCG=single, tcg's four CPUs take turns on one of the host's.
# GUEST_ARGS is for the kernel's command line. On a starved host the kernel finds
# that its timer does not tick, and panics; no_timer_check is against that. judge() wants
# a time on each line, also from kernels that kunit.py configures: printk.time.
# DISK, if set, is a file that is the guest's /dev/vda; what else it has, QEMU_ARGS
# say. A scenario may say how much memory it gets.
GUEST_ARGS=
DISK=
QEMU_ARGS=()
qemu() {
	local machine kunit=0 memory
	memory=$(said_in memory "${4%%,*}")
	# Without la57=off, an interrupt in identify_cpu(), which has the
	# width of addresses at 48 bits for a moment, makes KASAN report a
	# wild access every now and then.
	case $1 in
	kvm) machine=(-accel kvm -cpu "host,la57=off" -smp 4) ;;
	tcg) machine=(-accel "tcg,thread=${TCG:-multi}" -cpu "max,la57=off" -smp 4) ;;
	icount) machine=(-accel tcg -icount "shift=0,sleep=off" -smp 1 -cpu "max,la57=off,-rdrand,-rdseed"
		-rtc "clock=vm,base=2026-01-01T00:$(printf %02d:%02d $((${SEED:-0} / 60)) $((${SEED:-0} % 60)))") ;;
	esac
	case $4 in kunit | again | module) kunit=1 ;; esac
	timeout --foreground --kill-after=5 "$2" qemu-system-x86_64 \
		-M q35 "${machine[@]}" -m "${memory:-2G}" -nodefaults -no-reboot -display none \
		${DISK:+-drive "file=$DISK,format=raw,if=virtio"} "${QEMU_ARGS[@]}" \
		-serial "file:$5" -kernel "$3" -initrd "$INITRAMFS" \
		-append "console=ttyS0 panic=-1 printk.devkmsg=on printk.time=1 no_timer_check kunit.enable=$kunit scenario=$4 $GUEST_ARGS"
}

# accel KERNEL: kvm where a guest has been seen to boot under it, else tcg.
# That /dev/kvm opens proves nothing. Probed once for each boot of the host.
accel() {
	local seen=$BUILD/accel host
	host=$(cat /proc/sys/kernel/random/boot_id)
	if ! grep -qs "^$host " "$seen"; then
		if [ -w /dev/kvm ] &&
		   qemu kvm 20 "$1" boot "$LOGS/kvm-probe.console" >/dev/null 2>&1 &&
		   grep -q '\] ok 1 - boot' "$LOGS/kvm-probe.console"; then
			echo "$host kvm" >"$seen"
		else
			echo "$host tcg" >"$seen"
		fi
	fi
	sed "s/^$host //" "$seen"
}

# scenario KERNEL NAME CONSOLE: boots KERNEL for a scenario, or for some ("NAME,NAME"),
# under ACCEL if that is set. Sets TOOK to the seconds that its last boot took, and
# RESULT and SPLATS for the (last) one: see judge().
ACCEL=
SCENARIO_LIMIT=600 # a scenario takes half a minute on TCG, on an idle host
scenario() {
	local kernel=$1 name=$2 console=$3 what=$2 start rc how try
	[[ $name != *,* ]] || what="$(tr , '\n' <<<"${name%,boot}" | wc -l) scenarios"
	: >"$console"
	how=${ACCEL:-$(accel "$kernel")}
	for try in 1 2; do
		start=$SECONDS
		run "boot ${kernel#"$BUILD"/} for $what ($how)" "$console.qemu" \
			qemu "$how" "$SCENARIO_LIMIT" "$kernel" "$name" "$console"
		rc=$?
		# TCG gets the kernel's patching of itself wrong, once in many boots.
		if ((rc)) || [ $try = 2 ] || grep -Eq 'Run /init|KTAP version' "$console"; then
			break
		fi
		cp "$console" "$console.died"
		echo "  | it died before its init or any test ran: $console.died; once more"
	done
	# shellcheck disable=SC2034
	TOOK=$((SECONDS - start)) GUEST_RC=$rc
	judge "${name##*,}" "$console"
}

# judge NAME CONSOLE: sets RESULT to what the guest said ("ok", "not ok - WHY") or what
# became of it ("died", "timed out"), and SPLATS to the kinds of splat on the console.
# What the guest said may be in the middle of a line, as the scenario's own output is
# buffered, and the kernel's is not.
judge() {
	RESULT=$(tr -d '\r' <"$2" | sed -En "s/.*\[[ 0-9.]*\] ((not )?ok) [0-9]+ - $1(: |\$)/\1 - /p" |
		tail -n 1 | sed 's/^ok.*/ok/')
	[ -n "$RESULT" ] || { ((GUEST_RC == 124 || GUEST_RC == 137)) && RESULT="timed out" || RESULT=died; }
	SPLATS=$("$VM/splats" "$2" | cut -d: -f1 | sort -u | paste -sd, -)
	[[ $SPLATS != *kcsan* ]] || [ -n "$(data_races "$2")" ] ||
		SPLATS=$(tr , '\n' <<<"$SPLATS" | grep -vx kcsan | paste -sd, -)
}

# part_of NAME CONSOLE: what belongs to this scenario, if there were some.
part_of() {
	awk -v name="$1" '/# scenario: / { on = ($NF == name "\r") } on' "$2"
}

# data_races CONSOLE: those that KCSAN reports and a function of TREE's dm-snap.c
# or of its tests takes part in, and how often each. A kernel that is so busy has
# others, which don't count. Nor does HARMLESS_RACE, which is mainline's:
# is_bio_tracked() looks without tracked_chunk_lock whether its own node's pprev is
# NULL, while track_chunk() puts another node in front of that one, which changes
# pprev from one address to another.
HARMLESS_RACE='snapshot_end_io / track_chunk'
data_races() {
	"$VM/splats" "$1" | tr -d '\r' | sed -n 's/.*data-race in //p' |
		grep -vx "$HARMLESS_RACE" | sort | uniq -c | sort -rn |
		grep -wF "$(cat "$TREE/$SNAP" "$TREE"/drivers/md/tests/*.c 2>/dev/null |
			sed -nE 's/^(static )?[a-z].*[ *]([a-z_0-9]+)\(.*/\2/p')"
}

# verdict CONSOLE: one word on a scenario that has just run, from
# RESULT and SPLATS.
#   passes	it said so, and the console is clean
#   hangs	the deadlock: among the hung tasks are a writer in down() below a map
#		function and kcopyd's worker in down_read() below its callback
#   frees	KASAN saw wait_for_in_progress() or snapshot_resume() use a
#		snapshot that was freed
#   herds	more than one writer was woken for one slot
#   overruns	a path admits more writers than the limit allows
#   corrupts	a snapshot has not kept what its origin had
#   waits	a write that needs no copy waits for those that do
#   tells	the script for users says that this is the semaphore
#   anything else: what was seen, for a human
verdict() {
	local hung said=$RESULT${SPLATS:+, $SPLATS}
	case $SPLATS:$RESULT in
	:ok) said=passes ;;
	":not ok - "*" writers woken for one slot") said=herds ;;
	":not ok - BAD: writers sleep with the lock held"*) said=tells ;;
	":not ok - "*": "*" admitted") said=overruns ;;
	":not ok - the snapshot has changed: chunk "*) said=corrupts ;;
	":not ok - a rewrite waits") said=waits ;;
	"hung-task:not ok - hung")
		hung=$(hung_tasks "$1") said="hung, but not so"
		grep -Eq '^(writers|fio|dd): down .*_map' <<<"$hung" &&
			grep -q '^kworker.*: down_read .*copy_callback' <<<"$hung" && said=hangs ;;
	kasan:*)
		grep -EA 60 'BUG: KASAN: (slab-)?use-after-free' "$1" |
			grep -Eq '^\[[^]]*\]  (wait_for_in_progress|snapshot_resume)\+' && said=frees ;;
	esac
	echo "$said"
}

# hung_tasks CONSOLE: a line for each hung task that was reported, the same
# ones counted together: name: function < its caller < ...
hung_tasks() {
	tr -d '\r' <"$1" | sed -E 's/^\[ *[0-9.]+\] ?(\[[^]]*\] ?)?//' | awk '
		function flush() {
			if (task != "") seen[task ": " calls]++
			task = ""
		}
		/^INFO: task .* blocked .*for more than/ {
			flush()
			task = $3
			sub(/:[0-9]+$/, "", task)
			sub(/kworker\/.*\+/, "kworker/", task)
			sub(/kworker\/[0-9u:]+$/, "kworker", task)
			calls = ""
			depth = 0
			next
		}
		/^ *<\/TASK>/ { flush() }
		task != "" && /^ [a-zA-Z_][a-zA-Z_0-9.]*\+0x/ {
			f = $1
			sub(/\+0x.*/, "", f)
			sub(/\.(isra|constprop|part|cold).*/, "", f)
			if (f ~ /^(__schedule|schedule|schedule_.*|___?down.*|__down_common|rwsem_down_.*|__rwsem.*|preempt_schedule.*)$/)
				next
			if (f ~ /^(entry_|do_syscall|__x64_sys|x64_sys|ksys_|ret_from_fork|kthread)/)
				next
			if (++depth <= 10)
				calls = calls (calls == "" ? "" : " < ") f
		}
		END {
			flush()
			for (s in seen)
				printf("%s%s\n", s, (seen[s] > 1) ? " (" seen[s] " of them)" : "")
		}' | sort
}

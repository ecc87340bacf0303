# shellcheck shell=bash
# Group "scripts" of scripts/check: shellcheck, scripts/apply, the splat checker.

commits_as_check() { # whatever identity git has, or has not
	export GIT_AUTHOR_NAME=check GIT_AUTHOR_EMAIL=check@localhost
	export GIT_COMMITTER_NAME=check GIT_COMMITTER_EMAIL=check@localhost
}

# A git tree with as much of a kernel as scripts/apply looks at, and FILEs.
small_tree() { # DIR REV [FILE...]
	local dir=$1 rev=$2
	shift 2
	rm -rf "$dir"
	mkdir -p "$dir" && git -C "$TREE" archive "$rev" Kbuild MAINTAINERS \
		drivers/md/dm-snap.c drivers/md/Kconfig include/kunit/test.h "$PAGE" "$@" |
		tar -x -C "$dir" && cd "$dir" && git init -q && git add . && git commit -qm kernel
}

# refuses WORDS TREE [OPTION...]: scripts/apply, or what else TOOL says, ends with
# a status that is not 0, WORDS in its one line, and TREE as it was, to the last
# untracked file.
refuses() {
	local words=$1 dir=$2 tool=${TOOL:-$TOP/scripts/apply} before out
	shift 2
	before=$(fingerprint "$dir")
	if out=$("$tool" "$@" "$dir" 2>&1); then
		echo "it was accepted: $out"
		return 1
	fi
	printf '%s\n' "$out"
	grep -qF -- "$words" <<<"$out" || { echo "without the words: $words"; return 1; }
	[ "$(grep -Ec '^(apply|backport|send): ' <<<"$out")" = 1 ] || { echo "not one line"; return 1; }
	[ "$before" = "$(fingerprint "$dir")" ] || { echo "the tree was changed"; return 1; }
}

fingerprint() {
	[ -d "$1" ] && (cd "$1" && find . -path ./.git -prune -o -type f -print0 | sort -z |
		xargs -0r sha256sum
		git rev-parse HEAD 2>&1
		git status --porcelain 2>&1
		git diff --cached 2>&1
		ls "$(git rev-parse --git-dir 2>/dev/null)"/rebase-apply 2>&1; true)
}

# accepts TREE COUNT [--stable]: the tree gets so many patches, --check writes
# nothing, and the last line takes them back.
accepts() {
	local tree=$1 n=$2 out before old
	shift 2
	before=$(fingerprint "$tree") old=$(git -C "$tree" rev-list --count HEAD)
	out=$("$TOP/scripts/apply" --check "$@" "$tree") || { echo "--check: $out"; return 1; }
	[ "$(fingerprint "$tree")" = "$before" ] || { echo "--check changed it"; return 1; }
	out=$("$TOP/scripts/apply" "$@" "$tree") || { echo "$out"; return 1; }
	echo "$out"
	[ "$(git -C "$tree" rev-list --count HEAD)" = $((old + n)) ] && git -C "$tree" diff --quiet || return
	out=$(sed -n 's/^to take that back: //p' <<<"$out" | tail -n 1)
	git -C "$tree" tag -f applied >/dev/null && $out && [ "$(fingerprint "$tree")" = "$before" ] &&
		git -C "$tree" reset -q --keep applied
}
all_of() { patches_for "$1" "$2" | wc -l; } # TREE LIST

edit() { # DIR SED-EXPRESSION...: a commit that bends dm-snap.c
	local dir=$1
	shift
	(cd "$dir" && sed -i -E "$@" drivers/md/dm-snap.c && ! git diff --quiet &&
		git commit -qam bent) || echo "edit $* changed nothing" >&2
}

apply_tests() {
	local s=$BUILD/small d f
	commits_as_check
	tree 6.12 || { not_ok "apply: no tree"; return; }
	apply_list "$TREE" series.revert >/dev/null
	rm -rf "$s"
	small_tree "$s/semaphore" HEAD
	small_tree "$s/upstream" base
	d=$s/other; f=$d/drivers/md/dm-snap.c

	t "apply: a semaphore tree gets series" apply-semaphore accepts "$s/semaphore" "$(all_of "$s/semaphore" series)"
	t "apply: upstream's gets series.upstream" apply-upstream accepts "$s/upstream" "$(all_of "$s/upstream" series.upstream)"
	small_tree "$d" HEAD
	git -C "$d" rm -qr include && git -C "$d" commit -q --amend --no-edit
	t "apply: a tree without KUnit gets all but the tests" apply-nokunit accepts "$d" "$(all_of "$d" series)"
	small_tree "$d" HEAD
	git -C "$d" rm -qr Documentation && git -C "$d" commit -q --amend --no-edit
	t "apply: a tree without the page gets all but the documentation" apply-nopage accepts "$d" "$(all_of "$d" series)"
	t "apply: refuses a tree that has it" apply-again refuses "nothing to do" "$s/semaphore"
	small_tree "$d" base
	t "apply: --stable takes six patches of series.upstream" apply-stable accepts "$d" 6 --stable
	t "apply: --stable then has nothing to do" apply-stable-again \
		refuses "that is for stable already (upstream/0001 upstream/0002 0003 0004 0005 0006); nothing to do" "$d" --stable
	t "apply: a tree with what is for stable gets the rest" apply-stable-rest \
		accepts "$d" "$(($(all_of "$d" series.upstream) - 6))"
	small_tree "$d" HEAD
	t "apply: --stable takes six patches of series" apply-stable-semaphore accepts "$d" 6 --stable

	t "apply: refuses what isn't there" apply-missing refuses "no such directory" "$s/nowhere"
	mkdir -p "$s/plain"
	GIT_CEILING_DIRECTORIES=$s t "apply: refuses what is no git tree" apply-nogit \
		refuses "is not a git tree" "$s/plain"
	mkdir -p "$s/upstream/tmp"
	t "apply: refuses a directory inside one" apply-inside refuses "not the top of one" "$s/upstream/tmp"
	rm -rf "$s/plain"; mkdir "$s/plain"
	(cd "$s/plain" && git init -q && echo >f && git add f && git commit -qm no)
	t "apply: refuses what is no kernel" apply-nokernel refuses "not a Linux kernel" "$s/plain"
	small_tree "$d" HEAD
	rm -rf "$d/.git" && git init -q "$d"
	t "apply: refuses a tree without a commit" apply-nocommit refuses "has no commit" "$d"
	small_tree "$d" HEAD; echo >>"$f"
	t "apply: refuses a dirty tree" apply-dirty refuses "uncommitted changes" "$d"
	small_tree "$d" HEAD; touch "$f.rej"
	t "apply: refuses a tree with rejects" apply-rejects refuses "left over" "$d"
	small_tree "$d" HEAD; mkdir "$d/.git/rebase-apply"
	t "apply: refuses a tree in the middle of git am" apply-middle refuses "in the middle" "$d"

	small_tree "$d" HEAD
	edit "$d" '/cow_count/d'
	t "apply: a tree with no throttle gets the fixes of snapshot_resume() and discards" apply-none accepts "$d" 4
	small_tree "$d" HEAD
	edit "$d" '/cow_count/d; /dm_internal_(suspend|resume)/d; /parse_snapshot_features/d'
	t "apply: one that has no discards and suspends no origin gets nothing" apply-none-at-all refuses "nothing here is for it" "$d"
	small_tree "$d" base
	edit "$d" '/^static bool wait_for_in_progress/,/^}/s/^\t\t\tif \(unlock_origins\)/\t\t\tatomic_inc(\&s->pending_exceptions_count);\n&/'
	t "apply: refuses half of a patch" apply-half-patch refuses "never gives that back" "$d"
	small_tree "$d" base
	edit "$d" '/^static void snapshot_resume/,/^}/s/^\tif \(origin_md\) \{/\ts->active = 1;\n&/'
	t "apply: refuses a snapshot that is activated twice" apply-half-resume refuses "before and after the origin is resumed" "$d"
	small_tree "$d" HEAD
	edit "$d" '/^static void start_full_bio/,/^}/{/down\(&s->cow_count\)/d}'
	t "apply: refuses half a semaphore (a start)" apply-half refuses "2 of 3 copies" "$d"
	small_tree "$d" HEAD
	edit "$d" '/^static void zero_callback/,/^}/{/up\(&s->cow_count\)/d}'
	t "apply: refuses half a semaphore (an end)" apply-half2 refuses "1 of 2 callbacks" "$d"
	small_tree "$d" base
	edit "$d" '/^static bool wait_for_in_progress/,/^}/d; s/wait_for_in_progress\(/waited(/'
	t "apply: refuses half of upstream's" apply-half3 refuses "has half of a throttle" "$d"
	small_tree "$d" base
	edit "$d" 's/^\treturn do_origin\(o->dev, bio, true\)/\treturn do_origin(o->dev, bio, !!o)/; s/^static int origin_write_extent/static  int origin_write_extent/; s/^(\t\tr = )(__origin_write)/\1 \2/'
	t "apply: a tree that a later patch doesn't fit is left alone" apply-unfit \
		refuses "does not fit" "$d"
	t "apply: --check says what to run" apply-unfit-check \
		refuses "upstream/0007-dm-snapshot-throttle-copies-where-they-are-started.patch does not fit as it is; to try to adapt it" "$d" --check
	small_tree "$d" HEAD
	half_way "$d" "exit 1"
	t "apply: a git am that fails half-way is taken back" apply-hook refuses "is as it was" "$d"
	half_way "$d" "kill -INT 0"
	t "apply: one that Ctrl-C ends half-way, too" apply-interrupted interrupted_apply "$d"
	rm "$d/.git/hooks/applypatch-msg"
	GIT_TEST_ASSUME_DIFFERENT_OWNER=1 t "apply: refuses a tree that git doesn't trust" apply-foreign \
		refuses "safe.directory" "$d"
	t "apply: refuses where git knows no committer" apply-who nobody "$d"
}

half_way() { # TREE COMMAND: a hook that runs COMMAND at the second patch
	printf '#!/bin/sh\ngrep -q "hold _origins_lock while waiting" "$1" && %s\nexit 0\n' "$2" \
		>"$1/.git/hooks/applypatch-msg"
	chmod +x "$1/.git/hooks/applypatch-msg"
}

interrupted_apply() { # TREE, one of whose hooks interrupts all that runs
	local before status
	before=$(fingerprint "$1")
	env --default-signal=INT setsid --wait "$TOP/scripts/apply" "$1"
	status=$?
	[ $status = 130 ] || { echo "status $status"; return 1; }
	[ "$before" = "$(fingerprint "$1")" ]
}

nobody() ( # TREE
	unset GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
	export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null EMAIL=
	git -C "$1" config user.useConfigOnly true
	refuses "user.email" "$1"
)

splat_tests() {
	local f want got
	for f in "$VM"/consoles/*.console; do
		want=${f##*/}
		want=${want%.console}
		want=${want%@*} # as another kernel prints it
		[ "$want" = clean ] && want=
		got=$("$VM/splats" "$f" | cut -d: -f1 | sort -u | paste -sd, -)
		t "splats: ${f##*/}" "splats-${f##*/}" test "$got" = "$want"
	done
	t "splats: a console for each kind" splats-kinds each_kind
	t "splats: which data races count" splats-races which_races_count
	t "a guest's verdict counts wherever in a line it is" judged judged
	t "a shared guest: a scenario that leaves a device behind" shared-left \
		blames "left devices behind" "not ok 3 - third: left devices behind: snap" 0
	t "a shared guest: one with a splat, which then says ok" shared-splat \
		blames "ok, warning" "WARNING: CPU: 1 PID: 1 at drivers/md/dm-snap.c:1 f+0x1/0x2"
	t "a shared guest: one that hangs" shared-hang blames "timed out" "" 124
}

# blames WORDS LINE [STATUS]: five scenarios share a guest, and LINE is on its console while
# the third one runs; with STATUS, QEMU's, the guest ends there. Only that one has failed,
# for WORDS. It passes by itself, and the others pass in two guests.
blames() {
	# shellcheck disable=SC2034 # share_a_guest uses them
	local words=$1 line=$2 status=${3:-} OBJ=guest-test KERNEL=kernel TOOK=0 LAPS=/dev/null
	local LOGS=$LOGS/shared
	mkdir -p "$LOGS"
	# shellcheck disable=SC2317 # share_a_guest calls them
	(
		has_options() { :; }
		scenario() {
			local name
			GUEST_RC=0
			for name in ${2//,/ }; do
				printf '[    1.0] # scenario: %s\r\n' "$name"
				if [ "$name" = third ] && [[ $2 == *,* ]]; then
					printf '[    2.0] %s\r\n' "$line"
					[ -z "$status" ] || { GUEST_RC=$status; break; }
				fi
				printf '[    3.0] ok 1 - %s\r\n' "$name"
			done >"$3"
			judge "${2##*,}" "$3"
		}
		share_a_guest first second third fourth fifth
	) | tee "$LOGS/out"
	grep -q "FAIL .*$words" "$LOGS/out" &&
		sed -E 's/^ +(ok|FAIL) +[^:]*: ([a-z]+).*/\1 \2/' "$LOGS/out" |
		diff - <(printf '%s\n' "ok first" "ok second" "FAIL third" "ok third" "ok fourth" "ok fifth")
}

judged() { # and that of another scenario doesn't
	# shellcheck disable=SC2034 # judge uses it
	local console=$LOGS/judged.console GUEST_RC=0
	printf '[<0>] do_wait+0x4f[   27.1] not ok 1 - herd: hung\r\n/0xb0\r\n' >"$console"
	judge herd "$console" && [ "$RESULT" = "not ok - hung" ] &&
		judge limit "$console" && [ "$RESULT" = died ]
}

which_races_count() { # those of dm-snap.c but one, and not the kernel's others
	local TREE=$BUILD/races/tree console=$BUILD/races/console race
	rm -rf "${TREE%/*}" && mkdir -p "$TREE/${SNAP%/*}" || return
	printf '%s(void)\n' 'static void track_chunk' 'static int snapshot_end_io' >"$TREE/$SNAP"
	for race in "snapshot_end_io / track_chunk" "snapshot_end_io / snapshot_end_io" \
	            "hrtimer_active / track_chunk" "__hrtimer_run_queues / hrtimer_active"; do
		sed "s,data-race in .*,data-race in $race\r," "$VM/consoles/kcsan.console"
	done >"$console"
	data_races "$console" | sed 's/^ *//' | sort | diff - <(printf '%s\n' \
		"1 hrtimer_active / track_chunk" "1 snapshot_end_io / snapshot_end_io")
}

each_kind() { # that scripts/vm/splats knows has been recorded
	local kinds
	kinds=$(sed -n "/^patterns='/,/^'/s/^\([a-z-]*\)	.*/\1/p" "$VM/splats" | sort -u)
	[ -n "$kinds" ] && ! grep -vxFf <(cd "$VM/consoles" && printf '%s\n' *.console |
		sed -E 's/(@.*)?\.console$//' | tr , '\n') <<<"$kinds"
}

# The tables in Documentation are those of the CSV beside them.
bench_tests() {
	local d=$BUILD/bench-report shown
	for shown in performance/fio performance; do
		rm -rf "$d" && mkdir -p "$d" &&
			cp "$TOP/Documentation/$shown"/{about,results.csv} "$d/" &&
			"$TOP/scripts/bench" --report "$d" >"$LOGS/check-bench.log" 2>&1 ||
			{ not_ok "bench: no report: $LOGS/check-bench.log"; return; }
		t "bench: the table in Documentation/$shown is that of its CSV" "bench-table-${shown//\//-}" \
			diff -u "$TOP/Documentation/$shown/table.txt" "$d/table.txt"
	done
	t "bench: so are the plots" bench-plots same_plots "$d"
	t "bench: a figure that misses its goal is told so" bench-missed \
		bench_tells "$d"
	t "bench: refuses what it doesn't know" bench-refuses bench_refuses
}

same_plots() { # DIR
	local f
	for f in "$TOP"/Documentation/performance/*.svg; do
		cmp "$f" "$1/${f##*/}" || return
	done
}

# bench_tells DIR: a goal that the semaphore's figures reach is not reached by upstream's;
# and boots that are as far apart as these two don't tell.
bench_tells() {
	local goal='^  switches_per_cow, 512 writers, N, 1 snapshot.*'
	as_ours "$1" semaphore && grep "$goal  reached" "$1/table.txt" &&
		as_ours "$1" upstream && grep "$goal  NOT REACHED" "$1/table.txt" &&
		as_ours "$1" "semaphore|upstream" && grep "$goal  equal" "$1/table.txt"
}
as_ours() { # DIR KERNELS: as if ours had these ones' figures
	sed -i "/^ours,/d" "$1/results.csv" &&
		sed -En "s/^($2),/ours,/p" "$1/results.csv" >"$1/ours.csv" &&
		cat "$1/ours.csv" >>"$1/results.csv" && "$TOP/scripts/bench" --report "$1" >/dev/null
}

bench_refuses() {
	local out status bad
	while read -r status bad; do
		# shellcheck disable=SC2086 # words, by intent
		out=$("$TOP/scripts/bench" $bad 2>&1)
		[ $? = "$status" ] || return
		echo "$out"
		[ "$(grep -c '^bench: ' <<<"$out")" = 1 ] || return
	done <<-END
		2 --rounds many
		2 --linux new
		2 --kernels mine
		1 --report $BUILD/nowhere
	END
}

# complains STATUS WORDS COMMAND...: it says what is wrong, in one line, and fails.
complains() {
	local status=$1 words=$2 out rc
	shift 2
	out=$("$@" 2>&1)
	rc=$?
	printf '%s\n' "$out" "status $rc"
	[ $rc = "$status" ] || return
	grep -qF -- "$words" <<<"$out" || { echo "without the words: $words"; return 1; }
	[ "$(wc -l <<<"$out")" = 1 ] || { echo "not one line"; return 1; }
}

# in_lib COMMAND...: in a shell of its own, with lib.sh.
in_lib() { bash -c '. "$1/scripts/lib.sh"; shift; eval "$*"' bash "$TOP" "$@"; }

# same_in_all SCRIPT: each option of it, and nothing, with an empty string; an option that
# it hasn't got; and -h.
same_in_all() {
	local option
	for option in '' $(sed '/^\. /q' "$TOP/scripts/$1" | grep -oE -- '--?[a-z][a-z-]*\b' | sort -u); do
		complains 2 "is empty; usage: scripts/$1" "$TOP/scripts/$1" ${option:+"$option"} '' || return
	done
	complains 2 "'--bad'; usage: scripts/$1" "$TOP/scripts/$1" --bad &&
		"$TOP/scripts/$1" -h | head -n 1 | grep "^scripts/$1: "
}

argument_tests() {
	local status words command n=0
	while IFS='|' read -r status words command; do
		n=$((n + 1))
		# shellcheck disable=SC2086 # words, by intent
		t "refuses: scripts/$command" "arguments-$n" complains "$status" "$words" "$TOP/scripts/"$command
	done <<-END
		2|no group|check nothing
		2|is every group|check all model
		2|takes directories|check trees
		2|no such directory|check trees /nowhere
		2|no git tree of a kernel|check trees /proc/self
		2|usage: scripts/apply|apply
		2|usage: scripts/apply|apply --stable
		2|usage: scripts/apply|apply --force /
		2|usage: scripts/backport|backport --check /
		2|usage: scripts/backport|backport -o
		2|takes 6.1 or 6.12|demo --linux 5.4
		2|--linux takes a version|demo --linux
		2|exclude each other|demo --tree / --linux 6.1
		1|no such directory|apply /etc/passwd
		1|no such directory|backport /nowhere
		1|no such directory|send /nowhere
		1|is not a directory|send --output /etc/passwd
		1|is not empty|send --output /etc
		2|check takes a directory|refresh check
		1|is not empty|refresh check /etc/passwd
		2|--seed takes a number|soak --seed
		2|--rounds takes a number|bench --fio --rounds
		2|--rounds takes a number|bench --rounds 08
		2|--report takes a directory|bench --report
		1|has no results.csv|bench --report /etc/passwd
		1|is not a git tree|demo --tree /
		2|usage: scripts/demo|demo --tree
		2|usage: scripts/send|send --series=
		2|unknown command|refresh everything
		2|takes nothing|refresh begin again
		2|takes an argument|module --kernel
		2|one of --install|module --install --uninstall
		2|--uninstall builds nothing|module --uninstall -o /tmp
		2|takes a release|module --kernel ../..
		1|no kernel 1.0-none|module --kernel 1.0-none
		2|MINUTES is a number|soak 0
		2|--seed takes a number|soak --seed mine
		2|--linux takes a version|soak --linux latest
		2|--corrupt takes|soak --corrupt all
	END
	for command in apply backport bench check demo module refresh send soak; do
		t "scripts/$command: empty and unknown arguments, --help" "arguments-$command" same_in_all "$command"
	done
	t "says what package is missing" arguments-need complains 1 "apt-get install no-such-package" \
		in_lib 'id() { echo 1000; }; need git no-such-package'
	t "says that there is no room" arguments-room complains 1 "MiB free and needs 1 GiB" \
		in_lib 'BUILD=/sys/kernel; room 1'
	t "says that there is no network" arguments-network complains 1 "can't be reached" \
		in_lib 'apt-get() {
			case $1 in
			indextargets) echo http://localhost:1/debian ;;
			*) command apt-get "$@" ;;
			esac
		}
		BUILD=$BUILD/offline; APT_STATE=$BUILD/apt; LOGS=$BUILD; rm -rf "$BUILD"; newest'
	t "says that another one is at work" arguments-lock complains 1 "is at work" \
		in_lib 'BUILD=$BUILD/locked; mkdir -p $BUILD; exec 8>$BUILD/lock; flock 8; unset BUILD_LOCKED; lock_build'
}

# blktests: the mails in patches/blktests/ make git commits, of tests that shellcheck has
# nothing to say of, by that suite's own rules; what they source of it isn't here.
blktests() (
	dir=$BUILD/blktests
	rm -rf "$dir" && mkdir -p "$dir" && cd "$dir" && git init -q && commits_as_check &&
		git am "$TOP"/patches/blktests/*.patch && [ -x tests/dm/003 ] && [ -x tests/dm/004 ] &&
		shellcheck -x -e SC2119,SC2034,SC2154,SC1091 tests/dm/00[34] common/dm_snapshot
)

group_scripts() {
	need git shellcheck make xz-utils gnuplot-nox
	t "shellcheck" shellcheck shellcheck -x -e SC2015,SC2016,SC2119,SC2120 \
		-P "$TOP/scripts" "$TOP"/scripts/{apply,backport,bench,check,demo,module,refresh,send,soak} \
		"$TOP"/scripts/{lib.sh,checks/*.sh} "$VM/splats" "$TOP/.ci/run"
	t "the tests for blktests: git am, shellcheck" blktests blktests
	t "shellcheck of the guest's scripts" shellcheck-guest \
		shellcheck -s dash -e SC2154,SC2034,SC1091,SC1090,SC3043 "$VM"/{init,again,bench,hotfix,lvm,module,peers,reboot} "$VM"/scenarios/*
	splat_tests
	bench_tests
	argument_tests
	apply_tests
}

# shellcheck shell=bash
# shellcheck source=../lib.sh disable=SC2153,SC2034
# Group "backport" of scripts/check: scripts/backport on trees of many shapes.
#
# Debian's 6.1, with the semaphore or as it is, is bent into what other trees look
# like, by backport/*.sed, a difference each. What such a tree gets must end where
# bending the fixed file ends.

BENDS=$TOP/scripts/checks/backport

# What lines of kernels differ by: base, then all bends, in an order in which they
# fit each other.
OLD="generic-make-request no-zero no-features"
LIKE=(
	"5.3, RHEL 8.1:semaphore:generic-make-request unsigned"
	"5.2:semaphore:$OLD unsigned"
	"4.19, 5.0:semaphore:$OLD unsigned no-table-lock mutex dax"
	"4.14:semaphore:$OLD unsigned no-table-lock dax list mempool kmalloc"
	"4.9:semaphore:$OLD unsigned no-table-lock dax list mempool kmalloc eio bi_bdev"
	"4.4:semaphore:$OLD unsigned no-table-lock list mempool kmalloc eio bi_bdev full-bio-private bio-rw flush"
	"6.1.150:upstream:blank-lines"
	"5.10 to 6.1:upstream:blank-lines unsigned unsigned-throttle"
	"5.4 to 5.8, RHEL 8.3:upstream:blank-lines unsigned unsigned-throttle generic-make-request"
	"4.19.87:upstream:blank-lines unsigned unsigned-throttle $OLD no-table-lock mutex dax"
	"4.14.186:upstream:blank-lines unsigned unsigned-throttle $OLD no-table-lock mutex dax list mempool"
	"4.4.220:upstream:blank-lines unsigned unsigned-throttle $OLD no-table-lock mutex list mempool eio bi_bdev full-bio-private bio-rw flush"
	"RHEL 7:upstream:blank-lines unsigned unsigned-throttle generic-make-request mempool eio bi_bdev bio-rw flush bi_sector"
)
# What such a file says, in words of the kernel whose headers it is compiled with.
OLD_WORDS="-Dgeneric_make_request=submit_bio_noacct -Dbio_rw=bio_data_dir"
OLD_WORDS+=" -Dbi_rw=bi_opf -DREQ_FLUSH=REQ_PREFLUSH"

bend() { # FILE BEND...
	local f=$1 b
	shift
	for b; do
		sed -i -E -f "$BENDS/$b.sed" "$f" || return
	done
}

# tree_like DIR BASE BEND...: in the small tree, a commit with these differences,
# each of which must change something.
tree_like() {
	local dir=$1 b
	git -C "$dir" checkout -qf "$2" && git -C "$dir" clean -fdxq || return
	shift 2
	for b; do
		cp "$dir/$SNAP" "$dir.before" && bend "$dir/$SNAP" "$b" || return
		! cmp -s "$dir.before" "$dir/$SNAP" || { echo "$b.sed changes nothing"; return 1; }
	done
	git -C "$dir" commit -qam bent --allow-empty
}

# shape BASE BEND...: what scripts/backport makes of the small tree with these
# differences is right, and its messages say that it was adapted.
shape() {
	local dir=$SMALL out=$SMALL.out base=$1 p
	shift
	rm -rf "$out"
	tree_like "$dir" "$base" "$@" && PATCHES=() && plan "$dir" 0 &&
		"$TOP/scripts/backport" "$dir" -o "$out" --am || return
	git -C "$dir" show "fixed:$SNAP" >"$out.c" && bend "$out.c" "$@" &&
		diff -u "$out.c" "$dir/$SNAP" || { echo "not what was expected (-)"; return 1; }
	diff <(for p in "${PATCHES[@]}"; do subject_of "$TOP/patches/$p"; done) \
		<(for p in "$out"/*.patch; do subject_of "$p"; done) || return
	grep -lq '^\[ adapted to this tree' "$out"/*.patch || return
	[[ " $* " != *" bi_sector "* ]] || return 0 # nothing compiles that today
	cp "$dir/$SNAP" "$TREE/$SNAP" && again "$out.log" "$OLD_WORDS" \
		compile_snap "" V=1 "KCFLAGS=$OLD_WORDS" || return
	! grep -A 10 "dm-snap.c.*\(warning\|error\):" "$out.log"
}

shapes() {
	local line name base bends
	for line in "${LIKE[@]}"; do
		IFS=: read -r name base bends <<<"$line"
		read -ra bends <<<"$bends"
		t "like $name, $base: ${bends[*]}" "backport-like-${name//[^0-9A-Za-z.]/-}" \
			shape "$base" "${bends[@]}"
	done
	t "every bend is of some kernel" backport-bends diff <(printf '%s\n' "${LIKE[@]##*:}" |
		tr ' ' '\n' | sort -u) <(cd "$BENDS" && printf '%s\n' *.sed | sed 's/\.sed$//' | sort)
}

# What a stable tree may have picked: any of the patches, in any order. Each time
# the rest goes on, and ends in the same file.
picks() {
	local base=$1 list=$2 p n picked
	mapfile -t patches < <(patches_for "$SMALL" "$list")
	for ((n = 1; n < 16; n++)); do
		git -C "$SMALL" checkout -qf "$base" && git -C "$SMALL" clean -fdxq || return
		picked=''
		for i in 0 1 2 3; do
			(((n >> i) & 1)) || continue
			picked+=" ${patches[i]%%-*}"
			git -C "$SMALL" am -q "$TOP/patches/${patches[i]}" || { git -C "$SMALL" am --abort; picked=''; break; }
		done
		[ -n "$picked" ] || continue
		echo "with$picked:"
		"$TOP/scripts/apply" --check "$SMALL" && "$TOP/scripts/apply" "$SMALL" &&
			git -C "$SMALL" diff --exit-code fixed || return
	done
}

BASE=semaphore
# edited EXPRESSION...: the small tree at BASE, changed by sed. Says so
# where that changes nothing, and the test then fails.
edited() {
	git -C "$SMALL" checkout -qf "$BASE" && git -C "$SMALL" clean -fdxq && edit "$SMALL" "$@"
}

refusals() {
	local -x TOOL=$TOP/scripts/backport
	t "refuses a tree where the start of a copy isn't counted, and names it" backport-half \
		refuses_after "not in start_full_bio()" '/^static void start_full_bio/,/^}/{/down\(/d}'
	t "refuses a tree where the end of one isn't" backport-half-end \
		refuses_after "not in zero_callback()" '/^static void zero_callback/,/^}/{/up\(/d}'
	t "refuses an origin_map() that it doesn't know, and names it" backport-origin-map \
		refuses_after "does not fit origin_map()" \
		's/return do_origin\(o->dev, bio\)/return do_origin_of(o, bio)/'
	t "says what stands there instead" backport-instead \
		refuses_after "has no 'return do_origin(o->dev, bio);', but 'return do_origin_of(o, bio);'" \
		's/return do_origin\(o->dev, bio\)/return do_origin_of(o, bio)/'
	t "refuses a snapshot_resume() that it doesn't know" backport-resume \
		refuses_after "does not fit snapshot_resume()" \
		'/^static void snapshot_resume/,/^}/s/s->active = 1;/set_active(s);/'
	t "refuses a copy that is counted on one way only" backport-one-way \
		refuses_after "zero_exception() hands kcopyd a copy that it does not count" \
		'/^static void zero_exception/,/^}/{s/^\tdest.count = .*/&\n\tif (!dest.sector)\n\t\tgoto counted;/; s/^\tdm_kcopyd_zero/counted:\n&/}'
	t "refuses a callback that ends early on one way" backport-early-end \
		refuses_after "copy_callback() does not count the end" \
		'/^static void copy_callback/,/^}/s/^\tpe->copy_error = .*/&\n\tif (!s)\n\t\treturn;/'
	t "refuses a snapshot_map() that keeps its lock" backport-held \
		refuses_after "snapshot_map() waits with a lock held" \
		'/^static int snapshot_map/,/^}/{/^\t\t\tup_read\(&s->lock\);$/{N; /\n$/s/.*\n//}}'
	t "refuses a snapshot_merge_map() that keeps it" backport-held-merge \
		refuses_after "does not fit snapshot_merge_map()" \
		'/^static int snapshot_merge_map/,/^}/{s/^\t\tup_write.*/\t\tcond_resched();/}'
	BASE=upstream
	t "refuses a snapshot_merge_map() of upstream's that it doesn't know" backport-merge-upstream \
		refuses_after "does not fit snapshot_merge_map()" \
		'/^static int snapshot_merge_map/,/^}/{s/do_origin\(s->origin, bio, false\)/do_origin(s->origin, bio, !bio)/}'
	BASE=semaphore
	t "refuses a kernel without a function that the patches use" backport-names refuses_names
	edited '1s/^/\n/'
	t "refuses a directory that has files" backport-full refuses "is not empty" "$SMALL" -o "$TOP/patches"
	git -C "$SMALL" checkout -qf fixed
	t "refuses a tree that has it" backport-ours refuses "nothing to do" "$SMALL"
}

refuses_names() {
	git -C "$SMALL" checkout -qf semaphore &&
		git -C "$SMALL" grep -l wait_for_completion_io -- include | sed "s,^,$SMALL/," |
			xargs sed -i s/wait_for_completion_io/wait_for_completion_of_io/ &&
		git -C "$SMALL" commit -qam completion &&
		refuses "has no wait_for_completion_io, which these patches use; backport that first" "$SMALL"
}

# What trees can't be bent into, as the patches bring it: faults in the outcome
# itself, or in the patches.
proofs() {
	t "prove.cocci has nothing to say of the fixed file" prove-fixed unproven '^$' ''
	t "prove.cocci: a callback that waits" prove-waits unproven \
		'^retry_origin_bios\(\) waits, but is no' \
		'/^static void retry_origin_bios/,/^}/s/bio, false\)/bio, true)/'
	t "prove.cocci: a start without a job" prove-no-job unproven \
		'^zero_exception\(\) counts a copy that it does not hand' 's/dm_kcopyd_zero\(.*/bio_endio(bio);/'
	t "prove.cocci: a job without a start" prove-unclaimed unproven \
		'^snapshot_map\(\) hands kcopyd a copy that it does not count' \
		'/^static int snapshot_map\(/,/^}/{/account_start_copy/d}'
	t "prove.cocci: an end that no callback counts" prove-stray unproven \
		'^start_copy\(\) counts the end of a copy, but is no' \
		'/^static void start_copy/,/^}/s/^}/	account_end_copy(s);\n}/'
	t "prove.cocci: two ends" prove-twice unproven \
		'^zero_callback\(\) does not count the end' 's/^\tbio->bi_status = write_err.*/&\n\taccount_end_copy(s);/'
	t "prove.cocci: a writer that waits under _origins_lock" prove-held unproven \
		'^start_origin_copy\(\) waits with a lock held' \
		'/^static bool start_origin_copy/,/^}/{/up_read/d}'
	t "prove.cocci: one that waits under the snapshot's lock" prove-locked unproven \
		'^snapshot_map\(\) waits with a lock held' \
		'/^static int snapshot_map\(/,/^}/s/up_read\(&s->lock\)/barrier()/'
	t "prove.cocci: a throttle that is initialised too late" prove-early unproven \
		'^snapshot_ctr\(\) uses the throttle before' '/^\tINIT_LIST_HEAD\(&s->throttled_writers/d'
	t "prove.cocci: an origin that is resumed too early" prove-resumed unproven \
		'^snapshot_resume\(\) resumes the origin before' \
		'/^static void snapshot_resume/,/^}/s/^\ts->active = 1;/\tdm_internal_resume_fast(origin_md);\n&/'
	t "a field that is not initialised" prove-field unproven_patch \
		"dm_snapshot.in_progress is left uninitialised" 0002 's/^\+\tunsigned int in_progress;/&/' kmalloc
	t "a semaphore that the patches leave" prove-left unproven_patch \
		"the old throttle is still used" 0002 's/^\+#include <linux.completion.h>/+#include <linux\/semaphore.h>/'
}

unproven() { # REGEX EXPRESSION: what prove.cocci says of the fixed file, changed
	local f=$SMALL.c
	git -C "$SMALL" show "fixed:$SNAP" >"$f" && sed -i -E "$2" "$f" &&
		spatch --very-quiet --sp-file "$TOP/scripts/backport.d/prove.cocci" "$f" | tee /dev/stderr |
		{ [ "$1" = '^$' ] && ! grep . || grep -E "$1"; }
}

# unproven_patch WORDS NUMBER EXPRESSION [kmalloc]: the same of a patch, in a copy of
# all this; with kmalloc, on such a tree, by a scripts/backport that has no rule for it.
unproven_patch() {
	local copy=$SMALL.copy
	rm -rf "$copy" && mkdir -p "$copy" && cp -r "$TOP"/{scripts,patches,series} "$copy" &&
		git -C "$SMALL" checkout -qf semaphore || return
	if [ "${4:-}" = kmalloc ]; then
		tree_like "$SMALL" semaphore kmalloc &&
			sed -i "s/'s = kmalloc/'never = kmalloc/" "$copy/scripts/backport" || return
	else
		edit_patch "$copy/patches/$2"-*.patch "$3" || return
	fi
	BUILD_LOCKED='' TOOL=$copy/scripts/backport refuses "$1" "$SMALL"
}
edit_patch() { # FILE EXPRESSION
	cp "$1" "$1.before" && sed -i -E "$2" "$1" && ! cmp -s "$1" "$1.before"
}

# scripts/apply does the same, by itself; --check only says so.
handed_over() {
	tree_like "$SMALL" semaphore generic-make-request || return
	refuses "run: scripts/backport $SMALL" "$SMALL" --check &&
		"$TOP/scripts/apply" "$SMALL" && [ "$(state_of "$SMALL/$SNAP")" = ours ]
}

refuses_after() { # WORDS EXPRESSION...
	local words=$1
	shift
	edited "$@" && refuses "$words" "$SMALL"
}

BACKPORT_PACKAGES=("${BUILD_PACKAGES[@]}" coccinelle python3 shellcheck)
group_backport() {
	need "${BACKPORT_PACKAGES[@]}"
	local s=$BUILD/backport-small
	local -x OWN_TREE=linux-backport
	SMALL=$s
	commits_as_check
	in_work_tree 6.1 || { not_ok "backport: no tree"; return; }
	OBJ=$BUILD/backport-obj
	rm -rf "$s" && mkdir -p "$s" && git -C "$TREE" archive HEAD Kbuild MAINTAINERS drivers/md \
		include/linux include/asm-generic include/kunit | tar -x -C "$s" &&
		git -C "$s" init -q && git -C "$s" add . && git -C "$s" commit -qm kernel &&
		git -C "$s" tag upstream && apply_list "$s" series.revert >/dev/null &&
		git -C "$s" tag semaphore && apply_list "$s" series >/dev/null &&
		git -C "$s" tag fixed || { not_ok "backport: no small tree"; return; }
	shapes
	t "a semaphore tree that has some of the patches gets the rest" backport-picks picks semaphore series
	t "so does one of upstream's" backport-picks-upstream picks upstream series.upstream
	t "scripts/apply hands a tree over that needs it" backport-apply handed_over
	refusals
	proofs
	rm -rf "${BUILD:?}/$OWN_TREE"
	at "$TREE" base
}

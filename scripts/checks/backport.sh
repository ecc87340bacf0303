# shellcheck shell=bash
# shellcheck source=../lib.sh disable=SC2153
# Group "backport" of scripts/check: scripts/backport on trees of many shapes.
#
# Debian's 6.1 with the semaphore is bent into what older trees look like, by
# backport/*.sed: a difference each, the versions that have it in its first line.
# The series of such a tree must end where bending the fixed file ends.

BENDS=$TOP/scripts/checks/backport

# All that a line differs by, in an order in which the bends fit each other.
declare -A LIKE=(
	[5.2]="generic-make-request no-zero no-features unsigned"
	[5.0]="generic-make-request no-zero no-features unsigned no-table-lock mutex dax"
	[4.14]="generic-make-request no-zero no-features unsigned no-table-lock dax list kmalloc"
	[4.9]="generic-make-request no-zero no-features unsigned no-table-lock dax list kmalloc eio bi_bdev"
	[4.4]="generic-make-request no-zero no-features unsigned no-table-lock list kmalloc eio bi_bdev full-bio-private bio-rw flush"
)
# What such a file says, in words of the kernel whose headers it is compiled with.
OLD_WORDS="-Dgeneric_make_request=submit_bio_noacct -Dbio_rw=bio_data_dir
	-Dbi_rw=bi_opf -DREQ_FLUSH=REQ_PREFLUSH"

bend() { # FILE BEND...
	local f=$1 b
	shift
	for b; do
		cp "$f" "$f.before" && sed -i -E -f "$BENDS/$b.sed" "$f" || return
		! cmp -s "$f" "$f.before" || { echo "$b.sed changes nothing"; return 1; }
	done
	rm -f "$f.before"
}

# tree_like DIR BEND...: in the small tree, a commit with these differences.
tree_like() {
	local dir=$1
	shift
	git -C "$dir" checkout -qf semaphore && git -C "$dir" clean -fdxq &&
		bend "$dir/$SNAP" "$@" && git -C "$dir" commit -qam bent --allow-empty
}

# shape SHAPES BEND...: what scripts/backport makes of the small tree with these
# differences is right.
shape() {
	local dir=$SMALL out=$SMALL.out p
	rm -rf "$out"
	tree_like "$dir" "$@" && "$TOP/scripts/backport" "$dir" -o "$out" --am || return
	git -C "$dir" show "fixed:$SNAP" >"$out.c" && bend "$out.c" "$@" &&
		diff -u "$out.c" "$dir/$SNAP" || { echo "not what was expected (-)"; return 1; }
	while read -r p; do
		[ "$(subject_of "$out/$p")" = "$(subject_of "$TOP/patches/$p")" ] ||
			{ echo "$p has another subject"; return 1; }
	done < <(patches_for "$dir" series)
	cp "$dir/$SNAP" "$TREE/$SNAP" && compile_snap "" "KCFLAGS=${OLD_WORDS//[$'\n\t']/ }" >"$out.log" 2>&1
	grep -A 10 "dm-snap.c.*\(warning\|error\):" "$out.log" && return 1
	[ -e "$OBJ/drivers/md/dm-snap.o" ] && rm "$OBJ/drivers/md/dm-snap.o"
}

adapted() { # whether the last shape's patches differ in more than their places
	grep -lq '^\[ adapted to this tree' "$SMALL.out"/*.patch
}

shapes() {
	local b name bends
	for b in "$BENDS"/*.sed; do
		name=$(basename "$b" .sed)
		bends=$name
		t "$name: $(sed -n '1s/^# //p' "$b")" "backport-$name" shape "$bends"
	done
	for name in "${!LIKE[@]}"; do
		read -ra bends <<<"${LIKE[$name]}"
		t "like $name: ${LIKE[$name]}" "backport-like-$name" shape "${bends[@]}"
		t "like $name: its patches say that they were adapted" "backport-adapted-$name" adapted
	done
}

# edited EXPRESSION...: the small tree with the semaphore, changed by sed. Says so
# where that changes nothing, and the test then fails.
edited() {
	git -C "$SMALL" checkout -qf semaphore && git -C "$SMALL" clean -fdxq && edit "$SMALL" "$@"
}

refusals() {
	local -x TOOL=$TOP/scripts/backport
	t "refuses a tree without the semaphore" backport-none \
		refuses_after "nothing to fix" '/cow_count/d'
	t "refuses a tree where the start of a copy isn't counted, and names it" backport-half \
		refuses_after "not in start_full_bio()" '/^static void start_full_bio/,/^}/{/down\(/d}'
	t "refuses a tree where the end of one isn't" backport-half-end \
		refuses_after "not in zero_callback()" '/^static void zero_callback/,/^}/{/up\(/d}'
	t "refuses an origin_map() that it doesn't know" backport-origin-map \
		refuses_after "has origin_map() in a shape" \
		's/return do_origin\(o->dev, bio\)/return do_origin_of(o, bio)/'
	t "refuses a snapshot_target that it doesn't know" backport-snapshot-target \
		refuses_after "has struct target_type snapshot_target in a shape" \
		'/^static struct target_type snapshot_target/,/^}/s/= snapshot_map,/= map_snapshot,/'
	t "refuses a snapshot_dtr() that it doesn't know" backport-dtr \
		refuses_after "has snapshot_dtr() in a shape" \
		'/^static void snapshot_dtr/,/^}/s/kfree\(s\)/free_snapshot(s)/'
	t "refuses a snapshot_resume() that it doesn't know" backport-resume \
		refuses_after "has snapshot_resume() in a shape" \
		'/^static void snapshot_resume/,/^}/s/s->active = 1;/set_active(s);/'
	t "refuses a snapshot_resume() that may not activate it" backport-inactive \
		refuses_after "has snapshot_resume() in a shape" \
		'/^static void snapshot_resume/,/^}/s/^\treregister_snapshot\(s\);/&\n\tif (!s->valid)\n\t\treturn;/'
	t "refuses a copy that is counted on one way only" backport-one-way \
		refuses_after "start_full_bio() hands kcopyd a copy that it does not count" \
		'/^static void start_full_bio/,/^}/s/^\tdown\(.*/\tif (pe->started)\n\t\tgoto counted;\n&\ncounted:/'
	t "refuses a callback that ends early on one way" backport-early-end \
		refuses_after "copy_callback() does not count the end" \
		'/^static void copy_callback/,/^}/s/^\tpe->copy_error = .*/&\n\tif (!s)\n\t\treturn;/'
	t "refuses a snapshot_merge_map() that keeps its lock" backport-held \
		refuses_after "snapshot_merge_map() waits with the snapshot's lock held" \
		'/^static int snapshot_merge_map/,/^}/{/^\t\tup_write/d}'
	t "refuses a snapshot_ctr() that makes kcopyd's client first" backport-early \
		refuses_after "snapshot_ctr() uses the throttle before it is initialised" \
		'/^\tsema_init\(&s->cow_count/d; /^\tif \(IS_ERR\(s->kcopyd_client\)\) \{/i \	sema_init(\&s->cow_count, (cow_threshold > 0) ? cow_threshold : INT_MAX);\n'
	t "refuses a kernel without a function that the patches use" backport-names refuses_names
	edited '1s/^/\n/'
	touch "$SMALL/$SNAP.rej"
	t "refuses a tree with rejects" backport-rejects refuses "left over" "$SMALL"
	rm "$SMALL/$SNAP.rej"
	t "refuses a directory that has files" backport-full refuses "is not empty" "$SMALL" -o "$TOP/patches"
	git -C "$SMALL" checkout -qf fixed
	t "refuses a tree that has it" backport-ours refuses "has this fix already" "$SMALL"
	git -C "$SMALL" checkout -qf "$(git -C "$SMALL" rev-list --reverse semaphore..fixed | head -n 1)"
	t "refuses a tree that has the helpers only" backport-helpers refuses "patches/0001" "$SMALL"
}

refuses_names() {
	git -C "$SMALL" checkout -qf semaphore &&
		git -C "$SMALL" grep -l wait_for_completion_io -- include | sed "s,^,$SMALL/," |
			xargs sed -i s/wait_for_completion_io/wait_for_completion_of_io/ &&
		git -C "$SMALL" commit -qam completion &&
		refuses "has no wait_for_completion_io; backport that first" "$SMALL"
}

# What trees can't be bent into, as the patches bring it: faults in the outcome
# itself, or in the patches.
proofs() {
	t "prove.cocci has nothing to say of the fixed file" prove-fixed unproven '^$' ''
	t "prove.cocci: who waits" prove-waits unproven \
		'^retry_origin_bios\(\) waits, but is no' \
		'/^static void retry_origin_bios/,/^}/s/do_origin\(/do_origin_throttled(/'
	t "prove.cocci: a start without a job" prove-no-job unproven \
		'^zero_exception\(\) counts a copy that it does not hand' 's/dm_kcopyd_zero\(.*/bio_endio(bio);/'
	t "prove.cocci: a job that may not come" prove-no-job2 unproven \
		'^zero_exception\(\) counts a copy that it does not hand' \
		'/^static void zero_exception/,/^}/s/^\taccount_start_copy.*/&\n\tif (!dest.count)\n\t\treturn;/'
	t "prove.cocci: a copy that isn't claimed" prove-unclaimed unproven \
		'^snapshot_map\(\) starts a copy that it does not claim' \
		'/^static int snapshot_map\(/,/^}/s/claim_copy\(pe\)/pe->started = 1/'
	t "prove.cocci: an end that no callback counts" prove-stray unproven \
		'^start_copy\(\) counts the end of a copy, but is no' \
		'/^static void start_copy/,/^}/s/^}/	account_end_copy(s);\n}/'
	t "prove.cocci: two ends" prove-twice unproven \
		'^zero_callback\(\) does not count the end' 's/^\tbio->bi_status = write_err.*/&\n\taccount_end_copy(s);/'
	t "prove.cocci: an origin that is resumed too early" prove-resumed unproven \
		'^snapshot_resume\(\) resumes the origin before' \
		'/^static void snapshot_resume/,/^}/s/^\ts->active = 1;/\tdm_internal_resume_fast(origin_md);\n&/'
	t "a field that the patches don't initialise" prove-field unproven_patch \
		"leaves dm_snapshot.granted_writers uninitialised" \
		0004 's/^\+\tINIT_LIST_HEAD\(&s->granted_writers\);/+\tcond_resched();/'
	t "a semaphore that the patches leave" prove-left unproven_patch \
		"the semaphore is still used after 0002" 0002 's/^\+#include <linux.completion.h>/+#include <linux\/semaphore.h>/'
}

unproven() { # REGEX EXPRESSION: what prove.cocci says of the fixed file, changed
	local f=$SMALL.c
	git -C "$SMALL" show "fixed:$SNAP" >"$f" && sed -i -E "$2" "$f" &&
		spatch --very-quiet -D active_first -D claims --sp-file "$TOP/scripts/backport.d/prove.cocci" "$f" | tee /dev/stderr |
		{ [ "$1" = '^$' ] && ! grep . || grep -E "$1"; }
}

# unproven_patch WORDS NUMBER EXPRESSION: the same of a patch, in a copy of all this.
unproven_patch() {
	local copy=$SMALL.copy
	rm -rf "$copy" && mkdir -p "$copy" && cp -r "$TOP"/{scripts,patches,series} "$copy" &&
		git -C "$SMALL" checkout -qf semaphore &&
		edit_patch "$copy/patches/$2"-*.patch "$3" &&
		BUILD_LOCKED='' TOOL=$copy/scripts/backport refuses "$1" "$SMALL"
}
edit_patch() { # FILE EXPRESSION
	cp "$1" "$1.before" && sed -i -E "$2" "$1" && ! cmp -s "$1" "$1.before"
}

# scripts/apply does the same, by itself.
handed_over() {
	local before
	tree_like "$SMALL" list && before=$(fingerprint "$SMALL") &&
		"$TOP/scripts/apply" --check "$SMALL" || return
	[ "$before" = "$(fingerprint "$SMALL")" ] || { echo "--check changed the tree"; return 1; }
	"$TOP/scripts/apply" "$SMALL" && [ "$(state_of "$SMALL/$SNAP")" = ours ]
}

# A kernel whose dm_make_request() maps bios gets a comment that says so.
names_the_mapper() {
	git -C "$SMALL" checkout -qf semaphore &&
		sed -i s/dm_submit_bio/dm_make_request/ "$SMALL/drivers/md/dm.c" &&
		git -C "$SMALL" commit -qam older && "$TOP/scripts/backport" "$SMALL" --am &&
		diff <(git -C "$SMALL" show "fixed:$SNAP" | sed 's/dm_submit_bio()/dm_make_request()/') \
			"$SMALL/$SNAP"
}

refuses_after() { # WORDS EXPRESSION...
	local words=$1
	shift
	edited "$@" && refuses "$words" "$SMALL"
}

group_backport() {
	need git coccinelle python3 shellcheck "${BUILD_PACKAGES[@]}"
	local s=$BUILD/small/backport
	SMALL=$s
	commits_as_check
	tree 6.1 && apply_list "$TREE" series.revert >/dev/null || { not_ok "backport: no tree"; return; }
	OBJ=$BUILD/backport-obj
	rm -rf "$s" && mkdir -p "$s" && git -C "$TREE" archive HEAD Kbuild MAINTAINERS drivers/md \
		include/linux include/asm-generic include/kunit | tar -x -C "$s" &&
		git -C "$s" init -q && git -C "$s" add . && git -C "$s" commit -qm kernel &&
		git -C "$s" tag semaphore && apply_list "$s" series >/dev/null &&
		git -C "$s" tag fixed || { not_ok "backport: no small tree"; return; }
	shapes
	t "a comment names the function that maps bios here" backport-mapper names_the_mapper
	t "scripts/apply hands a tree over that needs it" backport-apply handed_over
	refusals
	proofs
	at "$TREE" base
}

# shellcheck shell=bash
# Group "model" of scripts/check: spin explores the throttle's model, see
# Documentation/model/README. What must hold is explored to the end; what must
# fail must fail for its own reason.

MODEL=$TOP/Documentation/model
MODEL_RUN=$BUILD/model
MODEL_MEMORY=4000	# MB
MODEL_PACKAGES=(spin gcc libc6-dev)

# spin_run DIR LOG CC-FLAGS PAN-FLAGS DEFINES...: what pan says is in LOG, a
# counterexample in DIR. Fails if that didn't come about.
spin_run() {
	local dir=$1 log=$2 cc=$3 pan=$4 said
	shift 4
	rm -rf "$dir" && mkdir -p "$dir" && cp "$MODEL/throttle.pml" "$dir" && cd "$dir" || return
	# spin goes on after some errors, with a status of 0
	said=$(spin "$@" -a throttle.pml 2>&1)
	if [ -n "$said" ] || [ ! -e pan.c ]; then
		echo "spin: $said" >"$log"
		return 1
	fi
	# shellcheck disable=SC2086 # they are lists
	gcc -w -DCOLLAPSE -DNFAIR=3 -DMEMLIM=$MODEL_MEMORY $cc -o pan pan.c >"$log" 2>&1 &&
		nice ./pan -m1000000 $pan >"$log" 2>&1
}

# complete LOG: pan has seen every state
complete() {
	grep -q '^State-vector .* errors: 0$' "$1" &&
		! grep -Eq 'Search not completed|max search depth too small|out of memory|memory limit|hash-compact|^pan: error' "$1"
}

states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$1"; }
seconds() { sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds/\1/p' "$1"; }

# violated LOG: the name of the property that pan says is violated: see never()
violated() {
	sed -n -e 's/^pan:1: assertion violated .*||\([a-z_]*\)) .*/\1/;s/^pan:1: non-progress cycle.*/starves/' \
		-e '/^pan:1: /!{/^[a-z_]*$/!d};s/_/ /g;p;q' "$1"
}

# holds WHAT CC-FLAGS PAN-FLAGS DEFINES...
holds() {
	local what=$1 name log
	shift
	name=${what//[^a-z0-9]/-}
	log=$LOGS/model-$name.log
	if ! (spin_run "$MODEL_RUN/$name" "$log" "$@"); then
		not_ok "model: $what: spin fails: $log"
	elif ! complete "$log"; then
		not_ok "model: $what: not explored to the end, or '$(violated "$log")': $log, $MODEL_RUN/$name"
	else
		ok "model: $what: $(states "$log") states, $(seconds "$log")s"
	fi
}

# breaks WHAT PROPERTY CC-FLAGS PAN-FLAGS DEFINES...: PROPERTY, and no other, is
# what spin finds violated. The counterexample, replayed, ends there, too.
breaks() {
	local what=$1 want=$2 name=${1//[^A-Za-z0-9]/-} log got steps
	log=$LOGS/model-$name.log
	shift 2
	(spin_run "$MODEL_RUN/$name" "$log" "$@") ||
		{ not_ok "model: $what: spin fails: $log"; return; }
	got=$(violated "$log")
	if [ "$got" != "$want" ]; then
		not_ok "model: $what: wanted '$want', got '$got': $log"
		return
	fi
	shift 2
	steps=$(cd "$MODEL_RUN/$name" && spin "$@" -t -p throttle.pml >trail.txt 2>&1
		sed -n 's/^spin: trail ends after \([0-9]*\) steps/\1/p' trail.txt)
	if [ -n "$steps" ]; then
		ok "model: $what: $want after $steps steps: ${MODEL_RUN#"$TOP/"}/$name/trail.txt"
	else
		not_ok "model: $what: its counterexample can't be replayed: $MODEL_RUN/$name/trail.txt"
	fi
}

# trap_ NAME PROPERTY DEFINES...: a mistake that is built in
trap_() {
	local name=$1 want=$2
	shift 2
	breaks "$name" "$want" -DSAFETY "" "-DTRAP=$name" "$@"
}

group_model() {
	# gcc -O takes longer than it saves
	local safety=-DSAFETY live=-DNP
	local one=-DSNAPSHOTS=1 two=-DWRITERS=2 upstream=(-DUPSTREAM -DLIMIT=0 -DSNAPSHOTS=1 -DFINE)
	need "${MODEL_PACKAGES[@]}"
	echo "model: what must hold; times are of one core"
	holds "semaphore, nobody beside the writers" "$safety" "" -DTRAP=SLEEP_WITH_LOCK $one $two
	holds "upstream, ctr" "$safety" "" "${upstream[@]}" $two -DCTR
	holds "upstream, fixed, dtr" "$safety" "" "${upstream[@]}" $two -DFIXED -DDTR=0
	holds "3 writers, dtr" "$safety" "" $one -DDTR=0
	holds "3 writers, limit 2, dtr, batches" "$safety" "" $one -DLIMIT=2 -DDTR=0 -DPERSISTENT
	holds "3 writers, limit 1, then 2, then none" "$safety" "" $one -DSET=2
	holds "3 writers, limit 2, then 1, then none" "$safety" "" $one -DLIMIT=2 -DSET=1
	holds "3 writers, one to the snapshot, the limit is raised" "$safety" "" $one -DMAP=0 -DSET=2
	holds "3 writers, 2 of them to one chunk, dtr" "$safety" "" $one -DSHARED=1 -DDTR=0
	holds "3 writers, the snapshot becomes invalid" "$safety" "" $one -DINVALID=0
	holds "2 writers, 2 snapshots, dtr of the first" "$safety" "" $two -DDTR=0
	holds "2 writers, 2 snapshots, dtr of the last, batches" "$safety" "" $two -DDTR=1 -DPERSISTENT
	holds "2 writers, 2 snapshots, limit 2, dtr" "$safety" "" $two -DLIMIT=2 -DDTR=0
	holds "2 writers to one chunk, 2 snapshots, dtr" "$safety" "" $two -DSHARED=1 -DDTR=0
	holds "2 writers, 2 snapshots, the first becomes invalid" "$safety" "" $two -DINVALID=0
	holds "2 writers, handover to the second snapshot, dtr of the first" "$safety" "" $two -DHANDOVER -DDTR=0
	holds "2 writers, a merging snapshot" "$safety" "" $two -DMERGE=1
	holds "2 writers; the first snapshot is stuck, dtr of the last" "$safety" "-E" $two -DSTUCK=0 -DDTR=1
	holds "2 writers, one to the last snapshot; the first is stuck" "$safety" "-E" $two -DSTUCK=0 -DMAP=1
	holds "2 writers; the last snapshot is stuck, dtr of the first" "$safety" "-E" $two -DSTUCK=1 -DDTR=0
	holds "2 writers, each statement, dtr, the limit is raised" "$safety" "" $one $two -DFINE -DDTR=0 -DSET=2
	holds "comes to an end, 2 writers, 2 snapshots" "$live" "-l" $two
	holds "nobody starves, 2 writers, 1 snapshot" "$live" "-l -f" $one $two -DFOREVER=1

	echo "model: what must fail, and how"
	trap_ SLEEP_WITH_LOCK "deadlock behind origins lock" $one $two -DCTR
	breaks "upstream, dtr" "use after free" "$safety" "" "${upstream[@]}" $two -DDTR=0
	trap_ STATE_AFTER_UNLOCK "asleep for ever" "${upstream[@]}" $two
	trap_ UNTIL_OFF_LIST "asleep for ever" "${upstream[@]}" $two
	trap_ FINISH_WAIT "use after free" "${upstream[@]}" $two -DDTR=0
	trap_ WAKE_ONE "asleep for ever" "${upstream[@]}"
	trap_ UNPIN_EARLY "use after free" "${upstream[@]}" $two -DFIXED -DDTR=0
	trap_ PIN_LATE "use after free" "${upstream[@]}" $two -DFIXED -DDTR=0
	trap_ NOT_COUNTED "warn on" $one
	trap_ OVERTAKE "overtaken" $one -DSET=2
	breaks "upstream, writers without end" "starves" "$live" "-l -f" -DUPSTREAM -DLIMIT=0 $one $two -DFOREVER=1
	trap_ END_WAKES_NOBODY "asleep for ever" $one
	trap_ COMPLETE_FIRST "use after free" $one
	trap_ NOWAIT_NO_LIMIT "over the limit" $one
	trap_ STARTED_AGAIN "started twice" $two
	trap_ EAGAIN_NOT_STARTED "never started" $two -DDTR=0
	trap_ EAGAIN_AT_THE_END "bio in two hands" $two -DDTR=0
	trap_ GOES_ON "use after free" $two -DDTR=0
	trap_ LOOKS_UNLOCKED "use after free" $two -DDTR=0
	trap_ QUEUED_EARLY "hold and wait" $two
	trap_ LAST_DECIDES "written too early" $two
	trap_ NO_SECOND_TURN "bio lost" $two
	trap_ CALLBACK_WAITS "kcopyd waits" $two -DHANDOVER
	trap_ MERGE_UNTHROTTLED "over the limit" $two -DMERGE=1
	trap_ RAISED_UNNOTICED "room unnoticed" $one -DSET=2
	trap_ NOT_PINNED "use after free" $one $two -DDTR=0
}

# shellcheck shell=bash
# Group "model" of scripts/check: spin explores the throttle's model, see
# Documentation/model/README. What must pass is explored to the end; what must
# fail must fail for its own reason.

MODEL=$TOP/Documentation/model
MODEL_RUN=$BUILD/model
MODEL_MEMORY=6000	# MB
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
		nice ./pan -m200000 $pan >"$log" 2>&1
}

# complete LOG: pan has seen every state, and had no error but those that it counts
complete() {
	grep -q '^State-vector .* errors: [0-9]*$' "$1" &&
		! grep -Eq 'Search not completed|max search depth too small|out of memory|memory limit|hash-compact|^pan: error' "$1"
}

states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$1"; }
seconds() { sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds/\1/p' "$1"; }

# holds NAME WHAT CC-FLAGS PAN-FLAGS DEFINES...
holds() {
	local name=$1 what=$2 log=$LOGS/model-$1.log
	shift 2
	if ! (spin_run "$MODEL_RUN/$name" "$log" "$@"); then
		not_ok "model: $what: spin fails: $log"
	elif ! grep -q 'errors: 0$' "$log"; then
		not_ok "model: $what: $(violated "$log"): $log, $MODEL_RUN/$name"
	elif ! complete "$log"; then
		not_ok "model: $what: not explored to the end: $log"
	else
		ok "model: $what: $(states "$log") states, $(seconds "$log")s"
	fi
}

# violated LOG: the name of the property that pan says is violated, as the
# comment behind its assertion or label in throttle.pml has it
violated() {
	case $(grep -m1 '^pan:1: ' "$1") in
	*'assertion violated  !(deadlock_behind_origins_lock)'*) echo "deadlock behind _origins_lock" ;;
	*'assertion violated  !(snap['*'].freed)'*) echo "use after free" ;;
	*'assertion violated  !(holds_and_waits)'*) echo "hold and wait" ;;
	*'assertion violated  !(asleep_for_ever)'*) echo "asleep for ever" ;;
	*'assertion violated  !(overtaken)'*) echo "overtaken" ;;
	*'assertion violated within_the_bound '*) echo "over the bound" ;;
	*'assertion violated  !(waited_twice)'*) echo "waits twice" ;;
	*'assertion violated  !(in_two_hands)'*) echo "bio in two hands" ;;
	*'assertion violated  !(written_too_early)'*) echo "written too early" ;;
	*'assertion violated  !(bio_lost)'*) echo "bio lost" ;;
	*'non-progress cycle'*) echo "starves" ;;
	'') echo "nothing" ;;
	*) grep -m1 '^pan:1: ' "$1" ;;
	esac
}

# breaks NAME PROPERTY WHAT CC-FLAGS PAN-FLAGS DEFINES...: PROPERTY, and no other,
# is what spin finds violated. The counterexample, replayed, ends there, too.
breaks() {
	local name=$1 want=$2 what=$3 log=$LOGS/model-$1.log got steps
	shift 3
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

group_model() {
	# -O2 takes longer than most runs do
	local safety=-DSAFETY live=-DNP long=-O2
	need "${MODEL_PACKAGES[@]}"
	mkdir -p "$LOGS"
	echo "model: what must hold; times are of one core"
	holds semaphore-alone "the semaphore, with nobody beside the writers" "$safety" "" \
		-DSEMAPHORE -DSNAPSHOTS=1
	holds upstream-alone "upstream's, as long as no snapshot is removed" "$safety" "" \
		-DUPSTREAM -DSNAPSHOTS=1 -DCTR -DLIMIT=0 -DSPURIOUS=1
	# at a limit of 1 each newcomer takes a grant, from 2 on some needn't
	holds ours-one "ours: 3 writers, 1 snapshot; ctr, dtr" "$safety" "" \
		-DSNAPSHOTS=1 -DCTR -DDTR
	holds ours-one-far "ours: 3 writers, 1 snapshot; ctr, dtr; a limit of 2" "$safety" "" \
		-DSNAPSHOTS=1 -DCTR -DDTR -DLIMIT=2
	holds ours-two "ours: 2 writers, 2 snapshots; ctr, dtr" "$safety" "" \
		-DWRITERS=2 -DCTR -DDTR
	holds ours-two-far "ours: 2 writers, 2 snapshots; ctr, dtr; a limit of 2" "$safety $long" "" \
		-DWRITERS=2 -DCTR -DDTR -DLIMIT=2
	holds ours-three-two "ours: 3 writers, 2 snapshots" "$safety $long" ""
	holds ours-limit "ours: 3 writers, 1 snapshot; the limit is raised, or lifted" "$safety" "" \
		-DSNAPSHOTS=1 -DSET=2 -DSET2=0
	holds ours-lowered "ours: 3 writers, 1 snapshot; the limit is lowered from 2 to 1" "$safety" "" \
		-DSNAPSHOTS=1 -DLIMIT=2 -DSET=1
	holds ours-two-limit "ours: 2 writers, 2 snapshots; dtr, the limit is raised" "$safety" "" \
		-DWRITERS=2 -DDTR -DSET=2
	holds ours-created "ours: 2 writers; a second snapshot is created and resumed" "$safety" "" \
		-DWRITERS=2 -DCREATE
	holds ours-map "ours: 2 writers to the origin, 1 to the snapshot" "$safety" "" \
		-DSNAPSHOTS=1 -DSNAPSHOT_MAP -DCTR -DSET=2
	holds ours-stuck "ours: a stuck snapshot, 2 writers to the origin; 1 to the other snapshot gets through" \
		"$safety" "-E" -DSTUCK=1 -DSNAPSHOT_MAP
	holds ours-fine "ours, statement by statement: 2 writers, 1 snapshot; dtr, limit, spurious wake-ups" \
		"$safety" "" -DSNAPSHOTS=1 -DWRITERS=2 -DFINE -DDTR -DSET=2 -DSPURIOUS=1
	holds ours-bound "ours: never over a limit of 1; 3 writers, 2 writes each" "$safety" "" \
		-DBOUND=0 -DSNAPSHOTS=1 -DWRITES=2
	holds ours-bound-far "ours: at most 1 over a limit of 4; 2 writers, 3 writes each" "$safety" "" \
		-DBOUND=1 -DLIMIT=4 -DSNAPSHOTS=1 -DWRITERS=2 -DWRITES=3
	holds ours-bound-three "ours: at most 2 over a limit of 2; 3 writers, 5 writes" "$safety $long" "" \
		-DBOUND=2 -DLIMIT=2 -DSNAPSHOTS=1 -DLAST_WRITES=3
	holds ours-bound-once "ours: at most 1, if only 1 is on its way without a grant" "$safety $long" "" \
		-DBOUND=1 -DAT_ONCE=1 -DLIMIT=2 -DSNAPSHOTS=1 -DLAST_WRITES=3
	holds ours-bound-two "ours: never over a limit of 1; 2 writers, 2 snapshots, 2 writes each" \
		"$safety" "" -DBOUND=0 -DWRITERS=2 -DWRITES=2
	holds ours-once "ours: a writer waits once for each snapshot; 3 writers, 2 snapshots" "$safety $long" "" \
		-DONCE
	holds ours-ends "ours: comes to an end; 2 writers, 2 snapshots, ctr" "$live" "-l" \
		-DENDS -DWRITERS=2 -DCTR
	holds ours-ends-far "ours: comes to an end; the same at a limit of 2" "$live $long" "-l" \
		-DENDS -DWRITERS=2 -DCTR -DLIMIT=2
	holds ours-forever "ours: nobody starves; 2 writers without end, 1 snapshot" "$live" "-l -f" \
		-DFOREVER -DSNAPSHOTS=1 -DWRITERS=2
	holds ours-forever-far "ours: nobody starves; the same at a limit of 2" "$live" "-l -f" \
		-DFOREVER -DSNAPSHOTS=1 -DWRITERS=2 -DLIMIT=2
	holds ours-forever-three "ours: nobody starves; 3 writers without end, 1 snapshot" \
		"$live" "-l -f -m2000000" -DFOREVER -DSNAPSHOTS=1
	holds ours-forever-two "ours: nobody starves; 2 writers without end, 2 snapshots" \
		"$live $long" "-l -f -m2000000" -DFOREVER -DWRITERS=2
	holds ours-forever-two-far "ours: nobody starves; the same at a limit of 2" \
		"$live $long" "-l -f -m5000000" -DFOREVER -DWRITERS=2 -DLIMIT=2

	echo "model: what ours does not promise, as README says"
	breaks over "over the bound" "ours: 1 over a limit of 4, without a grant; 2 writers" "$safety" "" \
		-DBOUND=0 -DLIMIT=4 -DSNAPSHOTS=1 -DWRITERS=2 -DWRITES=3

	echo "model: what must fail, and how"
	breaks semaphore "deadlock behind _origins_lock" "the semaphore, with a ctr" "$safety" "" \
		-DSEMAPHORE -DSNAPSHOTS=1 -DCTR
	breaks upstream "use after free" "upstream's, with a dtr" "$safety" "" \
		-DUPSTREAM -DSNAPSHOTS=1 -DDTR -DLIMIT=0
	breaks trap1 "asleep for ever" "trap 1, state set after unlock" "$safety" "" \
		-DTRAP=1 -DSNAPSHOTS=1 -DFINE
	breaks trap2 "asleep for ever" "trap 2, sleeps until off the list" "$safety" "" \
		-DTRAP=2 -DSNAPSHOTS=1 -DFINE
	breaks trap3 "use after free" "trap 3, finish_wait()" "$safety" "" \
		-DTRAP=3 -DSNAPSHOTS=1 -DFINE -DDTR
	breaks trap4 "asleep for ever" "trap 4, a grant is given back silently" "$safety" "" \
		-DTRAP=4 -DSNAPSHOTS=1
	breaks trap5 "hold and wait" "trap 5, a grant is kept asleep" "$safety -DREVERSE -DT_REVERSE" "" \
		-DTRAP=5 -DCTR
	breaks trap6 "overtaken" "trap 6, newcomers pass, to the tail again" "$safety" "" \
		-DTRAP=6 -DSNAPSHOTS=1
	breaks trap6-forever "starves" "trap 6, for ever (assertions ignored)" "$live" "-l -f -A" \
		-DTRAP=6 -DSNAPSHOTS=1 -DWRITERS=2 -DFOREVER
	breaks trap7 "over the bound" "trap 7, a grant that doesn't count as a copy" "$safety" "" \
		-DTRAP=7 -DBOUND=0 -DSNAPSHOTS=1 -DWRITERS=2 -DWRITES=2
	breaks trap8 "over the bound" "trap 8, near the limit a newcomer takes no grant" "$safety" "" \
		-DTRAP=8 -DBOUND=0 -DSNAPSHOTS=1 -DWRITERS=2 -DWRITES=2
	breaks trap9 "bio in two hands" "trap 9, the bio is queued where the first copy is" "$safety" "" \
		-DTRAP=9 -DWRITERS=2
	breaks trap10 "asleep for ever" "trap 10, who needs no copy keeps its grant" "$safety" "" \
		-DTRAP=10 -DSNAPSHOTS=1
	breaks trap11 "waits twice" "trap 11, no copy is started before all snapshots were asked" "$safety" "" \
		-DTRAP=11 -DWRITERS=2 -DONCE
	breaks trap11-forever "starves" "trap 11, for ever" "$live" "-l -f -m2000000" \
		-DTRAP=11 -DWRITERS=2 -DFOREVER
	breaks trap12 "bio lost" "trap 12, the bio is queued on the last snapshot or nowhere" "$safety" "" \
		-DTRAP=12 -DWRITERS=2
	breaks trap13 "written too early" "trap 13, the last snapshot needs no copy, so none is waited for" \
		"$safety" "" -DTRAP=13 -DWRITERS=2
}

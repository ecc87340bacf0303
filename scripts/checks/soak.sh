# shellcheck shell=bash
# shellcheck source=../lib.sh
# Group "soak" of scripts/check: scripts/soak, twice for long, and on contents
# that were spoilt on purpose.

SOAK_MINUTES=10

notices() { # WHAT: a spoilt block of it, and nothing else
	local out
	out=$("$TOP/scripts/soak" 1 --corrupt "$1") && { echo "$out"; return 1; }
	echo "$out"
	grep -q 'overwrote block .* on purpose' <<<"$out" &&
		grep -q '^FAILED: not ok - contents differ: ' <<<"$out"
}

group_soak() {
	t "6.12: $SOAK_MINUTES minutes, under KASAN and lockdep" soak-kasan \
		"$TOP/scripts/soak" $SOAK_MINUTES
	sed 's/^/      /' "$LOGS/check-soak-kasan.log"
	t "6.12: $SOAK_MINUTES minutes, under KCSAN" soak-kcsan \
		"$TOP/scripts/soak" $SOAK_MINUTES --kcsan
	sed 's/^/      /' "$LOGS/check-soak-kcsan.log"
	t "6.12: a spoilt block of the origin is noticed" soak-origin notices origin
	t "6.12: a spoilt block of a snapshot is noticed" soak-snapshot notices snapshot
}

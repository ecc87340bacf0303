# shellcheck shell=bash
# shellcheck source=../lib.sh
# Group "soak" of scripts/check: scripts/soak, thrice for long, and on contents
# that were spoilt on purpose.

SOAK_MINUTES=10

# soaks NAME KEY OPTION...: scripts/soak passes.
soaks() {
	local name=$1 log=$LOGS/check-soak-$2.log
	shift 2
	if "$TOP/scripts/soak" "$@" | tee "$log"; then
		ok "$name"
	else
		not_ok "$name: $log"
	fi
}

# notices WHAT: a block of it is spoilt, and that's what scripts/soak fails on.
notices() {
	local log=$LOGS/check-soak-$1.log
	"$TOP/scripts/soak" 1 --corrupt "$1" | tee "$log"
	if grep -q 'overwrote block .* on purpose' "$log" &&
	   grep -q '^FAILED: not ok - contents differ: ' "$log"; then
		ok "6.12: a spoilt block is noticed, $1"
	else
		not_ok "6.12: a spoilt block, $1: $log"
	fi
}

group_soak() {
	soaks "6.12: $SOAK_MINUTES minutes, under KASAN and lockdep" kasan $SOAK_MINUTES
	soaks "6.12: $SOAK_MINUTES minutes, under KCSAN" kcsan $SOAK_MINUTES --kcsan
	soaks "6.12: 2 minutes, the origin live while snapshots are reloaded" live 2 --live-reload
	notices origin
	notices snapshot
}

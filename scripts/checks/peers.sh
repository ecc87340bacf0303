# shellcheck shell=bash disable=SC2034
# Group "peers" of scripts/check: the tests for snapshots in LVM2's own suite, each
# in a guest with upstream's kernel and in one with ours.

LVM2=$BUILD/lvm2
PEERS=${PEERS:-} # words: tests whose name contains one of them; none: all

# lvm2_built: LVM2 from Debian's source package, of the version that is installed,
# with what its tests need: tools, dmeventd, the runner. Nothing is installed.
lvm2_built() {
	local version built=$LVM2/.built APT_STATE=$BUILD/apt-lvm2
	version=$(dpkg-query -Wf '${source:Version}' lvm2)
	[ "$(cat "$built" 2>/dev/null)" = "$version" ] && return
	rm -rf "$LVM2" && mkdir -p "$APT_STATE" && cd "$APT_STATE" || return
	apt_sources deb-src "$(. /etc/os-release && echo "$VERSION_CODENAME")" || return
	rm -f lvm2_*
	run "fetch lvm2 $version" "$LOGS/peers-fetch.log" \
		apt_here apt-get source --download-only "lvm2=$version" || return
	run "build lvm2 $version" "$LOGS/peers-build.log" lvm2_build || return
	echo "$version" >"$built"
}
lvm2_build() {
	dpkg-source --no-check --no-copy -x lvm2_*.dsc "$LVM2" && cd "$LVM2" &&
		./configure --enable-dmeventd --enable-cmdlib --disable-readline \
			--disable-selinux --disable-systemd-journal --disable-app-machineid &&
		make -j"$JOBS" && make -C test .tests-stamp
}

# peers: the names of the tests.
peers() {
	local f p
	for f in "$LVM2"/test/shell/*snap*.sh; do
		f=${f##*/}
		for p in ${PEERS:-.}; do
			[[ $p == . || $f == *"$p"* ]] && { echo "$f"; break; }
		done
	done
}

# peer KERNEL TEST: runs it there, and sets RESULT as scenario() does, or to
# "passes"; SPLATS; TOOK; and CONSOLE. A guest that gets hardly any CPU is not to be
# taken for one that is stuck; two CPUs have fewer timer ticks than four to emulate.
peer() {
	local label=${1##*/guest-} log
	label=${label//\//-}
	CONSOLE=$LOGS/peers-${label#*peers-}-${2%.sh}.console
	log=${CONSOLE%.console}.log
	: >"$log"
	GUEST_ARGS="peers=$LVM2/test:$2 rcupdate.rcu_cpu_stall_timeout=300 watchdog_thresh=60 nr_cpus=2"
	# The guest's root: it can read all that this user can, and write nothing.
	QEMU_ARGS=(-virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
		-device virtio-serial-pci -chardev "file,id=log,path=$log"
		-device "virtserialport,chardev=log,name=log")
	scenario "$1" peers "$CONSOLE"
	GUEST_ARGS='' QEMU_ARGS=()
	RESULT=${RESULT#not ok - }
	[ "$RESULT" != ok ] || RESULT=passes
}

theirs() { # TEST
	peer "$UPSTREAM" "$1" >/dev/null
	printf '%s\n' "$TOOK" "$RESULT${SPLATS:+, on the console: $SPLATS}" >"$TABLE.theirs"
}

# both TEST: on both kernels at once, as a test keeps one core busy, and the verdict:
# it has to end alike, and nothing may be on the console of ours. What doesn't pass
# on either isn't counted as passed.
both() {
	local name=${1%.sh} theirs='died with its script' theirs_took='' ours pid
	in_background theirs "$1"
	pid=$CHILD
	peer "$OURS" "$1"
	ours=$RESULT${SPLATS:+, on the console: $SPLATS}
	run "the same on ${UPSTREAM#"$BUILD"/}" "$LOGS/peers-wait.log" tail --pid="$pid" -f /dev/null
	wait "$pid"
	{ read -r theirs_took && read -r theirs; } <"$TABLE.theirs"
	rm "$TABLE.theirs"
	printf '%-32s %-5s %-5s %s\n' "$name" "$theirs_took" "$TOOK" "$theirs | $ours" >>"$TABLE"
	case $theirs/$ours in
	passes/passes) ok "peers: $name: passes on both (${theirs_took}s, ${TOOK}s)" ;;
	"$theirs/$RESULT, on the console: "*) not_ok "peers: $name: upstream: $theirs; ours: $ours: $CONSOLE" ;;
	"skipped: "*/"$theirs") skip "$name: skipped on both: ${theirs#skipped: }" ;;
	*/passes) skip "$name: passes on ours, not on upstream: $theirs" ;;
	"$theirs/$theirs") skip "$name: doesn't pass on either: $theirs" ;;
	*) not_ok "peers: $name: upstream: $theirs; ours: $ours: $CONSOLE" ;;
	esac
}

# notices_no_copies: a test fails on a kernel with snapshots that don't get to keep what is
# written over on their origin.
notices_no_copies() {
	sed -i '/^static int origin_map/,/^}/s/return do_origin(.*/return DM_MAPIO_REMAPPED;/' \
		"$TREE/$SNAP" && git -C "$TREE" commit -qam "no copies" &&
		guest_kernel no-copies || { not_ok "peers: no kernel without copies"; return; }
	peer "$KERNEL" snapshot-reactivate.sh
	if [[ $RESULT == "failed: "*check_s_* ]]; then
		ok "peers: a kernel that copies nothing is noticed: snapshot-reactivate $RESULT"
	else
		not_ok "peers: a kernel that copies nothing: snapshot-reactivate: $RESULT: $CONSOLE"
	fi
}

group_peers() {
	local UPSTREAM OURS TABLE=$LOGS/peers.txt name CONSOLE CONFIG_FROM SCENARIO_LIMIT=1800
	need "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}" lvm2 dpkg-dev g++ pkg-config \
		libaio-dev libblkid-dev e2fsprogs procps thin-provisioning-tools
	lvm2_built || { not_ok "peers: no LVM2"; return; }
	[ -n "$(peers)" ] || { not_ok "peers: none is named '$PEERS'"; return; }
	initramfs "$VM/peers" && tree 6.12 || { not_ok "peers: no initramfs, or no tree"; return; }
	OBJ=$BUILD/guest-6.12-peers
	CONFIG_FROM=("$VM/config" "$VM/config.peers")
	guest_kernel upstream || { not_ok "peers: upstream's kernel does not build"; return; }
	has_options peers || { not_ok "peers: the guest lacks kernel options"; return; }
	UPSTREAM=$KERNEL
	if [ -z "$PEERS" ]; then
		notices_no_copies
	else
		skip "peers: a kernel that copies nothing is noticed: only without PEERS"
	fi
	at "$TREE" base
	guest_kernel_with series.upstream || return
	OURS=$KERNEL
	at "$TREE" base
	: >"$TABLE"
	for name in $(peers); do
		both "$name"
	done
}

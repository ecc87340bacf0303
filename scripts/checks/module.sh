# shellcheck shell=bash disable=SC2034
# Group "module" of scripts/check: scripts/module on Debian's kernels, as they are shipped.
# These are unpacked below build/distro, with their headers; nothing is installed.

ROOT=$BUILD/distro

# distro_kernel META: sets RELEASE to the kernel that package META is of now, and has that
# and its headers in ROOT.
distro_kernel() {
	local p all
	RELEASE=$(apt-cache depends "$1" | sed -n 's/.*Depends: linux-image-//p')
	[ -n "$RELEASE" ] || { echo "apt has no $1"; return 1; }
	OBJ=$BUILD/guest-$RELEASE KERNEL=$OBJ/distro
	[ ! -e "$KERNEL" ] || return 0
	all=$(apt-cache depends "linux-headers-$RELEASE" | sed -nE 's/.*Depends: (linux-(headers|kbuild)-.*)/\1/p')
	mkdir -p "$ROOT" "$OBJ" && cd "$ROOT" || return
	for p in "linux-image-$RELEASE" "linux-headers-$RELEASE" $all; do
		apt-get download "$p" && dpkg-deb -x "$p"_*.deb . && rm "$p"_*.deb || return
	done
	ln -sfn "../../../usr/src/linux-headers-$RELEASE" "lib/modules/$RELEASE/build" &&
		sed -i "s, /usr/src, $ROOT/usr/src," "usr/src/linux-headers-$RELEASE/Makefile" &&
		depmod -b "$ROOT" "$RELEASE" &&
		sed 's/=m$/=y/' "boot/config-$RELEASE" >"$KERNEL.config" && cp "boot/vmlinuz-$RELEASE" "$KERNEL"
}

# distro_initramfs: with what the guest needs of ROOT's modules.
distro_initramfs() {
	local kernel=lib/modules/$RELEASE MODULES=$BUILD/distro-modules/lib/modules
	rm -rf "$BUILD/distro-modules"
	mkdir -p "$MODULES" && cd "$ROOT" &&
		modprobe -d "$ROOT" -S "$RELEASE" --show-depends -a brd loop dm-delay dm-snapshot |
		sed -n "s,^insmod $ROOT/\([^ ]*\).*,\1,p" | sort -u |
		xargs cp --parents -t "$BUILD/distro-modules" "$kernel"/modules.{order,builtin,builtin.modinfo} \
			"$(find "$kernel/kernel" -name 'dm-snapshot.ko*')" &&
		depmod -b "$BUILD/distro-modules" "$RELEASE" && initramfs "$VM/hotfix"
}

module_of() { # META
	local RELEASE OBJ KERNEL GUEST_ARGS="slab_nomerge brd.rd_nr=8 brd.rd_size=65536"
	local PROGRAMS=(/sbin/{lvm,modprobe,insmod})
	local -x INSTALL_MOD_PATH=$ROOT
	run "unpack $1" "$LOGS/module-unpack.log" true # a line to say what goes on
	distro_kernel "$1" >"$LOGS/module-unpack.log" 2>&1 || { not_ok "$1: $LOGS/module-unpack.log"; return; }
	distro_initramfs || { not_ok "$RELEASE: no initramfs"; return; }
	expect overruns limit
	expect herds herd
	expect waits rewrite
	for_real scripts/module --kernel "$RELEASE" --install
	distro_initramfs || { not_ok "$RELEASE: no initramfs with our module"; return; }
	expect_passes deadlock limit herd rewrite nolimit resume-under-write discard
	expect passes hotfix
	refusals
	for_real scripts/module --kernel "$RELEASE" --uninstall
}
refusals() { :; }

group_module() {
	need "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}" lvm2 kmod pahole
	module_of linux-image-amd64
	module_of linux-image-6.12-amd64
}

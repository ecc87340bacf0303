# shellcheck shell=bash disable=SC2034
# Group "module" of scripts/check: scripts/module on Debian's kernels, as they are shipped.
# These are unpacked below build/distro, with their headers; nothing is installed.

DISTRO=$BUILD/distro

# distro_kernel META: sets RELEASE to the kernel that package META is of now, and has that
# and its headers in DISTRO.
distro_kernel() {
	local p all
	RELEASE=$(apt-cache depends "$1" | sed -n 's/.*Depends: linux-image-//p')
	[ -n "$RELEASE" ] || { echo "apt has no $1"; return 1; }
	OBJ=$BUILD/guest-$RELEASE KERNEL=$OBJ/distro
	[ ! -e "$KERNEL" ] || return 0
	all=$(apt-cache depends "linux-headers-$RELEASE" | sed -nE 's/.*Depends: (linux-(headers|kbuild)-.*)/\1/p')
	mkdir -p "$DISTRO" "$OBJ" && cd "$DISTRO" || return
	for p in "linux-image-$RELEASE" "linux-headers-$RELEASE" $all; do
		rm -f "$p"_*.deb && apt-get download "$p" && dpkg-deb -x "$p"_*.deb . && rm "$p"_*.deb || return
	done
	ln -sfn "../../../usr/src/linux-headers-$RELEASE" "lib/modules/$RELEASE/build" &&
		sed -i "s, /usr/src, $DISTRO/usr/src," "usr/src/linux-headers-$RELEASE/Makefile" &&
		depmod -b "$DISTRO" "$RELEASE" &&
		sed 's/=m$/=y/' "boot/config-$RELEASE" >"$KERNEL.config" && cp "boot/vmlinuz-$RELEASE" "$KERNEL"
}

# distro_initramfs: with what the guest needs of DISTRO's modules.
distro_initramfs() {
	local kernel=lib/modules/$RELEASE MODULES=$BUILD/distro-modules/lib/modules
	rm -rf "$BUILD/distro-modules"
	mkdir -p "$MODULES" && cd "$DISTRO" &&
		{
			modprobe -d "$DISTRO" -S "$RELEASE" --show-depends -a brd loop dm-delay dm-snapshot |
				sed -n "s,^insmod $DISTRO/\([^ ]*\).*,\1,p"
			find "$kernel/kernel" -name 'dm-snapshot.ko*' # also beside ours
		} | sort -u |
		xargs cp --parents -t "$BUILD/distro-modules" "$kernel"/modules.{order,builtin,builtin.modinfo} &&
		depmod -b "$BUILD/distro-modules" "$RELEASE" && initramfs "$VM/hotfix"
}

module_of() { # META
	local RELEASE OBJ KERNEL GUEST_ARGS="slab_nomerge brd.rd_nr=8 brd.rd_size=65536"
	local PROGRAMS=(/sbin/{lvm,modprobe,insmod})
	local -x INSTALL_MOD_PATH=$DISTRO
	distro_kernel "$1" >"$LOGS/module-unpack.log" 2>&1 || { not_ok "$1: $LOGS/module-unpack.log"; return; }
	"$TOP/scripts/module" --kernel "$RELEASE" --uninstall >/dev/null 2>&1 # of an earlier run
	distro_initramfs || { not_ok "$RELEASE: no initramfs"; return; }
	echo "module: $RELEASE, as Debian ships it"
	expect overruns limit
	expect herds herd
	expect waits rewrite
	expect corrupts discard
	for_real scripts/module --kernel "$RELEASE" --install
	distro_initramfs || { not_ok "$RELEASE: no initramfs with our module"; return; }
	echo "module: $RELEASE, with our module"
	expect_passes deadlock limit herd rewrite nolimit takers discard
	expect passes hotfix
	t "$RELEASE: what scripts/module refuses" "module-refuses-$RELEASE" module_refuses
	for_real scripts/module --kernel "$RELEASE" --uninstall
}

# refuses_module WORDS [OPTION...]: one line with these words, and nothing is written to
# FAKE, a copy of RELEASE in which something is wrong.
refuses_module() {
	local before words=$1
	shift
	before=$(find "$FAKE" -type f -exec sha256sum {} + | sort)
	INSTALL_MOD_PATH=$FAKE complains 1 "$words" "$TOP/scripts/module" --kernel "$RELEASE" "$@" &&
		[ "$(find "$FAKE" -type f -exec sha256sum {} + | sort)" = "$before" ]
}
module_refuses() {
	local FAKE=$BUILD/distro-fake modules ko
	modules=$FAKE/lib/modules/$RELEASE
	whole() { # a copy that nothing is wrong with
		rm -rf "$FAKE" && mkdir -p "$modules/kernel" && cp -d "$DISTRO/lib/modules/$RELEASE/modules.builtin" "$modules" &&
			ln -s "$(realpath "$DISTRO/lib/modules/$RELEASE/build")" "$modules/build" &&
			ko=$(find "$DISTRO/lib/modules/$RELEASE/kernel" -name 'dm-snapshot.ko*') && cp "$ko" "$modules/kernel"
	}
	whole && refuses_module "nothing to take back" --uninstall &&
		refuses_module "is Linux 6" --source "$(tree_of_another)" &&
		refuses_module "is not the source of a kernel" --source "$TOP" &&
		CC=/nowhere/cc refuses_module "no /nowhere/cc" &&
		refuses_module "no kernel 6.1.0-none is installed" --kernel 6.1.0-none &&
		rm "$modules/build" && refuses_module "no headers for $RELEASE" &&
		whole && rm "$modules"/kernel/* && refuses_module "has no dm-snapshot.ko" &&
		cp "$DISTRO/lib/modules/$RELEASE/updates/dm-snapshot.ko" "$modules/kernel" &&
		refuses_module "has the fix in its own dm-snapshot" &&
		whole && rm "$modules"/kernel/* &&
		cp "$(find "$DISTRO/lib/modules/$RELEASE/kernel" -name 'dm-delay.ko*')" "$modules/kernel/${ko##*/}" &&
		refuses_module "has no throttle" &&
		whole && echo kernel/drivers/md/dm-snapshot.ko >>"$modules/modules.builtin" &&
		refuses_module "has dm-snapshot built in"
}
# tree_of_another: a source of another version
tree_of_another() {
	local dir=$BUILD/distro-other
	mkdir -p "$dir/${SNAP%/*}" && touch "$dir/$SNAP" &&
		printf 'VERSION = 6\nPATCHLEVEL = 5\nSUBLEVEL = 0\nEXTRAVERSION =\n' >"$dir/Makefile" && echo "$dir"
}

group_module() {
	need "${BUILD_PACKAGES[@]}" "${GUEST_PACKAGES[@]}" lvm2 kmod pahole
	module_of linux-image-amd64
	module_of linux-image-6.12-amd64
}

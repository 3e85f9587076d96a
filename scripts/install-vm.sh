#!/usr/bin/env bash
# Sees to it that the tests have a virtual machine: QEMU, from Debian's packages, and
# a kernel with the SCSI drivers that are tested (Debian's cloud kernel: 27 MB to
# download, 16 MB kept), which is unpacked and not installed. It changes nothing when
# all is there. The kernel goes to $CAPSTAN_TEST_CACHE; by default
# /var/cache/capstan-test for root, else ~/.cache/capstan-test.
set -euo pipefail

modules='configfs uio scsi_common scsi_mod target_core_mod target_core_user tcm_loop sg st'

if [ "$(id -u)" = 0 ]; then
	default=/var/cache/capstan-test
else
	default=${XDG_CACHE_HOME:-$HOME/.cache}/capstan-test
fi
cache=${CAPSTAN_TEST_CACHE:-$default}

if ! command -v qemu-system-x86_64 >/dev/null; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo 'The tests need the package qemu-system-x86, please install it.' >&2
		exit 1
	fi
	echo 'installing qemu-system-x86' >&2
	install=(apt-get install -y -q --no-install-recommends qemu-system-x86)
	if ! DEBIAN_FRONTEND=noninteractive "${install[@]}" </dev/null >&2; then
		apt-get update -q </dev/null >&2
		DEBIAN_FRONTEND=noninteractive "${install[@]}" </dev/null >&2
	fi
fi

if compgen -G "$cache/vm-kernel-*/vmlinuz" >/dev/null; then
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo 'The tests need a kernel from the Debian package linux-image-cloud-amd64.' >&2
	exit 1
fi
mkdir -p "$cache"
chmod go+x "$cache"
work=$(mktemp -d "$cache/unpack-XXXXXX")
trap 'rm -rf "$work"' EXIT
# The package without a version in its name only points to the one that holds the kernel.
find_package() {
	apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p' | head -n 1
}
package=$(find_package)
# A fresh machine has no package lists.
if [ -z "$package" ] && [ "$(id -u)" = 0 ]; then
	apt-get update -q </dev/null >&2
	package=$(find_package)
fi
if [ -z "$package" ]; then
	echo 'There is no Debian package linux-image-cloud-amd64 in the package lists (apt-get update).' >&2
	exit 1
fi
echo "fetching $package into $cache" >&2
fetch() { (cd "$work" && apt-get download -q -o APT::Sandbox::User=root "$package" </dev/null >&2); }
# Stale lists name a version that is no longer there.
if ! fetch; then
	if [ "$(id -u)" = 0 ]; then
		apt-get update -q </dev/null >&2
		package=$(find_package)
	fi
	fetch
fi
dpkg-deb -x "$work"/*.deb "$work/tree"
mkdir -p "$work/kernel/modules"
cp "$work"/tree/boot/vmlinuz-* "$work/kernel/vmlinuz"
for module in $modules; do
	found=$(find "$work/tree/lib/modules" -name "$module.ko*")
	cp "$found" "$work/kernel/modules/"
done
for packed in "$work"/kernel/modules/*.xz; do
	if [ -e "$packed" ]; then
		xz -d "$packed"
	fi
done
chmod -R go+rX "$work/kernel"
target=$cache/vm-kernel-${package#linux-image-}
# -T: beside another run of this script, the first one's folder stays.
mv -T "$work/kernel" "$target" || [ -e "$target/vmlinuz" ]

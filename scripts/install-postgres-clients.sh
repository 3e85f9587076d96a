#!/usr/bin/env bash
# Sees to it that the tests have pg_dump, pg_restore, pg_dumpall and psql of
# PostgreSQL 17 and 18, whose servers come without them (15 is whole, see
# install-postgres.sh). They come from Debian's packages of later releases, unpacked
# beside the system with the libraries that they want, and are started through
# scripts in $CAPSTAN_TEST_CACHE/clients/MAJOR/bin (default as in
# install-postgres.sh). Nothing is installed into the system, and nothing changes
# when all is there. It needs apt-get and Debian's archive keys.
set -euo pipefail

majors='17 18'
libraries='libpq5 libc6 liblz4-1 libreadline8t64 libtinfo6 libssl3t64 libzstd1 zlib1g
	libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libkeyutils1 libcom-err2
	libldap2 libsasl2-2'
keys=/usr/share/keyrings/debian-archive-keyring.gpg

if [ "$(id -u)" = 0 ]; then
	default=/var/cache/capstan-test
else
	default=${XDG_CACHE_HOME:-$HOME/.cache}/capstan-test
fi
cache=${CAPSTAN_TEST_CACHE:-$default}
target=$cache/clients

# scripts DIR: writes those that start the programs, in DIR, which is or becomes $target.
# A program is told the name of its script: pg_dumpall looks for pg_dump beside itself.
scripts() {
	local loader directory major program
	loader=$(cd "$1" && find lib -name 'ld-linux*' -print -quit)
	directory=$(cd "$1" && dirname "$(find lib -name 'libpq.so.5' -print -quit)")
	for major in $majors; do
		mkdir -p "$1/$major/bin"
		for program in pg_dump pg_restore pg_dumpall psql; do
			cat >"$1/$major/bin/.$program.$$" <<END
#!/bin/sh
# libpq of its own release, whatever the system has.
exec "$target/$loader" --argv0 "$target/$major/bin/$program" --library-path "$target/$directory" "$target/programs/usr/lib/postgresql/$major/bin/$program" "\$@"
END
			chmod 755 "$1/$major/bin/.$program.$$"
			mv "$1/$major/bin/.$program.$$" "$1/$major/bin/$program"
		done
	done
}

if [ -d "$target" ]; then
	if ! grep -q argv0 "$target/17/bin/pg_dumpall"; then
		scripts "$target" # of an earlier version of this file
	fi
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "The tests need pg_dump, pg_restore, pg_dumpall and psql of 17 and 18 in $target/MAJOR/bin." >&2
	exit 1
fi
mkdir -p "$cache"
work=$(mktemp -d "$cache/clients-XXXXXX")
trap 'rm -rf "$work"' EXIT

# mirror SUFFIX: where this machine gets Debian from, "debian" or "debian-security".
mirror() {
	{
		grep -rhoE 'https?://[^ ]+' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null || true
	} | sed 's,/*$,,' | grep -E "/$1\$" | grep -v snapshot | head -n 1
}
debian=$(mirror debian)
security=$(mirror debian-security)
if [ -z "$debian" ] || [ -z "$security" ]; then
	echo "This machine's apt sources name no mirror of Debian: put the clients into $target/MAJOR/bin." >&2
	exit 1
fi

mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/parts" "$work/deb"
touch "$work/apt/status"
cat >"$work/apt/sources.list" <<END
deb [signed-by=$keys] $debian trixie main
deb [signed-by=$keys] $security trixie-security main
deb [signed-by=$keys] $debian sid main
END
cat >"$work/apt/conf" <<END
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "$work/apt/parts";
Dir::Etc::preferencesparts "$work/apt/parts";
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
END
export APT_CONFIG=$work/apt/conf

echo "installing the clients of PostgreSQL $majors into $target" >&2
apt-get -q update </dev/null >&2
packages=$libraries
for major in $majors; do
	packages="$packages postgresql-client-$major"
done
# shellcheck disable=SC2086 # words
(cd "$work/deb" && apt-get -q download $packages </dev/null >&2)

new=$work/clients
mkdir -p "$new/lib"
for package in "$work"/deb/*.deb; do
	case $(basename "$package") in
	postgresql-client-*) dpkg-deb -x "$package" "$new/programs" ;;
	*) dpkg-deb -x "$package" "$new/lib" ;;
	esac
done
scripts "$new"
chmod -R go+rX "$new"
# -T: beside another run of this script, the first one's folder stays.
mv -T "$new" "$target" || [ -d "$target" ]

#!/usr/bin/env bash
# Runs every fuzz target of the module for a while, one after another, and stops
# at the first that finds something (go test then says where the input was put).
# usage: fuzz.sh DURATION
set -euo pipefail
duration=${1:?usage: $0 DURATION, for example 30s}

found=0
while read -r directory; do
	targets=$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$directory"/*_test.go | sed 's/^func //' | sort -u)
	for target in $targets; do
		echo "== $directory $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" "./$directory" </dev/null
		found=$((found + 1))
	done
done < <(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -r -n1 dirname | sed 's,^\./,,' | sort -u)
if [ "$found" = 0 ]; then
	echo 'no fuzz target found' >&2
	exit 1
fi

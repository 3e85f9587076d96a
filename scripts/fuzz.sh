#!/usr/bin/env bash
# Runs every fuzz target of the module for a while, one after another, goes on where
# one finds something (go test then says where the input was put), lists how often
# each ran, and fails in the end if any did find something.
# usage: fuzz.sh DURATION [PATTERN]   with a pattern, only the targets whose
# directory and name, parted by a space, match it (grep -E)
set -euo pipefail
duration=${1:?usage: $0 DURATION [PATTERN], for example 30s}
pattern=${2:-.}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
found=0 failed=()
while read -r directory; do
	targets=$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$directory"/*_test.go | sed 's/^func //' | sort -u)
	for target in $targets; do
		grep -qE -- "$pattern" <<<"$directory $target" || continue
		found=$((found + 1))
		# To make an interesting input shorter takes a minute by default, in which
		# nothing new is tried.
		if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -fuzzminimizetime 10x "./$directory" </dev/null >"$log" 2>&1; then
			failed+=("$directory $target")
			cat "$log"
		fi
		printf '%-28s %-24s %s\n' "$directory" "$target" "$(grep -oE 'execs: [0-9]+' "$log" | tail -1)"
	done
done < <(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -r -n1 dirname | sed 's,^\./,,' | sort -u)
if [ "$found" = 0 ]; then
	echo 'no fuzz target found' >&2
	exit 1
fi
if [ ${#failed[@]} -gt 0 ]; then
	printf 'found something: %s\n' "${failed[@]}" >&2
	exit 1
fi

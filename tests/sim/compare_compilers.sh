#!/bin/sh
# compare_compilers.sh -- one seed is one run, whichever compiler built it.
#
# Builds the simulated runtime with gcc -O2 and clang -O1, without any *_uv.c, and
# compares the trace hashes of a few seeds.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

for compiler in gcc clang; do
    if ! command -v "$compiler" >/dev/null; then
        echo "skipped: no $compiler here to compare with"
        exit 77
    fi
done

sources=$(find "$root/engine" -name '*.c' ! -name '*_uv.c')
build() {
    # shellcheck disable=SC2086 # the list of sources is a list of words
    "$1" "$2" -std=c17 -D_GNU_SOURCE -I"$root" -I"$root/include" $sources "$root/tests/sim/sim.c" \
        "$root/tests/sim/test_sim_runtime.c" "$root/tests/support/fail_alloc.c" -lm -o "$dir/$1"
}
build gcc -O2
build clang -O1

for seed in 1 2 3 4711 20000101; do
    with_gcc=$("$dir/gcc" --hash "$seed")
    with_clang=$("$dir/clang" --hash "$seed")
    echo "seed $seed: gcc $with_gcc clang $with_clang"
    [ "$with_gcc" = "$with_clang" ] || exit 1
done

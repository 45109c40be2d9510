#!/bin/sh
# planted.sh -- each defect that can be planted is found within 500 seeds.
#
#     planted.sh BIN [DEFECT ...]     all of them, where none is named
#
# A seed counts only where the same run is good without the defect.  The one that is noted beside
# the defect (planted.c) is tried first.  Exit code 1: a defect was not found.
set -u

bin=$1
shift
seeds=500
dirty=1000001     # from here on some runs write at single copies
# From here on old discs are put back, cuts have shapes, tables ask for majorities, are merged, there are transactions.
# From 55000000 on clients stay at their nodes, and from 70000000 on (sim_cluster.h).
kinds="20000000 30000000 40000000 50000000 55000000 57000000 60000000 65000000 70000000 77000000 80000000 85000000 87000000 90000000"

# Print what a run of seeds says of the first that fails: "N: why".  False: none does.
failing() {
    "$bin/sim_planted" --plant "$1" --seed "$2" --seeds "$3" 2>/dev/null |
        sed -n 's/^# seed \([0-9]*: .*\)/\1/p' | grep .
}

# False: it fails without the defect too, and so says nothing.
counts() {
    "$bin/test_sim_cluster" --seed "$1" --seeds 1 >/dev/null 2>&1
}

search() {
    at=$2
    end=$((at + seeds))
    while [ "$at" -lt "$end" ]; do
        told=$(failing "$1" "$at" $((end - at))) || return 1
        seed=${told%%:*}
        counts "$seed" && return 0
        at=$((seed + 1))
    done
    return 1
}

# Where seeds of that kind begin.
first_of() {
    first=$(($1 >= dirty ? dirty : 1))
    for kind in $kinds; do
        [ "$1" -lt "$kind" ] || first=$kind
    done
    echo "$first"
}

missed=0
list=$("$bin/sim_planted" --plants)
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # names are words
    set -- $(echo "$list" | cut -d ' ' -f 1)
fi
for defect in "$@"; do
    noted=$(echo "$list" | awk -v defect="$defect" '$1 == defect { print $2 }')
    if told=$(failing "$defect" "$noted" 1) && counts "$noted"; then
        echo "$defect: seed $told"
    elif search "$defect" "$(first_of "$noted")"; then
        echo "$defect: seed $told (noted was $noted)"
    else
        echo "$defect: not found in $seeds seeds"
        missed=1
    fi
done
exit $missed

#!/bin/sh
# planted.sh -- each program in a folder has a defect planted and must be caught within 500 seeds.
set -u

missed=0
for program in "$1"/sim_*; do
    case $program in
    *sim_dirty_*) first=1000001 ;; # the others have no dirty writes
    *) first=1 ;;
    esac
    if told=$("$program" --seed $first --seeds 500 2>/dev/null); then
        echo "not found in 500 seeds: $(basename "$program")"
        missed=1
    else
        echo "$(basename "$program"): $(echo "$told" | grep '^# seed' | head -1)"
    fi
done
exit $missed

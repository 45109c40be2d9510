#!/bin/sh
# planted.sh -- a test with a defect compiled in must fail: it is how we know that it could.
#
#     planted.sh SECONDS PROGRAM [SIZE]
#
# Which thread runs when may be chance: it is run again while SECONDS last, and once at least.  Only
# a run that says so has failed.  One that comes to no end, as who walks nodes that were freed may,
# tells nothing, nor does a machine that is slow: it is stopped and another one begun.
run_s=120
end=$(($(date +%s) + $1))
shift

while :; do
    timeout $run_s "$@"
    code=$?
    case $code in
    0 | 124) ;;
    125 | 126 | 127) exit 1 ;; # it cannot be run
    *) exit 0 ;;
    esac
    if [ "$(date +%s)" -ge $end ]; then
        echo "its defect was not found"
        exit 1
    fi
done

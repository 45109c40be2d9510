# Completion of engram-partition and engram-soak for bash.

_engram_trial() {
    local program=${1##*/} word=$2 words
    local common='--workers --keys --value-bytes --pause-ms --copies --durability --no-majority --allow-behind --timeout --seed --output --json --html --storage --version --help'

    case $3 in
    --json | --html | --faults | --engramd) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    --output) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$word") && return ;;
    --storage) mapfile -t COMPREPLY < <(compgen -W 'ram disc disc_only' -- "$word") && return ;;
    --durability) mapfile -t COMPREPLY < <(compgen -W 'async sync' -- "$word") && return ;;
    --network) mapfile -t COMPREPLY < <(compgen -W 'auto namespaces relays' -- "$word") && return ;;
    esac
    case $program in
    engram-soak) words="$common --connect --time --faults --check-every --user" ;;
    *) words="$common --nodes --seconds --rounds --times --cut-ms --whole-ms --network --engramd --keep --relays
              all halves one-out majorities bridge one-way blips flapping swizzle" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _engram_trial engram-partition engram-soak

# Completion of engram and engramd for bash.

_engram() {
    local word=$2 previous=$3 command='' i
    local options='--connect --user --output --timeout --version --help'
    local commands='status tables info create alter drop read write delete select query begin commit abort explain import export conflicts watch backup restore verify import-mnesia cluster scrub top processes transactions bench call help'
    local -a connect=()

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --connect) connect=(--connect "${COMP_WORDS[i + 1]}") && ((i++)) ;;
        --user | --output | --timeout) ((i++)) ;;
        -*) ;;
        *) command=${COMP_WORDS[i]} && break ;;
        esac
    done
    case $previous in
    --output) mapfile -t COMPREPLY < <(compgen -W 'table plain json csv' -- "$word") && return ;;
    --type) mapfile -t COMPREPLY < <(compgen -W 'set ordered_set bag' -- "$word") && return ;;
    --storage) mapfile -t COMPREPLY < <(compgen -W 'ram disc disc_only' -- "$word") && return ;;
    --durability) mapfile -t COMPREPLY < <(compgen -W 'async sync' -- "$word") && return ;;
    --merge) mapfile -t COMPREPLY < <(compgen -W 'lww lww_by_attribute first max min siblings counter set callback' -- "$word") && return ;;
    --mode) mapfile -t COMPREPLY < <(compgen -W 'skip replace clear' -- "$word") && return ;;
    --format) mapfile -t COMPREPLY < <(compgen -W 'csv jsonl' -- "$word") && return ;;
    esac
    case $command in
    '') mapfile -t COMPREPLY < <(compgen -W "$options $commands" -- "$word") ;;
    info | drop | read | write | delete | select | import | export | watch)
        if ((COMP_CWORD == i + 1)); then
            mapfile -t COMPREPLY < <(compgen -W "$(engram "${connect[@]}" --timeout 1 tables 2>/dev/null)" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
        ;;
    backup | restore | verify | import-mnesia) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    alter)
        if ((COMP_CWORD == i + 1)); then
            mapfile -t COMPREPLY < <(compgen -W "$(engram "${connect[@]}" --timeout 1 tables 2>/dev/null)" -- "$word")
        elif ((COMP_CWORD == i + 2)); then
            mapfile -t COMPREPLY < <(compgen -W 'add drop rename storage index unindex transform' -- "$word")
        elif [[ $previous == storage ]]; then
            mapfile -t COMPREPLY < <(compgen -W 'ram disc disc_only' -- "$word")
        fi
        ;;
    cluster) mapfile -t COMPREPLY < <(compgen -W 'status join leave remove plan --add --remove --weight --force' -- "$word") ;;
    bench) mapfile -t COMPREPLY < <(compgen -W 'tatp --subscribers --copies --storage --clients --seconds --count --fill --keep' -- "$word") ;;
    create)
        mapfile -t COMPREPLY < <(compgen -W '--type --storage --attributes --index --durability
            --shards --merge --callback --ttl --cache --max-bytes' -- "$word")
        ;;
    esac
}

_engramd() {
    local word=$2
    case $3 in
    --config | --data | --cookie-file) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    --log-level) mapfile -t COMPREPLY < <(compgen -W 'error warning info debug' -- "$word") ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$word") ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W '--config --name --data --listen --peer-listen --http
            --advertise --join --schedulers --memory-limit --max-frame --max-input --max-connections
            --log-level --log-format --cookie-file --check-config --version --help' -- "$word")
        ;;
    esac
}

complete -F _engram engram
complete -F _engramd engramd

# Printed by `ferry help --completion bash` from the tree of commands: change that.
_ferry() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local path=ferry words= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$path $word" in
        "ferry enable") path="$path $word" ;;
        "ferry failover") path="$path $word" ;;
        "ferry switchover") path="$path $word" ;;
        "ferry pause") path="$path $word" ;;
        "ferry resume") path="$path $word" ;;
        "ferry history") path="$path $word" ;;
        "ferry stragglers") path="$path $word" ;;
        "ferry status") path="$path $word" ;;
        "ferry top") path="$path $word" ;;
        "ferry check") path="$path $word" ;;
        "ferry offsets") path="$path $word" ;;
        "ferry offsets translate") path="$path $word" ;;
        "ferry offsets show") path="$path $word" ;;
        "ferry offsets reset") path="$path $word" ;;
        "ferry offsets map") path="$path $word" ;;
        "ferry hints") path="$path $word" ;;
        "ferry hints seen") path="$path $word" ;;
        "ferry verify") path="$path $word" ;;
        "ferry fault") path="$path $word" ;;
        "ferry fault list") path="$path $word" ;;
        "ferry fault retry") path="$path $word" ;;
        "ferry fault accept") path="$path $word" ;;
        "ferry fault resync") path="$path $word" ;;
        "ferry fence") path="$path $word" ;;
        "ferry fence show") path="$path $word" ;;
        "ferry fence sync") path="$path $word" ;;
        "ferry fence remove") path="$path $word" ;;
        "ferry acls") path="$path $word" ;;
        "ferry acls show") path="$path $word" ;;
        "ferry acls sync") path="$path $word" ;;
        "ferry acls remove") path="$path $word" ;;
        "ferry dns") path="$path $word" ;;
        "ferry dns show") path="$path $word" ;;
        "ferry dns adopt") path="$path $word" ;;
        "ferry dns create") path="$path $word" ;;
        "ferry dns plan") path="$path $word" ;;
        "ferry dns swap") path="$path $word" ;;
        "ferry dns prepare") path="$path $word" ;;
        "ferry config") path="$path $word" ;;
        "ferry config check") path="$path $word" ;;
        "ferry config show") path="$path $word" ;;
        "ferry config reference") path="$path $word" ;;
        "ferry version") path="$path $word" ;;
        "ferry help") path="$path $word" ;;
        esac
    done
    case $prev in
        --config) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        -o) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$cur"); return ;;
    esac
    case $path in
        "ferry") words='enable failover switchover pause resume history stragglers status top check offsets hints verify fault fence acls dns config version help ' ;;
        "ferry enable") words='--to --adopt --no-fence --reason --yes --config -o -q --timeout --help ' ;;
        "ferry failover") words='--to --dry-run --yes --reason --force --dns-done --allow-loss --config -o -q --timeout --help ' ;;
        "ferry switchover") words='--to --dry-run --yes --reason --force --dns-done --config -o -q --timeout --help ' ;;
        "ferry pause") words='--reason --yes --link --to --config -o -q --timeout --help ' ;;
        "ferry resume") words='--reason --yes --link --to --config -o -q --timeout --help ' ;;
        "ferry history") words='--config -o -q --timeout --help ' ;;
        "ferry stragglers") words='--watch --config -o -q --timeout --help ' ;;
        "ferry status") words='--link --watch --check --warning --critical --config -o -q --timeout --help ' ;;
        "ferry top") words='--link -n --rows --config -o -q --timeout --help ' ;;
        "ferry check") words='--print-acls --principal --operator-principal --link --to --config -o -q --timeout --help ' ;;
        "ferry offsets") words='translate show reset map ' ;;
        "ferry offsets translate") words='--from-target --link --to --config -o -q --timeout --help ' ;;
        "ferry offsets show") words='--link --to --config -o -q --timeout --help ' ;;
        "ferry offsets reset") words='--group --all --topic --to --stop-members --dry-run --reason --yes --link --config -o -q --timeout --help ' ;;
        "ferry offsets map") words='--limit --link --to --config -o -q --timeout --help ' ;;
        "ferry hints") words='seen --now --link --to --config -o -q --timeout --help ' ;;
        "ferry hints seen") words='--now --link --to --config -o -q --timeout --help ' ;;
        "ferry verify") words='--topic --sample --since --limit --link --to --config -o -q --timeout --help ' ;;
        "ferry fault") words='list retry accept resync ' ;;
        "ferry fault list") words='--link --to --config -o -q --timeout --help ' ;;
        "ferry fault retry") words='--all --depth --link --to --config -o -q --timeout --help ' ;;
        "ferry fault accept") words='--reason --yes --link --to --config -o -q --timeout --help ' ;;
        "ferry fault resync") words='--from --reason --yes --link --to --config -o -q --timeout --help ' ;;
        "ferry fence") words='show sync remove ' ;;
        "ferry fence show") words='--link --to --config -o -q --timeout --help ' ;;
        "ferry fence sync") words='--dry-run --principal --reason --yes --link --to --config -o -q --timeout --help ' ;;
        "ferry fence remove") words='--reason --yes --link --to --config -o -q --timeout --help ' ;;
        "ferry acls") words='show sync remove ' ;;
        "ferry acls show") words='--link --to --config -o -q --timeout --help ' ;;
        "ferry acls sync") words='--dry-run --reason --yes --link --to --config -o -q --timeout --help ' ;;
        "ferry acls remove") words='--reason --yes --link --to --config -o -q --timeout --help ' ;;
        "ferry dns") words='show adopt create plan swap prepare ' ;;
        "ferry dns show") words='--config -o -q --timeout --help ' ;;
        "ferry dns adopt") words='--reason --yes --config -o -q --timeout --help ' ;;
        "ferry dns create") words='--at --ttl --wait --reason --yes --config -o -q --timeout --help ' ;;
        "ferry dns plan") words='--to --config -o -q --timeout --help ' ;;
        "ferry dns swap") words='--to --wait --reason --yes --config -o -q --timeout --help ' ;;
        "ferry dns prepare") words='--ttl --wait --reason --yes --config -o -q --timeout --help ' ;;
        "ferry config") words='check show reference ' ;;
        "ferry config check") words='--config -o -q --timeout --help ' ;;
        "ferry config show") words='--config -o -q --timeout --help ' ;;
        "ferry config reference") words='--config -o -q --timeout --help ' ;;
        "ferry version") words='--config -o -q --timeout --help ' ;;
        "ferry help") words='--completion --config -o -q --timeout --help ' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _ferry ferry

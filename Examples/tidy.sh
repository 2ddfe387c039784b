# For the examples' run scripts, which source it: finds hermes, keeps count of what was started, and tidies up however
# the script ends. Processes go first, then namespaces, then files.
#
# Gives: hermes, node (paths), work (a folder for this run), started (pids, oldest first), made (namespaces).

fail() {
    printf 'run: %s\n' "$1" >&2
    exit "${2:-2}"
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
hermes=${HERMES:-}
for built in release debug; do
    [ -n "$hermes" ] || [ ! -x "$root/.build/$built/hermes" ] || hermes=$root/.build/$built/hermes
done
[ -x "$hermes" ] || fail "no hermes: run 'make build', or name one in HERMES"
node=$(dirname "$hermes")/hermes-node

umask 022 # whatever the user's: a node refuses a module root that others may write to
work=$(mktemp -d)
started=()
made=()

# end PID: asks, waits, forces. A simulation drives its hardware to the safe state while it ends.
end() {
    kill -TERM "$1" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -KILL "$1" 2>/dev/null || true
}

tidy_up() {
    local i
    trap '' INT TERM HUP
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do end "${started[i]}"; done
    wait
    for i in ${made[@]+"${made[@]}"}; do ip netns del "$i" || true; done
    rm -rf "$work"
}
trap tidy_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# finished PID: waits for one that ends by itself, and gives its exit code. It must be the one started last.
finished() {
    local code=0
    wait "$1" || code=$?
    unset 'started[-1]'
    return "$code"
}

# until_says WORDS PID LOG: waits until a program's log has these words; fails when the program is gone. The log may not be
# there yet: whoever writes it in the background makes it.
until_says() {
    until grep -qs "$1" "$3"; do
        kill -0 "$2" 2>/dev/null || fail "$(cat "$3")"
        sleep 0.02
    done
}

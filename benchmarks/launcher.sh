#!/usr/bin/env bash
# Measures what `./pants` adds to the native client of Pants, with pantsd warm: medians over RUNS
# runs (default 30) of `list 3rdparty/python:` through both, in alternation.
#
# Usage: benchmarks/launcher.sh [RUNS]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=${1:-30}
request=(list 3rdparty/python:)
times=$(mktemp -d)
trap 'rm -rf "$times"' EXIT

# Starts pantsd, and writes down the last command of the launcher: the native client.
./pants "${request[@]}" >/dev/null
client=$(sh -x ./pants --version 2>&1 >/dev/null | sed -n 's/^+ exec \(.*\) --version$/\1/p')
client=${client//\'/}
environment=${client%/bin/native_client}

# The variables that the launcher would set.
. "$environment/launcher.sh"
variables=(
    NO_SCIE_WARNING=1
    "PANTS_PEX_CLI_URL_TEMPLATE=${pex_url_template:?}"
    "PANTS_PEX_CLI_KNOWN_VERSIONS=${pex_known_versions:?}"
    "_PANTS_SERVER_EXE=$environment/bin/pants-server"
)

# Appends the milliseconds that a command takes to a file.
measure() {
    local file=$1 start=$EPOCHREALTIME
    shift
    "$@" >/dev/null
    local end=$EPOCHREALTIME
    awk "BEGIN { print ($end - $start) * 1000 }" >>"$file"
}

median() {
    sort -n "$1" | awk '{ value[NR] = $1 }
        END { print (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2 }'
}

for ((run = 0; run < runs; run++)); do
    measure "$times/launcher" ./pants "${request[@]}"
    measure "$times/client" env "${variables[@]}" "$client" "${request[@]}"
done

with=$(median "$times/launcher")
without=$(median "$times/client")
awk "BEGIN { printf \"launcher %.1f ms, native client %.1f ms, added %.1f ms\\n\",
    $with, $without, $with - $without }"

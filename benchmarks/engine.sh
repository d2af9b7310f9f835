#!/bin/sh
# The attack engine beside its peers; JSON files in the folder given as the first argument.
# Usage: benchmarks/engine.sh OUT [DEVICE]      (half an hour on two cores; BENCH=path/to/bench where it is not on PATH)
set -eu
out=${1:?usage: benchmarks/engine.sh OUT [DEVICE]}
device=${2:-cpu}
bench=${BENCH:-bench}
mkdir -p "$out"

perf() {
    name=$1
    shift
    echo "$name: bench perf $*" >&2
    "$bench" perf --device "$device" --json "$@" >"$out/$name.json"
}

perf small-0 --images 250
perf small-30-90 --images 64 --robust 0.3 --robust 0.9
perf vit-b-16-0 --subject vit-b-16 --images 16 --precision bf16
perf vit-b-16-gradient --subject vit-b-16 --images 16 --precision bf16 --workload apgd --steps 8 --eps 0.0002
perf vit-b-16-query --subject vit-b-16 --images 16 --precision bf16 --workload square --steps 20 --eps 0.0002

#!/bin/sh
# Everything that is to be measured on one GPU, the most important first; what is finished stays in OUT/summary.md.
# Usage: benchmarks/gpu.sh OUT [DEVICE]      (under 20 minutes on one card: every part has its limit; with DEVICE cpu a
# tiny form, to try the script; PYTHON=path/to/python where it is not on PATH)
set -u
out=${1:?usage: benchmarks/gpu.sh OUT [DEVICE]}
device=${2:-cuda}
python=${PYTHON:-python}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
summary=$out/summary.md
if [ "$device" = cpu ]; then
    subject=digits-vit images=8 steps=2 eps=0.1 searches=fp32
else
    subject=vit-b-16 images=1024 steps=8 eps=0.0002 searches=bf16
fi

part() { # part NAME SECONDS COMMAND...: run it within its limit, and keep what it printed whatever became of it
    name=$1
    limit=$2
    shift 2
    echo "$name: $*" >&2
    began=$(date +%s)
    (cd "$here" && timeout "$limit" "$@") >"$out/$name.txt" 2>"$out/$name.err"
    code=$?
    printf '## %s\n\nexit code %s, %s s: `%s`\n\n```\n' "$name" "$code" "$(($(date +%s) - began))" "$*" >>"$summary"
    cat "$out/$name.txt" >>"$summary"
    [ "$code" -eq 0 ] || tail -n 5 "$out/$name.err" >>"$summary"
    printf '```\n\n' >>"$summary"
}

card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || uname -m)
printf '# %s\n\n%s, device %s\n\n' "$card" "$(date -u +%FT%TZ)" "$device" >"$summary"

if [ "$device" != cpu ]; then
    part tests 240 "$python" -m pytest -q -m gpu
fi
part steps 300 "$python" -m bench perf --device "$device" --subject $subject --workload every --images $images \
    --steps $steps --precision $searches --json
part official 240 "$python" -m bench perf --device "$device" --subject $subject --workload apgd --images 8 \
    --steps $steps --eps $eps --peers official --json
if [ "$device" != cpu ]; then
    part training 300 "$python" benchmarks/training.py --device "$device" --steps 40
    part data 90 "$python" benchmarks/data_path.py --images 512 --workers 1 4 16
fi

# Measured beside the goals.
"$python" - "$out" >>"$summary" <<'END'
import json
import sys
from pathlib import Path

out = Path(sys.argv[1])


def rows(name):
    try:
        return json.loads((out / f"{name}.txt").read_text())
    except (OSError, ValueError):
        return []


def line(what, found, goal, met):
    print(f"| {what} | {found} | {goal} | {'yes' if met else 'no'} |")


print("## Goals\n\n| what | measured | goal | met |\n|---|---|---|---|")
for row in rows("steps"):
    goal = {"apgd": 0.5, "square": 0.6}.get(row["workload"])
    if goal and row["mfu"] is not None:
        line(f"MFU, {row['workload']}, {row['subject']}, {row['precision']}, batch {row['batch']}",
             f"{row['mfu']:.1%}", f">= {goal:.0%}", row["mfu"] >= goal)
    if row["workload"] == "standard":
        minutes = 50_000 / row["images_per_second"] / 60
        line("minutes for AutoAttack on 50,000 images that it fools, from images/s", f"{minutes:.1f}", "<= 15", minutes <= 15)
for row in rows("official"):
    if row["ratio"] is not None and row["contestant"].startswith("bench"):
        line(f"a step against the official package, {row['subject']}, fp32", f"{row['ratio']:.1f} x", ">= 8 x", row["ratio"] >= 8)
END
cat "$summary"

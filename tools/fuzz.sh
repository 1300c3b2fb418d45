#!/usr/bin/env bash
# Looks for input that breaks a promise of fuzz/: runs libFuzzer on each target for FUZZ_SECONDS
# (default 600), from the inputs in fuzz/corpus/, which it leaves alone.
#
#   tools/fuzz.sh [TARGET]...       all by default
#   tools/fuzz.sh merge [TARGET]... takes into fuzz/corpus/ what was found, as few inputs as reach the same code
#
# What it finds stays in .tools/fuzz/TARGET; input that breaks a promise in .tools/fuzz/crashes.
# It needs no other toolchain than the one at hand: code that has no `unsafe` gains little by a
# sanitizer. `cargo +nightly fuzz run TARGET --features libfuzzer` has one.
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

found="$tools/fuzz"
mkdir -p "$found/crashes"
merge=
if [ "${1:-}" = merge ]; then
  merge=1
  shift
fi
mapfile -t all < <(cd fuzz/fuzz_targets && basename -s .rs -- *.rs)
targets=("${@:-${all[@]}}")

have c++ || apt_install g++
say "building the fuzz targets"
host=$(rustc -vV | sed -n 's/^host: //p')
# For the host by name, so that the flags don't reach what runs while building.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
messages=$(RUSTFLAGS="${RUSTFLAGS:-} ${coverage//$'\n'/}" cargo build --locked --quiet --profile fuzz \
  --target "$host" -p portolan-fuzz --features libfuzzer --bins --message-format json)
binaries=$(dirname "$(grep -o '"executable":"[^"]*"' <<<"$messages" | head -1 | cut -d'"' -f4)")

# What bounds one input: a second where most take less than a millisecond, and 1 GB.
limits=(-timeout=10 -rss_limit_mb=1024)
executions=0 crashes=0 inputs=0
for target in "${targets[@]}"; do
  mkdir -p "$found/$target" "fuzz/corpus/$target"
  options=("${limits[@]}" "-artifact_prefix=$found/crashes/$target-")
  [ ! -f "fuzz/$target.dict" ] || options+=("-dict=fuzz/$target.dict")
  if [ -n "$merge" ]; then
    mkdir "$found/merged"
    "$binaries/$target" "${options[@]}" -merge=1 "$found/merged" "fuzz/corpus/$target" "$found/$target" 2>&1 | tail -1
    rm -r "fuzz/corpus/$target"
    mv "$found/merged" "fuzz/corpus/$target"
    continue
  fi
  log="$found/$target.log"
  say "fuzzing $target for ${FUZZ_SECONDS:=600} s"
  "$binaries/$target" "${options[@]}" "-max_total_time=$FUZZ_SECONDS" -print_final_stats=1 \
    "$found/$target" "fuzz/corpus/$target" >"$log" 2>&1 || crashes=$((crashes + 1))
  count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  executions=$((executions + ${count:-0}))
  inputs=$((inputs + $(find "fuzz/corpus/$target" -type f | wc -l)))
  grep -E 'cov: ' "$log" | tail -1 | sed 's/\t/ /g' | indent
  grep -E '^(thread|SUMMARY|Test unit written)' "$log" | indent || true
done
[ -z "$merge" ] || exit 0
say "fuzz: ${#targets[@]} targets, $executions executions, $inputs inputs in the corpus, $crashes failed"
[ "$crashes" = 0 ] || die "input that breaks a promise is in $found/crashes"

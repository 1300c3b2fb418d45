# shellcheck shell=bash
# What the scripts of this folder share. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools="$root/.tools"

# All lines of ours start alike, so that they stand out from cargo's and pip's.
say() { printf 'portolan: %s\n' "$*"; }
die() {
  printf 'portolan: %s\n' "$*" >&2
  exit 1
}
indent() { sed -u 's/^/    /'; }
have() { command -v "$1" >/dev/null 2>&1; }

# Makes a second set-up in the same folder wait for the first. Where there is
# no flock both go on: each install still ends with one rename.
lock() {
  mkdir -p "$tools"
  have flock || return 0
  exec 9>"$tools/lock"
  flock --nonblock 9 && return 0
  say "waiting for another set-up that is at work in this folder"
  flock 9
}
unlock() { exec 9>&-; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_apt() {
  have apt-get && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

# apt_install PACKAGE...: fails, with a message, where apt-get can't be used.
# It never removes a package that is there.
apt_install() {
  if ! can_apt; then
    printf 'portolan: missing: %s\n' "$*" >&2
    printf 'portolan: install it, then run this again: sudo apt-get update && sudo apt-get install -y %s\n' "$*" >&2
    return 1
  fi
  say "installing with apt-get: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update 2>&1 | indent ||
    say "apt-get update failed; going on with the package lists at hand"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install \
    -y --no-install-recommends --no-remove \
    -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" 2>&1 | indent
}

# Sets `python` to a python3 that has pip; status 1 where there is none.
find_python() {
  for python in python3 /usr/bin/python3; do
    have "$python" && "$python" -m pip --version >/dev/null 2>&1 && return 0
  done
  return 1
}

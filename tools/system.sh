#!/usr/bin/env bash
# Checks that this machine can build and run Portolan, and installs the system
# programs that are missing. Does nothing when all is there.
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"

docker_way="with docker it runs elsewhere too: see deploy/docker/README.md"

[ "$(uname -s)" = Linux ] ||
  die "this set-up is for Linux, this is $(uname -s); $docker_way"
case "$(uname -m)" in
x86_64 | aarch64 | arm64) ;;
*) die "there is no Envoy binary for $(uname -m), only for x86_64 and arm64; $docker_way" ;;
esac
getconf GNU_LIBC_VERSION >/dev/null 2>&1 ||
  die "the Envoy binary needs glibc, which this system does not use; $docker_way"

# A linker alone is not enough for cargo: it needs libc's start files too.
can_link() {
  local out status=0
  out=$(mktemp)
  echo 'int main(void) { return 0; }' | cc -x c -o "$out" - 2>/dev/null || status=1
  rm -f "$out"
  return "$status"
}

missing=()
have curl || missing+=(curl)
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] ||
  missing+=(ca-certificates)
find_python || missing+=(python3 python3-pip)
can_link || missing+=(gcc libc6-dev)
if [ "${#missing[@]}" -gt 0 ]; then
  ! can_apt || lock
  apt_install "${missing[@]}" || die "the set-up can't go on without: ${missing[*]}"
  unlock
  find_python || die "python3 still has no pip: python3 -m pip --version"
  can_link || die "cc still can't link a program: apt-get install gcc libc6-dev"
fi

# Only tests need them: of the transparent way in, where they may make networks, and of TCP, for which
# the package with the server of that name would start a service. And C++ for libFuzzer.
programs=()
have c++ || programs+=(g++)
have ip || [ -x /sbin/ip ] || programs+=(iproute2)
have nft || [ -x /usr/sbin/nft ] || programs+=(nftables)
have redis-check-rdb || programs+=(redis-tools)
if [ "${#programs[@]}" -gt 0 ]; then
  ! can_apt || lock
  apt_install "${programs[@]}" || say "going on without: ${programs[*]}"
  unlock
fi

have cargo || die "cargo is missing: install Rust (rustup), see https://www.rust-lang.org/tools/install"
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
found=$(cargo --version | cut -d' ' -f2)
[ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n1)" = "$wanted" ] ||
  die "cargo is $found, Portolan needs $wanted or newer: rustup update stable"

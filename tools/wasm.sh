#!/usr/bin/env bash
# Builds the module that Envoy loads, for wasm32-wasip1, and removes the exports
# that Envoy need not call (tools/trim-exports).
#
#   tools/wasm.sh target    makes sure that a toolchain for the target is there
#   tools/wasm.sh build     builds the module and copies it to portolan.wasm
#   tools/wasm.sh lint      clippy for the target, warnings are errors
#
# Two toolchains can do it. The cargo at hand, with the target added by rustup;
# and Debian's, which compiles the standard library too, where rustup is absent
# or can't download. PORTOLAN_TOOLCHAIN=rustup or =debian forces one.
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

target=wasm32-wasip1
profile=release-wasm
target_dir=${CARGO_TARGET_DIR:-target}
# Remembers that rustup could not download, so that not every run tries again.
remembered="$tools/wasm-toolchain"

has_target() {
  local libdir
  libdir=$(rustc --print target-libdir --target "$target" 2>/dev/null) &&
    compgen -G "$libdir/libstd-*.rlib" >/dev/null
}

use_rustup() {
  has_target && return 0
  have rustup || return 1
  say "adding the Rust target $target (rustup)"
  rustup target add "$target" 2>&1 | indent && has_target
}

has_debian() {
  [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && have rust-lld &&
    [ -e /usr/lib/wasm32-wasi/libc.a ] &&
    [ -e "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]
}

use_debian() {
  has_debian && return 0
  local llvm
  if have apt-get && ! apt-cache show rustc-web >/dev/null 2>&1; then
    can_apt && as_root apt-get -qq update 2>&1 | indent
    apt-cache show rustc-web >/dev/null 2>&1 || return 1
  fi
  # The linker must be of the LLVM that the compiler was built with.
  llvm=$(apt-cache depends rust-web-llvm 2>/dev/null | sed -n 's/.*Depends: llvm-\([0-9]*\)$/\1/p' | head -n1)
  apt_install rustc-web cargo-web rust-web-src rust-web-llvm "lld-${llvm:-22}" wasi-libc || return 1
  has_debian
}

# Sets `toolchain` to rustup or debian.
choose() {
  toolchain=${PORTOLAN_TOOLCHAIN:-}
  if [ -z "$toolchain" ] && ! has_target && [ "$(cat "$remembered" 2>/dev/null)" = debian ] && has_debian; then
    toolchain=debian
    return 0
  fi
  lock
  case "$toolchain" in
  rustup)
    use_rustup || die "no Rust target $target: rustup target add $target"
    ;;
  debian)
    use_debian || die "Debian's Rust toolchain for $target can't be set up here"
    ;;
  "")
    if use_rustup; then
      toolchain=rustup
      rm -f "$remembered"
    else
      say "rustup can't add $target; trying Debian's Rust toolchain"
      use_debian || die "no toolchain for $target: add it with rustup target add $target, or install Debian's rustc-web, cargo-web, rust-web-src, rust-web-llvm, lld and wasi-libc"
      toolchain=debian
      echo debian >"$remembered"
    fi
    ;;
  *) die "PORTOLAN_TOOLCHAIN is rustup or debian, not $toolchain" ;;
  esac
  unlock
}

# Cargo with what Debian's toolchain needs: the standard library is compiled
# along (nightly features, hence RUSTC_BOOTSTRAP), against Debian's wasi-libc.
debian_cargo() {
  env -u CARGO_ENCODED_RUSTFLAGS -u RUSTUP_TOOLCHAIN \
    RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 \
    RUSTFLAGS="-C link-self-contained=no -L /usr/lib/wasm32-wasi -C linker=rust-lld" \
    /usr/bin/cargo "$@" -Zbuild-std=std,panic_abort
}

build() {
  local built trimmed
  if [ "$toolchain" = debian ]; then
    # Another compiler, so another folder.
    target_dir="$target_dir/debian"
    say "building the module with Debian's $(/usr/bin/rustc --version)"
    debian_cargo build --locked --package portolan-filter --profile "$profile" \
      --target "$target" --target-dir "$target_dir"
  else
    say "building the module with $(rustc --version)"
    cargo build --locked --package portolan-filter --profile "$profile" \
      --target "$target" --target-dir "$target_dir"
  fi
  built="$target_dir/$target/$profile/portolan_filter.wasm"
  trimmed="$target_dir/$target/$profile/portolan.wasm"
  cargo run --locked --quiet --package portolan-trim-exports -- "$built" "$trimmed"
  if cmp -s "$trimmed" portolan.wasm; then
    say "portolan.wasm is up to date"
    return 0
  fi
  # A rename, since an Envoy may be reading the file.
  install -m 644 "$trimmed" "portolan.wasm.new.$$"
  mv "portolan.wasm.new.$$" portolan.wasm
  say "portolan.wasm: $(wc -c <portolan.wasm) bytes"
}

lint() {
  if [ "$toolchain" = debian ]; then
    say "clippy for $target: skipped, needs the target from rustup"
    return 0
  fi
  cargo clippy --locked --package portolan-filter --target "$target" -- -D warnings
}

case "${1:-}" in
target)
  choose
  ;;
build)
  choose
  build
  ;;
lint)
  choose
  lint
  ;;
*) die "usage: tools/wasm.sh target|build|lint" ;;
esac

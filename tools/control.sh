#!/usr/bin/env bash
# Builds config-gen for JavaScript, and the page that is made with it.
#
#   tools/control.sh tools    installs what that needs: the wasm target, wasm-bindgen, packages from npm
#   tools/control.sh build    builds the npm package: control/pkg
#   tools/control.sh page     builds the page: control/page/dist
#   tools/control.sh browser  makes sure that there is a browser for the tests
#   tools/control.sh test     tests package and page, once the package is built
#   tools/control.sh lint     clippy for the target, warnings are errors
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

target=wasm32-unknown-unknown
profile=release-wasm
target_dir=${CARGO_TARGET_DIR:-target}
# The program has to be of the library's version.
version=$(sed -n 's/^wasm-bindgen = "=\(.*\)"/\1/p' control/Cargo.toml)
bindgen="$tools/wasm-bindgen-$version/bin/wasm-bindgen"

add_target() {
  local libdir
  libdir=$(rustc --print target-libdir --target "$target" 2>/dev/null) &&
    compgen -G "$libdir/libstd-*.rlib" >/dev/null && return 0
  have rustup || die "no Rust target $target, and no rustup to add it: rustup target add $target"
  say "adding the Rust target $target (rustup)"
  rustup target add "$target" 2>&1 | indent
}

install_bindgen() {
  [ -x "$bindgen" ] && return 0
  lock
  if [ ! -x "$bindgen" ]; then
    say "installing wasm-bindgen $version (cargo, about two minutes)"
    cargo install --locked --quiet --root "$tools/wasm-bindgen-$version" "wasm-bindgen-cli@$version"
  fi
  unlock
}

# What esbuild, the page and the tests are made of, as control/package-lock.json says.
install_packages() {
  local stamp="control/node_modules/.package-lock.sha256" wanted
  if ! have node || ! have npm; then apt_install nodejs npm || die "node and npm are missing"; fi
  wanted=$(sha256sum control/package-lock.json)
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return 0
  say "installing packages from npm"
  (cd control && npm ci --no-audit --no-fund --ignore-scripts 2>&1 | indent)
  echo "$wanted" >"$stamp"
}

install_browser() {
  have chromium || have google-chrome || [ -x "${CHROMIUM:-}" ] || apt_install chromium ||
    die "a Chromium is missing; CHROMIUM names one"
}

build() {
  local package=control/pkg fresh kind
  say "building the package (cargo, profile $profile)"
  cargo build --locked --package portolan-control --lib --profile "$profile" --target "$target"
  fresh=$(mktemp -d control/pkg.XXXXXX)
  # shellcheck disable=SC2064 # the folder of now is meant
  trap "rm -rf '$fresh'" EXIT
  for kind in bundler web nodejs; do
    "$bindgen" --target "$kind" --out-name portolan --out-dir "$fresh/$kind" \
      --remove-name-section --remove-producers-section \
      "$target_dir/$target/$profile/portolan_control.wasm"
  done
  # The module is the same for all of them, so one is enough.
  mkdir "$fresh/package"
  cmp "$fresh/bundler/portolan_bg.wasm" "$fresh/web/portolan_bg.wasm"
  cmp "$fresh/bundler/portolan_bg.wasm" "$fresh/nodejs/portolan_bg.wasm"
  cp "$fresh"/bundler/portolan_bg.{js,wasm} control/npm/* LICENSE "$fresh/package"
  cp "$fresh/bundler/portolan.js" "$fresh/package/portolan.js"
  cp "$fresh/bundler/portolan.d.ts" "$fresh/package/portolan.d.ts"
  cp "$fresh/web/portolan.js" "$fresh/package/web.js"
  cp "$fresh/web/portolan.d.ts" "$fresh/package/web.d.ts"
  cp "$fresh/nodejs/portolan.js" "$fresh/package/node.cjs"
  sed -i "s|\./portolan\.d\.ts|./web.d.ts|" "$fresh/package/web.js"
  rm -rf "$package"
  mv "$fresh/package" "$package"
  check_size "$package/portolan_bg.wasm"
}

# The module is loaded over a network.
check_size() {
  local most=1500000 size
  size=$(gzip -9 --stdout "$1" | wc -c)
  say "the module has $(wc -c <"$1") bytes, $size gzipped"
  [ "$size" -le "$most" ] || die "the module has $size bytes gzipped, more than $most"
}

page() {
  (cd control && node page/build.mjs)
}

run_tests() {
  page
  install_browser
  (cd control && node node_modules/typescript/bin/tsc --noEmit -p page)
  (cd control && node --test --test-reporter=spec tests/package.test.mjs tests/page.test.mjs)
  say "pictures of the page are in control/screenshots"
}

lint() {
  cargo clippy --locked --package portolan-control --lib --target "$target" -- -D warnings
}

case "${1:-}" in
tools)
  add_target
  install_bindgen
  install_packages
  ;;
browser) install_browser ;;
build) build ;;
page) page ;;
test) run_tests ;;
lint)
  add_target
  lint
  ;;
*) die "usage: tools/control.sh tools|build|page|browser|test|lint" ;;
esac

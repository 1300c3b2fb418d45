#!/usr/bin/env bash
# Writes envoy.yaml and the examples' outputs again, from the examples' YAML.
#
#   tools/generate.sh            in this checkout
#   tools/generate.sh DIR        below DIR instead; a test compares the two
#
# CONFIG_GEN names the program; without it cargo builds and runs it.
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

target=${1:-.}
config_gen() {
  if [ -n "${CONFIG_GEN:-}" ]; then
    "$CONFIG_GEN" generate "$@"
  else
    cargo run --locked --quiet -p portolan-config-gen -- generate "$@"
  fi
}

# Both examples in one Envoy, as the docker image runs it: its ports are
# published, so it listens on all of the container's addresses. Files are named
# relative to the directory in which Envoy starts: this one, or the image's
# working directory.
config_gen -f examples/webserver/istio -f examples/weather/istio -o "$target" --emit envoy --emit ecds \
  --listen 80=0.0.0.0:10080 --listen 443=0.0.0.0:10443

for example in examples/*/; do
  config_gen -f "${example}istio" -o "$target/${example}generated"
done

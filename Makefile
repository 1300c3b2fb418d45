# `make` prints what there is to do. The steps are scripts in tools/, which can
# be run by hand too; what they install lands in .tools/ (see CONTRIBUTING.md).

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The Envoy of the demo and the benchmark. The tests use every version that
# tools/ lists.
ENVOY_VERSION ?= 1.40.0

.PHONY: help
help: ## Print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: system envoy wasm ## Run both examples in a real Envoy and show the answers (KEEP=1: leave it running)
	@echo "portolan: building config-gen and the demo"
	cargo build --locked -p portolan-config-gen -p portolan-e2e
	@cargo run --locked --quiet -p portolan-e2e --bin demo

# With PORTOLAN_CORPUS=DIR our verdicts on the configuration there are tested too
# (config-gen/tests/corpus.rs).
.PHONY: test
test: tools wasm control ## Run all tests, those in a real Envoy too (installs what is missing)
	cargo build --locked
	cargo test --locked --no-fail-fast --workspace --exclude portolan-filter --exclude portolan-e2e \
		--features portolan-fuzz/libfuzzer
	cargo test --locked --no-fail-fast -p portolan-e2e
	@tools/control.sh test

.PHONY: build
build: ## Build config-gen: target/release/config-gen
	cargo build --release --locked -p portolan-config-gen

.PHONY: wasm
wasm: system ## Build the Envoy module: portolan.wasm
	@tools/wasm.sh build

.PHONY: control
control: system ## Build config-gen for JavaScript, as an npm package: control/pkg
	@tools/control.sh tools
	@tools/control.sh build

.PHONY: generate
generate: ## Write envoy.yaml and the examples' outputs again, from the examples' YAML
	tools/generate.sh

.PHONY: lint
lint: system ## Check format and run clippy; shellcheck, yamllint, hadolint where installed
	@tools/lint.sh

.PHONY: bench
bench: system envoy wasm ## Measure what the filter costs, and whether that is within the budgets (BENCH_ARGS: its options)
	cargo build --release --locked -p portolan-config-gen -p portolan-e2e
	@cargo run --release --locked --quiet -p portolan-e2e --bin bench -- --envoy $(ENVOY_VERSION) \
		--json target/bench.json --plot target/bench.svg $(BENCH_ARGS)

.PHONY: soak
soak: system envoy wasm ## Mixed traffic for 30 minutes while the plugin config changes (SOAK_ARGS="--duration 2m": shorter)
	cargo build --release --locked -p portolan-config-gen -p portolan-e2e
	@cargo run --release --locked --quiet -p portolan-e2e --bin soak -- --envoy $(ENVOY_VERSION) $(SOAK_ARGS)

.PHONY: playground
playground: control ## Build the page and serve it on loopback (PORT: where, default 8080)
	@tools/control.sh page
	@node control/page/serve.mjs $(PORT)

.PHONY: bench-page
bench-page: control ## Measure validate and explain in a browser (100 and 1 000 resources)
	@tools/control.sh page
	@tools/control.sh browser
	@node control/tests/bench.mjs

.PHONY: hostile
hostile: tools wasm ## Send the catalogue of hostile input (testdata/hostile) to real Envoys, and count what came of it
	cargo build --locked -p portolan-config-gen
	@cargo test --locked --quiet -p portolan-e2e --test hostile -- --nocapture | grep '^hostile:'

.PHONY: mutants
mutants: ## Change the engine one place at a time and see whether a test notices (about 40 minutes)
	@tools/mutants.sh

.PHONY: fuzz
fuzz: ## Look for input that breaks engine or config-gen (FUZZ_SECONDS for each target, default 600)
	@tools/fuzz.sh

.PHONY: tools
tools: system ## Install what the tests need: system programs, Envoy binaries, the wasm target
	@tools/envoy.sh
	@tools/node.sh
	@tools/wasm.sh target

.PHONY: clean
clean: ## Remove what was built (what was installed stays: rm -r .tools)
	cargo clean
	rm -f portolan.wasm

# Steps of the above.
.PHONY: system envoy
system:
	@tools/system.sh
envoy: system
	@tools/envoy.sh $(ENVOY_VERSION)

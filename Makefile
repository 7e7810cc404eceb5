# Two commands do everything on a fresh machine: `make run` and `make test`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
TOOLS := $(CURDIR)/target/test-tools
export CONDORITO_TEST_TOOLS := $(TOOLS)
# A Node of our own is there only where the machine has none that is new enough.
export PATH := $(TOOLS)/bin:$(PATH)

.PHONY: run
run: ## Build and start the server with a demo tenant; prints where to look and a token
	@$(MAKE) --no-print-directory web || echo "The server will carry no console: see above."
	cargo build --release --locked
	@mkdir -p data
	./target/release/condorito serve --demo --data-dir data

.PHONY: test
test: test-tools web ## Run all tests, installing first what they need
	cargo test --locked
	web/tools/test.sh $(CURDIR)/target/debug/condorito

.PHONY: web
web: ## Build the Angular client and the console that the server carries (skipped while up to date)
	@tests/tools/node.sh $(TOOLS)
	web/tools/build.sh

.PHONY: test-tools
test-tools: ## Install the peers that the tests talk to (browser, Prometheus, client libraries)
	tests/tools/install.sh $(TOOLS)

.PHONY: check
check: ## Format, lints, tests, documentation, import rules, OpenAPI unchanged
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
	$(MAKE) test

.PHONY: openapi
openapi: ## Write openapi/*.json anew from the code
	cargo run --locked --quiet -- openapi > openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json
	cargo run --locked --quiet -- openapi --asyncapi > openapi/asyncapi.json.new
	mv openapi/asyncapi.json.new openapi/asyncapi.json

.PHONY: autobahn
autobahn: test-tools ## The whole WebSocket conformance suite (Autobahn), some minutes
	tests/autobahn/run.sh full

.PHONY: bench
bench: web ## Measure speed, as ratios against a baseline in the same run; the console's in Chromium
	cargo build --release --locked
	cargo bench --locked
	cd web && E2E_SERVER_BINARY=$(CURDIR)/target/release/condorito CONSOLE_FROM=server npm run --silent e2e:speed

.PHONY: audit
audit: ## Licences, bans and sources of all dependencies (installs cargo-deny)
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

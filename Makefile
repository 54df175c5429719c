# What CI runs is `make check`; the rest is for people. Needs a Rust toolchain, a C compiler and cargo-deny.

CARGO ?= cargo
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

.PHONY: check fmt clippy test doc deny examples unit fuzz bench

check: fmt clippy test doc deny examples unit

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

test:
	$(CARGO) test --locked

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install cargo-deny --locked" >&2; exit 1; }
	$(CARGO) deny --locked check --hide-inclusion-graph bans licenses sources

# Every example file is one that the program itself accepts.
examples:
	$(CARGO) build --locked --bin headwater
	@set -e; for file in config-examples/*.yaml config-examples/*.json; do "$(TARGET_DIR)/debug/headwater" validate -c "$$file"; done

# systemd reads the unit, with the program that was just built in the place of the installed one.
unit: examples
	@if ! command -v systemd-analyze >/dev/null; then \
		echo "SKIPPED: systemd/headwater.service is not verified, for systemd-analyze is not installed" >&2; \
	else \
		set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
		program=$$(realpath "$(TARGET_DIR)/debug/headwater"); \
		sed "s|/usr/bin/headwater|$$program|" systemd/headwater.service >"$$folder/headwater.service"; \
		systemd-analyze verify --man=no "$$folder/headwater.service"; \
		echo "systemd/headwater.service: valid"; \
	fi

# Needs cargo-fuzz and a C++ compiler. Without sanitizers it runs on the stable toolchain. What it finds goes to
# fuzz/found, not to the corpus: it is thousands of files.
fuzz:
	@set -e; cd fuzz; for target in $(FUZZ_TARGETS); do \
		echo "== $$target, $(FUZZ_SECONDS) s"; \
		mkdir -p "found/$$target"; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run -s none "$$target" "found/$$target" "corpus/$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

bench:
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench end_to_end

# What CI runs is `make check`; the rest is for people. Needs a Rust toolchain, a C compiler and cargo-deny.

CARGO ?= cargo
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

.PHONY: check fmt clippy test doc deny examples unit manuals package lint-packages system fuzz bench

check: fmt clippy test doc deny examples unit manuals

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

# systemd reads the units, with the program that was just built in the place of the installed one.
unit: examples
	@if ! command -v systemd-analyze >/dev/null; then \
		echo "SKIPPED: the units are not verified, for systemd-analyze is not installed" >&2; \
	else \
		set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
		program=$$(realpath "$(TARGET_DIR)/debug/headwater"); \
		for unit in headwater.service headwater@.service; do \
			sed "s|/usr/bin/headwater|$$program|" "systemd/$$unit" >"$$folder/$$unit"; \
			systemd-analyze verify --man=no "$$folder/$$unit"; \
			echo "systemd/$$unit: valid"; \
		done; \
	fi
	@if ! command -v apparmor_parser >/dev/null; then \
		echo "SKIPPED: the AppArmor profile is not read, for apparmor_parser is not installed" >&2; \
	else \
		apparmor_parser --skip-kernel-load --skip-cache --quiet packaging/apparmor/usr.bin.headwater; \
		echo "packaging/apparmor: valid"; \
	fi

# Manual pages and completions can be made, and man(1) has nothing to say about them.
manuals:
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(CARGO) run --quiet --locked --example generate -- "$$folder"; \
	bash -n "$$folder/completions/headwater.bash"; \
	if ! command -v man >/dev/null; then \
		echo "SKIPPED: manual pages are not read, for man is not installed" >&2; \
	else \
		for page in "$$folder"/man/*; do \
			said=$$(man --warnings -l "$$page" 2>&1 >/dev/null); \
			if [ -n "$$said" ]; then echo "$$page: $$said" >&2; exit 1; fi; \
		done; \
		echo "manual pages: valid"; \
	fi

# Needs cargo-zigbuild, cargo-auditable, cargo-deb and cargo-generate-rpm; says how to get them.
package:
	packaging/build.sh

# What Debian's own checker says of the .deb that `make package` made.
lint-packages:
	@if ! command -v lintian >/dev/null; then \
		echo "SKIPPED: the .deb is not checked, for lintian is not installed" >&2; \
	else \
		lintian --allow-root --fail-on error,warning target/packages/headwater_*_amd64.deb; \
		echo "target/packages: lintian has nothing to say"; \
	fi

# Installs the packages into booted systems. Needs root, systemd-nspawn and debootstrap, and is skipped loudly without.
system:
	tests/system/run.sh

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

#!/usr/bin/env bash
# Builds target/packages/headwater_VERSION_amd64.deb and headwater-VERSION.x86_64.rpm.
#
# The same commit gives the same bytes, whatever the folder: time stamps are the commit's, and no path of this machine
# reaches the binary. It asks for glibc 2.17 or later, so it runs on every distribution since 2014.
#
#   packaging/build.sh              both packages
#   packaging/build.sh --binary     the binary alone
#   packaging/build.sh --no-build   packages of the binary that is there
#   packaging/build.sh --check-tools  nothing, but fails if a tool is missing
#
# HEADWATER_PACKAGE_VERSION names another version than that of Cargo.toml, for trying an upgrade.
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-gnu
glibc=2.17
most_bytes=$((15 * 1024 * 1024))
out=target/packages
stage=$out/stage
cargo_target=$(realpath -m "${CARGO_TARGET_DIR:-target}")

need() {
    if ! "$@" >/dev/null 2>&1; then
        echo "build.sh: \`$*\` does not work; $hint" >&2
        exit 1
    fi
}

check_tools() {
    hint='install it: cargo install cargo-zigbuild --locked; pip install ziglang' need cargo zigbuild --help
    hint='install it: cargo install cargo-auditable --locked' need cargo auditable --version
    hint="add it: rustup target add $target" need test -d "$(rustc --print sysroot)/lib/rustlib/$target"
    if [ "$mode" = --binary ]; then return; fi
    hint='install it: cargo install cargo-deb --locked' need cargo deb --version
    hint='install it: cargo install cargo-generate-rpm --locked' need cargo generate-rpm --version
}

# What the build may depend on: the commit, and nothing of this machine.
set_environment() {
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
    HEADWATER_COMMIT=${HEADWATER_COMMIT:-$(git rev-parse --short=12 HEAD)}
    export SOURCE_DATE_EPOCH HEADWATER_COMMIT TZ=UTC LC_ALL=C CARGO_TARGET_DIR=$cargo_target
    umask 022
    local cargo_home sysroot
    cargo_home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
    sysroot=$(rustc --print sysroot)
    # The later of two that match wins, and the target folder lies in the source folder.
    local rust=() c=() pair
    for pair in "$PWD=/headwater" "$cargo_target=/target" "$cargo_home=/cargo" "$sysroot=/rust"; do
        rust+=("--remap-path-prefix=$pair")
        c+=("-ffile-prefix-map=$pair")
    done
    local separator=$'\x1f'
    CARGO_ENCODED_RUSTFLAGS=$(printf "%s$separator" "${rust[@]}")
    export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%"$separator"}
    export CFLAGS="${c[*]}"
}

# Without the date: nothing in there may depend on it, and all C code would be built anew after each commit.
# Optimised as a whole: takes some minutes longer than `cargo build --release` and saves a tenth of the size.
build_binary() {
    env -u SOURCE_DATE_EPOCH CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
        cargo auditable zigbuild --locked --release --bin headwater --target "$target.$glibc"
}

# Everything that goes into the packages, under names that Cargo.toml can give.
fill_stage() {
    rm -rf "$stage"
    mkdir -p "$stage"
    strip --strip-all -o "$stage/headwater" "$cargo_target/$target/release/headwater"
    local size newest
    size=$(stat -c %s "$stage/headwater")
    if [ "$size" -gt "$most_bytes" ]; then
        echo "build.sh: the binary has $size bytes; more than $most_bytes is too large" >&2
        exit 1
    fi
    newest=$(objdump -T "$stage/headwater" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
    if [ "$(printf '%s\n' "GLIBC_$glibc" "$newest" | sort -V | tail -1)" != "GLIBC_$glibc" ]; then
        echo "build.sh: the binary needs $newest, newer than $glibc" >&2
        exit 1
    fi
    objcopy -O binary --only-section=.dep-v0 --set-section-flags .dep-v0=alloc "$stage/headwater" "$stage/audit"
    if ! [ -s "$stage/audit" ]; then
        echo "build.sh: the binary does not say what it was built from (cargo auditable)" >&2
        exit 1
    fi
    rm "$stage/audit"
    echo "headwater: $size bytes, needs $newest"
}

# Files of the repository.
copy_files() {
    mkdir "$stage/doc" "$stage/examples"
    cp docs/*.md CHANGELOG.md "$stage/doc/"
    cp config-examples/*.yaml "$stage/examples/"
    cp -r systemd LICENSE packaging/headwater.yaml packaging/conf.d-README packaging/sysusers.conf \
        packaging/debian/lintian-overrides "$stage/"
}

# From the program's own definitions, by a program for this machine: see examples/generate.rs.
fill_documents() {
    env -u CARGO_ENCODED_RUSTFLAGS -u CFLAGS -u SOURCE_DATE_EPOCH -u HEADWATER_COMMIT \
        cargo run --quiet --locked --example generate -- "$stage"
    find "$stage/man" -type f -exec gzip -9n {} +
    local date
    date=$(date -u -d "@$SOURCE_DATE_EPOCH" -R)
    {
        echo "headwater ($version) unstable; urgency=medium"
        echo
        echo "  * Built from commit $HEADWATER_COMMIT; what changed is in CHANGELOG.md."
        echo
        echo " -- Headwater maintainers <maintainers@headwater.invalid>  $date"
    } | gzip -9n >"$stage/changelog.gz"
}

build_packages() {
    find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    cargo deb --quiet --locked --no-build --no-strip --target "$target" --deb-version "$version" \
        -o "$out/headwater_${version}_amd64.deb"
    # rpm of 2014 reads xz, not zstd.
    cargo generate-rpm --target "$target" --payload-compress xz --source-date "$SOURCE_DATE_EPOCH" \
        --set-metadata "version = \"$version\"" -o "$out/headwater-$version.x86_64.rpm"
    (cd "$out" && sha256sum "headwater_${version}_amd64.deb" "headwater-$version.x86_64.rpm")
}

mode=${1:-}
case $mode in
    '' | --binary | --no-build | --check-tools) ;;
    *)
        echo "usage: packaging/build.sh [--binary | --no-build | --check-tools]" >&2
        exit 2
        ;;
esac
check_tools
if [ "$mode" = --check-tools ]; then exit; fi
set_environment
version=${HEADWATER_PACKAGE_VERSION:-$(cargo metadata --no-deps --format-version 1 --offline --locked |
    sed 's/.*"name":"headwater","version":"\([^"]*\)".*/\1/')}
if [ "$mode" != --no-build ]; then build_binary; fi
fill_stage
if [ "$mode" = --binary ]; then exit; fi
copy_files
fill_documents
build_packages

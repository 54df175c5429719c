#!/usr/bin/env bash
# Builds the packages twice, here and in a clone elsewhere with a target folder of its own, and compares the bytes.
#
#   tests/reproducible.sh [FOLDER]     FOLDER is kept and used again; without it the clone is temporary
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "$(git status --porcelain)" ]; then
    echo "reproducible.sh: commit first: the clone holds what is committed" >&2
    exit 1
fi
here=$PWD
if [ $# -gt 0 ]; then
    elsewhere=$(realpath -m "$1")
else
    elsewhere=$(mktemp -d)/headwater
    trap 'rm -rf "$(dirname "$elsewhere")"' EXIT
fi
if ! [ -d "$elsewhere" ]; then git clone -q --no-checkout . "$elsewhere"; fi
git -C "$elsewhere" fetch -q "$here" HEAD
git -C "$elsewhere" checkout -q FETCH_HEAD

sums() { (cd "$1/target/packages" && sha256sum stage/headwater *.deb *.rpm); }

rm -f "$here"/target/packages/*.{deb,rpm} "$elsewhere"/target/packages/*.{deb,rpm}
packaging/build.sh
(cd "$elsewhere" && env -u CARGO_TARGET_DIR packaging/build.sh)
if ! diff <(sums "$here") <(sums "$elsewhere"); then
    echo "reproducible.sh: the same commit gave other bytes in $elsewhere" >&2
    exit 1
fi
sums "$here"
echo "The same bytes in $here and $elsewhere"

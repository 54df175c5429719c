#!/usr/bin/env bash
# Cuts the power while the agent works, again and again, and counts what is lost and what is repeated.
#
#   tests/power_cut/run.sh [ROUNDS]          e.g. 20; without it 5. Ten to thirty seconds each.
#
# A small virtual machine has an ext4 disk with a log, the agent's configuration and its state. In it a program logs and
# rotates, flushing every twenty lines, and the agent delivers to a Kinesis stand-in on this machine, which lives
# through all cuts. After some random seconds qemu is killed, and boots again from what is then on the disk. After the
# last cut `headwater run --once` delivers the rest, and every line that is in the files on the disk must be in the
# stream: lost 0. With exactly-once delivery none may be there twice.
#
# Apart from these are counted ghost lines: they are in the stream, but no longer on the disk. The agent saw and
# delivered them before they were flushed, and the cut took them back. Its file is then shorter than what was delivered,
# and is delivered again from its first byte (docs/SEMANTICS.md, Limits): such repeats are counted, but are no failure.
# The program flushes what it writes at once, so there are few of them.
#
# What a cut takes: the memory of the machine, and what its disk had not flushed. Killing qemu alone is no power cut for
# the disk: with every cache mode of `-drive file=` each write that the guest has sent goes to a file of this machine,
# whose page cache survives qemu; writes that nobody flushed would survive too, and an fsync that is missing would never
# be noticed. So the disk is `disk.py`, an NBD server with a volatile write cache: a write reaches the image only when
# the guest flushes, and at a cut, which comes to it and to qemu at once, each block of what is not flushed is kept or
# lost at random, in no order. qemu is told `cache=writeback`: it shows the guest a disk with a write cache, which has
# to be flushed, passes each flush on, and keeps nothing itself.
#
# Needs qemu-system-x86_64 (no KVM), a static busybox (Debian: busybox-static), e2fsprogs, python3, and a Debian cloud
# kernel, which it downloads with apt-get unless CACHE has one (`linux-image-*-cloud-amd64_*.deb`). No root. Says loudly
# what is missing. From the environment:
#
#   DELIVERY          at_least_once or exactly_once (the default)
#   HEADWATER_BINARY  the agent, for x86-64 (target/release/headwater)
#   STAND_IN          `cargo build --example stand_in` (target/debug/examples/stand_in)
#   CACHE             keeps the kernel (/tmp/headwater-power-cut)
#   LONGEST           most seconds from the agent's start to the cut (12)
#   KEEP              a folder that does not exist yet: what was used stays there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
PATH+=:/usr/sbin:/sbin

rounds=${1:-5}
delivery=${DELIVERY:-exactly_once}
agent=${HEADWATER_BINARY:-$root/target/release/headwater}
stand_in=${STAND_IN:-$root/target/debug/examples/stand_in}
cache=${CACHE:-/tmp/headwater-power-cut}
longest=${LONGEST:-12}
work=
qemu=
disk=
service=
console=
url=
records=

skip() {
    echo "SKIPPED: the power is not cut: $1" >&2
    exit 0
}

fail() {
    echo "FAILED: $1" >&2
    if [ -n "$console" ] && [ -s "$console" ]; then
        echo "The last lines of the console:" >&2
        tail -n 30 "$console" >&2
    fi
    exit 1
}

say() { echo "  $*"; }

# What this script started, and nothing else.
clean_up() {
    local pid
    for pid in $qemu $disk $service; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "$work" ] && [ -z "${KEEP:-}" ]; then rm -rf "$work"; fi
}

# ---- what it is made of ----

check() {
    local tool
    [[ $rounds =~ ^[1-9][0-9]*$ ]] || fail "not a number of rounds: $rounds"
    case $delivery in at_least_once | exactly_once) ;; *) fail "no such delivery: $delivery" ;; esac
    for tool in qemu-system-x86_64 busybox mkfs.ext4 e2fsck debugfs python3 dpkg-deb ldd; do
        command -v "$tool" >/dev/null || skip "$tool is missing"
    done
    if ldd "$(command -v busybox)" >/dev/null 2>&1; then skip "busybox is not static; install busybox-static"; fi
    for tool in "$agent" "$stand_in"; do [ -x "$tool" ] || skip "$tool is not built"; done
}

# The folder of an extracted kernel package.
kernel() {
    local package
    mkdir -p "$cache"
    if ! compgen -G "$cache/linux-image-*-cloud-amd64_*.deb" >/dev/null; then
        # The package without a version is empty and depends on the present one.
        package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1) || true
        [ -n "$package" ] || skip "apt-cache knows no linux-image-cloud-amd64; put its .deb into $cache"
        (cd "$cache" && apt-get -qq download "$package" 2>"$work/download") ||
            skip "$package cannot be downloaded: $(tail -n 1 "$work/download")"
    fi
    package=$(compgen -G "$cache/linux-image-*-cloud-amd64_*.deb" | sort -V | tail -n 1)
    dpkg-deb -x "$package" "$work/kernel" || skip "$package is damaged; remove it"
}

# The machine's files, all in its memory: busybox, the modules it needs, the agent with its libraries.
make_initramfs() {
    local tree=$work/initramfs modules version library
    modules=$(compgen -G "$work/kernel/lib/modules/*" || compgen -G "$work/kernel/usr/lib/modules/*") ||
        skip "the kernel package holds no modules"
    version=$(basename "$modules")
    mkdir -p "$tree/bin" "$tree/lib/modules/$version/kernel"
    install "$(command -v busybox)" "$tree/bin/busybox"
    install "$here/init.sh" "$tree/init"
    install "$agent" "$tree/bin/headwater"
    ldd "$agent" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        install -D "$library" "$tree$library"
    done || true
    (
        cd "$modules/kernel"
        cp --parents drivers/virtio/virtio.ko* drivers/virtio/virtio_ring.ko* drivers/virtio/virtio_pci*.ko* \
            drivers/block/virtio_blk.ko* drivers/net/virtio_net.ko* drivers/net/net_failover.ko* net/core/failover.ko* \
            "$tree/lib/modules/$version/kernel"
    )
    find "$tree/lib/modules" -name '*.ko.xz' -exec xz -d {} +
    cp "$modules"/modules.builtin* "$modules"/modules.order "$tree/lib/modules/$version/"
    busybox depmod -b "$tree" "$version"
    (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initramfs.cpio"
}

make_disk() {
    mkdir -p "$work/data/logs" "$work/data/state"
    cat >"$work/data/headwater.yaml" <<-YAML
		state_dir: /data/state
		aws: { region: eu-west-1, endpoint_url: "http://10.0.2.2:${url##*:}" }
		flows:
		  - name: cut
		    source: { paths: "/data/logs/app.log*", start_at: beginning, poll_interval: 100ms }
		    destination: { kinesis: { stream: logs } }
		    batch: { max_age: 100ms }
		    delivery: $delivery
	YAML
    # Blocks of the size of those that disk.py loses.
    truncate -s 256M "$work/disk.img"
    mkfs.ext4 -q -b 4096 -d "$work/data" "$work/disk.img"
}

start_stand_in() {
    coproc SERVICE { exec "$stand_in" logs; }
    service=$SERVICE_PID
    read -r -t 10 url <&"${SERVICE[0]}" || fail "the stand-in does not start"
}

# Writes all records of the stream to $work/records, one a line; their number is in `records`.
read_stream() {
    echo "$work/records" >&"${SERVICE[1]}"
    read -r -t 120 records <&"${SERVICE[0]}" || fail "the stand-in does not answer"
}

# ---- the machine ----

boot() {
    console=$work/console.$1
    rm -f "$work/disk.socket"
    python3 "$here/disk.py" "$work/disk.img" "$work/disk.socket" >"$work/disk.out" &
    disk=$!
    until_true 10 test -S "$work/disk.socket" || fail "the disk does not start"
    qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 512 -nodefaults -no-user-config -no-reboot \
        -display none -serial "file:$console" \
        -kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/initramfs.cpio" \
        -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on boot=$1 task=$2" \
        -drive "driver=nbd,server.type=unix,server.path=$work/disk.socket,if=none,id=disk,cache=writeback" \
        -device virtio-blk-pci,drive=disk \
        -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= </dev/null >"$work/qemu.out" 2>&1 &
    qemu=$!
}

until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ $SECONDS -ge $end ]; then return 1; fi
        sleep 0.1
    done
}

said() { grep -qs "^power_cut: $1" "$console"; }

# As what it said, or its end.
is_over() { said "$1" || said FAILED || is_off; }

is_off() { ! kill -0 "$qemu" 2>/dev/null; }

# Waits until the machine says this.
hear() {
    until_true "$2" is_over "$1" || fail "the machine does not say '$1' in $2 s"
    said "$1" || fail "the machine ended before it said '$1'. $(cat "$work/qemu.out")"
}

# Boots. An emulated machine hangs now and then when this one is busy, with stalls of its kernel on the console: that is
# a cut, too, and it boots again.
begin() {
    local attempt
    for attempt in 1 2 3; do
        boot "$1" write
        if until_true 90 is_over started; then break; fi
        if ! grep -qs 'rcu.*stall' "$console" || [ "$attempt" = 3 ]; then fail "the machine does not say 'started'"; fi
        say "round $1: the emulated machine hangs; cut"
        cut
    done
    hear started 1
}

cut() {
    if said FAILED || is_off; then fail "the machine ended by itself. $(cat "$work/qemu.out")"; fi
    # The disk first: the end of a process takes long enough for a flush that was under way to be done.
    kill -TERM "$disk"
    kill -KILL "$qemu"
    wait "$qemu" 2>/dev/null || true
    qemu=
    wait "$disk" || fail "the disk broke down"
    disk=
}

# ---- the rounds ----

check
trap clean_up EXIT
trap 'exit 130' INT TERM
if [ -n "${KEEP:-}" ]; then
    mkdir "$KEEP"
    work=$(cd "$KEEP" && pwd)
else
    work=$(mktemp -d)
fi
kernel
start_stand_in
make_initramfs
make_disk

for ((round = 1; round <= rounds; round++)); do
    begin "$round"
    pause=$((RANDOM % (longest * 10 + 1)))
    sleep "$((pause / 10)).$((pause % 10))"
    cut
    read_stream
    say "round $round: cut after $((pause / 10)).$((pause % 10)) s, $(tail -n 1 "$work/disk.out")," \
        "$records records in the stream"
done

boot $((rounds + 1)) finish
hear finished 300
until_true 30 is_off || fail "the machine does not power off"
wait "$qemu" || fail "qemu failed: $(cat "$work/qemu.out")"
qemu=
wait "$disk" || fail "the disk broke down"
disk=
e2fsck -fn "$work/disk.img" >"$work/e2fsck" 2>&1 || fail "the file system is damaged: $(cat "$work/e2fsck")"
mkdir "$work/files"
debugfs -R "rdump /logs $work/files" "$work/disk.img" 2>/dev/null >&2
read_stream
python3 "$here/compare.py" "$rounds" "$delivery" "$work/files/logs" "$work/records"

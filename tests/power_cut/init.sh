#!/bin/busybox sh
# The only program of the virtual machine of run.sh, its init. From the kernel's command line: `boot`, the number of
# this boot; `task`, `write` until the power is cut, or `finish` and power off. What it says to run.sh begins with
# "power_cut: ".
# shellcheck shell=dash disable=SC2154 # boot and task: see above
/bin/busybox mkdir -p /proc /sys /dev /tmp /data
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys

say() { echo "power_cut: $*"; }

fail() {
    say "FAILED: $*"
    poweroff -f
}

# ---- the machine ----

for module in virtio_pci virtio_blk virtio_net; do
    modprobe "$module" || fail "no module $module"
done
mount -t ext4 /dev/vda /data || fail "the disk cannot be mounted"
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2

# ---- the program that logs ----

# Twenty lines more, in one write that is flushed at once, as a database does it.
burst() {
    local lines='' end=$((line + 20))
    while [ "$line" -lt "$end" ]; do
        line=$((line + 1))
        lines="${lines}boot=$boot line=$line INFO request $((line * 7919 % 10007)) took $((line * 31 % 997)) ms, all is well
"
    done
    printf %s "$lines" | dd of=/data/logs/app.log bs=64k iflag=fullblock oflag=append conv=notrunc,fsync 2>/dev/null ||
        fail "cannot write the log"
}

# The folder is not flushed: a cut may take back a rotation, or half of it, as it does with logrotate.
rotate() {
    if [ -e /data/logs/app.log.1 ]; then mv /data/logs/app.log.1 "/data/logs/app.log-$boot-$line"; fi
    mv /data/logs/app.log /data/logs/app.log.1
}

write() {
    local bursts=0
    while :; do
        burst
        bursts=$((bursts + 1))
        if [ $((bursts % 45)) = 0 ]; then rotate; fi
        sleep 0.02
    done
}

# ---- the agent ----

export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true NO_COLOR=1

line=0
case $task in
    write)
        say "up"
        write &
        headwater run -c /data/headwater.yaml &
        agent=$!
        say "started"
        wait "$agent"
        fail "the agent ended with exit code $?"
        ;;
    finish)
        # A cut may have torn the last line; without its newline the next one goes on with it.
        burst
        headwater run --once -c /data/headwater.yaml || fail "the agent cannot finish: exit code $?"
        umount /data || fail "the disk is still in use"
        say "finished"
        poweroff -f
        ;;
esac
fail "no such task: $task"

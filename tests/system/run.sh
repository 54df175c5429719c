#!/usr/bin/env bash
# Installs the packages into booted systems and lives with them: start, outage of the process, upgrade, removal. Lines
# written in there to a log of root's are read back from a Kinesis stand-in on this machine and counted.
#
#   packaging/build.sh && sudo tests/system/run.sh [CASE...]
#
# Needs root, systemd-nspawn and debootstrap, and says so loudly where one is missing. HEADWATER_ROOTS is the folder that
# keeps the systems between runs (target/system-roots).
set -Eeuo pipefail
cd "$(dirname "$0")/../.."

roots=${HEADWATER_ROOTS:-$PWD/target/system-roots}
packages=$PWD/target/packages
work=
leader=
nspawn=

skip() {
    echo "SKIPPED: the packages are not tried in a booted system: $1" >&2
    exit 0
}

fail() {
    echo "FAILED ($name): $1" >&2
    if [ -n "$leader" ]; then
        inside systemctl status --no-pager headwater.service >&2 || true
        inside journalctl --no-pager -n 40 -u headwater.service -u 'headwater@*' >&2 || true
    fi
    exit 1
}

say() { echo "  $*"; }

# ---- the system ----

# The folder of a minimal system, made once.
root_of() {
    local suite=$1 packages=systemd,systemd-sysv,dbus,procps,adduser
    if [ "$suite" = bookworm ]; then packages+=,rpm; fi
    if ! [ -e "$roots/$suite/etc/os-release" ]; then
        mkdir -p "$roots"
        rm -rf "$roots/$suite.part"
        debootstrap --variant=minbase --include="$packages" "$suite" "$roots/$suite.part" >"$roots/$suite.log" 2>&1 ||
            return 1
        mv "$roots/$suite.part" "$roots/$suite"
    fi
    echo "$roots/$suite"
}

# What is changed in there is gone afterwards.
boot() {
    local root
    root=$(root_of "$1")
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn -q -D "$root" --machine="headwater-test-$$" --boot --register=no \
        --keep-unit --volatile=overlay --link-journal=no --bind-ro="$packages:/packages" </dev/null >"$work/console" 2>&1 &
    nspawn=$!
    until_true 20 find_leader || fail "the system does not come up"
    until_true 60 is_up || fail "systemd does not come up"
    say "booted $1: $(inside systemctl --version | head -n 1)"
}

# Not the process of nspawn's own that goes between, and is gone a moment later.
find_leader() { leader=$(pgrep -P "$nspawn" -x systemd); }

is_up() {
    local state
    state=$(inside systemctl is-system-running 2>/dev/null) || true
    [ "$state" = running ] || [ "$state" = degraded ]
}

# A clean power-off; killing nspawn would orphan its systemd.
shut_down() {
    if [ -z "$leader" ]; then return; fi
    kill -s RTMIN+4 "$leader" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
    leader=
}

inside() { nsenter -t "$leader" -a -r -w -- "$@" </dev/null; }

put() { nsenter -t "$leader" -a -r -w -- tee "$1" >/dev/null; }

until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then return 1; fi
        sleep 0.2
    done
}

journal() {
    inside journalctl --sync
    inside journalctl -u headwater --no-pager
}

property() { inside systemctl show -p "$1" --value "${2:-headwater.service}"; }

is() { [ "$(property "$1")" = "$2" ]; }

expect() { until_true 20 is "$1" "$2" || fail "$1 is $(property "$1"), not $2"; }

# ---- lines ----

# A Kinesis of its own for each case. Its input and output are the descriptors of a coprocess.
start_stand_in() {
    coproc STAND_IN { exec "$stand_in" logs 2>"$work/stand-in.log"; }
    stand_in_pid=$STAND_IN_PID
    read -r -t 60 url <&"${STAND_IN[0]}" || fail "the stand-in does not start"
}

stop_stand_in() {
    if [ -z "${stand_in_pid:-}" ]; then return; fi
    kill "$stand_in_pid" 2>/dev/null || true
    wait "$stand_in_pid" 2>/dev/null || true
    stand_in_pid=
}

# Writes all that the stream holds to $work/got.
received() {
    echo "$work/got" >&"${STAND_IN[1]}"
    read -r -t 60 count <&"${STAND_IN[0]}" || fail "the stand-in does not answer"
}

received_at_least() { received && [ "$count" -ge "$1" ]; }

# Twenty lines, ten times a second, rotated after a thousand, in a file that root alone may read. $1 tells them from the
# lines of another time: a file that begins with the same lines would be the same file to the agent.
start_writer() {
    put /run/writer <<'EOF'
umask 077
n=0
while ! [ -e /run/no-more-lines ]; do
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do n=$((n + 1)); echo "$1 line $n of the log"; done >>/var/log/private.log
    if [ $((n % 1000)) = 0 ]; then mv /var/log/private.log "/var/log/private.log.$n"; fi
    sleep 0.1
done
echo "$n" >/run/written
EOF
    inside systemd-run -q "--unit=writer-$1" /bin/sh /run/writer "$1"
}

stop_writer() {
    inside touch /run/no-more-lines
    until_true 10 inside test -s /run/written || fail "the writer does not end"
    written=$(inside cat /run/written)
}

# All lines, each at least once; $1 repetitions are allowed, or any number: many.
check_lines() {
    until_true 30 received_at_least "$written" || true
    local distinct
    distinct=$(sort -u "$work/got" | wc -l)
    local lost=$((written - distinct)) repeated=$((count - distinct))
    say "written $written, lost $lost, repeated $repeated"
    if [ "$lost" != 0 ]; then fail "$lost lines are lost"; fi
    if [ "$1" != many ] && [ "$repeated" -gt "$1" ]; then fail "$repeated lines are repeated"; fi
}

# A flow for the writer's log, and keys that reach the service as a credential.
configure() {
    put /etc/headwater/conf.d/private.yaml <<EOF
flows:
  - name: private
    source: { paths: /var/log/private.log*, start_at: beginning, poll_interval: 100ms }
    destination: { kinesis: { stream: logs, region: eu-west-1, endpoint_url: "$url" } }
    batch: { max_age: 100ms }
EOF
    printf '[default]\naws_access_key_id = test\naws_secret_access_key = test\n' | put /etc/headwater/credentials
    inside chmod 600 /etc/headwater/credentials
    inside mkdir -p /etc/systemd/system/headwater.service.d
    local folder=%d
    # 247 has credentials, but no %d.
    if [ "$1" = bullseye ]; then folder=/run/credentials/headwater.service; fi
    printf '[Service]\nLoadCredential=aws:/etc/headwater/credentials\nEnvironment=AWS_SHARED_CREDENTIALS_FILE=%s/aws\n' "$folder" |
        put /etc/systemd/system/headwater.service.d/keys.conf
    inside systemctl daemon-reload
}

dpkg_inside() { inside env DEBIAN_FRONTEND=noninteractive dpkg "$@" >>"$work/dpkg.log" 2>&1 || fail "dpkg $*: $(tail -n 5 "$work/dpkg.log")"; }

deb() { echo "/packages/headwater_$1_amd64.deb"; }
rpm_file() { echo "/packages/headwater-$1.x86_64.rpm"; }

check_unit() {
    local said
    said=$(inside systemd-analyze verify --man=no /usr/lib/systemd/system/headwater.service \
        /usr/lib/systemd/system/headwater@.service 2>&1) || fail "systemd-analyze verify: $said"
    if grep headwater <<<"$said"; then fail "systemd-analyze verify has something to say"; fi
    local level
    level=$(inside systemd-analyze security --no-pager headwater.service | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
    say "exposure level: $level"
    if [ "$(printf '%s\n1.5\n' "$level" | sort -V | tail -n 1)" != 1.5 ]; then fail "the exposure level is above 1.5"; fi
}

# ---- cases ----

case_deb() {
    boot bookworm
    dpkg_inside -i "$(deb "$version")"
    expect ActiveState active
    until_true 10 is StatusText 'Nothing to do: the configuration has no flow' || fail "the status is $(property StatusText)"
    [ "$(inside systemctl is-enabled headwater)" = enabled ] || fail "it is not enabled"
    [ "$(inside stat -c '%a %U:%G' /etc/headwater/headwater.yaml)" = '640 root:headwater' ] || fail "the configuration's mode"
    check_unit
    say "installed: enabled, running, nothing to do"

    configure bookworm
    start_writer first
    inside systemctl restart headwater
    [ "$(inside stat -c '%a %U:%G' /var/lib/headwater)" = '750 headwater:headwater' ] || fail "the state directory's mode"
    until_true 20 received_at_least 500 || fail "nothing is delivered"
    local user
    user=$(inside ps -o user= -p "$(property MainPID)")
    [ "$user" = headwat+ ] || [ "$user" = headwater ] || fail "it runs as $user"
    say "delivers a log of root's as $user"
    reload

    inside sh -c 'echo "# edited" >>/etc/headwater/headwater.yaml'
    local before
    before=$(property MainPID)
    dpkg_inside --force-confold -i "$(deb "$newer")"
    expect ActiveState active
    [ "$(property MainPID)" != "$before" ] || fail "the upgrade did not restart it"
    inside grep -q '^# edited' /etc/headwater/headwater.yaml || fail "the upgrade lost an edit"
    sleep 2
    say "upgraded under load"
    inside systemctl restart headwater
    stop_writer
    check_lines 0

    inside systemctl stop headwater
    inside rm -f /run/no-more-lines /run/written
    inside sh -c 'rm -f /var/log/private.log*'
    stop_stand_in
    start_stand_in
    configure bookworm
    start_writer second
    inside systemctl restart headwater
    until_true 20 received_at_least 200 || fail "nothing is delivered"
    inside kill -KILL "$(property MainPID)"
    expect NRestarts 1
    expect ActiveState active
    say "restarted after SIGKILL"
    printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\n' | put /etc/systemd/system/headwater.service.d/watchdog.conf
    inside systemctl daemon-reload
    inside systemctl restart headwater
    before=$(property MainPID)
    inside kill -STOP "$before"
    until_true 30 is_another_process "$before" || fail "the watchdog does not bite"
    [ "$(property ActiveState)" = active ] || expect ActiveState active
    inside rm /etc/systemd/system/headwater.service.d/watchdog.conf
    inside systemctl daemon-reload
    say "restarted by the watchdog"
    inside systemctl restart headwater
    stop_writer
    check_lines many

    inside sh -c 'echo "flow: []" >>/etc/headwater/headwater.yaml'
    inside systemctl restart headwater 2>/dev/null && fail "a bad configuration starts"
    expect ActiveState failed
    [ "$(property ExecMainStatus)" = 78 ] || fail "the status is $(property ExecMainStatus)"
    sleep 8
    [ "$(property ActiveState) $(property NRestarts)" = 'failed 0' ] || fail "it loops: $(property NRestarts) restarts"
    grep -q 'flow: unknown key' <<<"$(journal)" || fail "the journal does not say what is wrong"
    say "a bad configuration ends it once, with 78"
    inside sed -i '/^flow: /d' /etc/headwater/headwater.yaml

    instance
    inside systemctl disable --now headwater 2>/dev/null
    dpkg_inside --force-confold -i "$(deb "$version")"
    [ "$(inside systemctl is-enabled headwater || true)" = disabled ] || fail "an upgrade enabled it"
    is ActiveState inactive || fail "an upgrade started it"
    say "disabled survives an upgrade"
    inside systemctl enable --now headwater 2>/dev/null
    dpkg_inside -r headwater
    is ActiveState inactive || fail "it runs after its removal"
    inside test -d /var/lib/headwater/checkpoints || fail "a removal took the state"
    inside test -e /etc/headwater/headwater.yaml || fail "a removal took the configuration"
    dpkg_inside -P headwater
    for path in /var/lib/headwater /etc/headwater/headwater.yaml /etc/headwater/conf.d /usr/bin/headwater; do
        inside test ! -e "$path" || fail "a purge left $path"
    done
    say "removed, purged"
}

# New configurations under load, good and bad: the process stays, and `systemctl reload` says which they were.
reload() {
    local before count
    before=$(property MainPID)
    for count in 1 2 3 4 5; do
        inside sed -i "s/max_age: .*ms }/max_age: 1${count}0ms }/" /etc/headwater/conf.d/private.yaml
        inside systemctl reload headwater || fail "a reload fails"
        is ActiveState active || fail "it is $(property ActiveState) after a reload"
    done
    in_force() { [ "$(grep -c 'in force kept=0 changed=1' <<<"$(journal)")" = 5 ]; }
    until_true 10 in_force || fail "the reloads are not in the journal"
    put /etc/headwater/conf.d/bad.yaml <<<'flow: []'
    inside systemctl reload headwater 2>/dev/null && fail "a reload of a bad configuration succeeds"
    is ActiveState active || fail "it is $(property ActiveState) after a bad reload"
    refused() { [[ $(property StatusText) == *'refused, the old one goes on'*'flow: unknown key'* ]]; }
    until_true 10 refused || fail "the status is $(property StatusText)"
    inside rm /etc/headwater/conf.d/bad.yaml
    inside systemctl reload headwater || fail "a reload fails after a bad one"
    not_refused() { ! refused; }
    until_true 10 not_refused || fail "the status is $(property StatusText)"
    [ "$(property MainPID)" = "$before" ] || fail "a reload started it anew"
    say "reloaded under load; a bad configuration was refused"
}

is_another_process() { [ "$(property MainPID)" != "$1" ] && [ "$(property MainPID)" != 0 ]; }

# One more agent from the template, beside the first.
instance() {
    printf 'state_dir: /var/lib/headwater/instances/two\n' | put /etc/headwater/two.yaml
    inside systemctl restart headwater
    inside systemctl start headwater@two || fail "an instance of the template does not start"
    [ "$(property ActiveState headwater@two)" = active ] || fail "an instance of the template does not run"
    inside systemctl stop headwater@two
    [ "$(property Result headwater@two)" = success ] || fail "an instance of the template does not stop"
    [ "$(property ActiveState)" = active ] || fail "an instance disturbs the first agent"
    say "a second agent from the template"
}

case_rpm() {
    boot bookworm
    local install=(rpm --force-debian --nodeps -Uh)
    inside "${install[@]}" "$(rpm_file "$version")" >"$work/rpm.log" 2>&1 || fail "$(cat "$work/rpm.log")"
    is ActiveState inactive || fail "an .rpm starts nothing"
    [ "$(inside stat -c '%a %U:%G' /etc/headwater/headwater.yaml)" = '640 root:headwater' ] || fail "the configuration's mode"
    configure bookworm
    inside systemctl enable --now headwater 2>/dev/null
    expect ActiveState active
    start_writer first
    until_true 20 received_at_least 500 || fail "nothing is delivered"
    inside sh -c 'echo "# edited" >>/etc/headwater/headwater.yaml'
    local before
    before=$(property MainPID)
    inside "${install[@]}" "$(rpm_file "$newer")" >"$work/rpm.log" 2>&1 || fail "$(cat "$work/rpm.log")"
    until_true 20 is_another_process "$before" || fail "the upgrade did not restart it"
    inside grep -q '^# edited' /etc/headwater/headwater.yaml || fail "the upgrade lost an edit"
    sleep 2
    stop_writer
    check_lines 0
    inside systemctl disable --now headwater 2>/dev/null
    inside "${install[@]}" --oldpackage "$(rpm_file "$version")" >"$work/rpm.log" 2>&1 || fail "$(cat "$work/rpm.log")"
    [ "$(inside systemctl is-enabled headwater || true)" = disabled ] || fail "an upgrade enabled it"
    is ActiveState inactive || fail "an upgrade started it"
    inside systemctl enable --now headwater 2>/dev/null
    inside rpm --force-debian -e headwater >"$work/rpm.log" 2>&1 || fail "$(cat "$work/rpm.log")"
    is ActiveState inactive || fail "it runs after its removal"
    inside test -d /var/lib/headwater/checkpoints || fail "a removal took the state"
    inside test ! -e /usr/bin/headwater || fail "a removal left the program"
    say "removed; the state stays"
}

# Start, lines, stop.
case_other() {
    boot "$1"
    dpkg_inside -i "$(deb "$version")"
    expect ActiveState active
    check_unit_where_possible "$1"
    configure "$1"
    start_writer first
    inside systemctl restart headwater
    until_true 20 received_at_least 300 || fail "nothing is delivered"
    stop_writer
    check_lines 0
    inside systemctl stop headwater
    [ "$(property Result)" = success ] || fail "a stop ends with $(property Result)"
}

# 247 counts differently, and has no way to say %d.
check_unit_where_possible() {
    if [ "$1" = bullseye ]; then
        local said
        said=$(inside systemd-analyze verify --man=no /usr/lib/systemd/system/headwater.service 2>&1) || fail "$said"
        if grep headwater <<<"$said"; then fail "systemd-analyze verify has something to say"; fi
        say "$(inside systemd-analyze security --no-pager headwater.service | tail -n 1)"
    else
        check_unit
    fi
}

case_bullseye() { case_other bullseye; }
case_trixie() { case_other trixie; }

# As in an image of a container: systemd is not running.
case_container() {
    local root
    root=$(root_of bookworm)
    systemd-nspawn -q -D "$root" --register=no --keep-unit --volatile=overlay --link-journal=no \
        --bind-ro="$packages:/packages" sh -ec "
            dpkg -i $(deb "$version") >/dev/null 2>&1
            headwater validate 2>/dev/null
            headwater --version
            dpkg -i $(deb "$newer") >/dev/null 2>&1
            dpkg -r headwater >/dev/null 2>&1
            dpkg -P headwater >/dev/null 2>&1
            ! test -e /etc/headwater/headwater.yaml
            rpm --force-debian --nodeps -U $(rpm_file "$version")
            rpm --force-debian --nodeps -U $(rpm_file "$newer")
            rpm --force-debian -e headwater
        " </dev/null >"$work/container" 2>&1 || fail "$(cat "$work/container")"
    say "installed, upgraded and removed where systemd does not run"
}

clean_up() {
    shut_down
    stop_stand_in
    if [ -n "$work" ]; then rm -rf "$work"; fi
}

prepare() {
    if [ "$(id -u)" != 0 ]; then skip "this needs root"; fi
    local tool
    for tool in systemd-nspawn debootstrap nsenter pgrep; do
        if ! command -v "$tool" >/dev/null; then skip "$tool is missing (systemd-container, debootstrap, util-linux, procps)"; fi
    done
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    newer=$version.1
    if ! [ -e "$packages/headwater_${version}_amd64.deb" ]; then
        echo "tests/system: build the packages first: packaging/build.sh" >&2
        exit 1
    fi
    if ! [ "$packages/headwater_${newer}_amd64.deb" -nt "$packages/headwater_${version}_amd64.deb" ]; then
        HEADWATER_PACKAGE_VERSION=$newer packaging/build.sh --no-build
    fi
    cargo build --quiet --locked --example stand_in
    stand_in=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/examples/stand_in
}

suite_of() {
    case $1 in
        bullseye | trixie) echo "$1" ;;
        *) echo bookworm ;;
    esac
}

# Whether there is such a system; says so loudly where it cannot be made or run.
made() {
    local said
    if ! root_of "$1" >/dev/null; then
        echo "SKIPPED: $name: debootstrap cannot make a $1: $(tail -n 1 "$roots/$1.log")" >&2
        return 1
    fi
    if ! said=$(systemd-nspawn -q -D "$roots/$1" --register=no --keep-unit --volatile=overlay --link-journal=no true \
        </dev/null 2>&1); then
        echo "SKIPPED: $name: systemd-nspawn runs nothing here: $said" >&2
        return 1
    fi
}

prepare
trap clean_up EXIT
trap 'echo "FAILED ($name): line $LINENO: $BASH_COMMAND" >&2' ERR
cases=("$@")
if [ ${#cases[@]} = 0 ]; then cases=(deb rpm bullseye trixie container); fi
done=()
for name in "${cases[@]}"; do
    echo "== $name"
    if ! made "$(suite_of "$name")"; then continue; fi
    work=$(mktemp -d)
    start_stand_in
    "case_$name"
    clean_up
    work=
    done+=("$name")
done
if [ ${#done[@]} = 0 ]; then skip "there is no system to try them in"; fi
echo "All cases passed: ${done[*]}"

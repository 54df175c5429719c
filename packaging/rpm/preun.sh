# The last version goes: stop, so that what was read is delivered. An upgrade restarts afterwards.
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null; then
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now headwater.service || :
        systemctl stop 'headwater@*.service' || :
    else
        systemctl --no-reload disable headwater.service || :
    fi
fi
exit 0

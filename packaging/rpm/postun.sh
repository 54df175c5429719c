if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # An upgrade: those that ran run the new version from here on.
    if [ "$1" -ge 1 ]; then systemctl try-restart headwater.service 'headwater@*.service' || :; fi
fi
exit 0

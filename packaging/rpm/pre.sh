# Before the files are laid down: some belong to the group.
if ! getent group headwater >/dev/null; then groupadd --system headwater; fi
if ! getent passwd headwater >/dev/null; then
    useradd --system --gid headwater --home-dir /var/lib/headwater --no-create-home --shell /sbin/nologin \
        --comment "Headwater log agent" headwater
fi
exit 0

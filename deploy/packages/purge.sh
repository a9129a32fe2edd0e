# Everything that this package and its service have made. What else is in /etc/blocksift is not theirs.
rm -rf @state@
rmdir --ignore-fail-on-non-empty /etc/blocksift 2>/dev/null || true
if getent passwd @user@ >/dev/null; then
    userdel @user@ || true
fi

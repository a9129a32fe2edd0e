# The package goes.
if [ -d /run/systemd/system ]; then
    systemctl disable --now @package@.service || true
fi

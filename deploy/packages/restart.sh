# A running service is started anew with the new version, but never with a configuration that this version refuses.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if systemctl is-active --quiet @package@.service; then
        if runuser -u @user@ -- /usr/bin/@package@ validate --config /etc/blocksift/@config@; then
            systemctl restart @package@.service || echo "@package@: it does not start; see journalctl -u @package@"
        else
            echo "@package@: this version refuses /etc/blocksift/@config@ (see above); the version before runs until you restart it"
        fi
    fi
fi

# The user, its groups and its state directory; whatever is there already stays.
if ! getent passwd @user@ >/dev/null; then
    useradd --system --user-group --home-dir @state@ --no-create-home --shell /usr/sbin/nologin --comment @package@ @user@
fi
for group in @groups@; do
    if getent group "$group" >/dev/null; then
        usermod --append --groups "$group" @user@
    else
        echo "@package@: there is no group $group; add the user @user@ to the group that may read the logs"
    fi
done
if [ ! -d @state@ ]; then
    install -d -m 0750 -o @user@ -g @user@ @state@
fi

#!/bin/bash
# Starts a role for Cloudera Manager. What it says goes to the role's standard error, which Cloudera Manager shows.
set -eu

# A string of TOML: what somebody typed into Cloudera Manager may hold anything.
quoted() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    printf '"%s"' "$text"
}

# "a, b" as "a", "b".
list() {
    local items item out=""
    IFS=, read -r -a items <<<"$1"
    for item in "${items[@]}"; do
        item=${item#"${item%%[![:space:]]*}"}
        item=${item%"${item##*[![:space:]]}"}
        if [ -n "$item" ]; then out+="${out:+, }$(quoted "$item")"; fi
    done
    printf '%s' "$out"
}

agent_configuration() {
    printf 'state_dir = %s\n\n[logs]\npaths = [%s]\n\n' "$(quoted "$BLOCKSIFT_STATE")" "$(list "$BLOCKSIFT_LOGS")"
    printf '[ship]\nendpoint = %s\n' "$(quoted "$BLOCKSIFT_ENDPOINT")"
    if [ -n "${BLOCKSIFT_CA:-}" ]; then printf 'tls_ca = %s\n' "$(quoted "$BLOCKSIFT_CA")"; fi
    if [ -n "${BLOCKSIFT_TOKEN_FILE:-}" ]; then printf 'token_file = %s\n' "$(quoted "$BLOCKSIFT_TOKEN_FILE")"; fi
}

: "${BLOCKSIFT_HOME:?the parcel BLOCKSIFT is not active on this host}"
case "${1:-}" in
agent)
    configuration="${CONF_DIR:-.}/agent.toml"
    agent_configuration >"$configuration"
    "$BLOCKSIFT_HOME/bin/blocksift-agent" validate --config "$configuration"
    exec "$BLOCKSIFT_HOME/bin/blocksift-agent" run --config "$configuration"
    ;;
collector)
    "$BLOCKSIFT_HOME/bin/blocksift-collector" validate --config "$BLOCKSIFT_CONFIG"
    exec "$BLOCKSIFT_HOME/bin/blocksift-collector" --config "$BLOCKSIFT_CONFIG"
    ;;
*)
    echo "control.sh: there is no role \"${1:-}\"" >&2
    exit 2
    ;;
esac

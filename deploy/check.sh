#!/bin/sh
# Checks what is in this folder with the tools that will read it: systemd-analyze and promtool.
set -eu
cd "$(dirname "$0")"

./need systemd-analyze systemd
./need promtool prometheus

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The unit's program need not be installed here: one that is stands in for it.
sed 's#/usr/local/bin/farebox#/bin/true#' farebox.service >"$work/farebox.service"
systemd-analyze verify "$work/farebox.service" 2>"$work/complaints" || { cat "$work/complaints" >&2; exit 1; }
# An unknown key is only a warning to systemd. What it says of the machine's other units is not ours.
if grep farebox.service "$work/complaints" >&2; then
    exit 1
fi
# 0 is locked away, 10 wide open; the rest is the network, which a gateway needs.
systemd-analyze security --offline=true --threshold=15 --no-pager "$work/farebox.service" >"$work/exposure" || {
    cat "$work/exposure"
    exit 1
}
tail -n 1 "$work/exposure"

promtool check config prometheus.yml
promtool test rules alerts_test.yml

# Each query of the dashboard as a rule, which promtool parses. Grafana's variables become what they might be;
# tests/deploy.rs sees to it that each query stands on one line.
{
    echo 'groups: [{ name: dashboard, rules: ['
    sed -n 's/^ *"expr": \(".*"\),\{0,1\}$/\1/p' grafana-dashboard.json |
        sed -e 's/\$__rate_interval/1m/g; s/\$__range/6h/g; s/\$decimals/6/g; s/\$\(job\|instance\|route\)/x/g' |
        awk '{ printf "{ record: \"dashboard:query%d\", expr: %s },\n", NR, $0 }'
    echo ']}]'
} >"$work/dashboard.yml"
promtool check rules --lint=none "$work/dashboard.yml"
queries=$(grep -c '"expr"' grafana-dashboard.json)
parsed=$(grep -c 'record:' "$work/dashboard.yml")
[ "$queries" -eq "$parsed" ] || { echo "only $parsed of $queries queries were checked" >&2; exit 1; }

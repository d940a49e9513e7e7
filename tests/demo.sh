#!/bin/bash
# Shows what ipoib does, with real programs, and fails if anything does not
# work. Run by `make demo` in namespaces of its own (tests/isolated.sh).
set -euo pipefail
exec 3>&1

run_dir=$(mktemp -d /run/ipoib-demo.XXXXXX)
export IPOIB_RUN_DIR="$run_dir"
[ -t 1 ] && bold=$(printf '\033[1m') plain=$(printf '\033[0m') || bold='' plain=''

cleanup() {
	status=$?
	trap - EXIT INT TERM
	ipoib lab down || status=1
	ipoib serve --teardown >/dev/null 2>&1 || true
	if ip netns list | grep -q ibhost; then
		echo "demo: hosts are left behind" >&2
		status=1
	fi
	rm -rf "$run_dir"
	if [ "$status" = 0 ]; then
		printf '\n%sEverything worked, and is gone again.%s\n' "$bold" "$plain"
	else
		printf '\n%sThe demo failed.%s\n' "$bold" "$plain" >&2
	fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
# show prints a command as a user types it in a host, and runs it there.
show() {
	host=$1
	shift
	# Also where the answer is filtered; what a shell runs is shown as typed.
	if [ "$1" = sh ]; then
		printf 'ibhost%s$ %s\n' "$host" "$3" >&3
	else
		printf 'ibhost%s$ %s\n' "$host" "$*" >&3
	fi
	ipoib lab exec "$host" -- "$@"
}
# run does it without the answer.
run() { show "$@" >/dev/null; }
# wait_carrier waits until an interface of a host has joined its link.
wait_carrier() {
	n=0
	until [ "$(ipoib lab exec "$1" -- cat "/sys/class/net/$2/carrier" 2>/dev/null)" = 1 ]; do
		n=$((n + 1))
		[ "$n" -lt 100 ] || { echo "demo: $2 of host $1 has no carrier" >&2; exit 1; }
		sleep 0.1
	done
}
pings() { show "$@" | tail -n 3 | grep -v '^$'; }
# packets prints how many packets host 1 gave to its adapter.
packets() { ipoib lab exec 1 -- ipoib stats -j ib0 | jq '.[0].counters[] | select(.name == "tx_packets") | .value'; }
gbits() { jq -r '"\(.end.sum_received.bits_per_second / 1e9 * 100 | round / 100) Gbit/s"'; }

say "Two hosts on one InfiniBand fabric: network namespaces with an adapter each"
echo '$ ipoib lab up'
ipoib lab up
echo '$ ipoib lab status'
ipoib lab status
echo '$ ipoib fabric nodes'
ipoib fabric nodes

say "Their links, as ip shows those of the kernel's driver"
show 1 ipoib -d link show dev ib0

say "Ping over ib0, IPv4 and IPv6"
pings 1 ping -c 3 -i 0.2 -W 2 10.77.0.2
pings 1 ping -c 3 -i 0.2 -W 2 fd77::2
show 1 ipoib neigh

say "A partition of its own: P_Key children"
for i in 1 2; do
	show $i ipoib link add ib0.8001 pkey 0x8001
	show $i ip addr add 10.78.0.$i/24 dev ib0.8001
	show $i ipoib link set ib0.8001 up
done
wait_carrier 1 ib0.8001
wait_carrier 2 ib0.8001
show 1 ipoib link show ib0.8001
pings 1 ping -c 3 -i 0.2 -W 2 10.78.0.2

. "$(dirname "$0")/demo-files.sh"

say "Interrupt moderation and offloads, as ethtool sets them"
show 1 ipoib-ethtool -C ib0 rx-usecs 16
show 1 ipoib-ethtool -c ib0 | sed -n '/rx-usecs:/p; /rx-frames:/p'
show 1 ipoib-ethtool -k ib0 | sed -n '/^tx-checksumming/p; /^tcp-segmentation-offload/p; /^large-receive-offload/p'
run 1 ipoib-ethtool -C ib0 rx-usecs 0
# least prints the shortest round trip of a ping, in milliseconds.
least() { ipoib lab exec 1 -- ping -q -c 20 -i 0.02 -W 2 10.77.0.2 | sed -n 's|^rtt [^=]*= \([^/]*\)/.*|\1|p'; }
at_once=$(least)
ipoib lab exec 2 -- ipoib-ethtool -C ib0 rx-usecs 1000
held=$(least)
ipoib lab exec 2 -- ipoib-ethtool -C ib0 rx-usecs 0
echo "The shortest ping takes $at_once ms; with rx-usecs 1000 at the other host, $held ms."
awk "BEGIN { exit !($held > $at_once + 0.5) }" || { echo "demo: moderation has no effect" >&2; exit 1; }

say "The unmodified ip and ethtool, under ipoib exec"
show 1 ipoib exec -- ip link add ib0.8002 link ib0 type ipoib pkey 0x8002
show 1 ipoib exec -- ip -d link show ib0.8002
show 1 ipoib exec -- ethtool -i ib0
show 1 ipoib exec -- ip link del ib0.8002

say "Throughput over ib0, one TCP stream"
run 2 iperf3 -s -D -1 -B 10.77.0.2
sleep 0.3
show 1 iperf3 -J -t 3 -c 10.77.0.2 >"$run_dir/iperf.json"
gbits <"$run_dir/iperf.json"
show 1 ipoib stats ib0
for feature in "tso off" "tso on"; do
	run 1 ipoib-ethtool -K ib0 $feature
	run 2 iperf3 -s -D -1 -B 10.77.0.2
	sleep 0.3
	before=$(packets)
	bytes=$(ipoib lab exec 1 -- iperf3 -J -t 1 -c 10.77.0.2 | jq .end.sum_sent.bytes)
	echo "$feature: $((bytes / ($(packets) - before))) bytes of TCP in a packet given to the adapter"
done

say "Connected mode: reliable connections, an MTU of 65520"
for i in 1 2; do
	show $i ipoib link set ib0 type ipoib mode connected
	show $i ip link set ib0 mtu 65520
done
wait_carrier 1 ib0
wait_carrier 2 ib0
pings 1 ping -c 3 -i 0.2 -W 2 -M do -s 65492 10.77.0.2
show 1 ipoib neigh
run 2 iperf3 -s -D -1 -B 10.77.0.2
sleep 0.3
show 1 iperf3 -J -t 3 -c 10.77.0.2 >"$run_dir/iperf.json"
gbits <"$run_dir/iperf.json"
for i in 1 2; do
	run $i ipoib link set ib0 type ipoib mode datagram
done
wait_carrier 1 ib0
wait_carrier 2 ib0

say "What is on the wire"
echo '$ ipoib capture -a 3s -w ping.pcapng soft1/1'
ipoib capture -a 3s -w "$run_dir/ping.pcapng" soft1/1 &
capture=$!
sleep 0.5
run 1 ping -c 6 -i 0.2 -W 2 10.77.0.2
wait "$capture"
echo '$ tshark -r ping.pcapng -Y icmp'
tshark -n -r "$run_dir/ping.pcapng" -Y icmp 2>/dev/null >"$run_dir/frames"
head -n 4 "$run_dir/frames"
[ -s "$run_dir/frames" ] || { echo "demo: tshark saw no ping" >&2; exit 1; }

say "Clean up"
echo '$ ipoib lab down'

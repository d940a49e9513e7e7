#!/bin/sh
# Installs the Debian packages that the tests and the demo use, if any is
# missing. Everything is found by the program that it brings.
set -eu
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need ip iproute2
need ethtool ethtool
need ping iputils-ping
need iperf3 iperf3
need sockperf sockperf
need tshark tshark
need jq jq
need socat socat
need radvd radvd
need opensm opensm
need saquery infiniband-diags
need ibsim-run ibsim-utils
need prometheus-node-exporter prometheus-node-exporter
need setpriv util-linux
need unshare util-linux
need setpriv util-linux
need strace strace
need busybox busybox
need nl-link-list libnl-utils
need ps procps
/usr/bin/python3 -c 'import pyroute2' 2>/dev/null || missing="$missing python3-pyroute2"
[ -z "$missing" ] && exit 0
echo "installing Debian packages:$missing"
if [ "$(id -u)" != 0 ]; then
	echo "not root: install them with: apt-get install$missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Nothing that they bring is to run as a service here.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
apt-get -qq update
# shellcheck disable=SC2086
apt-get -qq install -y --no-install-recommends $missing >/dev/null

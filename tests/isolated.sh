#!/bin/sh
# Runs a command as root in mount, network and process namespaces of its own:
# what it makes in /run, in the network and as processes ends with it, and what
# runs on the machine is not seen.
set -eu
if [ "$(id -u)" != 0 ]; then
	if [ "${CI:-}" ]; then
		echo "isolated.sh: root is needed" >&2
		exit 1
	fi
	echo "skipped: root is needed for: $*" >&2
	exit 0
fi
cd "$(dirname "$0")/.."
PATH="$PWD/bin:$PATH"
export PATH IPOIB_TEST_ROOT=1 IPOIB_TEST_TOOLS=1
exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -c '
	mount -t tmpfs -o mode=755 tmpfs /run
	umount -l /sys 2>/dev/null || true
	mount -t sysfs sysfs /sys
	ip link set lo up
	exec "$@"' isolated "$@"

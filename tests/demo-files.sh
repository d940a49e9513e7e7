# shellcheck shell=bash
# The part of the demo about files, read by demo.sh for its functions: the
# commands of IPoIB's documentation, as they are typed.

say "The files of IPoIB's documentation, in the host's own /sys"
show 1 sh -c 'echo 0x8003 > /sys/class/net/ib0/create_child'
show 1 cat /sys/class/net/ib0.8003/pkey /sys/class/net/ib0.8003/mode /sys/class/net/ib0.8003/parent
show 1 sh -c 'echo 1 > /sys/module/ib_ipoib/parameters/debug_level'
show 1 cat /sys/module/ib_ipoib/parameters/debug_level
show 1 cat /sys/kernel/debug/ipoib/ib0_path
show 1 sh -c 'head -n 6 /sys/kernel/debug/ipoib/ib0_mcg'
show 1 sh -c 'echo 0x8003 > /sys/class/net/ib0/delete_child'
show 1 ls /sys/class/net
show 1 ibstat
show 1 ipoib param set debug_level 0
show 1 ipoib log -n 3

// Package netns runs a function in another network namespace. What a thread
// opens there stays there: sockets, /dev/net/tun, /proc/net and /proc/sys/net.
package netns

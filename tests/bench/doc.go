// Command bench measures IP over InfiniBand side by side with a plain veth
// pair, VXLAN over veth and wireguard-go, each in network namespaces of its
// own: throughput, packets per second, latency, CPU and memory, and how the
// service grows with children, hosts and interrupt moderation.
//
// The traffic comes from iperf3 and sockperf. Runs are interleaved: each round
// measures every target once, so that what else the machine does falls on all
// of them alike. Results are medians with minimum and maximum, as a table on
// standard output and as JSON, text and SVG in docs/bench.
//
// It is started by make bench, which gives it mount, network and process
// namespaces of its own (tests/isolated.sh).
package main

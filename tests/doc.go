// Package tests holds the integration tests: real programs (ping, iperf3, ip,
// ethtool, tshark, radvd) in network namespaces over a running service. They
// have the build tag "integration" and run in namespaces of their own
// (isolated.sh, make integration).
package tests

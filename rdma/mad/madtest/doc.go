// Package madtest is an in-memory network of management agents for the tests
// of packages that send management datagrams. It obeys the contract of
// rdma.MADAgent, needs no fabric, and works in a testing/synctest bubble.
package madtest

// Package tun is the edge of the datapath towards the host: a network
// interface whose packets this process reads and writes.
//
// Device is the interface that the datapath knows. Open makes one on Linux,
// over /dev/net/tun; tuntest has one in memory.
//
// # Packets in place
//
// A packet crosses the TUN behind a virtio-net header, which describes
// checksum and segmentation offload. It is not copied on its way to or from
// the fabric: the last four octets of the 10-octet virtio-net header are where
// the IPoIB encapsulation header goes, which is what the payload of a Buffer
// starts with.
//
//	        headroom            payload of the Buffer
//	... ┬─────────────────────┬───────────────────────────────┐
//	    │ virtio-net header, 10       │ IP packet             │
//	... ┴─────────────────────┬───────┼───────────────────────┤
//	                          │ encap │                       │
//	                          └───────┴───────────────────────┘
//
// Offsets in an rdma.Offload count from the encapsulation header.
//
// # Waiting
//
// A thread that blocks in the kernel wakes earlier than a goroutine that the
// runtime's poller has to make runnable first, but a thread for each of a
// thousand interfaces is too many. So a Poller reads all of them on a few
// threads. Device.Read is there for one device alone; it parks its goroutine
// in the runtime's poller. See BenchmarkWake.
//
// # Tests
//
// Tests that need a kernel device are named TestIntegration, need root and
// make their own network namespaces. They are skipped without root unless
// IPOIB_TEST_ROOT=1 is set.
package tun

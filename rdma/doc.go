// Package rdma is the InfiniBand vocabulary and the verbs-like interface that
// everything above a host channel adapter is written against.
//
// It holds two things and no behaviour of its own:
//
//   - the value types of the InfiniBand Architecture (GID, LID, PKey, QKey,
//     QPN, MTU, Rate, PortState ...), spelled as the IBA and the kernel spell
//     them;
//   - the provider interfaces (Device, Port, PD, CQ, QP, AH, SRQ, MADAgent)
//     which the software fabric in rdma/soft implements, and which a provider
//     over rdma-core can implement as well. Every provider must pass
//     rdma/rdmatest.
//
// Wire formats are in rdma/header (packets) and rdma/mad (management
// datagrams). The package imports nothing of this module.
//
// # Buffers
//
// A Buffer has exactly one owner. Posting a send passes ownership to the
// provider; polling a receive completion passes it to the poller. The owner
// calls Free. See Buffer.
//
// # Threads
//
// All methods may be called from any goroutine. A CQ's handler is never run
// concurrently with itself. Posting work may complete work on another queue
// pair of the same process; the resulting handlers run either on the poster's
// goroutine, when it passed an EventBatch and calls Run, or on a goroutine of
// the provider.
package rdma

package tun

import (
	"os"

	"ipoib/rdma"
)

// LinkTypeInfiniBand is the link type of every interface made here (kernel
// ARPHRD_INFINIBAND).
const LinkTypeInfiniBand = 32

// Mode says whether Open may make an interface, or take one that is there.
type Mode uint8

// The modes.
const (
	// OpenOrCreate attaches to an interface of that name, or makes it.
	OpenOrCreate Mode = iota
	// CreateNew makes an interface; ErrExist when the name is taken.
	CreateNew
	// Attach takes an interface that is there; ErrNotExist when it is not.
	Attach
)

// Defaults of Config.
const (
	// DefaultBatchBytes bounds a read batch to four large sends.
	DefaultBatchBytes = 256 << 10
)

// Config says which interface Open opens and how it is used.
type Config struct {
	// Name is the interface name; "ib%d" lets the kernel count. It may be
	// empty only for CreateNew, which then numbers "tun%d".
	Name string
	Mode Mode
	// NetNS is the open nsfs file of the network namespace that the
	// interface is in; nil is the process's own.
	NetNS *os.File
	// Ifindex asks for this interface index on creation (TUNSETIFINDEX); 0
	// lets the kernel choose.
	Ifindex int
	// Persist makes the interface outlive Close. When it is false an
	// existing interface keeps its persistence.
	Persist bool
	// MultiQueue makes an interface with several queues: each Open of its
	// name adds one (IFF_MULTI_QUEUE).
	MultiQueue bool
	// Offload is set as by Device.SetOffload.
	Offload Features
	// TxQueueLen, in packets, and SndBuf, in octets, are set unless 0.
	TxQueueLen, SndBuf int
	// Pool provides the buffers of Read. It must not be nil.
	Pool *rdma.BufferPool
	// BatchBytes ends a batch of Read once it holds so many octets; 0 is
	// DefaultBatchBytes.
	BatchBytes int
	// ReadInvalid, if not nil, is called for each packet that Read leaves out
	// (Counters.ReadInvalid).
	ReadInvalid func()

	// accepts is what open found out: see Device.Accepts.
	accepts Features
}

func (c *Config) setDefaults() {
	if c.BatchBytes == 0 {
		c.BatchBytes = DefaultBatchBytes
	}
}

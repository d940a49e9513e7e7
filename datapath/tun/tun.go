package tun

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"ipoib/rdma"
)

// Packet is one packet between the host and the datapath. The payload of Buf
// starts with encap.HeaderLen octets for the encapsulation header; the IP
// packet follows.
type Packet struct {
	Buf *rdma.Buffer
	// Offload is the work that the host left to the interface, or that the
	// datapath leaves to the host. A zero value is a plain packet.
	Offload rdma.Offload
	// Parts are written behind Buf, at most MaxParts: the payloads of packets
	// that were merged into this one. Read returns none.
	Parts []*rdma.Buffer
}

// MaxParts is the largest number of Packet.Parts.
const MaxParts = 64

// Len returns the size of the whole packet, with the encapsulation header, in
// octets.
func (p *Packet) Len() int {
	n := p.Buf.Len()
	for _, b := range p.Parts {
		n += b.Len()
	}
	return n
}

// Free gives all buffers of the packet back.
func (p *Packet) Free() {
	p.Buf.Free()
	for k, b := range p.Parts {
		b.Free()
		p.Parts[k] = nil
	}
	p.Buf, p.Parts = nil, nil
}

// Device is a network interface of the host whose other end is this process.
// Read may run at the same time as Write, each by one goroutine at a time; the
// other methods may be called by any goroutine at any time.
type Device interface {
	// Name returns the current name, which the host may change.
	Name() (string, error)
	// Read waits for packets and stores up to len(pkts) of them; it returns
	// how many, at least 1 with a nil error. The buffers are new and belong
	// to the caller; the octets of the encapsulation header are undefined.
	//
	// It returns rdma.ErrClosed after Close, also when it was waiting, and
	// ErrRemoved when the host deleted the interface.
	Read(pkts []Packet) (int, error)
	// Write hands packets to the host in order and returns how many it took.
	// The buffers stay with the caller, who may use them again at once; the
	// octets of the encapsulation header are overwritten. A packet that the
	// host does not take is counted (see Counters) and skipped; an error,
	// rdma.ErrClosed or ErrRemoved, ends the batch.
	Write(pkts []Packet) (int, error)
	// SetCarrier switches the carrier, which new devices have.
	SetCarrier(on bool) error
	// SetOffload sets the work that the host may leave to Read's packets and
	// returns what is in force: features that need others which are missing,
	// or that the kernel lacks, are left out.
	SetOffload(want Features) (Features, error)
	// Accepts returns the offloads that the host takes from Write, whatever
	// SetOffload says: all but the large UDP sends of a kernel before 6.2.
	Accepts() Features
	// SetPersist decides whether the interface survives Close and the end of
	// this process.
	SetPersist(on bool) error
	// NetNS opens the network namespace that the interface is in now,
	// wherever the host has moved it. The caller closes it.
	NetNS() (*os.File, error)
	// Counters returns how many packets were not carried, and why.
	Counters() Counters
	// Close lets go of the interface: unless it is persistent it disappears.
	// It makes Read return, and waits for it.
	Close() error
}

// Errors that callers test with errors.Is. Operations on a closed Device
// return rdma.ErrClosed.
var (
	// ErrRemoved is returned once the host has deleted the interface. It
	// matches rdma.ErrClosed as well.
	ErrRemoved error = removedError{}
	// ErrExist: the name belongs to an interface already, of another kind, or
	// of any kind when a new one was asked for (EEXIST).
	ErrExist = errors.New("name is taken by another interface")
	// ErrNotExist: there is no interface of this name to attach to.
	ErrNotExist = errors.New("no such interface")
	// ErrBusy: another process is attached to the interface (EBUSY).
	ErrBusy = errors.New("interface is in use by another process")
	// ErrLinkType: the existing interface is not of type InfiniBand.
	ErrLinkType = errors.New("interface is not of link type infiniband")
	// ErrPermission: CAP_NET_ADMIN is missing, or the device node is not
	// accessible (EPERM, EACCES).
	ErrPermission = errors.New("permission denied")
)

type removedError struct{}

func (removedError) Error() string        { return "interface was removed" }
func (removedError) Is(target error) bool { return target == rdma.ErrClosed }

// OpError is the error of an operation on an interface.
type OpError struct {
	// Op is what was tried, such as "open" or "set carrier".
	Op string
	// Name is the interface name; it may be empty.
	Name string
	// Err is the cause: one of this package's errors, or an errno.
	Err error
}

func (e *OpError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("tun: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("tun: %s %s: %v", e.Op, e.Name, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// Features is a set of offloads, numbered as TUNSETOFFLOAD does (kernel
// TUN_F_*).
type Features uint32

// The features.
const (
	// FeatureCsum: packets may arrive with Offload.Checksum. All others need
	// it.
	FeatureCsum Features = 0x01
	// FeatureTSO4 and FeatureTSO6: large TCP sends.
	FeatureTSO4 Features = 0x02
	FeatureTSO6 Features = 0x04
	// FeatureTSOECN: large sends of flows that use ECN. It needs a TSO.
	FeatureTSOECN Features = 0x08
	// FeatureUSO4 and FeatureUSO6: large UDP sends (UDP_SEGMENT). They go
	// together and need Linux 6.2.
	FeatureUSO4 Features = 0x20
	FeatureUSO6 Features = 0x40
)

var featureNames = []struct {
	f    Features
	name string
}{
	{FeatureCsum, "csum"},
	{FeatureTSO4, "tso4"},
	{FeatureTSO6, "tso6"},
	{FeatureTSOECN, "tso-ecn"},
	{FeatureUSO4, "uso4"},
	{FeatureUSO6, "uso6"},
}

// String prints the names joined by "|".
func (f Features) String() string {
	var s []string
	for _, n := range featureNames {
		if f&n.f != 0 {
			s = append(s, n.name)
			f &^= n.f
		}
	}
	if f != 0 || len(s) == 0 {
		s = append(s, fmt.Sprintf("0x%x", uint32(f)))
	}
	return strings.Join(s, "|")
}

const (
	featuresTSO = FeatureTSO4 | FeatureTSO6
	featuresUSO = FeatureUSO4 | FeatureUSO6
)

// Normalize leaves out the features that need others which are missing, as
// the kernel's set_offload demands.
func (f Features) Normalize() Features {
	f &= FeatureCsum | featuresTSO | FeatureTSOECN | featuresUSO
	if f&FeatureCsum == 0 {
		return 0
	}
	if f&featuresTSO == 0 {
		f &^= FeatureTSOECN
	}
	if f&featuresUSO != featuresUSO {
		f &^= featuresUSO
	}
	return f
}

// Counters counts packets that were not carried, by reason.
type Counters struct {
	// WriteDown: the interface was down (EIO).
	WriteDown uint64
	// WriteBusy: the host had no memory or queue space (ENOBUFS, ENOMEM,
	// EAGAIN), or took less than the whole packet.
	WriteBusy uint64
	// WriteInvalid: the host refused the packet or its offload (EINVAL), or
	// the offload cannot be expressed.
	WriteInvalid uint64
	// ReadInvalid: the host sent a packet whose offload makes no sense, or
	// one over rdma.MaxMessage.
	ReadInvalid uint64
}

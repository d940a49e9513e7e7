package connected

import (
	"testing"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Which of two crossing requests survives: the queue pair decides before the
// GID (RFC 4755 section 3.3).
func TestYields(t *testing.T) {
	at := func(qpn rdma.QPN, guid rdma.GUID) encap.HardwareAddr {
		return encap.UnicastAddr(encap.FlagRC, qpn, rdma.MakeGID(rdma.DefaultSubnetPrefix, guid))
	}
	for _, c := range []struct {
		own, peer encap.HardwareAddr
		yields    bool
	}{
		{at(0x48, 0xa), at(0x49, 0xb), true},
		{at(0x49, 0xb), at(0x48, 0xa), false},
		{at(0x50, 0xa), at(0x49, 0xb), false}, // although its GID is smaller
		{at(0x49, 0xb), at(0x50, 0xa), true},
		{at(0x48, 0xa), at(0x48, 0xb), true},
		{at(0x48, 0xb), at(0x48, 0xa), false},
		{at(0xff0000, 1), at(0x00ffff, 2), false},
		{at(0x48, 0xa), at(0x49, 0xb).WithFlags(0), true}, // the flags do not count
	} {
		table := &Table{own: c.own}
		if got := table.yields(c.peer); got != c.yields {
			t.Errorf("%v yields to %v: %v", c.own, c.peer, got)
		}
	}
}

// The largest message of a connection, and when that is too small.
func TestLimit(t *testing.T) {
	for _, c := range []struct {
		own  int
		peer uint32
		ipv6 bool
		want int
		ok   bool
	}{
		{65524, 65524, true, 65524, true}, {65524, 9004, true, 9004, true}, {4096, 65524, true, 4096, true},
		{65524, 1284, true, 1284, true}, {65524, 1283, true, 1283, false}, {65524, 1283, false, 1283, true},
		{65524, 72, false, 72, true}, {65524, 71, false, 71, false}, {65524, 0xffffffff, true, 65524, true},
	} {
		table := NewTable(Config{ReceiveMTU: c.own, Hooks: Hooks{IPv6: func() bool { return c.ipv6 }}})
		got, ok := table.limitOf(mad.IPoIBPrivateData{ReceiveMTU: c.peer})
		if got != c.want || ok != c.ok {
			t.Errorf("%d and %d: %d, %v", c.own, c.peer, got, ok)
		}
	}
}

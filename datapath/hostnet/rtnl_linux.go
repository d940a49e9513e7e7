package hostnet

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// errShort is returned for a message from the kernel that ends early.
var errShort = errors.New("netlink message is too short")

// dumpTries bounds how often a dump is repeated that changes interrupted.
const dumpTries = 8

// change sends a request that is answered with an acknowledgement only.
func (n *namespace) change(typ uint16, flags netlink.HeaderFlags, header []byte, attrs func(*netlink.AttributeEncoder)) error {
	_, err := n.execute(typ, flags|netlink.Acknowledge, header, attrs)
	return err
}

// dump sends a dump request until its answer is consistent (NLM_F_DUMP_INTR).
func (n *namespace) dump(typ uint16, header []byte, attrs func(*netlink.AttributeEncoder)) (msgs []netlink.Message, err error) {
	for range dumpTries {
		msgs, err = n.execute(typ, netlink.Dump, header, attrs)
		if err != nil || !interrupted(msgs) {
			break
		}
	}
	return msgs, err
}

func interrupted(msgs []netlink.Message) bool {
	for _, m := range msgs {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return true
		}
	}
	return false
}

// execute sends a request and returns the answers.
func (n *namespace) execute(typ uint16, flags netlink.HeaderFlags, header []byte, attrs func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	if attrs != nil {
		attrs(ae)
	}
	b, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	return n.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | flags},
		Data:   append(header, b...),
	})
}

// attributes returns a decoder of what follows a header of size octets.
func attributes(b []byte, size int) (*netlink.AttributeDecoder, error) {
	if len(b) < size {
		return nil, errShort
	}
	return netlink.NewAttributeDecoder(b[size:])
}

// decodeIP reads an address of 4 or 16 octets into a.
func decodeIP(a *netip.Addr) func([]byte) error {
	return func(b []byte) error {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return fmt.Errorf("address of %d octets", len(b))
		}
		*a = ip
		return nil
	}
}

// familyNumber returns the AF_ constant.
func familyNumber(f Family) uint8 {
	if f == IPv4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// familyOf is the inverse; ok is false for other families.
func familyOf(af uint8) (f Family, ok bool) {
	switch af {
	case unix.AF_INET:
		return IPv4, true
	case unix.AF_INET6:
		return IPv6, true
	}
	return 0, false
}

package cli

import (
	"encoding/binary"

	"ipoib/nl"
)

// What -P needs of rtnetlink (uapi/linux/rtnetlink.h, if_link.h).
const (
	rtmNewLink  = 16
	rtmGetLink  = 18
	ifInfoLen   = 16
	iflaIfname  = 3
	iflaExtMask = 29
	iflaAltName = 53
	iflaPerm    = 54
	skipStats   = 1 << 3 // RTEXT_FILTER_SKIP_STATS
)

func (s *session) permAddrReply(m *message) int {
	refuse := func() int {
		if s.silent() {
			return cbOK
		}
		s.exitCode = 2
		return cbError
	}
	if m.typ != rtmNewLink {
		return refuse()
	}
	t := parse(m.attrs(ifInfoLen))
	if !t.has(iflaIfname) {
		return refuse()
	}
	s.name, s.hasName = t[iflaIfname].String(), true
	if !s.shown() {
		return refuse()
	}
	if !t.has(iflaPerm) {
		if !s.dumping {
			s.out.print("Permanent address: not set\n")
		}
		return cbOK
	}
	if s.dumping {
		s.out.printf("Permanent address of %s:", s.name)
	} else {
		s.out.print("Permanent address:")
	}
	sep := " "
	for _, b := range t[iflaPerm].Data {
		s.out.printf("%s%02x", sep, b)
		sep = ":"
	}
	s.out.print("\n")
	return cbOK
}

// getPermAddr is -P, which asks rtnetlink.
func getPermAddr(s *session) int {
	k, err := s.newSocket(nl.ProtoRoute)
	if err != nil {
		return failed
	}
	s.route = k
	flags := uint16(flagRequest | flagAck)
	if s.dumping = s.dev == wildcard; s.dumping {
		flags |= flagDump
	}
	b := make([]byte, headerLen+ifInfoLen, 128)
	binary.NativeEndian.PutUint16(b[4:], rtmGetLink)
	binary.NativeEndian.PutUint16(b[6:], flags)
	k.enc = nl.NewEncoder(b)
	if !s.dumping {
		attr := uint16(iflaIfname)
		if len(s.dev) > maxIoctlName {
			attr = iflaAltName
		}
		k.enc.String(attr, s.dev)
	}
	k.enc.U32(iflaExtMask, skipStats)
	return k.ask(s.permAddrReply)
}

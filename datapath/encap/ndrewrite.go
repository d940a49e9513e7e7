package encap

// The host stack sits on a device without link-layer addresses: its ND
// messages leave without address options, and it drops messages that carry
// 20-octet ones. The two functions below make up the difference for packets
// that cross the TUN. Both are for packets that ParseND accepts; any other is
// left untouched and its error returned.

// AddLinkLayerOption gives the outgoing ND message in packet the link-layer
// address option that its type calls for (NDType.LinkAddrOption), with the
// address ll: the interface's own, or for a Redirect the target's. Options of
// that type that are there already are replaced. A message from the
// unspecified address must not carry one (RFC 4861 sections 4.1 and 4.3) and
// loses it.
//
// Like append it may use memory between the length and the capacity of
// packet; ErrNoRoom is returned when that is too small. The result starts
// where packet does; payload length and checksum are right again.
func AddLinkLayerOption(packet []byte, ll HardwareAddr) ([]byte, error) {
	m, err := ParseND(packet)
	if err != nil {
		return packet, err
	}
	t := m.Type()
	if m.Src().IsUnspecified() {
		return m.strip(t.LinkAddrOption(), t.LinkAddrOption()), nil
	}
	n := len(m.packet) - m.size(t.LinkAddrOption()) + LinkAddrOptionLen
	if n > cap(packet) || n-IPv6Len > 0xffff {
		return packet, ErrNoRoom
	}
	p := IPv6(m.strip(t.LinkAddrOption(), t.LinkAddrOption()))
	p = p[:n]
	putLinkAddrOption(p[n-LinkAddrOptionLen:], t.LinkAddrOption(), ll)
	p.setPayloadLen(n - IPv6Len)
	putICMPv6Checksum(p, m.off)
	return p, nil
}

// StripLinkLayerOptions removes all source and target link-layer address
// options, also ones of a wrong length, from the incoming ND message in
// packet, in place. The result starts where packet does; payload length and
// checksum are right again.
func StripLinkLayerOptions(packet []byte) ([]byte, error) {
	m, err := ParseND(packet)
	if err != nil {
		return packet, err
	}
	return m.strip(OptSLLA, OptTLLA), nil
}

// size returns the octets that options of type t take.
func (m ND) size(t OptionType) int {
	n := 0
	for o := range m.Options() {
		if o.Type() == t {
			n += len(o)
		}
	}
	return n
}

// strip removes the options of types a and b.
func (m ND) strip(a, b OptionType) []byte {
	start := m.off + m.Type().fixedLen()
	end := start
	for rest := m.packet[start:]; len(rest) > 0; {
		o, next, ok := nextOption(rest)
		if !ok {
			break // not in a validated message
		}
		if o.Type() != a && o.Type() != b {
			// end never passes the option that is read: the move is to the
			// front.
			end += copy(m.packet[end:], o)
		}
		rest = next
	}
	if end == len(m.packet) {
		return m.packet
	}
	p := m.packet[:end]
	p.setPayloadLen(end - IPv6Len)
	putICMPv6Checksum(p, m.off)
	return p
}

package cli

import (
	"encoding/binary"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// tunnelNames are the names of the kinds of tunnels.
func (s *session) tunnelNames() ([]string, bool) {
	if !s.secondSocket() {
		return nil, false
	}
	return s.globalStrings(ethnl.SetUDPTunnelTypes, s.second), true
}

func (s *session) tunnelsReply(m *message) int {
	refuse := cbError
	if s.dumping {
		refuse = cbOK
	}
	t := m.genl()
	if !s.named(t[ethnl.TunnelInfoHeader]) {
		return refuse
	}
	s.out.printf("Tunnel information for %s:\n", s.title())
	n := 0
	for a := range t[ethnl.TunnelInfoUDPPorts].Children() {
		if a.Type != ethnl.TunnelUDPTableNest {
			continue
		}
		s.out.printf("  UDP port table %d: \n", n)
		n++
		if !s.tunnelTable(a) {
			return refuse
		}
	}
	return cbOK
}

func (s *session) badTunnel(what string) bool {
	s.errorf("malformed netlink message (%s)\n", what)
	return false
}

func (s *session) tunnelTable(table nl.Attr) bool {
	t := parse(table)
	size := t[ethnl.TunnelUDPTableSize]
	if len(size.Data) != 4 {
		return s.badTunnel("table size")
	}
	s.out.printf("    Size: %d\n", size.Int32())
	if !t.has(ethnl.TunnelUDPTableTypes) || !s.tunnelTypes(t[ethnl.TunnelUDPTableTypes]) {
		return s.badTunnel("types")
	}
	var entries []nl.Attr
	for a := range table.Children() {
		if a.Type == ethnl.TunnelUDPTableEntry {
			entries = append(entries, a)
		}
	}
	if len(entries) == 0 {
		s.out.print("    No entries\n")
		return true
	}
	s.out.printf("    Entries (%d):\n", len(entries))
	for _, a := range entries {
		if !s.tunnelEntry(a) {
			return false
		}
	}
	return true
}

func (s *session) tunnelTypes(a nl.Attr) bool {
	v := bitset(a)
	empty, err := v.Empty(false)
	if err != nil {
		return s.badTunnel("bitset")
	}
	if empty {
		s.out.print("    Types: none (static entries)\n")
		return true
	}
	var names []string
	if v.Compact {
		var ok bool
		if names, ok = s.tunnelNames(); !ok {
			return false
		}
	}
	s.out.print("    Types:")
	sep := ""
	err = v.Walk(names, func(i int, name string, named, on bool) {
		if !on {
			return
		}
		s.out.print(sep)
		sep = ","
		if named {
			s.out.print(" " + name)
		} else {
			s.out.printf(" bit%d", i)
		}
	})
	s.out.print("\n")
	return err == nil
}

func (s *session) tunnelEntry(a nl.Attr) bool {
	names, ok := s.tunnelNames()
	if !ok {
		return false
	}
	t := parse(a)
	port, typ := t[ethnl.TunnelUDPEntryPort], t[ethnl.TunnelUDPEntryType]
	if len(port.Data) != 2 {
		return s.badTunnel("port")
	}
	if len(typ.Data) != 4 {
		return s.badTunnel("tunnel type")
	}
	name := null
	if i := typ.Uint32(); uint64(i) < uint64(len(names)) {
		name = names[i]
	}
	s.out.printf("        port %d, %s\n", binary.BigEndian.Uint16(port.Data), name)
	return true
}

func getTunnels(s *session) int {
	return s.show(ethnl.CmdTunnelInfoGet, ethnl.TunnelInfoHeader, 0, s.tunnelsReply)
}

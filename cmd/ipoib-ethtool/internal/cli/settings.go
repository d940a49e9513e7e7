package cli

import "ipoib/nl/ethnl"

// banner prints the title of the settings once.
func (s *session) banner() {
	if s.bannered {
		return
	}
	s.out.printf("Settings for %s:\n", s.title())
	s.bannered = true
}

// settings begins the answer to one of the requests of the settings: it
// reports whether it is to be shown.
func (s *session) settings(m *message, header int) (*table, bool) {
	if s.silent() {
		s.bannered = false
	}
	t := m.genl()
	return t, s.named(t[header])
}

// enum prints a value by its name.
func (s *session) enum(v uint8, names map[uint8]string, label string) {
	s.banner()
	if name, ok := names[v]; ok {
		s.out.printf("\t%s: %s\n", label, name)
		return
	}
	s.out.printf("\t%s: Unknown! (%d)\n", label, v)
}

// Names of the values of link settings (uapi/linux/ethtool.h).
var (
	duplexNames = map[uint8]string{0: "Half", 1: "Full"}
	masterCfg   = map[uint8]string{
		1: "unknown", 2: "preferred master", 3: "preferred slave", 4: "forced master", 5: "forced slave",
	}
	masterState = map[uint8]string{1: "unknown", 2: "master", 3: "slave", 4: "resolution error"}
	portNames   = map[uint8]string{
		0: "Twisted Pair", 1: "AUI", 2: "MII", 3: "FIBRE", 4: "BNC", 5: "Direct Attach Copper",
		0xef: "None", 0xff: "Other",
	}
	transceivers = map[uint8]string{0: "internal", 1: "external"}
)

func (s *session) linkModesReply(m *message) int {
	t, show := s.settings(m, ethnl.LinkModesHeader)
	if !show {
		return cbOK
	}
	if t.has(ethnl.LinkModesOurs) && !s.ourModes(t[ethnl.LinkModesOurs]) ||
		t.has(ethnl.LinkModesPeer) && !s.peerModes(t[ethnl.LinkModesPeer]) {
		if s.silent() {
			return cbOK
		}
		s.out.print("No data available\n")
		s.exitCode = 75
		return cbError
	}
	if v, ok := t.u32(ethnl.LinkModesSpeed); ok {
		s.banner()
		if v == 0 || v == 0xffff || v == 0xffffffff {
			s.out.print("\tSpeed: Unknown!\n")
		} else {
			s.out.printf("\tSpeed: %dMb/s\n", v)
		}
	}
	if v, ok := t.u32(ethnl.LinkModesLanes); ok {
		s.banner()
		s.out.printf("\tLanes: %d\n", v)
	}
	if v, ok := t.u8(ethnl.LinkModesDuplex); ok {
		s.enum(v, duplexNames, "Duplex")
	}
	if v, ok := t.u8(ethnl.LinkModesAutoneg); ok {
		s.banner()
		s.out.printf("\tAuto-negotiation: %s\n", onoff(v != 0))
	}
	if v, ok := t.u8(ethnl.LinkModesMasterSlaveCfg); ok {
		s.enum(v, masterCfg, "master-slave cfg")
	}
	if v, ok := t.u8(ethnl.LinkModesMasterSlaveState); ok {
		s.enum(v, masterState, "master-slave status")
	}
	return cbOK
}

func (s *session) linkInfoReply(m *message) int {
	t, show := s.settings(m, ethnl.LinkInfoHeader)
	if !show {
		return cbOK
	}
	port, hasPort := t.u8(ethnl.LinkInfoPort)
	if hasPort {
		s.enum(port, portNames, "Port")
	}
	if v, ok := t.u8(ethnl.LinkInfoPhyAddr); ok {
		s.banner()
		s.out.printf("\tPHYAD: %d\n", v)
	}
	if v, ok := t.u8(ethnl.LinkInfoTransceiver); ok {
		s.enum(v, transceivers, "Transceiver")
	}
	mdix, ok := t.u8(ethnl.LinkInfoTPMDIX)
	ctrl, has := t.u8(ethnl.LinkInfoTPMDIXCtrl)
	if ok && has && hasPort && port == 0 { // PORT_TP
		s.banner()
		s.out.print("\tMDI-X: " + mdixText(mdix, ctrl) + "\n")
	}
	return cbOK
}

// Values of MDI-X (ETH_TP_MDI*).
const (
	mdi     = 1
	mdiX    = 2
	mdiAuto = 3
)

func mdixText(mdix, ctrl uint8) string {
	switch ctrl {
	case mdi:
		return "off (forced)"
	case mdiX:
		return "on (forced)"
	}
	text := "Unknown"
	switch mdix {
	case mdi:
		text = "off"
	case mdiX:
		text = "on"
	}
	if ctrl == mdiAuto {
		text += " (auto)"
	}
	return text
}

// wolChars are the letters of the wake-on-lan modes by bit.
const wolChars = "pumbagsf"

func wolText(bits uint32) string {
	if bits == 0 {
		return "d"
	}
	var out []byte
	for i := range len(wolChars) {
		if bits>>i&1 != 0 {
			out = append(out, wolChars[i])
		}
	}
	return string(out)
}

func (s *session) wolReply(m *message) int {
	t, show := s.settings(m, ethnl.WoLHeader)
	if !show {
		return cbOK
	}
	const secure = 1 << 6 // WAKE_MAGICSECURE
	var supported, on uint32
	_ = bitset(t[ethnl.WoLModes]).Walk(nil, func(i int, _ string, _, set bool) {
		if i >= 32 {
			return
		}
		supported |= 1 << i
		if set {
			on |= 1 << i
		}
	})
	pass := make([]byte, 6)
	if t.has(ethnl.WoLSoPass) {
		if p := t[ethnl.WoLSoPass].Data; len(p) == len(pass) {
			copy(pass, p)
		} else {
			s.errorf("invalid SecureOn password length %d (should be %d)\n", len(p), len(pass))
		}
	}
	s.banner()
	s.out.printf("\tSupports Wake-on: %s\n\tWake-on: %s\n", wolText(supported), wolText(on))
	if supported&secure != 0 {
		s.out.print("        SecureOn password: ")
		for i, b := range pass {
			if i > 0 {
				s.out.print(":")
			}
			s.out.printf("%02x", b)
		}
		s.out.print("\n")
	}
	return cbOK
}

func (s *session) debugReply(m *message) int {
	t, show := s.settings(m, ethnl.DebugHeader)
	if !show || !t.has(ethnl.DebugMsgMask) {
		return cbOK
	}
	v := bitset(t[ethnl.DebugMsgMask])
	var names []string
	if v.Compact {
		if !s.secondSocket() {
			return cbOK
		}
		names = s.globalStrings(ethnl.SetMsgClasses, s.second)
	}
	s.banner()
	var level uint32
	text := ""
	_ = v.Walk(names, func(i int, name string, named, on bool) {
		if !on {
			return
		}
		if i < 32 {
			level |= 1 << i
		}
		if !named {
			name = null
		}
		text += " " + name
	})
	s.out.printf("        Current message level: 0x%08x (%d)\n                              %s\n", level, level, text)
	return cbOK
}

// getSettings is the command without option: five requests, of which any may
// be refused.
func getSettings(s *session) int {
	steps := []struct {
		cmd   uint8
		reply func(*message) int
	}{
		{ethnl.CmdLinkModesGet, s.linkModesReply},
		{ethnl.CmdLinkInfoGet, s.linkInfoReply},
		{ethnl.CmdWoLGet, s.wolReply},
		{ethnl.CmdDebugGet, s.debugReply},
		{ethnl.CmdLinkStateGet, s.linkStateReply},
	}
	for _, st := range steps {
		if s.refused(st.cmd, true) {
			return unsupported
		}
	}
	s.quiet = 1
	for _, st := range steps {
		s.main.get(st.cmd, ethnl.LinkInfoHeader, 0)
		s.main.ask(st.reply)
	}
	if !s.bannered {
		s.out.print("No data available\n")
		return 75
	}
	return 0
}

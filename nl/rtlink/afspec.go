package rtlink

import "ipoib/nl"

// Families and attributes inside AttrAFSpec.
const (
	afInet6          = 10 // AF_INET6
	inet6AddrGenMode = 8  // IFLA_INET6_ADDR_GEN_MODE
)

// AppendAFSpec appends an IFLA_AF_SPEC that sets the IPv6 address generation
// mode, as a request carries it.
func AppendAFSpec(e *nl.Encoder, mode uint8) {
	e.NestNoFlag(AttrAFSpec, func() {
		e.NestNoFlag(afInet6, func() { e.U8(inet6AddrGenMode, mode) })
	})
}

// AddrGenMode returns the IPv6 address generation mode inside an IFLA_AF_SPEC
// (enum in6_addr_gen_mode).
func AddrGenMode(afSpec []byte) (mode uint8, ok bool) {
	for af := range Attrs(afSpec) {
		if af.Type != afInet6 {
			continue
		}
		for a := range af.Children() {
			if a.Type == inet6AddrGenMode && len(a.Data) >= 1 {
				mode, ok = a.Uint8(), true
			}
		}
	}
	return mode, ok
}

func putAFSpec(e *nl.Encoder, t uint16, l *Link) {
	if l.AFSpec == nil {
		return
	}
	e.NestNoFlag(t, func() {
		for af := range Attrs(l.AFSpec) {
			if af.Type != afInet6 || l.AddrGenMode == nil {
				e.Put(af.Type, af.Data)
				continue
			}
			e.NestNoFlag(af.Type, func() {
				for a := range af.Children() {
					if a.Type == inet6AddrGenMode {
						e.U8(a.Type, *l.AddrGenMode)
						continue
					}
					e.Put(a.Type, a.Data)
				}
			})
		}
	})
}

func getAFSpec(a nl.Attr, l *Link, s *store) {
	l.AFSpec = a.Data
	if m, ok := AddrGenMode(a.Data); ok {
		l.AddrGenMode = s.newU8(m)
	}
}

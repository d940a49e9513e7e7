package iproute

import (
	"slices"
	"strings"

	"ipoib/nl/rtlink"
)

// otherKinds are the link types that ip knows besides ipoib
// (ip/iplink.c: iplink_types_usage).
var otherKinds = strings.Fields(`amt bareudp bond bond_slave bridge bridge_slave dsa dummy erspan geneve gre gretap gtp ifb
	ip6erspan ip6gre ip6gretap ip6tnl ipip ipvlan ipvtap macsec macvlan macvtap netdevsim nlmon rmnet sit team
	team_slave vcan veth vlan vrf vti vxcan vxlan wwan xfrm virt_wifi`)

// kind reads the words behind the type.
func (p *linkRequest) kind(a *args) error {
	switch {
	case p.typ == rtlink.KindIPoIB:
		return p.ipoib(a)
	case !p.typed || len(a.list) == 0:
		return nil
	case matches(a.word(), "help"):
		return p.s.linkUsage()
	case slices.Contains(otherKinds, p.typ):
		// The service refuses data of another kind, whatever it is.
		p.hasData = true
		return nil
	}
	return p.garbageArgs(a, false)
}

// ipoib reads the words of the kind ipoib (ip/iplink_ipoib.c:
// ipoib_parse_opt).
func (p *linkRequest) ipoib(a *args) error {
	if p.short {
		p.pkeyOfName(a)
	}
	for ; len(a.list) > 0; a.step() {
		p.hasData = true
		word := a.word()
		switch {
		case matches(word, "pkey"):
			if err := p.u16(a, rtlink.IPoIBPKey, "pkey is invalid"); err != nil {
				return err
			}
		case matches(word, "mode"):
			mode, err := a.next()
			if err != nil {
				return err
			}
			n, ok := map[string]uint16{"datagram": 0, "connected": 1}[mode]
			if !ok {
				p.s.errorf("Error: argument of \"mode\" must be \"datagram\"or \"connected\"\n")
				return errFailed
			}
			p.data.U16(rtlink.IPoIBMode, n)
		case matches(word, "umcast"):
			if err := p.u16(a, rtlink.IPoIBUmcast, "umcast is invalid"); err != nil {
				return err
			}
		default:
			if !matches(word, "help") {
				p.s.errorf("ipoib: unknown option \"%s\"?\n", word)
			}
			p.s.errorf("%s", ipoibUsage)
			return errFailed
		}
	}
	return nil
}

func (p *linkRequest) u16(a *args, attr uint16, msg string) error {
	word, err := a.next()
	if err != nil {
		return err
	}
	v, ok := getUnsigned(word, 0xffff)
	if !ok {
		return p.s.invalid(msg, word)
	}
	p.data.U16(attr, uint16(v))
	return nil
}

// pkeyOfName takes the P_Key from the name unless the words have one. No value
// of another word is short for pkey.
func (p *linkRequest) pkeyOfName(a *args) {
	given := slices.ContainsFunc(a.list, func(w string) bool { return matches(w, "pkey") })
	if _, pkey, ok := childName(p.name); ok && !given {
		p.data.U16(rtlink.IPoIBPKey, pkey)
		p.hasData = true
	}
}

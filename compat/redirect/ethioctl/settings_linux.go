package ethioctl

import (
	"golang.org/x/sys/unix"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// linkInfo is what ETHTOOL_GSET and ETHTOOL_GLINKSETTINGS tell: of the link
// modes and of the connector.
type linkInfo struct {
	modes, info map[uint16]nl.Attr
	// words is the length of a set of link modes.
	words int
}

func (d *device) linkInfo() (l linkInfo, err error) {
	if l.modes, err = d.get(ethnl.CmdLinkModesGet, ethnl.FlagCompactBitsets, nil); err != nil {
		return l, err
	}
	if l.info, err = d.get(ethnl.CmdLinkInfoGet, 0, nil); err != nil {
		return l, err
	}
	for c := range l.modes[ethnl.LinkModesOurs].Children() {
		if c.Type == ethnl.BitsetSize {
			l.words = (int(c.Uint32()) + 31) / 32
		}
	}
	return l, nil
}

// settings is struct ethtool_cmd.
func (d *device) settings(data uint64) error {
	l, err := d.linkInfo()
	if err != nil {
		return err
	}
	speed := l.modes[ethnl.LinkModesSpeed].Uint32()
	first := func(which uint16) uint32 {
		if m := bitmap(l.modes[ethnl.LinkModesOurs], which); len(m) > 0 {
			return m[0]
		}
		return 0
	}
	var s structure
	s.u32(unix.ETHTOOL_GSET, first(ethnl.BitsetMask), first(ethnl.BitsetValue))
	s = native.AppendUint16(s, uint16(speed))
	s = append(s, l.modes[ethnl.LinkModesDuplex].Uint8(), l.info[ethnl.LinkInfoPort].Uint8(),
		l.info[ethnl.LinkInfoPhyAddr].Uint8(), l.info[ethnl.LinkInfoTransceiver].Uint8(),
		l.modes[ethnl.LinkModesAutoneg].Uint8(), 0)
	s.u32(0, 0)
	s = native.AppendUint16(s, uint16(speed>>16))
	s = append(s, l.info[ethnl.LinkInfoTPMDIX].Uint8(), l.info[ethnl.LinkInfoTPMDIXCtrl].Uint8())
	s.u32(0, 0, 0)
	return d.write(data, s)
}

// Offsets in struct ethtool_link_settings.
const (
	offNwords       = 15
	linkSettingsLen = 48
)

// linkSettings is struct ethtool_link_settings. A program asks twice: first
// for the length of the sets of link modes, which is told as a negative number.
func (d *device) linkSettings(data uint64) error {
	var in [linkSettingsLen]byte
	if err := d.tr.Thread.Read(data, in[:]); err != nil {
		return unix.EFAULT
	}
	l, err := d.linkInfo()
	if err != nil {
		return err
	}
	out := make(structure, linkSettingsLen)
	native.PutUint32(out, unix.ETHTOOL_GLINKSETTINGS)
	if int(int8(in[offNwords])) != l.words {
		out[offNwords] = byte(-int8(l.words))
		return d.write(data, out)
	}
	native.PutUint32(out[4:], l.modes[ethnl.LinkModesSpeed].Uint32())
	out[8] = l.modes[ethnl.LinkModesDuplex].Uint8()
	out[9] = l.info[ethnl.LinkInfoPort].Uint8()
	out[10] = l.info[ethnl.LinkInfoPhyAddr].Uint8()
	out[11] = l.modes[ethnl.LinkModesAutoneg].Uint8()
	out[13] = l.info[ethnl.LinkInfoTPMDIX].Uint8()
	out[14] = l.info[ethnl.LinkInfoTPMDIXCtrl].Uint8()
	out[offNwords] = byte(l.words)
	out[16] = l.info[ethnl.LinkInfoTransceiver].Uint8()
	out[19] = l.modes[ethnl.LinkModesRateMatching].Uint8()
	for _, m := range []ethnl.Bitmap{
		bitmap(l.modes[ethnl.LinkModesOurs], ethnl.BitsetMask),
		bitmap(l.modes[ethnl.LinkModesOurs], ethnl.BitsetValue),
		bitmap(l.modes[ethnl.LinkModesPeer], ethnl.BitsetValue),
	} {
		for i := range l.words {
			var w uint32
			if i < len(m) {
				w = m[i]
			}
			out.u32(w)
		}
	}
	return d.write(data, out)
}

package ethioctl

import (
	"golang.org/x/sys/unix"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// stringSet asks for a string set of the interface, a global one as the
// service has it. It is empty when there is none.
func (d *device) stringSet(id uint32, countsOnly bool) (out ethnl.StringSet, err error) {
	a, err := d.get(ethnl.CmdStrsetGet, 0, func(e *nl.Encoder) {
		e.Nest(ethnl.StrsetStringSets, func() {
			e.Nest(ethnl.StringSetsStringSet, func() { e.U32(ethnl.StringSetID, id) })
		})
		if countsOnly {
			e.Flag(ethnl.StrsetCountsOnly)
		}
	})
	if err != nil {
		return out, err
	}
	for set := range a[ethnl.StrsetStringSets].Children() {
		if countsOnly {
			for c := range set.Children() {
				if c.Type == ethnl.StringSetCount {
					out.Count = int(c.Uint32())
				}
			}
			continue
		}
		if s, ok := ethnl.ViewStringSet(set); ok && uint32(s.ID) == id {
			out = s
		}
	}
	return out, nil
}

// ssetInfo is struct ethtool_sset_info: of a mask of string sets, those that
// there are, and the number of strings of each.
func (d *device) ssetInfo(data uint64) error {
	in, err := d.words(data, 4)
	if err != nil {
		return err
	}
	mask := uint64(in[2]) | uint64(in[3])<<32
	var have uint64
	var counts structure
	for id := range uint32(ethnl.NumStringSets) {
		if mask&(1<<id) == 0 {
			continue
		}
		s, err := d.stringSet(id, true)
		if err == nil && s.Count > 0 {
			have |= 1 << id
			counts.u32(uint32(s.Count))
		}
	}
	var s structure
	s.u32(unix.ETHTOOL_GSSET_INFO, in[1])
	s.u64(have)
	return d.write(data, append(s, counts...))
}

// gstrings is struct ethtool_gstrings.
func (d *device) gstrings(data uint64) error {
	in, err := d.words(data, 2)
	if err != nil {
		return err
	}
	if in[1] >= ethnl.NumStringSets {
		return unix.EOPNOTSUPP
	}
	set, err := d.stringSet(in[1], false)
	if err != nil {
		return err
	}
	if len(set.Strings) == 0 {
		return unix.EOPNOTSUPP
	}
	var s structure
	s.u32(unix.ETHTOOL_GSTRINGS, in[1], uint32(len(set.Strings)))
	for _, text := range set.Strings {
		s.text(text, ethnl.StringLen)
	}
	return d.write(data, s)
}

package ethioctl

import (
	"path"

	"golang.org/x/sys/unix"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// bitmap reads the words of a compact bitset.
func bitmap(a nl.Attr, which uint16) (out ethnl.Bitmap) {
	for c := range a.Children() {
		if c.Type == which {
			for i := 0; i+4 <= len(c.Data); i += 4 {
				out = append(out, native.Uint32(c.Data[i:]))
			}
		}
	}
	return out
}

// featureSets are the sets of struct ethtool_get_features_block.
type featureSets struct {
	available, requested, active, fixed ethnl.Bitmap
}

func (d *device) featureSets() (f featureSets, err error) {
	a, err := d.get(ethnl.CmdFeaturesGet, ethnl.FlagCompactBitsets, nil)
	if err != nil {
		return f, err
	}
	f = featureSets{
		available: bitmap(a[ethnl.FeaturesHW], ethnl.BitsetValue),
		requested: bitmap(a[ethnl.FeaturesWanted], ethnl.BitsetValue),
		active:    bitmap(a[ethnl.FeaturesActive], ethnl.BitsetValue),
		fixed:     bitmap(a[ethnl.FeaturesNoChange], ethnl.BitsetValue),
	}
	n := len(f.active)
	if len(f.available) != n || len(f.requested) != n || len(f.fixed) != n {
		return f, unix.EOPNOTSUPP
	}
	return f, nil
}

// features is struct ethtool_gfeatures.
func (d *device) features(data uint64) error {
	in, err := d.words(data, 2)
	if err != nil {
		return err
	}
	f, err := d.featureSets()
	if err != nil {
		return err
	}
	var s structure
	s.u32(unix.ETHTOOL_GFEATURES, uint32(len(f.active)))
	for i := range min(int(in[1]), len(f.active)) {
		s.u32(f.available[i], f.requested[i], f.active[i], f.fixed[i])
	}
	return d.write(data, s)
}

// Results of ETHTOOL_SFEATURES (enum ethtool_sfeatures_retval_bits).
const (
	resultUnsupported = 1 << 0
	resultWish        = 1 << 1
)

// setFeatures is struct ethtool_sfeatures.
func (d *device) setFeatures(data uint64) error {
	in, err := d.words(data, 2)
	if err != nil {
		return err
	}
	if !d.options().Privileged {
		return unix.EPERM
	}
	f, err := d.featureSets()
	if err != nil {
		return err
	}
	n := len(f.active)
	if int(in[1]) != n {
		return unix.EINVAL
	}
	if in, err = d.words(data, 2+2*n); err != nil {
		return err
	}
	valid, want := make(ethnl.Bitmap, n), make(ethnl.Bitmap, n)
	result := 0
	for i := range n {
		valid[i] = in[2+2*i]
		if valid[i]&^f.available[i] != 0 {
			result |= resultUnsupported
			valid[i] &= f.available[i]
		}
		want[i] = in[3+2*i] & valid[i]
	}
	if f, err = d.changeFeatures(valid, want); err != nil {
		return err
	}
	for i := range n {
		if (want[i]^f.active[i])&valid[i] != 0 {
			result |= resultWish
		}
	}
	return d.tr.Return(result)
}

// changeFeatures sets the features of a mask, and returns what came of it.
func (d *device) changeFeatures(mask, want ethnl.Bitmap) (featureSets, error) {
	_, err := d.set(ethnl.CmdFeaturesSet, ethnl.FlagCompactBitsets, func(e *nl.Encoder) {
		e.Nest(ethnl.FeaturesWanted, func() {
			e.U32(ethnl.BitsetSize, uint32(32*len(mask)))
			e.Put(ethnl.BitsetValue, octets(want))
			e.Put(ethnl.BitsetMask, octets(mask))
		})
	})
	if err != nil {
		return featureSets{}, err
	}
	return d.featureSets()
}

func octets(m ethnl.Bitmap) (b []byte) {
	for _, w := range m {
		b = native.AppendUint32(b, w)
	}
	return b
}

// feature is what a command of the time before ETHTOOL_GFEATURES is about
// (ethtool_get_feature_mask): a pattern of names.
type feature struct {
	pattern string
	set     bool
}

var oneFeature = map[uint32]feature{
	unix.ETHTOOL_GRXCSUM: {"rx-checksum", false}, unix.ETHTOOL_SRXCSUM: {"rx-checksum", true},
	unix.ETHTOOL_GTXCSUM: {"tx-checksum-*", false}, unix.ETHTOOL_STXCSUM: {"tx-checksum-*", true},
	unix.ETHTOOL_GSG: {"tx-scatter-gather*", false}, unix.ETHTOOL_SSG: {"tx-scatter-gather*", true},
	unix.ETHTOOL_GTSO: {"tx-tcp*-segmentation", false}, unix.ETHTOOL_STSO: {"tx-tcp*-segmentation", true},
	unix.ETHTOOL_GUFO: {"", false}, unix.ETHTOOL_SUFO: {"", true},
	unix.ETHTOOL_GGSO: {"tx-generic-segmentation", false}, unix.ETHTOOL_SGSO: {"tx-generic-segmentation", true},
	unix.ETHTOOL_GGRO: {"rx-gro", false}, unix.ETHTOOL_SGRO: {"rx-gro", true},
}

// matching is the set of the features whose names match a pattern.
func (d *device) matching(pattern string, words int) (ethnl.Bitmap, error) {
	names, err := d.stringSet(ethnl.SetFeatures, false)
	if err != nil {
		return nil, err
	}
	m := make(ethnl.Bitmap, words)
	for i, name := range names.Strings {
		if ok, _ := path.Match(pattern, name); ok && name != "" && i < 32*words {
			m.Set(i)
		}
	}
	return m, nil
}

// single reads or sets one kind of features: struct ethtool_value.
func (d *device) single(f feature, data uint64) error {
	in, err := d.words(data, 2)
	if err != nil {
		return err
	}
	if f.set && !d.options().Privileged {
		return unix.EPERM
	}
	sets, err := d.featureSets()
	if err != nil {
		return err
	}
	mask, err := d.matching(f.pattern, len(sets.active))
	if err != nil {
		return err
	}
	if !f.set {
		var s structure
		s.u32(in[0], boolWord(overlap(mask, sets.active)))
		return d.write(data, s)
	}
	return d.toggle(mask, sets, in[1] != 0)
}

// toggle switches the features of a mask that can be switched; EOPNOTSUPP when
// none can.
func (d *device) toggle(mask ethnl.Bitmap, sets featureSets, on bool) error {
	want := make(ethnl.Bitmap, len(mask))
	for i := range mask {
		mask[i] &= sets.available[i]
		if on {
			want[i] = mask[i]
		}
	}
	if !overlap(mask, mask) {
		return unix.EOPNOTSUPP
	}
	_, err := d.changeFeatures(mask, want)
	return err
}

func overlap(a, b ethnl.Bitmap) bool {
	for i := range a {
		if a[i]&b[i] != 0 {
			return true
		}
	}
	return false
}

func boolWord(v bool) uint32 {
	if v {
		return 1
	}
	return 0
}

// flagBits are the features of ETHTOOL_GFLAGS (enum ethtool_flags).
var flagBits = []struct {
	bit  uint32
	name string
}{
	{1 << 7, "tx-vlan-hw-insert"}, {1 << 8, "rx-vlan-hw-parse"}, {1 << 15, "rx-lro"},
	{1 << 27, "rx-ntuple-filter"}, {1 << 28, "rx-hashing"},
}

// flagWord is ETHTOOL_GFLAGS.
func (d *device) flagWord(data uint64) error {
	sets, err := d.featureSets()
	if err != nil {
		return err
	}
	var v uint32
	for _, f := range flagBits {
		m, err := d.matching(f.name, len(sets.active))
		if err != nil {
			return err
		}
		if overlap(m, sets.active) {
			v |= f.bit
		}
	}
	var s structure
	s.u32(unix.ETHTOOL_GFLAGS, v)
	return d.write(data, s)
}

// setFlagWord is ETHTOOL_SFLAGS (__ethtool_set_flags).
func (d *device) setFlagWord(data uint64) error {
	in, err := d.words(data, 2)
	if err != nil {
		return err
	}
	if !d.options().Privileged {
		return unix.EPERM
	}
	sets, err := d.featureSets()
	if err != nil {
		return err
	}
	n := len(sets.active)
	mask, want := make(ethnl.Bitmap, n), make(ethnl.Bitmap, n)
	rest := in[1]
	for _, f := range flagBits {
		m, err := d.matching(f.name, n)
		if err != nil {
			return err
		}
		on := in[1]&f.bit != 0
		rest &^= f.bit
		if on == overlap(m, sets.active) {
			continue
		}
		if !overlap(m, sets.available) {
			return unix.EOPNOTSUPP
		}
		for i := range m {
			mask[i] |= m[i]
			if on {
				want[i] |= m[i]
			}
		}
	}
	if rest != 0 {
		return unix.EINVAL
	}
	if !overlap(mask, mask) {
		return nil
	}
	_, err = d.changeFeatures(mask, want)
	return err
}

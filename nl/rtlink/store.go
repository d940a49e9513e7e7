package rtlink

// store is room for what a link points to: one allocation in place of many,
// for lists of thousands. What does not fit is allocated alone.
type store struct {
	u32   [32]uint32
	u8    [8]uint8
	stats [2]Stats
	info  Info
	other [8]Raw

	n32, n8, nStats int
}

func (s *store) newU32(v uint32) *uint32 {
	if s.n32 == len(s.u32) {
		return &v
	}
	p := &s.u32[s.n32]
	s.n32++
	*p = v
	return p
}

func (s *store) newU8(v uint8) *uint8 {
	if s.n8 == len(s.u8) {
		return &v
	}
	p := &s.u8[s.n8]
	s.n8++
	*p = v
	return p
}

func (s *store) newStats() *Stats {
	if s.nStats == len(s.stats) {
		return new(Stats)
	}
	s.nStats++
	return &s.stats[s.nStats-1]
}

package mad

import "ipoib/rdma"

// Bits of the link speed fields of PortInfo (IBA table 146).
const (
	speedSDR = 1
	speedDDR = 2
	speedQDR = 4

	speedExtFDR = 1
	speedExtEDR = 2
	speedExtHDR = 4
	speedExtNDR = 8

	mlnxSpeedFDR10 = 1
)

// Values with a meaning of their own in a Set of PortInfo (IBA table 146).
const (
	LinkWidthSetSupported    rdma.LinkWidth = 255
	LinkSpeedSetSupported    uint8          = 15
	LinkSpeedExtSetNone      uint8          = 30
	LinkSpeedExtSetSupported uint8          = 31
)

var speedBits = [...]struct {
	speed     rdma.LinkSpeed
	base, ext uint8
}{
	{rdma.SpeedSDR, speedSDR, 0},
	{rdma.SpeedDDR, speedDDR, 0},
	{rdma.SpeedQDR, speedQDR, 0},
	{rdma.SpeedFDR, 0, speedExtFDR},
	{rdma.SpeedEDR, 0, speedExtEDR},
	{rdma.SpeedHDR, 0, speedExtHDR},
	{rdma.SpeedNDR, 0, speedExtNDR},
}

// DecodeSpeeds joins a link speed field and its extended twin to a mask of
// rdma.LinkSpeed. FDR10 is in neither: see MlnxExtendedPortInfo.
func DecodeSpeeds(base, ext uint8) rdma.LinkSpeed {
	var s rdma.LinkSpeed
	for _, e := range speedBits {
		if base&e.base != 0 || ext&e.ext != 0 {
			s |= e.speed
		}
	}
	return s
}

// EncodeSpeeds is the inverse of DecodeSpeeds; FDR10 counts as QDR, as the
// hardware that has it does.
func EncodeSpeeds(s rdma.LinkSpeed) (base, ext uint8) {
	if s&rdma.SpeedFDR10 != 0 {
		base |= speedQDR
	}
	for _, e := range speedBits {
		if s&e.speed != 0 {
			base |= e.base
			ext |= e.ext
		}
	}
	return base, ext
}

// highest returns the fastest speed of a mask.
func highest(s rdma.LinkSpeed) rdma.LinkSpeed {
	for b := rdma.SpeedNDR; b != 0; b >>= 1 {
		if s&b != 0 {
			return b
		}
	}
	return 0
}

// ActiveSpeed returns the speed of the link as it runs, 0 when unknown. The
// extended field wins where CapExtendedSpeeds is set. ext may be nil; with it
// a QDR link that runs FDR10 is told (kernel mlx4 eth_link_query_port).
func (p *PortInfo) ActiveSpeed(ext *MlnxExtendedPortInfo) rdma.LinkSpeed {
	if p.CapMask.Has(CapExtendedSpeeds) && p.LinkSpeedExtActive != 0 {
		return highest(DecodeSpeeds(0, p.LinkSpeedExtActive))
	}
	s := highest(DecodeSpeeds(p.LinkSpeedActive, 0))
	if s == rdma.SpeedQDR && ext != nil && ext.LinkSpeedActive&mlnxSpeedFDR10 != 0 {
		return rdma.SpeedFDR10
	}
	return s
}

// SetActiveSpeed writes both active fields. A link at an extended speed shows
// QDR in the old field, as hardware does.
func (p *PortInfo) SetActiveSpeed(s rdma.LinkSpeed) {
	p.LinkSpeedActive, p.LinkSpeedExtActive = EncodeSpeeds(highest(s))
	if p.LinkSpeedExtActive != 0 {
		p.LinkSpeedActive = speedQDR
	}
}

// SupportedSpeeds returns the mask of the speeds that the port can run.
func (p *PortInfo) SupportedSpeeds() rdma.LinkSpeed {
	return DecodeSpeeds(p.LinkSpeedSupported, p.LinkSpeedExtSupported)
}

// SetSupportedSpeeds writes the supported and the enabled fields and the
// capability bits that announce them.
func (p *PortInfo) SetSupportedSpeeds(s rdma.LinkSpeed) {
	p.LinkSpeedSupported, p.LinkSpeedExtSupported = EncodeSpeeds(s)
	p.LinkSpeedEnabled, p.LinkSpeedExtEnabled = p.LinkSpeedSupported, p.LinkSpeedExtSupported
	p.CapMask &^= CapExtendedSpeeds
	p.CapMask2 &^= Cap2LinkSpeedHDR | Cap2LinkSpeedNDR
	if p.LinkSpeedExtSupported != 0 {
		p.CapMask |= CapExtendedSpeeds
	}
	if s&rdma.SpeedHDR != 0 {
		p.CapMask2 |= Cap2LinkSpeedHDR
	}
	if s&rdma.SpeedNDR != 0 {
		p.CapMask2 |= Cap2LinkSpeedNDR
	}
	if p.CapMask2 != 0 {
		p.CapMask |= CapCapMask2
	}
}

// Rate returns the rate code of the link as it runs, 0 when unknown.
func (p *PortInfo) Rate() rdma.Rate {
	return rdma.LinkRate(p.LinkWidthActive, p.ActiveSpeed(nil))
}

// MlnxExtendedPortInfoLen is the length of MlnxExtendedPortInfo in bytes.
const MlnxExtendedPortInfoLen = 64

// MlnxExtendedPortInfo is the vendor's attribute 0xff90. Bit 0 of the speed
// fields is FDR10.
type MlnxExtendedPortInfo struct {
	StateChangeEnable  uint8
	LinkSpeedSupported uint8
	LinkSpeedEnabled   uint8
	LinkSpeedActive    uint8
}

// Len returns MlnxExtendedPortInfoLen.
func (*MlnxExtendedPortInfo) Len() int { return MlnxExtendedPortInfoLen }

// Marshal implements Attribute.
func (p *MlnxExtendedPortInfo) Marshal(b []byte) {
	b = b[:MlnxExtendedPortInfoLen]
	clear(b)
	b[3], b[7], b[11], b[15] = p.StateChangeEnable, p.LinkSpeedSupported, p.LinkSpeedEnabled, p.LinkSpeedActive
}

// Unmarshal implements Attribute.
func (p *MlnxExtendedPortInfo) Unmarshal(b []byte) error {
	if err := need(b, MlnxExtendedPortInfoLen, "MlnxExtendedPortInfo"); err != nil {
		return err
	}
	*p = MlnxExtendedPortInfo{
		StateChangeEnable: b[3], LinkSpeedSupported: b[7], LinkSpeedEnabled: b[11], LinkSpeedActive: b[15],
	}
	return nil
}

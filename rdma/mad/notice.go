package mad

import (
	"fmt"

	"ipoib/rdma"
)

// NoticeLen is the length of Notice in bytes; InSMP, NoticeSMPLen of them are
// used, the issuer GID is left out.
const (
	NoticeLen        = 80
	NoticeSMPLen     = 64
	NoticeDetailsLen = 54
)

// NoticeType is the type of a generic notice (IBA table 113).
type NoticeType uint8

// The types.
const (
	NoticeFatal         NoticeType = 0
	NoticeUrgent        NoticeType = 1
	NoticeSecurity      NoticeType = 2
	NoticeSubnMgmt      NoticeType = 3
	NoticeInformational NoticeType = 4
	NoticeEmpty         NoticeType = 0x7f
)

// ProducerType says what kind of node raised a notice (IBA table 113).
type ProducerType uint32

// The kinds; ProducerAll is the wildcard of InformInfo.
const (
	ProducerCA           ProducerType = 1
	ProducerSwitch       ProducerType = 2
	ProducerRouter       ProducerType = 3
	ProducerClassManager ProducerType = 4
	ProducerAll          ProducerType = 0xffffff
)

// TrapNumber is the number of a generic trap (IBA table 131).
type TrapNumber uint16

// The traps; TrapAll is the wildcard of InformInfo.
const (
	TrapGIDInService       TrapNumber = 64
	TrapGIDOutOfService    TrapNumber = 65
	TrapMCGroupCreated     TrapNumber = 66
	TrapMCGroupDeleted     TrapNumber = 67
	TrapLinkStateChange    TrapNumber = 128
	TrapLocalLinkIntegrity TrapNumber = 129
	TrapBufferOverrun      TrapNumber = 130
	TrapFlowControlTimeout TrapNumber = 131
	TrapCapMaskChange      TrapNumber = 144
	TrapSystemImageGUID    TrapNumber = 145
	TrapBadMKey            TrapNumber = 256
	TrapBadPKey            TrapNumber = 257
	TrapBadQKey            TrapNumber = 258
	TrapSwitchBadPKey      TrapNumber = 259
	TrapAll                TrapNumber = 0xffff
)

// NoticeType returns the type that the trap is raised with.
func (t TrapNumber) NoticeType() NoticeType {
	switch {
	case t >= TrapGIDInService && t <= TrapMCGroupDeleted:
		return NoticeSubnMgmt // as OpenSM sends them
	case t >= TrapLinkStateChange && t <= TrapFlowControlTimeout:
		return NoticeUrgent
	case t >= TrapBadMKey && t <= TrapSwitchBadPKey:
		return NoticeSecurity
	}
	return NoticeInformational
}

// Notice is a trap, or the report of one (IBA 13.4.8.2):
//
//	 0 IsGeneric 1, Type 7   1 ProducerType or VendorID (24)
//	 4 TrapNumber or DeviceID (16)   6 IssuerLID (16)
//	 8 NoticeToggle 1, NoticeCount 15
//	10 DataDetails (54 bytes)        64 IssuerGID (SA only)
type Notice struct {
	// IsGeneric tells a notice of the IBA from a vendor's; of a vendor's,
	// ProducerType is the vendor ID and TrapNumber the device ID.
	IsGeneric    bool
	Type         NoticeType
	ProducerType ProducerType // 24 bits
	TrapNumber   TrapNumber
	IssuerLID    rdma.LID
	Toggle       bool
	Count        uint16 // 15 bits
	// Details depend on the trap: SetDetails and ParseDetails.
	Details   [NoticeDetailsLen]byte
	IssuerGID rdma.GID
}

// Len returns NoticeLen.
func (*Notice) Len() int { return NoticeLen }

// Marshal writes the notice as the SA and GMP classes have it. Into the 64
// bytes of an SMP it goes without the issuer GID: see MarshalSMP.
func (n *Notice) Marshal(b []byte) {
	n.MarshalSMP(b)
	copy(b[64:80], n.IssuerGID[:])
}

// MarshalSMP writes NoticeSMPLen bytes.
func (n *Notice) MarshalSMP(b []byte) {
	_ = b[NoticeSMPLen-1]
	b[0] = bit(n.IsGeneric, 7) | uint8(n.Type)&0x7f
	putUint24(b[1:], uint32(n.ProducerType))
	be.PutUint16(b[4:], uint16(n.TrapNumber))
	be.PutUint16(b[6:], uint16(n.IssuerLID))
	be.PutUint16(b[8:], uint16(bit(n.Toggle, 7))<<8|n.Count&0x7fff)
	copy(b[10:64], n.Details[:])
}

// Unmarshal reads a notice. From exactly the 64 bytes of an SMP the issuer
// GID stays zero; any other length below NoticeLen is ErrShort.
func (n *Notice) Unmarshal(b []byte) error {
	if len(b) != NoticeSMPLen {
		if err := need(b, NoticeLen, "Notice"); err != nil {
			return err
		}
	}
	c := be.Uint16(b[8:])
	*n = Notice{
		IsGeneric: b[0]&0x80 != 0, Type: NoticeType(b[0] & 0x7f),
		ProducerType: ProducerType(uint24(b[1:])), TrapNumber: TrapNumber(be.Uint16(b[4:])),
		IssuerLID: rdma.LID(be.Uint16(b[6:])), Toggle: c&0x8000 != 0, Count: c & 0x7fff,
		Details: [NoticeDetailsLen]byte(b[10:64]),
	}
	if len(b) >= NoticeLen {
		n.IssuerGID = rdma.GID(b[64:80])
	}
	return nil
}

// SetNotice writes a notice to where the datagram's class has it.
func (m *MAD) SetNotice(n *Notice) {
	if m.Class().IsSMP() {
		n.MarshalSMP(m.SMPData())
		return
	}
	m.SetAttr(n)
}

// Notice reads the notice from where the datagram's class has it.
func (m *MAD) Notice() (Notice, error) {
	var n Notice
	err := n.Unmarshal(m.Data())
	return n, err
}

// String prints the trap in one line.
func (n *Notice) String() string {
	if !n.IsGeneric {
		return fmt.Sprintf("vendor 0x%06x notice from device 0x%04x, issuer %v", uint32(n.ProducerType),
			uint16(n.TrapNumber), n.IssuerLID)
	}
	return fmt.Sprintf("trap %d type %d producer %d issuer %v", n.TrapNumber, n.Type, n.ProducerType, n.IssuerLID)
}

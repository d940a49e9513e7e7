package rtlink

import "ipoib/nl"

// KindIPoIB is the kind of IPoIB links (kernel ipoib_link_ops).
const KindIPoIB = "ipoib"

// Attributes of the kind "ipoib" (uapi/linux/if_link.h: IFLA_IPOIB_*), all u16
// in host byte order.
const (
	IPoIBPKey   = 1 // IFLA_IPOIB_PKEY
	IPoIBMode   = 2 // IFLA_IPOIB_MODE: 0 datagram, 1 connected
	IPoIBUmcast = 3 // IFLA_IPOIB_UMCAST
)

// IPoIB is the data of the kind "ipoib"; nil is absent.
type IPoIB struct {
	PKey, Mode, Umcast *uint16
}

// Append appends the attributes to e (kernel ipoib_fill_info).
func (d *IPoIB) Append(e *nl.Encoder) {
	for t, p := range [...]*uint16{IPoIBPKey: d.PKey, IPoIBMode: d.Mode, IPoIBUmcast: d.Umcast} {
		if p != nil {
			e.U16(uint16(t), *p)
		}
	}
}

// Bytes returns the attributes, for Info.Data.
func (d *IPoIB) Bytes() []byte {
	var e nl.Encoder
	d.Append(&e)
	return e.Bytes()
}

// DecodeIPoIB reads Info.Data of an IPoIB link. Attributes that are too short
// count as absent.
func DecodeIPoIB(b []byte) IPoIB {
	var d IPoIB
	at := [...]**uint16{IPoIBPKey: &d.PKey, IPoIBMode: &d.Mode, IPoIBUmcast: &d.Umcast}
	for a := range Attrs(b) {
		if int(a.Type) < len(at) && at[a.Type] != nil && len(a.Data) >= 2 {
			*at[a.Type] = new(a.Uint16())
		}
	}
	return d
}

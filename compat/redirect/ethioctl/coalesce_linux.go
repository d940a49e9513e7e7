package ethioctl

import (
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

const acknowledge = netlink.Acknowledge

// coalesceWords is the length of struct ethtool_coalesce: the command and the
// parameters, in the order of their netlink attributes from RX_USECS on.
const coalesceWords = 23

func coalesceAttr(word int) uint16 { return uint16(word + ethnl.CoalesceRxUsecs - 1) }

// coalesce is ETHTOOL_GCOALESCE.
func (d *device) coalesce(data uint64) error {
	a, err := d.get(ethnl.CmdCoalesceGet, 0, nil)
	if err != nil {
		return err
	}
	s := structure{}
	s.u32(unix.ETHTOOL_GCOALESCE)
	for i := 1; i < coalesceWords; i++ {
		at := a[coalesceAttr(i)]
		if len(at.Data) == 1 {
			s.u32(uint32(at.Uint8()))
			continue
		}
		s.u32(at.Uint32())
	}
	return d.write(data, s)
}

// setCoalesce is ETHTOOL_SCOALESCE. The structure has all parameters: those
// that the driver does not have must be 0 (ethtool_set_coalesce_supported).
func (d *device) setCoalesce(data uint64) error {
	in, err := d.words(data, coalesceWords)
	if err != nil {
		return err
	}
	if !d.options().Privileged {
		return unix.EPERM
	}
	have, err := d.get(ethnl.CmdCoalesceGet, 0, nil)
	if err != nil {
		return err
	}
	for i := 1; i < coalesceWords; i++ {
		if _, ok := have[coalesceAttr(i)]; !ok && in[i] != 0 {
			return unix.EOPNOTSUPP
		}
	}
	_, err = d.set(ethnl.CmdCoalesceSet, 0, func(e *nl.Encoder) {
		for i := 1; i < coalesceWords; i++ {
			switch a, ok := have[coalesceAttr(i)]; {
			case !ok:
			case len(a.Data) == 1:
				e.U8(a.Type, uint8(in[i]))
			default:
				e.U32(a.Type, in[i])
			}
		}
	})
	return err
}

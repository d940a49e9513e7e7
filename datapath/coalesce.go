package datapath

import (
	"errors"
	"math"
	"syscall"

	"ipoib/rdma"
)

// Coalesce is the moderation of receive completions (struct ethtool_coalesce,
// the parameters that the driver knows): completions are held back until
// RxFrames of them wait or RxUsecs microseconds passed; both 0 is at once.
// Transmission is never moderated.
type Coalesce struct {
	RxUsecs, RxFrames uint32
}

// SetCoalesce changes the moderation; a nil value stays as it is (kernel
// ipoib_set_coalesce). Values above 65535 are EINVAL. A device that cannot
// moderate keeps the values and ignores them.
func (i *Interface) SetCoalesce(rxUsecs, rxFrames *uint32) error {
	const op = "set coalesce"
	return i.set(op, func() error {
		c := i.coalesce
		if rxUsecs != nil {
			c.RxUsecs = *rxUsecs
		}
		if rxFrames != nil {
			c.RxFrames = *rxFrames
		}
		switch {
		case c == i.coalesce:
			return nil
		case c.RxUsecs > math.MaxUint16, c.RxFrames > math.MaxUint16:
			return refuse(op, i.name, syscall.EINVAL, "")
		}
		if err := i.moderate(c); err != nil {
			return system(op, i.name, err)
		}
		i.coalesce = c
		return nil
	})
}

// moderate applies a moderation within its limits.
func (i *Interface) moderate(c Coalesce) error {
	err := i.recvCQ.Moderate(uint16(c.RxFrames), uint16(c.RxUsecs))
	if errors.Is(err, rdma.ErrNotSupported) {
		return nil
	}
	if err != nil {
		i.warnf("failed modifying CQ (%v)", err)
	}
	return err
}

// restoreCoalesce applies the moderation that an interface had before.
func (i *Interface) restoreCoalesce(c Coalesce) {
	if c.RxUsecs > math.MaxUint16 || c.RxFrames > math.MaxUint16 || i.moderate(c) != nil {
		return
	}
	i.coalesce = c
}

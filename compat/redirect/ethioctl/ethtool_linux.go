package ethioctl

import "encoding/binary"

var native = binary.NativeEndian

func (d *device) ethtool(data uint64) error { return d.tr.Continue() }

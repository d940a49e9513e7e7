package rdma

import (
	"fmt"
	"strconv"
)

// MTU is the IBA code of a path MTU (IBA table 14.2.5.6): 1 is 256 bytes,
// 5 is 4096. 0 means unset.
type MTU uint8

// The codes.
const (
	MTU256  MTU = 1
	MTU512  MTU = 2
	MTU1024 MTU = 3
	MTU2048 MTU = 4
	MTU4096 MTU = 5
)

// Bytes returns the payload size in bytes, 0 for an unknown code.
func (m MTU) Bytes() int {
	if m < MTU256 || m > MTU4096 {
		return 0
	}
	return 128 << m
}

// IsValid reports whether the code is one of the five.
func (m MTU) IsValid() bool { return m.Bytes() != 0 }

func (m MTU) String() string {
	if !m.IsValid() {
		return fmt.Sprintf("MTU(%d)", uint8(m))
	}
	return strconv.Itoa(m.Bytes())
}

// MTUFromBytes returns the code of 256, 512, 1024, 2048 or 4096.
func MTUFromBytes(n int) (MTU, error) {
	for m := MTU256; m <= MTU4096; m++ {
		if m.Bytes() == n {
			return m, nil
		}
	}
	return 0, fmt.Errorf("rdma: %d is not an InfiniBand MTU (256, 512, 1024, 2048 or 4096)", n)
}

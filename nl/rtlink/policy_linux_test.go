package rtlink

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/nl"
)

// judged are attributes whose presence decides in this request, once the
// policy let them pass.
var judged = map[uint16]bool{AttrNetNSPID: true, AttrNetNSFD: true, AttrTargetNetNSID: true}

// TestPolicyKernel sends each attribute in several sizes to the running kernel,
// in a request for a device that does not exist, and compares what it says
// with our policy.
func TestPolicyKernel(t *testing.T) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		t.Skipf("no NETLINK_ROUTE: %v", err)
	}
	defer c.Close()
	if err := c.SetOption(netlink.ExtendedAcknowledge, true); err != nil {
		t.Skip(err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for n := uint16(1); n <= AttrAllmulti; n++ {
		for _, size := range []int{0, 1, 2, 4, 5, 15, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256} {
			if judged[n] && size >= 4 {
				continue
			}
			p := make([]byte, size)
			for i := range p {
				p[i] = 'x'
			}
			var e nl.Encoder
			AppendHeader(&e, 0, 0, 1<<31-2, 0, 0)
			e.Put(n, p)
			want := describe(c.Execute(netlink.Message{
				Header: netlink.Header{Type: GetLink, Flags: netlink.Request},
				Data:   e.Bytes(),
			}))
			_, err := nl.Parse(e.Bytes()[HeaderLen:], HeaderLen+nl.HeaderLen, Policy, nl.Liberal)
			if err == nil {
				err = &nl.Error{Code: syscall.ENODEV}
			}
			if got := describe(nil, err); got != want {
				t.Errorf("attribute %d of %d bytes: %s, kernel %s", n, size, got, want)
			}
		}
	}
}

// describe prints errno, text and offset.
func describe(_ []netlink.Message, err error) string {
	if op, ok := errors.AsType[*netlink.OpError](err); ok {
		return fmt.Sprintf("%v %q at %d", op.Err, op.Message, op.Offset)
	}
	if own, ok := errors.AsType[*nl.Error](err); ok {
		return fmt.Sprintf("%v %q at %d", own.Code, own.Msg, own.Offset)
	}
	return fmt.Sprint(err)
}

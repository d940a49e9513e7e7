package iproute

import (
	"strings"
	"syscall"
	"testing"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// service returns a made-up service with ib0 and a child.
func service() *fakeService {
	return &fakeService{links: []*rtlink.Link{ib("ib0", 2, 0), ib("ib0.8009", 7, 2)}}
}

// changed returns the request of a command line that changes something: the
// last that it sent.
func changed(t *testing.T, f *fakeService, line string) string {
	t.Helper()
	if o := runFake(f, strings.Fields(line)...); o != (outcome{}) {
		t.Fatalf("%s: %+v", line, o)
	}
	_, hex, _ := strings.Cut(f.sent[len(f.sent)-1], " ")
	return hex
}

// TestShortForm: a name such as ib0.8001 stands for the parent and, unless
// there is a pkey, for the P_Key; the message is that of the whole line.
func TestShortForm(t *testing.T) {
	for _, tc := range []struct{ short, whole string }{
		{"link add ib0.8001", "link add link ib0 name ib0.8001 type ipoib pkey 0x8001"},
		{"l a ib0.8001", "link add link ib0 name ib0.8001 type ipoib pkey 0x8001"},
		{"link add name ib0.7fff", "link add link ib0 name ib0.7fff type ipoib pkey 0x7fff"},
		{"link add ib0.8001 pkey 0x8002", "link add link ib0 name ib0.8001 type ipoib pkey 0x8002"},
		{"link add ib0.8001 pkey 0x8002 umcast 1", "link add link ib0 name ib0.8001 type ipoib pkey 0x8002 umcast 1"},
		{"link add ib0.ABCD mode connected", "link add link ib0 name ib0.ABCD type ipoib pkey 0xabcd mode connected"},
		{"link add ib0.8001 umcast 1 mode datagram", "link add link ib0 name ib0.8001 type ipoib pkey 0x8001 umcast 1 mode datagram"},
		{"link add ib0.8001 mtu 1500 up", "link add link ib0 name ib0.8001 mtu 1500 up type ipoib pkey 0x8001"},
		{"link add link ib0 x pkey 0x8002", "link add link ib0 name x type ipoib pkey 0x8002"},
		{"link add link ib0 x umcast 1", "link add link ib0 name x type ipoib umcast 1"},
	} {
		if got, want := changed(t, service(), tc.short), changed(t, service(), tc.whole); got != want {
			t.Errorf("%s:\n%s\n%s:\n%s", tc.short, got, tc.whole, want)
		}
	}
	for line, want := range map[string]outcome{
		"link add ib9.8001":        {Stderr: "Cannot find device \"ib9\"\n", Code: 1},
		"link add x":               {Stderr: "Not enough information: \"type\" argument is required\n", Code: 1},
		"link add ib0.800":         {Stderr: "Not enough information: \"type\" argument is required\n", Code: 1},
		"link add ib0.8o01":        {Stderr: "Not enough information: \"type\" argument is required\n", Code: 1},
		"link add link ib0 ib0.8":  {Stderr: "Not enough information: \"type\" argument is required\n", Code: 1},
		"link set ib0.8001 pkey 1": {Stderr: "Error: either \"dev\" is duplicate, or \"pkey\" is a garbage.\n", Code: 255},
		"link add x pkey 0x8001": {
			Stderr: "Not enough information: \"link\" argument is required, or a name such as ib0.8001.\n", Code: 1,
		},
		"link add ib0.8001 pkey 0x10000": {Stderr: "Error: argument \"0x10000\" is wrong: pkey is invalid\n", Code: 255},
		"link add ib0.8001 pkey":         {Stderr: "Command line is not complete. Try option \"help\"\n", Code: 255},
	} {
		if got := runFake(service(), strings.Fields(line)...); got != want {
			t.Errorf("%s: %+v, want %+v", line, got, want)
		}
	}
}

// TestVRF: only a link of kind vrf is one; the service has none, the kernel
// may.
func TestVRF(t *testing.T) {
	// The master's index comes last.
	if got := changed(t, service(), "link set ib0 vrf blue"); !strings.HasSuffix(got, "08000a0009000000") {
		t.Errorf("vrf blue: %s", got)
	}
	for _, line := range []string{"link set ib0 vrf lo", "link set ib0 vrf ib0", "link show vrf ib0", "link show vrf lo", "link show vrf red"} {
		name := line[strings.LastIndexByte(line, ' ')+1:]
		want := outcome{Stderr: "Error: argument \"" + name + "\" is wrong: Not a valid VRF name\n\n", Code: 255}
		if got := runFake(service(), strings.Fields(line)...); got != want {
			t.Errorf("%s: %+v, want %+v", line, got, want)
		}
	}
}

// TestRefused: what a refused request prints and exits with.
func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		err  nl.Error
		want string
	}{
		{nl.Error{Code: syscall.EEXIST}, "RTNETLINK answers: File exists\n"},
		{nl.Error{Code: syscall.EPERM}, "RTNETLINK answers: Operation not permitted\n"},
		{nl.Error{Code: syscall.EINVAL, Msg: "mtu greater than device maximum"}, "Error: mtu greater than device maximum.\n"},
		{nl.Error{Code: syscall.EINVAL, Msg: "It ends with a full stop."}, "Error: It ends with a full stop.\n"},
	} {
		f := service()
		f.refuse = &tc.err
		for _, line := range []string{"link add ib0.8001", "link set ib0 mtu 7", "link del ib0.8009"} {
			if got, want := runFake(f, strings.Fields(line)...), (outcome{Stderr: tc.want, Code: 2}); got != want {
				t.Errorf("%s: %+v, want %+v", line, got, want)
			}
		}
	}
}

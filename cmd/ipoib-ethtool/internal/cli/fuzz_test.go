package cli

import (
	"io"
	"slices"
	"testing"
)

// FuzzReply gives commands answers that are not what the kernel sends.
func FuzzReply(f *testing.F) {
	list, datagrams := readRecordings(f)
	f.Add(uint16(0), uint16(3), uint16(20), []byte{0xff})
	for i := range list {
		f.Add(uint16(i), uint16(i), uint16(16+i), []byte{0, 0, 255})
	}
	f.Fuzz(func(t *testing.T, line, which, at uint16, what []byte) {
		r := list[int(line)%len(list)]
		r.steps = slices.Clone(r.steps)
		all := slices.Clone(datagrams)
		n := int(which) % len(all)
		d := slices.Clone(all[n])
		copy(d[int(at)%len(d):], what)
		all[n] = d
		p := &player{recording: &r, datagrams: all}
		app := App{Stdout: io.Discard, Stderr: io.Discard, Endpoint: p}
		app.Run(split(r.line))
	})
}

package mad

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// paragraphs reads a file of testdata: blocks of lines with an empty line
// between them, comment lines left out.
func paragraphs(t testing.TB, name string) [][]string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for block := range strings.SplitSeq(string(data), "\n\n") {
		var lines []string
		for l := range strings.Lines(block) {
			if l = strings.TrimRight(l, "\n"); l != "" && l[0] != '#' {
				lines = append(lines, l)
			}
		}
		if lines != nil {
			out = append(out, lines)
		}
	}
	return out
}

// padded returns b with zeros up to the size of a datagram.
func padded(b []byte) *MAD {
	m := new(MAD)
	copy(m[:], b)
	return m
}

// roundTrip unmarshals a from b and checks that Marshal writes b again, into
// a buffer that is not clear.
func roundTrip(t *testing.T, a Attribute, b []byte) {
	t.Helper()
	if err := a.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	got := bytes.Repeat([]byte{0xa5}, len(b))
	a.Marshal(got)
	if n := min(a.Len(), len(b)); !bytes.Equal(got[:n], b[:n]) {
		t.Errorf("marshal\n got %x\nwant %x", got[:n], b[:n])
	}
	if !bytes.Equal(got[a.Len():], bytes.Repeat([]byte{0xa5}, len(b)-a.Len())) {
		t.Errorf("Marshal wrote more than Len = %d bytes: %x", a.Len(), got)
	}
}

package header

import (
	"bufio"
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

// loadFrames reads testdata/frames.txt: frames by name.
func loadFrames(t testing.TB) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	frames := map[string][]byte{}
	name := ""
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		line := sc.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] == 'V':
			name, _, _ = strings.Cut(line, " ")
		default:
			frames[name] = append(frames[name], unhex(t, line)...)
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return frames
}

// fix recomputes the CRCs of a changed frame.
func fix(t testing.TB, frame []byte) []byte {
	t.Helper()
	if !SetICRC(frame[:len(frame)-VCRCLen]) {
		t.Fatal("frame too short for an ICRC")
	}
	SetVCRC(frame)
	return frame
}

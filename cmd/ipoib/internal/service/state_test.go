package service

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ipoib/compat/fusefs"
	"ipoib/datapath"
	"ipoib/datapath/hostnet"
)

func TestStore(t *testing.T) {
	s := &store{path: filepath.Join(t.TempDir(), "state.json")}
	st, err := s.load()
	if err != nil || st.Version != stateVersion || len(st.Interfaces) != 0 {
		t.Fatalf("without a file: %+v, %v", st, err)
	}
	want := &state{
		Version: stateVersion, HCAs: []HCA{{Name: "soft1", Ports: 2, Owner: "lab", Dynamic: true, Ifnames: []string{"ib0"}}},
		Interfaces: []datapath.State{
			{Name: "ib0", NS: hostnet.ID{Dev: 4, Ino: 5}, Device: "soft1", Port: 1, PKey: 0xffff, QPN: 0x48},
			{Name: "ib0.8001", Child: true, Parent: "ib0", PKey: 0x8001, Features: map[string]bool{"rx-lro": true}},
		},
		Places: []fusefs.Place{{NS: 7, Path: "/sys/class", Root: "/netns/5/overlay/class"}},
	}
	if err := s.save(want); err != nil {
		t.Fatal(err)
	}
	if got, err := s.load(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	// What did not change is not written.
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	if err := s.save(want); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path); err == nil {
		t.Error("written again")
	}
	if err := errors.Join(s.remove(), s.remove()); err != nil {
		t.Error(err)
	}
	if err := s.save(want); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(s.path)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A file that is damaged, or of another program, is not taken for the state.
func TestDamagedState(t *testing.T) {
	for text, want := range map[string]string{
		"": "is damaged", "{": "is damaged", "[]": "is damaged", `{"version": "x"}`: "is damaged",
		`{"version": 1, "interfaces": 5}`: "is damaged", "null": "has format 0, not 1", "{}": "has format 0, not 1",
		`{"version": 2}`: "has format 2, not 1",
	} {
		s := &store{path: filepath.Join(t.TempDir(), "state.json")}
		if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if st, err := s.load(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v", text, st, err)
		}
	}
	s := &store{path: t.TempDir()} // a directory
	if _, err := s.load(); err == nil {
		t.Error("a directory was read")
	}
	if err := s.save(&state{}); err == nil {
		t.Error("a directory was replaced")
	}
}

// One service has a run directory.
func TestLockRunDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f, err := lockRunDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockRunDir(dir); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockRunDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

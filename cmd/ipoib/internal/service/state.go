package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"ipoib/compat/fusefs"
	"ipoib/datapath"
)

// stateVersion is the format of the state file.
const stateVersion = 1

// state is what survives the process: adapters that were added at run time,
// and what the kernel's TUNs do not hold of the interfaces.
type state struct {
	Version    int              `json:"version"`
	HCAs       []HCA            `json:"hcas,omitempty"`
	Interfaces []datapath.State `json:"interfaces,omitempty"`
	// Places is where other processes had the files when the service ended.
	Places []fusefs.Place `json:"places,omitempty"`
}

// store keeps the state in a file, replaced as a whole.
type store struct {
	path string
	mu   sync.Mutex
	last string // guarded by mu
}

func (s *store) load() (*state, error) {
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{Version: stateVersion}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	st := new(state)
	if err := json.Unmarshal(text, st); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", s.path, err)
	}
	if st.Version != stateVersion {
		return nil, fmt.Errorf("%s has format %d, not %d", s.path, st.Version, stateVersion)
	}
	return st, nil
}

// save writes the state when it differs from what was written last.
func (s *store) save(st *state) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := json.MarshalIndent(st, "", "\t")
	if err != nil {
		return err
	}
	if string(text) == s.last {
		return nil
	}
	tmp := s.path + ".new"
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	if err := os.Rename(tmp, s.path); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	s.last = string(text)
	return nil
}

func (s *store) remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = ""
	err := os.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ErrRunning is returned when another instance has the run directory.
var ErrRunning = errors.New("another instance of the service is running")

// lockRunDir makes the run directory and takes its lock, which ends with the
// process.
func lockRunDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the run directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid := make([]byte, 16)
		n, _ := f.ReadAt(pid, 0)
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w (pid %s)", dir, ErrRunning, string(pid[:n]))
		}
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(fmt.Sprint(os.Getpid())), 0)
		if err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return f, nil
}

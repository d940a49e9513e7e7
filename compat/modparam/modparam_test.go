package modparam

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ipoib/datapath"
	"ipoib/datapath/hostnet/hostnettest"
)

func set(t *testing.T, values map[string]int) *Set {
	t.Helper()
	var p datapath.Params
	Apply(values, &p, nil)
	drv := datapath.New(datapath.System{Host: hostnettest.New(t)}, p)
	Apply(values, nil, &drv.Debug)
	return New(drv)
}

// Defaults, ranges and rounding of the parameters that are fixed at start
// (kernel ipoib_init_module, ipoib_cm.c).
func TestRounding(t *testing.T) {
	for _, tt := range []struct {
		name     string
		in, want int
	}{
		{"send_queue_size", 128, 128}, {"send_queue_size", 129, 256}, {"send_queue_size", 512, 512},
		{"send_queue_size", 1, 128}, {"send_queue_size", 0, 128}, {"send_queue_size", -5, 128},
		{"send_queue_size", 8192, 8192}, {"send_queue_size", 8193, 8192}, {"send_queue_size", 1 << 30, 8192},
		{"recv_queue_size", 256, 256}, {"recv_queue_size", 3, 4}, {"recv_queue_size", 1, 2},
		{"recv_queue_size", 0, 2}, {"recv_queue_size", -1, 2}, {"recv_queue_size", 100000, 8192},
		{"max_nonsrq_conn_qp", 128, 128}, {"max_nonsrq_conn_qp", 0, 0}, {"max_nonsrq_conn_qp", -7, 0},
		{"max_nonsrq_conn_qp", 129, 129}, {"max_nonsrq_conn_qp", 4096, 4096}, {"max_nonsrq_conn_qp", 5000, 4096},
		{"debug_level", 3, 3}, {"mcast_debug_level", -1, -1}, {"data_debug_level", 1, 1}, {"cm_data_debug_level", 2, 2},
	} {
		p, ok := set(t, map[string]int{tt.name: tt.in}).Get(tt.name)
		if !ok || p.Value != tt.want {
			t.Errorf("%s=%d reads back %d, want %d", tt.name, tt.in, p.Value, tt.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	want := []Param{
		{"cm_data_debug_level", 0, true}, {"data_debug_level", 0, true}, {"debug_level", 0, true},
		{"max_nonsrq_conn_qp", 128, false}, {"mcast_debug_level", 0, true},
		{"recv_queue_size", 256, false}, {"send_queue_size", 128, false},
	}
	if got := set(t, nil).List(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Writes at run time, in the order of the transcript of the kernel's driver.
func TestStore(t *testing.T) {
	s := set(t, nil)
	var told []string
	s.Subscribe(func(name string) { told = append(told, name) })
	for _, tt := range []struct {
		text string
		want int
		err  error
	}{
		{"0\n", 0, nil}, {"2\n", 2, nil}, {"-1\n", -1, nil}, {"abc\n", -1, syscall.EINVAL}, {"\n", -1, syscall.EINVAL},
		{"0x1\n", 1, nil}, {"2147483648", 1, syscall.ERANGE}, {"1 2", 1, syscall.EINVAL}, {"010", 8, nil},
	} {
		err := s.Store("debug_level", []byte(tt.text))
		if p, _ := s.Get("debug_level"); !errors.Is(err, tt.err) || p.Value != tt.want {
			t.Errorf("%q: %v, %d, want %v, %d", tt.text, err, p.Value, tt.err, tt.want)
		}
	}
	if len(told) != 5 {
		t.Errorf("told of %v", told)
	}
	if err := s.Store("send_queue_size", []byte("512")); !errors.Is(err, syscall.EACCES) {
		t.Errorf("send_queue_size: %v", err)
	}
	if err := s.Store("lro", []byte("1")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("lro: %v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, name := range Names() {
		if err := Check(name); err != nil {
			t.Error(err)
		}
	}
	if err := Check("ipoib_enhanced"); err == nil || !strings.Contains(err.Error(), "send_queue_size") {
		t.Errorf("%v", err)
	}
}

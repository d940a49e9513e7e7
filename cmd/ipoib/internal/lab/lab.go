// Package lab makes hosts on one machine: network namespaces, each with a
// channel adapter on the service's fabric and an interface ib0.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ipoib/datapath/hostnet"
	"ipoib/datapath/tun"
	"ipoib/nl/ipoibnl"
	"ipoib/rdma/soft"
)

// Owner marks the channel adapters of a lab.
const Owner = "lab"

// Limits of a lab.
const (
	MaxHosts = 250
	upWait   = 20 * time.Second
)

// prefix is the start of the namespaces' names.
const prefix = "ibhost"

// NSName returns the namespace of a host, which may be named by its number.
func NSName(host string) string {
	if _, err := strconv.Atoi(host); err == nil {
		return prefix + host
	}
	return host
}

// Addresses of host number i.
func addresses(i int) []netip.Prefix {
	a6 := netip.MustParseAddr("fd77::").As16()
	a6[14], a6[15] = byte(i>>8), byte(i)
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(i)}), 24),
		netip.PrefixFrom(netip.AddrFrom16(a6), 64),
	}
}

// ExitError is an error with an exit code of its own.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

// ExitCode makes the program exit with the code.
func (e *ExitError) ExitCode() int { return e.Code }

func (e *ExitError) Unwrap() error { return e.Err }

// Lab makes and removes hosts.
type Lab struct {
	// RunDir is the service's run directory, Dial connects to it.
	RunDir string
	Dial   func(context.Context) (*ipoibnl.Client, error)
	// Serve is the command line that starts the service when none runs.
	Serve []string
	// Teardown ends the service, or removes what one that was killed has left.
	Teardown func(context.Context) error
	// Profile is that of the adapters that are made, "" for the default.
	Profile string
	// Log takes progress messages.
	Log io.Writer
}

// marker tells that the lab started the service, and so ends it.
func (l *Lab) marker() string { return filepath.Join(l.RunDir, "lab-started-service") }

// Up makes hosts 1 to n that are not there yet and waits for their links.
func (l *Lab) Up(ctx context.Context, n int) error {
	if n < 1 || n > MaxHosts {
		return fmt.Errorf("a lab has 1 to %d hosts", MaxHosts)
	}
	if err := soft.Profile(l.Profile).Check(); err != nil {
		return err
	}
	cl, err := l.service(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	have, err := adapters(cl)
	if err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		if err := l.host(cl, have, i); err != nil {
			return fmt.Errorf("host %d: %w", i, err)
		}
	}
	return l.wait(ctx, n)
}

// service connects to the service, starting it if none runs.
func (l *Lab) service(ctx context.Context) (*ipoibnl.Client, error) {
	cl, err := l.Dial(ctx)
	if err == nil {
		return cl, nil
	}
	fmt.Fprintln(l.Log, "starting the service")
	if err := os.MkdirAll(l.RunDir, 0o755); err != nil {
		return nil, err
	}
	logFile := filepath.Join(l.RunDir, "serve.log")
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(l.Serve[0], l.Serve[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives us
	err = cmd.Start()
	_ = out.Close()
	if err != nil {
		return nil, fmt.Errorf("starting the service: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	deadline := time.After(upWait)
	for {
		if cl, err := l.Dial(ctx); err == nil {
			return cl, os.WriteFile(l.marker(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
		}
		select {
		case err := <-exited:
			return nil, fmt.Errorf("the service ended at once (%w), see %s", err, logFile)
		case <-deadline:
			return nil, fmt.Errorf("the service does not answer, see %s", logFile)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// adapters lists the lab's adapters by namespace.
func adapters(cl *ipoibnl.Client) (map[string]ipoibnl.HCA, error) {
	list, err := ipoibnl.Dump[ipoibnl.HCA](cl, ipoibnl.CmdHCAGet, nil)
	if err != nil {
		return nil, err
	}
	out := make(map[string]ipoibnl.HCA)
	for _, h := range list {
		if h.Owner == Owner {
			out[h.NetNS] = h
		}
	}
	return out, nil
}

// host makes host i, or what is missing of it.
func (l *Lab) host(cl *ipoibnl.Client, have map[string]ipoibnl.HCA, i int) error {
	name := prefix + strconv.Itoa(i)
	if !nsExists(name) {
		fmt.Fprintf(l.Log, "making host %s\n", name)
		if err := createNS(name); err != nil {
			return err
		}
	}
	ns, err := hostnet.NewHost().ByName(name)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	old, ok := have[name]
	if ok {
		links, err := ns.Links()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(links, isIPoIB) {
			// It is in the namespace that had the name before.
			if err := cl.Do(ipoibnl.CmdHCADel, ipoibnl.HCA{Name: old.Name}); err != nil && !errors.Is(err, syscall.ENODEV) {
				return err
			}
			ok = false
		}
	}
	if !ok {
		err := cl.Do(ipoibnl.CmdHCAAdd, ipoibnl.HCA{
			Name: "soft" + strconv.Itoa(i), NetNS: name, Ifname: "ib0", Owner: Owner, Profile: l.Profile,
		})
		if err != nil {
			return err
		}
	}
	ib0, err := ns.LinkByName("ib0")
	if errors.Is(err, hostnet.ErrNotExist) {
		return fmt.Errorf("%s has no interface ib0 any more", name)
	}
	if err != nil {
		return err
	}
	if !ib0.Up {
		if err := ns.SetUp(ib0.Index, true); err != nil {
			return err
		}
	}
	for _, p := range addresses(i) {
		a := hostnet.Addr{Index: ib0.Index, Prefix: p}
		if p.Addr().Is4() {
			a.Broadcast = netip.AddrFrom4([4]byte{10, 77, 0, 255})
		}
		if err := ns.AddAddr(a); err != nil && !errors.Is(err, hostnet.ErrExist) {
			return err
		}
	}
	return nil
}

// wait waits until the kernel sends by the interfaces of all hosts, somewhat
// after they have carrier.
func (l *Lab) wait(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, upWait)
	defer cancel()
	for i := 1; i <= n; {
		ns, err := hostnet.NewHost().ByName(prefix + strconv.Itoa(i))
		if err != nil {
			return err
		}
		ib0, err := ns.LinkByName("ib0")
		_ = ns.Close()
		if err != nil {
			return err
		}
		if ib0.Running {
			i++
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ib0 of host %d gets no carrier", i)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func isIPoIB(l hostnet.Link) bool { return l.Type == tun.LinkTypeInfiniBand }

// Hosts lists the hosts that are there, by number.
func Hosts() []int {
	entries, _ := os.ReadDir(nsDir)
	var out []int
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), prefix)
		if i, err := strconv.Atoi(text); ok && err == nil && nsExists(e.Name()) {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

// HostStatus is one host as `lab status` shows it.
type HostStatus struct {
	Host      string         `json:"host"`
	HCA       string         `json:"hca"`
	Up        bool           `json:"up"`
	Carrier   bool           `json:"carrier"`
	MTU       int            `json:"mtu"`
	Addrs     []netip.Prefix `json:"addresses"`
	Ifnames   []string       `json:"interfaces"`
	Processes int            `json:"processes"`
}

// Status describes the hosts.
func (l *Lab) Status(ctx context.Context) ([]HostStatus, error) {
	have := make(map[string]ipoibnl.HCA)
	if cl, err := l.Dial(ctx); err == nil {
		have, err = adapters(cl)
		_ = cl.Close()
		if err != nil {
			return nil, err
		}
	}
	out := []HostStatus{}
	for _, i := range Hosts() {
		name := prefix + strconv.Itoa(i)
		s := HostStatus{Host: name, HCA: have[name].Name, Processes: len(pidsIn(name))}
		ns, err := hostnet.NewHost().ByName(name)
		if err != nil {
			return nil, err
		}
		links, err := ns.Links()
		if err != nil {
			return nil, err
		}
		for _, k := range links {
			if !isIPoIB(k) {
				continue
			}
			s.Ifnames = append(s.Ifnames, k.Name)
			if k.Name == "ib0" {
				s.Up, s.Carrier, s.MTU = k.Up, k.Carrier, k.MTU
				addrs, _ := ns.Addrs(k.Index)
				for _, a := range addrs {
					s.Addrs = append(s.Addrs, a.Prefix)
				}
			}
		}
		_ = ns.Close()
		out = append(out, s)
	}
	return out, nil
}

// Down removes all hosts, and the service if Up started it.
func (l *Lab) Down(ctx context.Context) error {
	var errs []error
	cl, err := l.Dial(ctx)
	if err == nil {
		defer func() { _ = cl.Close() }()
		errs = append(errs, l.removeAdapters(cl))
	}
	for _, i := range Hosts() {
		name := prefix + strconv.Itoa(i)
		killAll(name)
		errs = append(errs, deleteNS(name))
	}
	if started, serr := os.ReadFile(l.marker()); serr == nil {
		left := []string{l.marker(), filepath.Join(l.RunDir, "serve.log")}
		// Another service may run since the one that Up started was killed.
		if err != nil || l.owner() == string(started) {
			errs = append(errs, l.Teardown(ctx))
			left = append(left, l.lock())
		}
		for _, f := range left {
			if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		_ = os.Remove(l.RunDir) // when nothing else is in it
	}
	return errors.Join(errs...)
}

// lock is the file that a running service holds, and that says which it is.
func (l *Lab) lock() string { return filepath.Join(l.RunDir, "lock") }

func (l *Lab) owner() string {
	pid, _ := os.ReadFile(l.lock())
	return string(pid)
}

func (l *Lab) removeAdapters(cl *ipoibnl.Client) error {
	have, err := adapters(cl)
	if err != nil {
		return err
	}
	for _, h := range have {
		if err := cl.Do(ipoibnl.CmdHCADel, ipoibnl.HCA{Name: h.Name}); err != nil {
			return err
		}
	}
	return nil
}

// killAll ends the processes that run in a host.
func killAll(name string) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for range 50 {
			pids := pidsIn(name)
			if len(pids) == 0 {
				return
			}
			for _, pid := range pids {
				_ = syscall.Kill(pid, sig)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

package tun

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ipoib/rdma"
)

// device is one queue of a kernel TUN.
type device struct {
	// use is held shared by each operation while it uses fd, and exclusively
	// to close it, so that no operation sees the number reused.
	use    sync.RWMutex
	fd     int
	closed atomic.Bool

	// readMu is held during Read, so that Close can wait for it.
	readMu sync.Mutex
	wait   *waiter
	reader reader
	// parts belongs to the one goroutine in Write.
	parts partVecs
	// accepts are the offloads that Write may use.
	accepts Features
	// onInvalid is Config.ReadInvalid.
	onInvalid func()
	// onClose holds a func() that Close calls.
	onClose atomic.Value

	// name is the interface's name when it was last asked.
	name atomic.Pointer[string]

	writeDown, writeBusy, writeInvalid, readInvalid atomic.Uint64
}

// newDevice takes over fd, also when it fails.
func newDevice(fd int, c *Config) (*device, error) {
	d := &device{fd: fd, accepts: c.accepts, onInvalid: c.ReadInvalid, reader: reader{pool: c.Pool, batchBytes: c.BatchBytes}}
	d.name.Store(&c.Name)
	if _, err := d.Name(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// op runs an operation on the open descriptor and names its error.
func (d *device) op(what string, fn func(fd int) error) error {
	d.use.RLock()
	defer d.use.RUnlock()
	if d.closed.Load() {
		return rdma.ErrClosed
	}
	err := fn(d.fd)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBADFD):
		return ErrRemoved
	}
	return &OpError{Op: what, Name: *d.name.Load(), Err: err}
}

// Name implements Device.
func (d *device) Name() (string, error) {
	var name string
	err := d.op("name", func(fd int) error {
		var ifr unix.Ifreq
		if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, &ifr); err != nil {
			return os.NewSyscallError("TUNGETIFF", err)
		}
		name = ifr.Name()
		return nil
	})
	if err == nil && name != *d.name.Load() {
		d.name.Store(&name)
	}
	return name, err
}

// SetCarrier implements Device.
func (d *device) SetCarrier(on bool) error {
	v := 0
	if on {
		v = 1
	}
	return d.op("set carrier", func(fd int) error {
		return os.NewSyscallError("TUNSETCARRIER", unix.IoctlSetPointerInt(fd, unix.TUNSETCARRIER, v))
	})
}

// SetOffload implements Device.
func (d *device) SetOffload(want Features) (got Features, err error) {
	err = d.op("set offload", func(fd int) (err error) {
		got, err = setOffload(fd, want)
		return err
	})
	return got, err
}

// Accepts implements Device.
func (d *device) Accepts() Features { return d.accepts }

// SetPersist implements Device.
func (d *device) SetPersist(on bool) error {
	v := 0
	if on {
		v = 1
	}
	return d.op("set persist", func(fd int) error {
		return os.NewSyscallError("TUNSETPERSIST", unix.IoctlSetInt(fd, unix.TUNSETPERSIST, v))
	})
}

// NetNS opens the network namespace that the interface is in now, wherever
// the host has moved it (TUNGETDEVNETNS, Linux 5.2). The caller closes it. It
// needs CAP_NET_ADMIN.
func (d *device) NetNS() (f *os.File, err error) {
	err = d.op("get network namespace", func(fd int) error {
		ns, err := unix.IoctlRetInt(fd, unix.TUNGETDEVNETNS)
		if err != nil {
			return os.NewSyscallError("TUNGETDEVNETNS", err)
		}
		f = os.NewFile(uintptr(ns), "netns")
		return nil
	})
	return f, err
}

// Counters implements Device.
func (d *device) Counters() Counters {
	return Counters{
		WriteDown:    d.writeDown.Load(),
		WriteBusy:    d.writeBusy.Load(),
		WriteInvalid: d.writeInvalid.Load(),
		ReadInvalid:  d.readInvalid.Load(),
	}
}

// Close implements Device.
func (d *device) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	d.use.Lock()
	if d.wait != nil {
		d.wait.file.Close() // wakes Read
	}
	d.use.Unlock()
	// What reads the device may have to write to it before it can let go.
	if fn, ok := d.onClose.Load().(func()); ok {
		fn()
	}
	d.readMu.Lock()
	defer d.readMu.Unlock()
	d.use.Lock()
	defer d.use.Unlock()
	d.reader.release()
	return os.NewSyscallError("close", unix.Close(d.fd))
}

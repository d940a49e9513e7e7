package datapath

import (
	"fmt"
	"syscall"

	"ipoib/datapath/hostnet"
)

// ReleaseAbandoned lets go of the namespaces that only we keep: a namespace
// goes when its last user does, although we have it open. As when the kernel
// dismantles one, children go with it, and parents return to the namespace of
// the service, down and without addresses (kernel default_device_exit_net).
// It returns the parents. Call it from time to time.
func (d *Driver) ReleaseAbandoned() []*Interface {
	d.mu.Lock()
	ids := make([]hostnet.ID, 0, len(d.spaces))
	for id := range d.spaces {
		ids = append(ids, id)
	}
	d.mu.Unlock()
	var parents []*Interface
	for _, id := range d.sys.Host.Abandoned(ids) {
		for _, i := range d.Interfaces(id) {
			if i.parent != nil {
				i.log().Info("the network namespace is gone, and the interface with it")
				_ = d.Delete(i)
				continue
			}
			parents = append(parents, i)
		}
	}
	return parents
}

// ComeHome moves the interface to the namespace of the service, with another
// name, dev0 and up, if its own is taken there (kernel
// default_device_exit_net).
func (i *Interface) ComeHome() error {
	name := i.Name()
	for n := 0; ; n++ {
		ns, err := i.drv.sys.Host.Current()
		if err != nil {
			return system("set netns", name, err)
		}
		if err = i.SetNamespace(ns); Errno(err) != syscall.EEXIST || n > maxNames {
			return err
		}
		if err := i.SetName(fmt.Sprintf("dev%d", n)); err != nil && Errno(err) != syscall.EEXIST {
			return err
		}
	}
}

// maxNames bounds the search for a free name.
const maxNames = 1 << 10

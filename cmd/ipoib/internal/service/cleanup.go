package service

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"ipoib/compat/fusefs"
	"ipoib/datapath/hostnet"
)

// Cleanup removes what a service that does not run any more has left: its
// interfaces, its state and its socket.
func Cleanup(cfg Config, log *slog.Logger) error {
	if err := cfg.Normalize(); err != nil {
		return err
	}
	lock, err := lockRunDir(cfg.RunDir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if _, err := cleanMounts(cfg.RunDir); err != nil {
		return err
	}
	if _, err := fusefs.Leave(treeSource(cfg.RunDir)); err != nil {
		log.Warn("cannot unmount files of other processes", "err", err)
	}
	removeFileDirs(cfg.RunDir)
	st := &store{path: filepath.Join(cfg.RunDir, "state.json")}
	old, err := st.load()
	if err != nil {
		return err
	}
	host := hostnet.NewHost()
	var errs []error
	for _, i := range old.Interfaces {
		ns, err := host.ByID(i.NS)
		if errors.Is(err, hostnet.ErrNotExist) {
			continue // gone with its namespace
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if l, err := ns.LinkByName(i.Name); err == nil && l.Kind == "tun" {
			if err := ns.DeleteLink(l.Index); err != nil {
				errs = append(errs, err)
			} else {
				log.Info("removed", "ifname", i.Name)
			}
		}
		_ = ns.Close()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.Remove(cfg.Socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return st.remove()
}

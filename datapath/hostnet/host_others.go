//go:build !linux

package hostnet

import (
	"errors"
	"os"
)

// NewHost returns a Host that has no namespaces: there is an implementation
// for Linux only.
func NewHost() Host { return noHost{} }

var errNotSupported = &OpError{Op: "open network namespace", Err: errors.ErrUnsupported}

type noHost struct{}

func (noHost) Current() (Namespace, error)        { return nil, errNotSupported }
func (noHost) ByName(string) (Namespace, error)   { return nil, errNotSupported }
func (noHost) ByPath(string) (Namespace, error)   { return nil, errNotSupported }
func (noHost) ByPID(int) (Namespace, error)       { return nil, errNotSupported }
func (noHost) ByFile(*os.File) (Namespace, error) { return nil, errNotSupported }
func (noHost) ByID(ID) (Namespace, error)         { return nil, errNotSupported }
func (noHost) Abandoned([]ID) []ID                { return nil }

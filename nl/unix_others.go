//go:build !linux

package nl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// errPlatform: peers are identified with means of Linux only.
var errPlatform = fmt.Errorf("nl: the service's socket needs Linux: %w", errors.ErrUnsupported)

// Dial is not supported on this system.
func Dial(context.Context, string, ConnConfig) (*Conn, error) { return nil, errPlatform }

// UnixListener is not supported on this system.
type UnixListener struct{ Listener }

// Listen is not supported on this system.
func Listen(string, fs.FileMode) (*UnixListener, error) { return nil, errPlatform }

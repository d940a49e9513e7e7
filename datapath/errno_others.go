//go:build !linux

package datapath

import "syscall"

// errNotUnique stands in for ENOTUNIQ of Linux.
const errNotUnique = syscall.EEXIST

package datapath

import "syscall"

// errNotUnique is ENOTUNIQ, which other systems lack.
const errNotUnique = syscall.ENOTUNIQ

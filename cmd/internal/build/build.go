// Package build holds what the linker sets.
package build

// Version is the version of the programs (-ldflags -X).
var Version = "devel"

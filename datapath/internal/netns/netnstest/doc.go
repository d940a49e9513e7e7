// Package netnstest makes network namespaces for integration tests and runs
// commands in them. The namespaces have no name in the file system, so that
// nothing is left behind by a test that dies.
package netnstest

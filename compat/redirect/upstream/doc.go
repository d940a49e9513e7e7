// Package upstream asks the service on behalf of redirected programs: which
// interfaces are its own, what it says of them, and the requests that are for
// it. A World is the service as seen from one network namespace.
//
// Connections are made when they are needed and kept while requests come. A
// service that does not run is no error but ErrNoService, upon which everything
// is left to the kernel; one that comes back is found again.
package upstream

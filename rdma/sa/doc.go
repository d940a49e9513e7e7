// Package sa is the client of the subnet administration (SA) at one port:
// path records, multicast memberships and event subscriptions, as the kernel's
// ib_sa has them.
//
// A Client asks the SA of the port's master subnet manager, whose address it
// takes from the port with every request. Requests come in two forms: with a
// callback, for callers that are state machines, and blocking, with a context.
// A callback is called once, on a goroutine of the client and never from
// within the call that started the request; the cancel function that comes
// with it prevents that. Errors are of type *Error, which has the errno that
// the kernel gives its clients.
//
// Multicast shares the port's memberships among local users (kernel
// core/multicast.c), WatchGroups reports the creation and deletion of groups
// (traps 66 and 67).
package sa

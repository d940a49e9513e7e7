// Package header reads and writes InfiniBand packets: the local, global, base
// and extended transport headers, and the two CRCs at the end.
//
// Each header is a typed view on bytes (LRH, GRH, BTH, DETH, AETH, RETH,
// ImmDt): IsValid checks the length and is the only gate before the getters
// and setters, which panic on shorter slices. Parse takes a whole frame apart
// and makes the checks of a receiver that need no state, each with an error of
// its own; Fields.Append builds one. Neither allocates.
//
//	LRH 8 | GRH 40, if LNH is 3 | BTH 12 | extended headers | payload | pad 0-3 | ICRC 4 | VCRC 2
//
// All fields are big-endian but the CRCs, whose bytes come out of a reflected
// register low byte first. Layouts are those of the IBA volume 1, chapters 5
// to 9. The package knows nothing of queue pairs: addresses, P_Key and Q_Key
// are for the caller to check.
package header

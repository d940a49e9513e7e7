package wire

import "ipoib/nl"

// Cut splits a datagram in front of the first message that does not fit into
// room bytes; a first message that is larger stays whole.
func Cut(b []byte, room int) (head, rest []byte) {
	if len(b) <= room {
		return b, nil
	}
	at := 0
	for _, m := range Split(b) {
		n := nl.Align(len(m.Raw))
		if at > 0 && at+len(m.Raw) > room {
			break
		}
		at += n
	}
	if at == 0 || at >= len(b) {
		return b, nil
	}
	return b[:at], b[at:]
}

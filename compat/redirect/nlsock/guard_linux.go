package nlsock

import "runtime/debug"

// guard runs fn in the background of the supervisor: what goes wrong there
// must not end the supervision of programs.
func (t *Table) guard(what string, fn func()) {
	defer func() {
		if v := recover(); v != nil {
			t.log.Error("the supervisor failed", "task", what, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	fn()
}

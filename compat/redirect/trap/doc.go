// Package trap joins a notification with the thread that waits for its answer.
package trap

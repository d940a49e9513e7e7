// Package osthread runs functions that change the thread they are on, such as
// its namespaces or capabilities.
package osthread

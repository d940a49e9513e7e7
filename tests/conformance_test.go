package tests

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Conformance is kept in three places: the ids in testdata/requirements.txt,
// the table in docs/conformance.md, and the names of the tests.

var (
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(\w+ \*testing\.T\)`)
	testRef  = regexp.MustCompile("`([a-z][a-z0-9]*)\\.(Test\\w+)`")
	// idName is a test that is named after an id: section numbers, the last of
	// which counts the requirements of the section.
	idName = regexp.MustCompile(`^Test(\d+|Snoop)_(S?)(\d+(?:_\d+)*)_[A-Z]`)
)

// unfilled marks a row whose tests are not there yet.
const unfilled = "—"

// gaps begin the rows that need no test.
var gaps = []string{"not done: ", "by the host's "}

// requirement is a row of the table.
type requirement struct {
	level, text, test string
}

// idOf returns the id that a test is named after, or "".
func idOf(test string) string {
	m := idName.FindStringSubmatch(test)
	if m == nil {
		return ""
	}
	rfc, numbers := strings.ToLower(m[1]), strings.Split(m[3], "_")
	last := len(numbers) - 1
	switch {
	case m[2] == "" && last == 0:
		return rfc + "-" + numbers[0]
	case m[2] == "" || last == 0:
		return "" // no section, or no requirement of it
	}
	return fmt.Sprintf("%s-§%s-%s", rfc, strings.Join(numbers[:last], "."), numbers[last])
}

// readTable reads the rows of docs/conformance.md, by id.
func readTable(t *testing.T) map[string]requirement {
	t.Helper()
	text, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]requirement{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 2 || cells[0] != "" || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "id" {
			continue
		}
		if len(cells) != 6 {
			t.Errorf("a row has not four cells: %s", line)
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if _, ok := rows[cells[1]]; ok {
			t.Errorf("%s is there twice", cells[1])
		}
		rows[cells[1]] = requirement{cells[2], cells[3], cells[4]}
	}
	return rows
}

// readIDs reads testdata/requirements.txt.
func readIDs(t *testing.T) (ids []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			ids = append(ids, line)
		}
	}
	return ids
}

// readTests returns the names of all tests by the last element of their
// package's path.
func readTests(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || len(name) > 2 && name[0] == '.' {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		abs, err := filepath.Abs(filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.Base(abs)
		if all[pkg] == nil {
			all[pkg] = map[string]bool{}
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			all[pkg][string(m[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestConformanceIDs(t *testing.T) {
	rows, ids := readTable(t), readIDs(t)
	if len(ids) < 190 {
		t.Errorf("%d ids", len(ids))
	}
	for _, id := range ids {
		if _, ok := rows[id]; !ok {
			t.Errorf("%s is not in docs/conformance.md", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		if !slices.Contains(ids, id) {
			t.Errorf("%s is not in testdata/requirements.txt", id)
		}
	}
}

func TestConformanceRows(t *testing.T) {
	tests, open := readTests(t), 0
	rows := readTable(t)
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		row := rows[id]
		if row.level == "" || row.text == "" {
			t.Errorf("%s: level %q, requirement %q", id, row.level, row.text)
		}
		refs := testRef.FindAllStringSubmatch(row.test, -1)
		for _, ref := range refs {
			if !tests[ref[1]][ref[2]] {
				t.Errorf("%s: there is no test %s.%s", id, ref[1], ref[2])
			}
		}
		switch {
		case strings.HasSuffix(row.test, unfilled):
			open++
		case len(refs) > 0:
		case !slices.ContainsFunc(gaps, func(g string) bool { return strings.HasPrefix(row.test, g) }):
			t.Errorf("%s: neither a test nor a reason: %q", id, row.test)
		}
	}
	if open > 0 {
		t.Logf("%d rows are still to be filled", open)
	}
}

func TestConformanceNames(t *testing.T) {
	rows := readTable(t)
	for pkg, tests := range readTests(t) {
		for _, test := range slices.Sorted(maps.Keys(tests)) {
			id := idOf(test)
			row, ok := rows[id]
			switch {
			case id == "" && !idName.MatchString(test):
			case !ok:
				t.Errorf("%s.%s is named after %q, which is no id", pkg, test, id)
			case strings.HasSuffix(row.test, unfilled):
			case !strings.Contains(row.test, "`"+pkg+"."+test+"`"):
				t.Errorf("%s.%s is not in the row of %s", pkg, test, id)
			}
		}
	}
}

func TestConformanceIDOf(t *testing.T) {
	for name, want := range map[string]string{
		"Test4391_S9_1_2_2_OneQKey": "4391-§9.1.2-2", "Test4391_S2_1_X": "4391-§2-1", "Test826_1_MergeAndSwap": "826-1",
		"TestSnoop_2_JoinBeforeReport": "snoop-2", "Test4392_S1_3_2_1_1_First": "4392-§1.3.2.1-1",
		"TestARP": "", "Test4391_S9_X": "", "Test4391_9_1_X": "", "Test4391_S9_1": "",
	} {
		if got := idOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

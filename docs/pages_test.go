package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestIndex checks that the index links to every page.
func TestIndex(t *testing.T) {
	index := read(t, "README.md")
	for _, dir := range []string{".", "guide", "decisions"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			path := filepath.ToSlash(filepath.Join(dir, file.Name()))
			if file.IsDir() || path == "README.md" || filepath.Ext(path) != ".md" {
				continue
			}
			if !strings.Contains(index, "]("+path+")") {
				t.Errorf("docs/README.md does not link to %s", path)
			}
		}
	}
}

// TestLinks follows all links of all pages to files of the repository.
func TestLinks(t *testing.T) {
	pages, links := 0, 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && len(d.Name()) > 2 && d.Name()[0] == '.' {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		pages++
		for _, to := range linksOf(read(t, path)) {
			links++
			if why := follow(t, path, to); why != "" {
				t.Errorf("%s: link to %s: %s", path, to, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages < 20 || links < 60 {
		t.Errorf("%d pages with %d links", pages, links)
	}
}

// follow returns what is wrong with a link, or "".
func follow(t *testing.T, page, to string) string {
	t.Helper()
	if regexp.MustCompile(`^[a-z]+:`).MatchString(to) {
		return "" // an external link
	}
	file, anchor, hasAnchor := strings.Cut(to, "#")
	if file == "" {
		file = page
	} else {
		file = filepath.Join(filepath.Dir(page), file)
	}
	if _, err := os.Stat(file); err != nil {
		return "there is no such file"
	}
	if hasAnchor && !slices.Contains(anchors(read(t, file)), anchor) {
		return "the page has no such heading"
	}
	return ""
}

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
)

// linksOf returns the targets of a page's links.
func linksOf(text string) (to []string) {
	text = inline.ReplaceAllString(fenced.ReplaceAllString(text, ""), "x")
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		to = append(to, m[1])
	}
	return to
}

// anchors returns the anchors that GitHub gives to a page's headings.
func anchors(text string) (names []string) {
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, m[1]))
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFiles checks that the Go files in the map exist.
func TestFiles(t *testing.T) {
	have := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		have[filepath.Base(path)] = true
		have[strings.TrimPrefix(filepath.ToSlash(path), "../")] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z_/]+\\.go)`").FindAllStringSubmatch(read(t, "architecture.md"), -1)
	if len(names) < 20 {
		t.Errorf("%d files", len(names))
	}
	for _, m := range names {
		if !have[m[1]] {
			t.Errorf("there is no file %s", m[1])
		}
	}
}

// TestPackages compares the map of packages with the packages and their imports.
func TestPackages(t *testing.T) {
	const module = "github.com/dictwire/dictwire"
	_, rows, _ := strings.Cut(read(t, "architecture.md"), "\n| package | what | may import |\n")
	rows, _, _ = strings.Cut(rows, "\n\n")
	rows = strings.ReplaceAll(rows, "the root", "`.`")
	quoted := regexp.MustCompile("`([^`]+)`")
	may := map[string][]string{}
	for _, row := range strings.Split(rows, "\n")[1:] {
		cells := strings.Split(row, "|")
		name := quoted.FindStringSubmatch(cells[1])
		if len(cells) != 5 || name == nil {
			t.Fatalf("not a row: %s", row)
		}
		may[name[1]] = []string{}
		for _, m := range quoted.FindAllStringSubmatch(cells[3], -1) {
			may[name[1]] = append(may[name[1]], m[1])
		}
		if strings.Contains(cells[3], "all but") {
			may[name[1]] = nil
		}
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	local := func(path string) string { return strings.TrimPrefix(strings.Replace(path, module, ".", 1), "./") }
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := local(fields[0])
		allowed, ok := may[name]
		if !ok {
			t.Errorf("the map has no package %s", name)
		}
		used := map[string]bool{}
		for _, path := range fields[1:] {
			if !strings.HasPrefix(path, module) || allowed == nil {
				continue
			}
			i := slices.IndexFunc(allowed, func(a string) bool {
				below, wild := strings.CutSuffix(a, "…")
				return a == local(path) || wild && strings.HasPrefix(local(path), below)
			})
			if i < 0 {
				t.Errorf("%s imports %s, which the map does not allow", name, local(path))
				continue
			}
			used[allowed[i]] = true
		}
		for _, a := range allowed {
			if !used[a] {
				t.Errorf("%s imports no %s, which the map allows", name, a)
			}
		}
		delete(may, name)
	}
	for name := range may {
		t.Errorf("there is no package %s, which the map has", name)
	}
}

package web

import (
	"io/fs"
	"net/http"
	"path"
	"strconv"

	page "github.com/dictwire/dictwire/web"
)

const (
	// partsPath is where the parts of the page are.
	partsPath = "/page/"

	// policy lets the page load what the server has, and nothing else. No script stands
	// within it, and no text becomes HTML.
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

// pageTypes are the media types of the page's files, by what their names end with.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// pages are the page, which browsers alone get, and its parts.
func pages() map[string]http.Handler {
	names, err := fs.Glob(page.Files, "*.*")
	if err != nil {
		panic(err) // the pattern is bad
	}
	all := map[string]http.Handler{}
	for _, name := range names {
		all[partsPath+name] = methods{http.MethodGet: part(name)}
	}
	all["GET /{$}"] = forBrowsers{part("index.html"), handle(notFound)}
	return all
}

// forBrowsers serves browsers, and others by another handler.
type forBrowsers struct{ page, other http.Handler }

// ServeHTTP implements [http.Handler].
func (b forBrowsers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Accept")
	if accepts(r, "text/html") {
		b.page.ServeHTTP(w, r)
	} else {
		b.other.ServeHTTP(w, r)
	}
}

// part gives a file of the page.
func part(name string) handle {
	content, err := page.Files.ReadFile(name)
	if err != nil {
		panic(err) // it is not there
	}
	mediaType := pageTypes[path.Ext(name)]
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Type", mediaType)
		h.Set("Content-Length", strconv.Itoa(len(content)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(content) // a peer that is gone is net/http's to notice
		}
		return nil
	}
}

package web

import (
	"io/fs"
	"net/http"
	"path"
	"strconv"

	page "github.com/dictwire/dictwire/web"
)

const (
	// partsPath is the path of the page's files.
	partsPath = "/page/"

	// policy lets the page load only from the server. It allows no inline scripts, and no
	// text that becomes HTML.
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

// pageTypes maps the extensions of the page's files to media types.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// pages returns the handlers of the page, which only browsers get, and of its files.
func pages() map[string]http.Handler {
	names, err := fs.Glob(page.Files, "*.*")
	if err != nil {
		panic(err) // only for a bad pattern
	}
	all := map[string]http.Handler{}
	for _, name := range names {
		all[partsPath+name] = methods{http.MethodGet: part(name)}
	}
	all["GET /{$}"] = forBrowsers{part("index.html"), handle(notFound)}
	return all
}

// forBrowsers serves the page to browsers, and passes other requests on.
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

// part serves a file of the page.
func part(name string) handle {
	content, err := page.Files.ReadFile(name)
	if err != nil {
		panic(err) // the file is missing
	}
	mediaType := pageTypes[path.Ext(name)]
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Type", mediaType)
		h.Set("Content-Length", strconv.Itoa(len(content)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(content) // net/http notices if the peer is gone
		}
		return nil
	}
}
